"""The end of a run: the model in its folder, figures before and after, the record, the card, the curves."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from xlir_bench import files
from xlir_bench.encoders.quiet import quiet_transformers
from xlir_bench.options.training import TrainOptions
from xlir_bench.records import Evaluate
from xlir_bench.train.bases import Base
from xlir_bench.train.card import model_card
from xlir_bench.train.curves import draw_curves
from xlir_bench.train.folder import CURVES, RECORD, RunFolder, write_json
from xlir_bench.train.loop import Outcome
from xlir_bench.train.plan import Plan
from xlir_bench.train.static import quantise
from xlir_bench.train.store import RowStore, language_counts, origin_counts

SCHEMA = 1
PACKAGES = (
    "xlir-bench", "torch", "transformers", "sentence-transformers", "tokenizers", "datasets", "accelerate",
    "numpy",
)  # fmt: skip
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


@dataclass(frozen=True)
class Run:
    """Everything that a run was and found."""

    options: TrainOptions
    folder: RunFolder
    base: Base
    store: RowStore
    plan: Plan
    outcome: Outcome
    leakage: Mapping[str, Any]
    before: Mapping[str, float]
    rate: float
    epoch: int
    command: str


def publish(run: Run, evaluate: Evaluate | None) -> Mapping[str, Any]:
    """Write everything; the record last, since it says that the run is finished."""
    folder = run.folder.path
    _save(run)
    after = {} if evaluate is None else dict(evaluate(_loaded(folder)))
    record = _record(run, after)
    if draw_curves(run.outcome.log.lines, folder / CURVES):
        record["curves"] = CURVES
    files.write(folder / "README.md", model_card(record))
    write_json(folder / RECORD, record)
    if not run.options.keep_checkpoints:
        shutil.rmtree(run.folder.checkpoints)
    return record


def _save(run: Run) -> None:
    """The model beside its place first, so that a half-written one is never taken for it."""
    fresh = run.folder.path / ".model"
    shutil.rmtree(fresh, ignore_errors=True)
    with quiet_transformers():
        run.base.whole(run.base.model).save(str(fresh), create_model_card=False)
    if run.options.static.int8:
        quantise(fresh)
    pickles = [p for p in fresh.rglob("*") if p.suffix in PICKLES]
    if pickles:
        raise AssertionError(f"the model was saved with pickles: {pickles}")
    for path in fresh.rglob("*.safetensors"):
        path.chmod(0o644)  # the library writes it for its owner alone
    for item in sorted(fresh.iterdir(), key=lambda p: p.name == "modules.json"):
        target = run.folder.path / item.name
        if target.is_dir():
            shutil.rmtree(target)
        item.replace(target)
    fresh.rmdir()


def _loaded(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    with quiet_transformers():
        return SentenceTransformer(str(folder), local_files_only=True)


def _record(run: Run, after: Mapping[str, float]) -> dict[str, Any]:
    options, outcome = run.options, run.outcome
    return base_record(run.base, run.store) | {
        "leakage": dict(run.leakage),
        "batches": {**run.plan.stated, "steps_per_epoch": run.epoch},
        "options": options.stated() | {"lr": run.rate} | _names(options),
        "outcome": {
            "steps": outcome.steps,
            "chosen_step": outcome.chosen_step,
            "seconds": round(outcome.seconds, 1),
            "resumed_from": outcome.resumed_from,
            "device": outcome.device,
        },
        "before": dict(run.before),
        "after": dict(after),
        "evaluations": [
            {"step": step, "figures": figures} for step, figures in outcome.log.evaluations()
        ],
        "command": run.command,
    }


def base_record(base: Base, store: RowStore) -> dict[str, Any]:
    """What a record says of the model that training starts from, of the rows, and of the machine."""
    pruning = {} if base.pruning is None else {"pruning": dict(base.pruning)}
    return pruning | {
        "schema": SCHEMA,
        "base": {
            "name": base.name,
            "digest": base.digest,
            "query_prompt": base.prompts.query,
            "passage_prompt": base.prompts.passage,
            "notes": list(base.notes),
        },
        "data": {
            "sources": [asdict(source) | {"name": _shown(source.name)} for source in store.sources],
            "rows": store.rows,
            "origins": dict(origin_counts(store)),
            "texts_by_language": dict(language_counts(store)),
        },
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": _versions(),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _names(options: TrainOptions) -> dict[str, list[str] | None]:
    shapers = options.prune_vocabulary
    return {
        "sources": [str(x).replace(x.name, _shown(x.name), 1) for x in options.sources],
        "prune_vocabulary": None if shapers is None else [_shown(name) for name in shapers],
    }


def _shown(name: str) -> str:
    """A file by its own name: where it lay on this machine is nobody's business."""
    return Path(name).name if Path(name).exists() else name


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

"""One training run, from rows to a model with its record, card and curves."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from xlir_bench import files
from xlir_bench.encoders.digest import installed_versions
from xlir_bench.encoders.layout import PICKLES
from xlir_bench.encoders.libraries import quiet_transformers
from xlir_bench.errors import WARNING, InputError, UnknownNameError, XlirError, plural, require_type
from xlir_bench.options.stating import build, options_of
from xlir_bench.options.training import TrainOptions
from xlir_bench.records import Evaluate, Progress, Silent
from xlir_bench.results.training import FinishedRecord, read_training
from xlir_bench.sources.own import is_code
from xlir_bench.tasks import Task
from xlir_bench.train.bases import Base, freeze, load_base
from xlir_bench.train.batches import Planner
from xlir_bench.train.card import draw_curves, model_card
from xlir_bench.train.folder import CURVES, PROJECTION, RECORD, RunFolder, write_json
from xlir_bench.train.leakage import EvaluationTexts, LeakageFoundError, LeakageReport
from xlir_bench.train.loop import Loop, intervals, training_device
from xlir_bench.train.plan import Plan, write_plan
from xlir_bench.train.processes import joined, rank, shared
from xlir_bench.train.pruning import Pruning
from xlir_bench.train.row_files import source_digest
from xlir_bench.train.row_store import RowStore, open_rows, store_rows
from xlir_bench.train.rows import Row, no_codes
from xlir_bench.train.static import quantise
from xlir_bench.train.teaching import project, teach
from xlir_bench.train.watching import selection
from xlir_bench.untrusted import load_json, read_json, validated

SCHEMA = 1
MARKS = ("modules.json", "config.json")
"""Libraries load a folder as this model only if it has both: with `config.json` alone they add their own pooling."""
PACKAGES = (
    "xlir-bench", "torch", "transformers", "sentence-transformers", "tokenizers", "datasets", "accelerate",
    "numpy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run."""

    folder: Path
    record: Mapping[str, Any]
    """The content of training.json."""


def train(
    options: TrainOptions | None = None,
    *,
    evaluate: Evaluate | None = None,
    tasks: Sequence[Task] = (),
    data: Path | None = None,
    progress: Progress | None = None,
    command: str = "",
    say: Callable[[str], object] = str,
    **given: Any,
) -> Trained:
    """Train a model with `options`, or with options given by their names.

    `evaluate` computes figures of the model before, during and after training. The texts of `tasks`, from the data
    root `data` or the cache, must not be among the training rows. `say` is called with remarks, one line each.

    Where `torchrun` started several processes, all train the same model on the same batches; the first one writes
    files and evaluates.
    """
    require_type(
        options, TrainOptions | None, "train_hybrid wants TrainOptions, or options by their names"
    )
    require_type(tasks, Iterable, "train_hybrid: tasks are a list of Task")
    require_type(
        progress, Progress | None, "train_hybrid: progress is what is told of stages (Progress)"
    )
    if options is None:
        options = _options(given)
    elif given:
        raise InputError(f"train_hybrid takes options, or {', '.join(given)} by name, not both")
    options.check()
    device = training_device(options, options.from_nothing)
    folder = RunFolder(options.output)
    run = _Run(options, folder, tasks, data, progress or Silent())
    unmade = [path for path in (options.output, *options.output.parents) if not path.exists()]
    with files.removing_empty(unmade), joined(device == "cpu"):
        if rank() == 0:
            with folder.held():
                folder.require_fresh(options.resume)
                begun = folder.checkpoints.is_dir()
                if not folder.finished:
                    try:
                        return Trained(folder.path, run.train(evaluate, command, say))
                    except XlirError:
                        if not begun:  # what an earlier command began is kept
                            folder.forget_unbegun()
                        raise
                shared(None)
                # A run that was killed while it removed them has left some.
                if not options.keep_checkpoints:
                    folder.remove_checkpoints()
        else:
            run.follow(evaluate)
    return Trained(folder.path, read_training(folder.path / RECORD, FinishedRecord))


def _options(given: Mapping[str, Any]) -> TrainOptions:
    """Make `TrainOptions` from options by their names."""
    known = {option.name: option for option in options_of(TrainOptions)}
    if unknown := [name for name in given if name not in known]:
        raise UnknownNameError("option of train_hybrid", unknown, known)
    if lacking := [n for n, x in known.items() if x.default is MISSING and given.get(n) is None]:
        raise InputError(f"train_hybrid needs {' and '.join(lacking)}")
    return build(TrainOptions, given)


def save_untrained(
    options: TrainOptions,
    *,
    tasks: Sequence[Task] = (),
    data: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Save the model that a training would start from, with its prompts and pooling, in an output folder."""
    options.check()
    folder = RunFolder(options.output)
    with folder.held():
        if folder.finished:
            folder.remove_checkpoints()
            return Trained(folder.path, read_training(folder.path / RECORD))
        run = _Run(options, folder, tasks, data, progress or Silent())
        run.pruning.check()
        folder.checkpoints.mkdir(exist_ok=True)
        store, leakage = run.rows()
        base = run.base(store)
        with quiet_transformers():
            run.save(base)
        record = _base_record(base, store) | {"leakage": dict(leakage)}
        write_json(folder.path / RECORD, record)
        folder.remove_checkpoints()
        return Trained(folder.path, record)


def checked_rows(
    options: TrainOptions,
    tasks: Sequence[Task],
    data: Path | None,
    folder: Path,
    progress: Progress,
) -> Path:
    """Read the rows and look for evaluation texts once for several trainings; returns the folder of the rows.

    A training with a copy of this folder as its `RunFolder.data` does not read the rows again.
    """
    run = _Run(options, RunFolder(folder), tasks, data, progress)
    run.rows()
    return run.folder.data


@dataclass(frozen=True)
class _Run:
    """One run and its stages. Each stage stores its outcome in the folder, and a resumed run reads it there."""

    options: TrainOptions
    folder: RunFolder
    tasks: Sequence[Task]
    data: Path | None
    progress: Progress

    @property
    def pruning(self) -> Pruning:
        """The texts of `--prune-vocabulary`; empty without that option."""
        tasks = {task.name: task for task in self.tasks}
        return Pruning(self.options.prune_vocabulary or (), tasks, self.data, self.progress)

    def train(
        self, evaluate: Evaluate | None, command: str, say: Callable[[str], object]
    ) -> Mapping[str, Any]:
        """Run all stages, and return the record, which is written last: it marks the run as finished."""
        options, folder = self.options, self.folder.path
        # What cannot run is refused before anything is read.
        intervals(options, evaluate, 1)
        self.pruning.check()
        self.folder.remember(options.stated())
        store, leakage = self.rows()
        for source in store.sources:
            if source.skipped:
                say(f"{plural(source.skipped, 'faulty row')} left out: {source.faults}")
        if unknown := [lang for lang in store.languages if not is_code(lang)]:
            say(WARNING + no_codes(unknown))
        planner = Planner(store, options.batches)
        steps = options.steps or math.ceil((options.epochs or 1) * planner.epoch)
        batches = steps * options.batches_a_step
        second = options.loss == "lakda"
        plan = write_plan(planner, batches, self.folder.data, self.progress, second)
        plan = self._taught(plan)
        base = self._prepared(plan)
        before: Mapping[str, float] = {}
        look: Evaluate | None = None
        if evaluate is not None:
            look = lambda model: evaluate(base.finished(model))  # noqa: E731
            path = self.folder.checkpoints / "before.json"
            if not path.is_file():
                write_json(path, dict(look(base.model)))
            stated = load_json(path, strict=False)
            before = validated(dict[str, float], stated, path, "the figures from before training")
            selection(before, options.select_by)  # an error now if there is no such figure
        on_the_way = None if options.eval_steps == 0 else look
        shared(plan)
        loop = Loop(options, self.folder, base, plan, on_the_way, self.progress, say)
        with quiet_transformers():
            outcome, log = loop.run()
            self.save(base, projection=None if plan.teacher is None else base.model[-1])
        after: Mapping[str, float] = {}
        if evaluate is not None:
            with quiet_transformers():
                model = SentenceTransformer(str(folder), local_files_only=True)
            after = evaluate(model)
        texts = options.prune_vocabulary
        record = _base_record(base, store) | {
            "leakage": dict(leakage),
            "batches": {**plan.counts, "steps_per_epoch": planner.epoch},
            "options": {
                **options.stated(),
                "lr": options.rate,
                "sources": [str(x).replace(x.name, _shown(x.name), 1) for x in options.sources],
                "prune_vocabulary": None if texts is None else [_shown(name) for name in texts],
            },
            "outcome": outcome | {"seconds": round(outcome["seconds"], 1)},
            "before": dict(before),
            "after": dict(after),
            "evaluations": log.evaluations(),
            "command": command,
        }
        if plan.teacher is not None:
            record["teacher"] = plan.teacher.stated
        if draw_curves([{"step": 0, "evaluation": before}, *log.lines], folder / CURVES):
            record["curves"] = CURVES
        files.write(folder / "README.md", model_card(record))
        write_json(folder / RECORD, record)
        if not options.keep_checkpoints:
            self.folder.remove_checkpoints()
        return record

    def follow(self, evaluate: Evaluate | None) -> None:
        """Do the part of a process that is not the first: the same steps of the same plan, and nothing else."""
        plan = shared(None)  # waits until rows, plan and base are on disk
        if plan is None:
            return
        options, base = self.options, self._prepared(plan)
        look = None if options.eval_steps == 0 else evaluate  # only the first process calls it
        with quiet_transformers():
            Loop(options, self.folder, base, plan, look, Silent(), str).run()

    def _taught(self, plan: Plan) -> Plan:
        """The plan, with a teacher if the loss has one; rows that the loss cannot use are refused."""
        options, store = self.options, plan.store
        if options.loss == "lakda" and plan.counts["infonce_alone"] == 1:
            raise InputError(
                f"--loss lakda needs a question in two languages, and no row has its question in two of"
                f" {', '.join(store.languages)}"
            )
        if options.loss != "distil":
            return plan
        rows = plan.planned_rows()
        teacher = teach(options, store, rows, self.folder.data, self.progress)
        alone = float((teacher.keys_of(store, rows) == 0).mean())
        return replace(plan, teacher=teacher, counts={**plan.counts, "infonce_alone": alone})

    def _prepared(self, plan: Plan) -> Base:
        """The model as the loop trains it."""
        options, base = self.options, self.base(plan.store)
        if base.is_static:
            options.refuse_static()
        training_device(options, base.is_static)
        if plan.teacher is None:
            return base
        stored = Path(options.model) / PROJECTION
        return project(base, plan.teacher.dimension, stored, options.batches.seed)

    def rows(self) -> tuple[RowStore, Mapping[str, Any]]:
        """The rows, and a report on evaluation texts among them; stored ones are used if the sources are unchanged."""
        report_file = self.folder.data / "leakage.json"
        store = open_rows(self.folder.data)
        if store is not None and report_file.is_file():
            digests = [source_digest(source.name) for source in self.options.sources]
            if digests == [source.digest for source in store.sources]:
                what = "the report on evaluation texts"
                return store, read_json(report_file, dict[str, Any], what)
        report = LeakageReport(EvaluationTexts.load(self.tasks, self.data, self.progress))
        dropping = self.options.leakage == "drop"

        def keep(rows: Sequence[Row]) -> list[bool]:
            return [not (leaks and dropping) for leaks in report.add(rows)]

        store = store_rows(
            self.options.sources, self.folder.data, self.progress, keep, self.options.offline,
            self.options.skip_faults,
        )  # fmt: skip
        if self.options.leakage == "fail" and report.leaking:
            raise LeakageFoundError(report)
        leakage = report.as_json() | {"action": self.options.leakage}
        write_json(report_file, leakage)
        return store, leakage

    def base(self, store: RowStore) -> Base:
        """The model that training starts from."""
        kept = self.folder.checkpoints / "base"
        base = load_base(self.options, store, kept)
        if self.options.prune_vocabulary is not None:
            base = self.pruning.prune(base, store, kept)
        if self.options.frozen_layers is not None:
            base = freeze(base, self.options.frozen_layers)
        return base

    def save(self, base: Base, projection: Any = None) -> None:
        """Save the model in its folder; a model that is only partly written cannot be loaded."""
        with files.replacing_files(self.folder.path, MARKS) as fresh:
            base.finished(base.model).save(str(fresh), create_model_card=False)
            if projection is not None:
                (fresh / PROJECTION).mkdir()
                projection.save(str(fresh / PROJECTION))
            if self.options.static.int8:
                quantise(fresh)
            if pickles := [path for pattern in PICKLES for path in fresh.rglob(pattern)]:
                raise AssertionError(f"the model was saved with pickles: {pickles}")
            for path in fresh.rglob("*.safetensors"):
                path.chmod(0o644)  # the library lets only the owner read it


def _base_record(base: Base, store: RowStore) -> dict[str, Any]:
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
            "sources": [
                asdict(replace(source, faults="")) | {"name": _shown(source.name)}
                for source in store.sources
            ],
            "rows": store.rows,
            "origins": dict(store.origin_counts()),
            "texts_by_language": dict(store.language_counts()),
        },
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": installed_versions(PACKAGES),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _shown(name: str) -> str:
    """The name of a file without its folders: a record that is published must not tell them."""
    return Path(name).name if Path(name).exists() else name

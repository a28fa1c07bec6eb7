"""Stored results as files of other tools: one file for all results, or a folder with files for each.

The Hugging Face hub reads scores from the repository of a model, the tasks of a benchmark from the repository of its data,
and shows the leaderboard's page as a static Space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.files import explained, replacing
from xlir_bench.files import write as write_file
from xlir_bench.records import POOL, Kind
from xlir_bench.rendering.document import Block, Lines, Table, render
from xlir_bench.reports.leaderboard.board import read_board
from xlir_bench.reports.leaderboard.single_page import html_page
from xlir_bench.reports.pairing import labels, require_comparable
from xlir_bench.reports.scores import compared_by
from xlir_bench.reports.tables import compared_cells
from xlir_bench.results import Result, ResultRecord
from xlir_bench.results.frame import COLUMNS, named, part_of, rows_of, tidy_frame
from xlir_bench.results.schema import SettingPart
from xlir_bench.results.store import REMEDY, publish
from xlir_bench.results.trec import write_trec

MTEB_VERSION = "2.0.0"
"""The version of mteb whose file layout we write; mteb's loaders require that a file states one."""
MTEB_META = (
    "name", "revision", "release_date", "languages", "loader", "n_parameters", "memory_usage_mb",
    "max_tokens", "embed_dim", "license", "open_weights", "public_training_code", "public_training_data",
    "framework", "similarity_fn_name", "use_instructions", "training_datasets",
)  # fmt: skip
"""The fields of mteb's model_meta.json."""
MTEB_SIMILARITY = {"dot": "dot", "maxsim": "MaxSim"}
"""mteb's names for our similarities other than cosine."""
MTEB_LANGUAGES = {
    "ar": "ara-Arab", "bn": "ben-Beng", "cs": "ces-Latn", "da": "dan-Latn", "de": "deu-Latn",
    "el": "ell-Grek", "en": "eng-Latn", "es": "spa-Latn", "fa": "fas-Arab", "fi": "fin-Latn",
    "fil": "fil-Latn", "fr": "fra-Latn", "he": "heb-Hebr", "hi": "hin-Deva", "hr": "hrv-Latn",
    "hu": "hun-Latn", "id": "ind-Latn", "it": "ita-Latn", "ja": "jpn-Jpan", "ko": "kor-Kore",
    "mi": "mri-Latn", "nl": "nld-Latn", "no": "nor-Latn", "pl": "pol-Latn", "pt": "por-Latn",
    "quz": "quz-Latn", "ro": "ron-Latn", "ru": "rus-Cyrl", "sv": "swe-Latn", "sw": "swa-Latn",
    "te": "tel-Telu", "th": "tha-Thai", "tr": "tur-Latn", "uk": "ukr-Cyrl", "vi": "vie-Latn",
    "yo": "yor-Latn", "zh": "zho-Hans",
}  # fmt: skip
"""mteb's names of languages: an ISO 639-3 code and a script. Any other code, such as ``zho_Hans``, becomes ``zho-Hans``."""
REPOSITORIES = {"hf": "model", "eval-yaml": "dataset", "space": "space"}
"""The kind of repository that each export is pushed to."""
SCORES = ".eval_results"
"""The folder of a model's repository in which the hub looks for scores."""


def write(
    form: str, results: Sequence[Result], output: Path, dataset: str | None = None
) -> list[Path]:
    """Write results in one of the `FORMATS`; returns the files. `dataset`: the hub's data set of the tasks, for ``hf`` only."""
    if form not in FORMATS:
        raise UnknownNameError("export format", [form], FORMATS)
    if form == "hf" and dataset is None:
        raise InputError(
            "export hf needs --dataset, the data set of the hub whose eval.yaml states these tasks (`export eval-yaml`"
            " makes one); `export model-index` needs none"
        )
    if form != "hf" and dataset is not None:
        raise InputError(f"--dataset is for hf: leave it out of export {form}")
    with explained(output, REMEDY):
        return FORMATS[form](results, output, *([] if dataset is None else [dataset]))


def _csv(results: Sequence[Result], output: Path) -> list[Path]:
    rows = [
        [row.get(name) for name in COLUMNS] for result in results for row in rows_of(result.record)
    ]
    write_file(output, render([Table(tuple(COLUMNS), rows)], "csv") + "\n")
    return [output]


def _parquet(results: Sequence[Result], output: Path) -> list[Path]:
    with replacing(output) as temporary:
        tidy_frame([result.record for result in results]).to_parquet(temporary, index=False)
    return [output]


def _mteb(results: Sequence[Result], output: Path) -> list[Path]:
    """``<model>/<revision>/<task>.json`` with ``model_meta.json`` beside it, as in mteb's cache."""
    written: dict[Path, dict[str, Any]] = {}
    for result in results:
        encoder = result.record.encoder
        cleaned = re.sub(r"[^A-Za-z0-9._/-]", "-", encoder.name).strip("/.")
        parts = [part for part in cleaned.split("/") if part.strip(".")]
        name = "/".join(parts) if len(parts) == 2 else f"xlir-bench/{'-'.join(parts) or 'encoder'}"
        # Other weights, prompts or lengths get another folder; so does the dot product of the same vectors.
        revision = encoder.fingerprint.removeprefix("sha256:")[:16]
        revision += "-dot" * encoder.slug.endswith("~dot")
        folder = output / name.replace("/", "__") / revision
        contents = mteb_record(result)
        path = folder / f"{contents['task_name']}.json"
        if path in written:
            raise InputError(f"two results would both be {path}; export them to two folders")
        written[path] = contents
        known: dict[str, Any] = {
            "name": name, "revision": revision, "n_parameters": encoder.parameters,
            "max_tokens": encoder.max_tokens, "embed_dim": encoder.dimension, "framework": [],
            "similarity_fn_name": MTEB_SIMILARITY.get(encoder.similarity or "", "cosine"),
            "use_instructions": bool(encoder.query_prompt or encoder.passage_prompt),
        }  # fmt: skip
        written[folder / "model_meta.json"] = dict.fromkeys(MTEB_META) | known
    for path, content in written.items():
        write_file(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return list(written)


def mteb_record(result: Result) -> dict[str, Any]:
    """A result file of mteb: every setting is a subset, such as ``en-de``, or ``en-all`` for the pool."""
    record = result.record
    return {
        "dataset_revision": record.task.digest,
        # Not a name of mteb's own tasks: their pools and candidates differ, so scores must not be mixed.
        "task_name": "xlir-bench_" + re.sub(r"[^A-Za-z0-9.~-]", "-", named(record)),
        "mteb_version": MTEB_VERSION,
        "scores": {"test": [_subset(s, record) for s in record.settings if s.queries]},
        "evaluation_time": sum(record.profile.seconds.values()),
        "kg_co2_emissions": None,
        "date": datetime.fromisoformat(record.created).timestamp(),
        "evaluated_by": f"xlir-bench {_version(record)}",
        "part": part_of(record),
    }


def _subset(setting: SettingPart, record: ResultRecord) -> dict[str, Any]:
    target = "all" if setting.passage_lang == POOL else setting.passage_lang
    langs = dict.fromkeys([setting.query_lang, *setting.passage_langs])
    main = "ndcg@10" if "ndcg@10" in setting.measures else next(iter(record.options.measures))
    return {
        **{name.replace("@", "_at_"): value for name, value in setting.measures.items()},
        "main_score": setting.measures[main],
        "hf_subset": f"{setting.query_lang}-{target}",
        "languages": [MTEB_LANGUAGES.get(lang, lang.replace("_", "-")) for lang in langs],
    }


def _version(record: ResultRecord) -> str:
    return record.environment.versions.get("xlir-bench", "of unknown version")


def _latex(results: Sequence[Result], output: Path) -> list[Path]:
    """A tabular for each task, or part of one: a row for each encoder, its 95 % intervals below."""
    tasks: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        tasks.setdefault((result.record.task.title, part_of(result.record)), []).append(result)
    blocks: list[Block] = [
        Lines(r"\usepackage{booktabs}; bold: the best; below it: 95 % intervals")
    ]
    for (title, part), of_task in tasks.items():
        require_comparable(of_task, False, "export them to two files")
        records, names = [result.record for result in of_task], labels(of_task)
        kinds = [kind for kind in Kind if any(kind in r.summary for r in records)]
        columns = compared_by(records[0].main_measure, kinds)
        rows: list[list[str]] = []
        for name, record, cells in zip(names, records, compared_cells(records, kinds), strict=True):
            rows += [[name, *cells], ["", *(column.interval(record) for column in columns)]]
        headers = [f"{title} ({part})" if part else title, *(column.name for column in columns)]
        blocks.append(Table(headers, rows))
    write_file(output, render(blocks, "latex") + "\n")
    return [output]


def _model_index(results: Sequence[Result], output: Path) -> list[Path]:
    """``<encoder>.md`` for each encoder."""
    by_encoder: dict[Path, list[Result]] = {}
    for result in results:
        path = output / f"{quote(result.record.encoder.slug, safe='')}.md"
        by_encoder.setdefault(path, []).append(result)
    for path, of_encoder in by_encoder.items():
        write_file(path, model_card(of_encoder))
    return list(by_encoder)


def model_card(results: Sequence[Result]) -> str:
    """A model card with the `model-index` of one encoder's results, to be merged into its README.md.

    An entry for each kind and measure: the macro average over the settings of the kind.
    """
    from huggingface_hub import EvalResult, ModelCardData

    scores = []
    for record in (result.record for result in results):
        part = f"; {part_of(record)}" if part_of(record) else ""
        for row in (row for row in rows_of(record) if row["level"] == "kind"):
            made_by = f"xlir-bench {_version(record)}"
            if row["low"] is not None:
                made_by += f", 95 % interval {row['low']:.4f} to {row['high']:.4f}"
            scores.append(EvalResult(
                task_type="text-retrieval",
                task_name="Retrieval",
                dataset_type=named(record),
                dataset_name=f"{record.task.title} ({row['kind']}{part})",
                dataset_config=row["kind"],
                dataset_split="test",
                dataset_revision=record.task.digest,
                metric_type=row["measure"],
                metric_name=f"{row['measure']} ({made_by})",
                metric_value=row["value"],
                verified=None,
            ))  # fmt: skip
    data = ModelCardData(model_name=results[0].record.encoder.name, eval_results=scores)
    return f"---\n{data.to_yaml()}\n---\n"


def _queries(result: Result, folder: Path) -> list[Path]:
    """queries.parquet: the value of every query, setting and measure."""
    import pyarrow.parquet as pq

    with replacing(folder / "queries.parquet") as temporary:
        pq.write_table(result.table("queries"), temporary, compression="zstd")
    return [folder / "queries.parquet"]


def eval_results(results: Sequence[Result], output: Path, dataset: str) -> list[Path]:
    """``<encoder>/.eval_results/<task>.yaml``: the main measure of each kind, as a score of a task of `dataset`."""
    written = []
    for folder, result in by_folder(results, output).items():
        path, record = folder.parent / SCORES / f"{folder.name}.yaml", result.record
        write_file(path, _yaml([_score(record, kind, dataset) for kind in record.summary]))
        written.append(path)
    return written


def by_folder(results: Sequence[Result], output: Path) -> dict[Path, Result]:
    """A folder for each result, by encoder and task; a partial run has its own, never that of the full run."""
    folders: dict[Path, Result] = {}
    for result in results:
        slug = quote(result.record.encoder.slug, safe="")
        if (folder := output / slug / quote(named(result.record), safe="~")) in folders:
            raise InputError(f"two results would both go to {folder}; export them to two folders")
        folders[folder] = result
    return folders


def _score(record: ResultRecord, kind: Kind, dataset: str) -> dict[str, Any]:
    mean = record.summary[kind][record.main_measure]
    notes = [
        f"{record.main_measure}, mean over {len(record.scored(kind))} settings",
        f"95 % interval {mean.low:.4f} to {mean.high:.4f}" if None not in (mean.low, mean.high) else "",
        part_of(record),
        f"xlir-bench {_version(record)}, task {record.task.name} version {record.task.version},"
        f" {record.task.digest[:19]}",
    ]  # fmt: skip
    return {
        "dataset": {"id": dataset, "task_id": _task_id(named(record), kind)},
        "value": mean.mean,
        "date": record.created,
        "notes": "; ".join(filter(None, notes)),
    }


def _task_id(task: str, kind: Kind) -> str:
    """The id of a task on the hub. `eval_yaml` states no ids of partial runs, so that no board ranks them."""
    return f"{re.sub(r'[^A-Za-z0-9.~-]', '-', task)}-{kind.value}"


def eval_yaml(results: Sequence[Result], output: Path) -> list[Path]:
    """``eval.yaml``, which makes a data set of the hub a benchmark: a task for each kind of the results' tasks."""
    full = {r.record.task.name: r.record for r in results if not part_of(r.record)}
    if not full:
        raise InputError("eval.yaml is made from full runs, and all of these are partial")
    ids = [_task_id(name, kind) for name, record in full.items() for kind in record.summary]
    titles = ", ".join(record.task.title for record in full.values())
    contents = {
        "name": titles,
        "description": f"Retrieval within a language, across languages and from a pool of all languages: {titles}.",
        "evaluation_framework": "xlir-bench",
        "tasks": [{"id": each, "config": "default", "split": "test"} for each in ids],
    }
    write_file(output / "eval.yaml", _yaml(contents))
    return [output / "eval.yaml"]


def space(results: Sequence[Result], output: Path) -> list[Path]:
    """A static Space: the page of ``leaderboard --html``, and the card that the hub asks for."""
    board = read_board([result.folder for result in results if result.folder is not None])
    titles = ", ".join(dict.fromkeys(task.title for task in board.tasks)) or "no ranked results"
    card = {"title": "xlir-bench", "sdk": "static", "app_file": "index.html", "pinned": False}
    card["short_description"] = "Multilingual retrieval, with intervals and language bias"
    text = f"---\n{_yaml(card)}---\n\nMade by `xlir-bench export space`: {titles}.\n"
    write_file(output / "index.html", html_page(board))
    write_file(output / "README.md", text)
    return [output / "index.html", output / "README.md"]


def push(form: str, files: Sequence[Path], output: Path, repository: str) -> str:
    """Upload exported files; returns the address. It opens a pull request, or updates a Space (which it may create)."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    kind, api = REPOSITORIES[form], HfApi()
    folder = pushed_folder(form, files, output)
    try:
        if kind == "space":
            api.create_repo(repository, repo_type=kind, space_sdk="static", exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, repo_type=kind, folder_path=folder, create_pr=kind != "space",
            allow_patterns=[path.relative_to(folder).as_posix() for path in files],
            commit_message="Results of xlir-bench",
        )  # fmt: skip
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OutOfReachError(f"the hub refused the upload to {repository}: {reason}") from error
    return str(done.pr_url or done.commit_url)


def pushed_folder(form: str, files: Sequence[Path], output: Path) -> Path:
    """The folder that becomes the root of the repository; an error if it cannot be pushed, or has two models."""
    if form not in REPOSITORIES:
        raise InputError(f"--push is for {', '.join(REPOSITORIES)}; {form} cannot be pushed")
    roots = {path.parent.parent for path in files} if form == "hf" else {output}
    if len(roots) > 1:
        raise InputError(
            "--push needs the results of one encoder: each model has its own repository"
        )
    return roots.pop()


def _yaml(value: object) -> str:
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    return str(yaml_dump(value))


def _each(
    write_one: Callable[[Result, Path], list[Path]], results: Sequence[Result], output: Path
) -> list[Path]:
    """Every result into a folder of its own, ``<encoder>/<task>``."""
    folders = by_folder(results, output).items()
    return [path for folder, result in folders for path in write_one(result, folder)]


FORMATS: dict[str, Callable[..., list[Path]]] = {
    "trec": partial(_each, write_trec),
    "latex": _latex,
    "mteb": _mteb,
    "hf": eval_results,
    "model-index": _model_index,
    "eval-yaml": eval_yaml,
    "space": space,
    "csv": _csv,
    "parquet": _parquet,
    "queries": partial(_each, _queries),
    "result": partial(_each, publish),
}
"""A new format is a function and a row here."""

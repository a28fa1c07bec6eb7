"""Results as the Hugging Face hub reads them: scores in a model's repository, a benchmark's tasks in that of its data,
and the leaderboard's page as a static Space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.files import write as write_file
from xlir_bench.records import Kind
from xlir_bench.reports.leaderboard.board import read_board
from xlir_bench.reports.leaderboard.single_page import html_page
from xlir_bench.results import Result, ResultRecord
from xlir_bench.results.frame import named, part_of

REPOSITORIES = {"hf": "model", "eval-yaml": "dataset", "space": "space"}
"""The kind of repository that each export is pushed to."""
SCORES = ".eval_results"


def eval_results(results: Sequence[Result], output: Path, dataset: str) -> list[Path]:
    """``<encoder>/.eval_results/<task>.yaml``: the main measure of each kind, as a score of a task of `dataset`."""
    written = []
    for folder, result in by_folder(results, output).items():
        path, record = folder.parent / SCORES / f"{folder.name}.yaml", result.record
        write_file(path, _yaml([_score(record, kind, dataset) for kind in record.summary]))
        written.append(path)
    return written


def by_folder(results: Sequence[Result], output: Path) -> dict[Path, Result]:
    """A folder for each result, by encoder and task; a part of a task is never taken for the whole."""
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
        f"xlir-bench {record.environment.versions.get('xlir-bench', '')}, task {record.task.name} version"
        f" {record.task.version}, {record.task.digest[:19]}",
    ]  # fmt: skip
    return {
        "dataset": {"id": dataset, "task_id": _task_id(named(record), kind)},
        "value": mean.mean,
        "date": record.created,
        "notes": "; ".join(filter(None, notes)),
    }


def _task_id(task: str, kind: Kind) -> str:
    """Of a part of a task another than any that `eval_yaml` states, so that no board ranks it."""
    return f"{re.sub(r'[^A-Za-z0-9.~-]', '-', task)}-{kind.value}"


def eval_yaml(results: Sequence[Result], output: Path) -> list[Path]:
    """``eval.yaml``, which makes a data set of the hub a benchmark: a task for each kind of the results' tasks."""
    full = {r.record.task.name: r.record for r in results if not part_of(r.record)}
    if not full:
        raise InputError("eval.yaml is made of whole runs, and these are all of parts of a task")
    ids = [_task_id(name, kind) for name, record in full.items() for kind in record.summary]
    titles = ", ".join(record.task.title for record in full.values())
    about = {
        "name": titles,
        "description": f"Retrieval within a language, across languages and from a pool of all languages: {titles}.",
        "evaluation_framework": "xlir-bench",
        "tasks": [{"id": each, "config": "default", "split": "test"} for each in ids],
    }
    write_file(output / "eval.yaml", _yaml(about))
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
    """Upload what was exported; returns its address. It is a pull request, except for a Space, which is made if needed."""
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
        raise OutOfReachError(f"the hub does not take {repository}: {reason}") from error
    return str(done.pr_url or done.commit_url)


def pushed_folder(form: str, files: Sequence[Path], output: Path) -> Path:
    """The folder that becomes the root of the repository; an error for other exports, and for those of two models."""
    if form not in REPOSITORIES:
        raise InputError(f"--push is for {', '.join(REPOSITORIES)}; {form} stays here")
    roots = {path.parent.parent for path in files} if form == "hf" else {output}
    if len(roots) > 1:
        raise InputError("--push wants the results of one encoder: a model has a repository")
    return roots.pop()


def _yaml(value: object) -> str:
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    return str(yaml_dump(value))

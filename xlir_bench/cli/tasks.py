"""`xlir-bench tasks`: which tasks there are, what they ask, and whether their data is here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from xlir_bench.cli.terminal import as_text, say, say_blocks, say_json
from xlir_bench.escaping import visible
from xlir_bench.reports.document import Table

if TYPE_CHECKING:
    from xlir_bench.records import Setting
    from xlir_bench.sources import DataState
    from xlir_bench.tasks import Task, TaskFile

LISTED = 11
"""Languages named in a row of a table; `xlir-bench tasks TASK` names them all."""


@click.command()
@click.argument("name", required=False)
@click.option("--settings", is_flag=True, help="Every setting, instead of how many there are.")
@click.option("--json", "as_json", is_flag=True, help="The same for programs, as JSON.")
@click.option(
    "--tasks-dir",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of task TOML files besides the bundled ones; may be repeated.",
)
@click.option(
    "--data",
    "root",
    type=click.Path(path_type=Path),
    metavar="ROOT",
    help="Where to look for data instead of the download cache.  [env: XLIR_DATA]",
)
def tasks(
    name: str | None, settings: bool, as_json: bool, folders: tuple[Path, ...], root: Path | None
) -> None:
    """List the tasks, or show one: languages, settings, sizes, licence, and where its data is.

    Settings are counted by kind: monolingual/cross-lingual/multilingual. Queries and candidates
    are those of all languages together; with --settings, queries are those of the query language
    (the ones without a relevant passage in the pool of a setting are left out when it is scored).

    \b
    Examples:
      xlir-bench tasks
      xlir-bench tasks xquad-r
      xlir-bench tasks xquad-r --settings --json
      xlir-bench tasks --tasks-dir my-tasks --data /data
    """
    from xlir_bench.places import data_cache, data_root
    from xlir_bench.sources import data_state
    from xlir_bench.tasks import catalogue

    known = catalogue(*folders)
    chosen = list(known.tasks.values()) if name is None else known.get([name])
    place, cache = data_root(root), data_cache()
    states = [data_state(task, place, cache) for task in chosen]
    if as_json:
        rows = [_record(t, s, settings) for t, s in zip(chosen, states, strict=True)]
        say_json(rows if name is None else rows[0], indent=2)
    elif settings:
        say_blocks([_settings_table(chosen)])
    elif name is None:
        say_blocks([_tasks_table(chosen, states)])
    else:
        say(_details(chosen[0], states[0]))


def _tasks_table(chosen: Sequence[Task], states: Sequence[DataState]) -> Table:
    rows = [
        (
            task.name,
            _listed(sorted(task.languages)),
            _by_kind(task),
            _number(_total(task, "queries")),
            _number(_total(task, "candidates")),
            task.licence,
            _here(state),
        )
        for task, state in zip(chosen, states, strict=True)
    ]
    headers = ("task", "languages", "settings", "queries", "candidates", "licence", "data here")
    return Table(
        headers, rows, text=3, words=("licence", "data here"), spare=("licence", "candidates")
    )


def _settings_table(chosen: Sequence[Task]) -> Table:
    rows = [
        (
            task.name,
            setting.kind.value,
            setting.query_lang,
            _listed(setting.passage_langs),
            _number(queries),
            _number(candidates),
        )
        for task in chosen
        for setting, queries, candidates in _sized(task)
    ]
    headers = ("task", "kind", "query", "passages", "queries", "candidates")
    return Table(headers, rows, text=4)


def _details(task: Task, state: DataState) -> str:
    from xlir_bench.tasks import file_language

    facts = [
        ("task", f"{task.name} (version {task.version}): {task.title}"),
        ("asks", task.description),
        ("languages", " ".join(sorted(task.languages))),
        ("domain", task.domain),
        ("shares", task.shares or "not stated"),
        ("settings", f"{_by_kind(task)} (monolingual/cross-lingual/multilingual)"),
        ("measures", ", ".join(task.measures)),
        ("candidate text", ", ".join([task.candidate, *_others(task)])),
        ("licence", task.licence),
        ("homepage", task.homepage),
        ("citation", task.citation),
        ("source", _source(task)),
        ("digest", task.digest),
        ("data here", _here(state)),
    ]
    width = max(len(label) for label, _ in facts)
    lines = [f"{label.ljust(width)}  {visible(text)}" for label, text in facts]
    rows = [
        (
            name,
            file.path if parts == 1 else f"{file.path} and {parts - 1} more",
            _number(file.bytes),
            _number(file.queries),
            _number(file.candidates),
            "yes" if file_language(name) in state.here else "no",
        )
        for name, file, parts in _files(task)
    ]
    headers = ("language", "file", "bytes", "queries", "candidates", "here")
    return "\n".join([*lines, "", as_text(Table(headers, rows, text=2, words=("here",)))])


def _files(task: Task) -> list[tuple[str, TaskFile, int]]:
    """Each file, or the first of the numbered parts of one, and how many of them there are."""
    found: dict[str, tuple[str, TaskFile, int]] = {}
    for name, file in sorted(task.files.items()):
        key = re.sub(r"\.\d+$", "", name)
        first = found.get(key)
        found[key] = (key, file, 1) if first is None else (key, first[1], first[2] + 1)
    return list(found.values())


def _listed(langs: Sequence[str]) -> str:
    """Codes of languages, or how many there are where those would fill the line."""
    return " ".join(langs) if len(langs) <= LISTED else f"{len(langs)} languages"


def _source(task: Task) -> str:
    if task.source.hub:
        return f"{task.source.hub} on the model hub, at {task.source.revision}"
    urls = [file.url for file in task.files.values() if file.url]
    return task.source.url or next(iter(urls), "beside its TOML file")


def _record(task: Task, state: DataState, with_settings: bool) -> dict[str, Any]:
    record = task.model_dump(mode="json", exclude={"folder"})
    record["languages"] = sorted(task.languages)
    record["digest"] = task.digest
    record["queries"] = _total(task, "queries")
    record["passages"] = _total(task, "candidates")
    record["setting_counts"] = {kind.value: n for kind, n in task.setting_counts().items()}
    record["data"] = {
        "here": state.complete,
        "bundled": state.bundled,
        "folder": str(state.folder),
        "missing": list(state.missing),
    }
    if with_settings:
        record["settings"] = [
            {
                "kind": setting.kind.value,
                "query_lang": setting.query_lang,
                "passage_langs": list(setting.passage_langs),
                "queries": queries,
                "candidates": candidates,
            }
            for setting, queries, candidates in _sized(task)
        ]
    return record


def _by_kind(task: Task) -> str:
    return "/".join(str(count) for count in task.setting_counts().values())


def _sized(task: Task) -> Iterator[tuple[Setting, int | None, int | None]]:
    """Every setting, with how many queries and candidates it has, where that is known."""
    queries, candidates = task.counts("queries"), task.counts("candidates")
    for setting in task.settings():
        total = _sum(candidates.get(lang) for lang in setting.passage_langs)
        yield setting, queries.get(setting.query_lang), total


def _total(task: Task, what: Literal["queries", "candidates"]) -> int | None:
    langs = (task.passage_languages if what == "candidates" else None) or task.languages
    counts = task.counts(what)
    return _sum(counts.get(lang) for lang in langs)


def _sum(counts: Iterable[int | None]) -> int | None:
    """The sum, or None where one is not known."""
    known = list(counts)
    return None if None in known else sum(n for n in known if n is not None)


def _others(task: Task) -> list[str]:
    return [candidate for candidate in task.candidates if candidate != task.candidate]


def _here(state: DataState) -> str:
    if state.complete:
        return f"{'bundled' if state.bundled else 'yes'}: {state.folder}"
    if not state.here:
        return "no"
    return f"in part ({_listed(state.missing)} missing): {state.folder}"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"

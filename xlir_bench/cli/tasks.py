"""`xlir-bench tasks`: which tasks there are, what they ask, and whether their data is here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from xlir_bench.cli.command import JSON, GroupedCommand, argument, command
from xlir_bench.cli.terminal import say, say_blocks, say_json, warn_of_faults
from xlir_bench.errors import InputError
from xlir_bench.options.running import DataOptions
from xlir_bench.options.stating import OUTPUT, option
from xlir_bench.rendering.document import Block, Lines, Table

if TYPE_CHECKING:
    from xlir_bench.sources import DataState
    from xlir_bench.tasks import Task, TaskFile

LISTED = 11
"""Languages named in a row of a table; `xlir-bench tasks TASK` names them all."""


class TasksCommand(GroupedCommand):
    """`xlir-bench tasks`, or `xlir-bench tasks new`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """As click does, for `tasks` or for `tasks new`."""
        if args[:1] == ["new"]:
            made: click.Command = new
            return made.make_context(f"{info_name} new", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@command(cls=TasksCommand)
def tasks(
    *,
    name: str | None = argument("[TASK]", None),
    settings: bool = option("List every setting instead of counting them.", False, group=OUTPUT),
    as_json: bool = JSON,
    data: DataOptions,
) -> int:
    """List the tasks, or show one: languages, settings, sizes, licence, and where its data is.

    Settings are counted by kind: monolingual/cross-lingual/multilingual. Queries and candidates
    are counted over all languages; with --settings, queries are counted in the query language
    (those without a relevant passage in the pool of a setting are left out when it is scored).

    `xlir-bench tasks new NAME` writes a task file for your own data. If a task file is broken,
    it is reported, the others are listed, and the exit code is 2.

    \b
    Examples:
      xlir-bench tasks
      xlir-bench tasks new handbook --langs de,en
      xlir-bench tasks xquad-r
      xlir-bench tasks xquad-r --settings --json
      xlir-bench tasks --tasks-dir my-tasks --data /data
    """
    from xlir_bench.sources import data_state

    known = data.catalogue()
    chosen = list(known.tasks.values()) if name is None else known.get([name])
    root = data.root
    states = [data_state(task, root) for task in chosen]
    records = [_record(t, s, settings) for t, s in zip(chosen, states, strict=True)]
    if as_json:
        say_json(records if name is None else records[0], indent=2)
    elif settings:
        rows = [
            {
                "task": record["name"],
                "kind": setting["kind"],
                "query": setting["query_lang"],
                "passages": _listed(setting["passage_langs"]),
                "queries": _number(setting["queries"]),
                "candidates": _number(setting["candidates"]),
            }
            for record in records
            for setting in record["settings"]
        ]
        say_blocks([Table.of(rows, text=4)] if rows else [])
    elif name is None:
        rows = [
            {
                "task": record["name"],
                "languages": _listed(record["languages"]),
                "settings": _by_kind(record),
                "queries": _number(record["queries"]),
                "candidates": _number(record["passages"]),
                "licence": record["licence"],
                "data here": _where(task, state),
            }
            for task, record, state in zip(chosen, records, states, strict=True)
        ]
        words = ("languages", "settings", "licence", "data here")
        say_blocks([Table.of(rows, words=words, spare=("licence", "candidates"))])
    else:
        say_blocks(_details(chosen[0], records[0], states[0]))
    if name is not None:
        return 0
    warn_of_faults(known)
    return 2 if known.faults else 0


SCAFFOLDS: dict[str, dict[str, Any]] = {
    "lareqa": {"files": {"": "{lang}.json"}, "candidate": "sentence", "candidates": ["sentence"]},
    "squad": {"files": {"": "{lang}.json"}, "kinds": ["monolingual", "multilingual"]},
    "parallel": {"files": {"": "lines.jsonl"}, "kinds": ["cross-lingual"]},
    "lines": {
        "files": {".text": "{lang}.txt", ".documents": "{lang}.documents.txt"}, "kinds": ["cross-lingual"],
    },
    "belebele": {"files": {"": "{lang}.jsonl"}},
    "beir": {"files": {
        "": "{lang}/corpus.jsonl", ".queries": "{lang}/queries.jsonl", ".qrels": "{lang}/qrels/test.tsv",
    }},
}  # fmt: skip
"""The entries of a new task that depend on its format; `files` has a path for each suffix of a language's files."""


@command()
def new(
    *,
    name: str = argument("NAME"),
    langs: tuple[str, ...] = option("The languages of the task.", ("de", "en")),
    form: Literal["lareqa", "squad", "parallel", "lines", "belebele", "beir"] = option(
        "How its files are laid out.", "beir", flag="format"
    ),
    output: Path = option("The folder for NAME.toml.", Path(), group=OUTPUT, metavar="DIR"),
) -> None:
    """Begin a task of your own: write NAME.toml, with a line for every entry that a task needs.

    Put the data at the paths in it, or change the paths; then run the task.

    \b
    Examples:
      xlir-bench tasks new handbook --langs de,en --output mytasks
      xlir-bench run --tasks-dir mytasks --task handbook --data ~/data
    """
    from xlir_bench.files import ELSEWHERE, explained, write
    from xlir_bench.tasks import read_task, validated_name

    path = output / f"{validated_name(name)}.toml"
    if path.exists():
        raise InputError(f"{path} exists already; {ELSEWHERE}, or choose another NAME")
    stated = {
        "name": name, "version": 1, "title": name, "format": form,
        "description": "What is asked, and what answers it.", "domain": "your own", "languages": list(langs),
        "kinds": ["monolingual", "cross-lingual", "multilingual"], "measures": ["map", "recall@10"],
        "candidate": "passage", "candidates": ["passage"], "licence": "your own", "homepage": "-", "citation": "-",
        **SCAFFOLDS[form],
    }  # fmt: skip
    files = stated.pop("files")
    lines = [
        "# `path` is below the data root (--data); add `sha256` to pin what is in the file",
        "",
    ]
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in stated.items()]
    lines += ["source = {}", ""]
    for lang, (part, place) in product(langs, files.items()):
        lines.append(f"[files.{json.dumps(lang + part)}]")
        lines += [f"path = {json.dumps(f'{name}/{place}'.replace('{lang}', lang))}", ""]
    with explained(path, ELSEWHERE):
        write(path, "\n".join(lines))
    read_task(path)
    say(
        f"{path} written; `xlir-bench tasks {name} --tasks-dir {output}` lists the files that it needs"
    )


def _record(task: Task, state: DataState, with_settings: bool) -> dict[str, Any]:
    """A task as JSON has it: its TOML file, sizes where they are known, and where its data is."""
    queries, candidates = task.counts("queries"), task.counts("candidates")
    record = task.model_dump(mode="json", exclude={"folder"}) | {
        "languages": sorted(task.languages),
        "digest": task.digest,
        "queries": _sum(queries, task.languages),
        "passages": _sum(candidates, task.passage_languages or task.languages),
        "setting_counts": {kind.value: n for kind, n in task.setting_counts().items()},
        "data": {
            "here": not state.missing,
            "bundled": task.source.bundled,
            "folder": str(state.folder),
            "missing": list(state.missing),
        },
    }
    if with_settings:
        record["settings"] = [
            {
                "kind": setting.kind.value,
                "query_lang": setting.query_lang,
                "passage_langs": list(setting.passage_langs),
                "queries": queries.get(setting.query_lang),
                "candidates": _sum(candidates, setting.passage_langs),
            }
            for setting in task.settings()
        ]
    return record


def _details(task: Task, record: Mapping[str, Any], state: DataState) -> list[Block]:
    """One task: what its TOML file states, and its files; numbered parts of a file share a row."""
    from xlir_bench.sources.own import OWN, is_own
    from xlir_bench.tasks import file_language

    urls = [file.url for file in task.files.values() if file.url]
    beside = OWN if is_own(task) else "beside its TOML file"
    source = task.source.url or next(iter(urls), beside)
    if task.source.hub:
        source = f"{task.source.hub} on the model hub, at {task.source.revision}"
    facts = {
        "task": f"{task.name} (version {task.version}): {task.title}",
        "asks": task.description,
        "languages": " ".join(record["languages"]),
        "domain": task.domain,
        "shares": task.shares or "not stated",
        "settings": f"{_by_kind(record)} (monolingual/cross-lingual/multilingual)",
        "measures": ", ".join(task.measures),
        "candidate text": ", ".join(dict.fromkeys([task.candidate, *task.candidates])),
        "licence": task.licence,
        "homepage": task.homepage,
        "citation": task.citation,
        "source": source,
        "digest": task.digest,
        "data here": _where(task, state),
    }
    parts: dict[str, list[TaskFile]] = {}
    for name, file in sorted(task.files.items()):
        parts.setdefault(re.sub(r"\.\d+$", "", name), []).append(file)
    rows = [
        (
            name,
            first.path + (f" and {len(others)} more" if others else ""),
            *map(_number, (first.bytes, first.queries, first.candidates)),
            "yes" if file_language(name) in state.here else "no",
        )
        for name, (first, *others) in parts.items()
    ]
    width = max(map(len, facts))
    lines = tuple(f"{label.ljust(width)}  {text}" for label, text in facts.items())
    headers = ["language", "file", "bytes", "queries", "candidates", "here"]
    return [Lines(*lines), Table(headers, rows, text=2, words=("here",))]


def _listed(langs: Sequence[str]) -> str:
    """The codes of languages; of more than `LISTED`, only how many there are."""
    return " ".join(langs) if len(langs) <= LISTED else f"{len(langs)} languages"


def _by_kind(record: Mapping[str, Any]) -> str:
    return "/".join(map(str, record["setting_counts"].values()))


def _where(task: Task, state: DataState) -> str:
    from xlir_bench.sources.own import is_own

    if not state.missing:
        is_bundled = task.source.bundled and not is_own(task)
        return f"{'bundled' if is_bundled else 'yes'}: {state.folder}"
    if not state.here:
        return "no"
    return f"in part ({_listed(state.missing)} missing): {state.folder}"


def _sum(counts: Mapping[str, int], langs: Iterable[str]) -> int | None:
    """The sum over languages, or None if the count of one is not known."""
    known = [counts.get(lang) for lang in langs]
    return None if None in known else sum(n for n in known if n is not None)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"

"""Reads BEIR's layout: ``corpus.jsonl``, ``queries.jsonl`` and judgements in ``qrels/<split>.tsv``.

Each language has the three files, or languages share them and every row names its own in ``language``.
A task names them ``<lang>``, ``<lang>.queries`` and ``<lang>.qrels``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Passages, Queries, Relevance
from xlir_bench.sources.faults import Faults
from xlir_bench.sources.lines import clean_text, grade_of, json_object, read_lines, text_of
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task

PARTS = ("queries", "qrels")
HEADER = "query-id"


@dataclass(frozen=True, slots=True)
class _Files:
    """The three files of one or more languages."""

    corpus: Path
    queries: Path
    qrels: Path


@dataclass(slots=True)
class _Items:
    """Queries or passages of a file."""

    texts: dict[str, str] = field(default_factory=dict)
    """By id, of the wanted languages."""
    langs: dict[str, str] = field(default_factory=dict)
    """By id, of all languages of the file."""

    def by_lang(self, langs: list[str]) -> dict[str, list[str]]:
        """Ids of each language, in the order of the file."""
        found: dict[str, list[str]] = {lang: [] for lang in langs}
        for name in self.texts:
            found[self.langs[name]].append(name)
        return found


def read_beir(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(task.name)
    queries: dict[str, Queries] = {}
    passages: dict[str, Passages] = {}
    relevance: dict[tuple[str, str], Relevance] = {}
    for shared, langs in _shared(task, files).items():
        sought = _items(shared.corpus, langs, faults)
        asked = _items(shared.queries, langs, faults)
        judged = _judgements(shared.qrels, asked, sought, faults)
        named = {name for name, _ in judged}
        ids = {
            lang: [name for name in names if name in named][: reading.limit]
            for lang, names in asked.by_lang(langs).items()
        }
        places = sought.by_lang(langs)
        for lang in langs:
            if not faults.count and not ids[lang]:
                faults.add(shared.qrels, "$", f"no query of {lang!r} has a relevant passage")
            texts = tuple(asked.texts[n] for n in ids[lang])
            queries[lang] = Queries(tuple(ids[lang]), texts, clusters=tuple(ids[lang]))
            names = places[lang]
            passages[lang] = Passages(
                tuple(f"{lang}:{n}" for n in names), tuple(sought.texts[n] for n in names)
            )
        relevance |= _relevance(ids, places, judged)
    faults.check()
    return Collection(queries, passages, relevance, cluster="question", parallel=False, digests={})


def _shared(task: Task, files: Mapping[str, Path]) -> dict[_Files, list[str]]:
    """The languages of each set of files."""
    found: dict[_Files, list[str]] = {}
    for lang in sorted(name for name in files if "." not in name):
        lacking = [f"{lang}.{part}" for part in PARTS if f"{lang}.{part}" not in files]
        if lacking:
            raise InputError(
                f"task {task.name!r} names no file {', '.join(lacking)}; the format beir wants"
                f" {lang}, {lang}.queries and {lang}.qrels"
            )
        mine = _Files(files[lang], files[f"{lang}.queries"], files[f"{lang}.qrels"])
        found.setdefault(mine, []).append(lang)
    return found


def _items(path: Path, langs: list[str], faults: Faults) -> _Items:
    """The rows of a file; a lone language needs not be named."""
    items = _Items()
    wanted = {*langs}
    alone = langs[0] if len(langs) == 1 else None

    def parse(line: str) -> None:
        stated = json_object(line)
        name = text_of(stated, "_id")
        if name in items.langs:
            raise ValueError(f"{name!r} is the '_id' of an earlier line")
        lang = stated.get("language", alone)
        if not isinstance(lang, str):
            raise ValueError(f"'language' is missing in a file of {len(langs)} languages")
        items.langs[name] = lang
        text = clean_text(f"{stated.get('title') or ''} {stated.get('text') or ''}")
        if not text:
            raise ValueError("'text' is missing or empty")
        if lang in wanted:
            items.texts[name] = text

    for _ in read_lines(path, faults, parse):
        pass
    return items


def _judgements(
    path: Path, queries: _Items, passages: _Items, faults: Faults
) -> dict[tuple[str, str], int]:
    """Grades above 0, by query and passage; both have to be there, or the score would be of less."""
    found: dict[tuple[str, str], int] = {}
    readable = not faults.count

    def parse(line: str) -> None:
        cells = line.rstrip("\r\n").split("\t")
        if cells[0] == HEADER:
            return
        if len(cells) != 3:
            raise ValueError(f"wants query-id, corpus-id and score, has {len(cells)} cells")
        query, passage, score = cells
        grade = grade_of(score)
        if readable and query not in queries.langs:
            raise ValueError(f"query {query!r} is not among the queries")
        if readable and passage not in passages.langs:
            raise ValueError(f"passage {passage!r} is not in the corpus")
        if grade > 0:
            found[query, passage] = grade

    for _ in read_lines(path, faults, parse):
        pass
    return found


def _relevance(
    ids: Mapping[str, list[str]],
    sought: Mapping[str, list[str]],
    judged: Mapping[tuple[str, str], int],
) -> dict[tuple[str, str], Relevance]:
    """For every pair of languages that has any."""
    asked = {n: (lang, row) for lang, names in ids.items() for row, n in enumerate(names)}
    place = {n: (lang, row) for lang, names in sought.items() for row, n in enumerate(names)}
    rows: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for (query, passage), grade in judged.items():
        if query in asked and passage in place:
            (query_lang, row), (passage_lang, at) = asked[query], place[passage]
            rows.setdefault((query_lang, passage_lang), []).append((row, at, grade))
    return {
        pair: Relevance(*np.array(sorted(found), np.int32).T.copy()) for pair, found in rows.items()
    }

"""Reads parallel text, JSON Lines of ``{"id", "text": {lang: …}}``: a text finds its translation.

Every text is a query and a candidate. Only settings across languages make sense: among candidates of its
own language a query would find itself. Rows of one ``doc``, where all have one, move together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind, Passages, Queries, Relevance
from xlir_bench.sources.faults import Faults
from xlir_bench.sources.lines import clean_text, json_object, read_lines, text_of
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    doc: str | None
    texts: Mapping[str, str]
    """By language; blank ones are left out."""


def read_parallel(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files (languages may share one); all faults are reported at once."""
    if task.kinds != [Kind.CROSS_LINGUAL]:
        raise InputError(f"task {task.name!r}: parallel text has cross-lingual settings alone")
    faults = Faults(task.name)
    lines = {path: _lines(path, faults) for path in dict.fromkeys(files.values())}
    have: dict[str, list[_Line]] = {lang: [] for lang in files}
    for path, found in lines.items():
        for line in found:
            for lang in line.texts:
                if files.get(lang) == path:
                    have[lang].append(line)
    for lang, found in have.items():
        if not found and not faults.count:
            faults.add(files[lang], "$", f"no line has a text in {lang!r}")
    faults.check()
    grouped = all(line.doc is not None for found in have.values() for line in found)
    return Collection(
        queries={
            lang: _queries(lang, found[: reading.limit], grouped) for lang, found in have.items()
        },
        passages={
            lang: Passages(
                tuple(f"{lang}:{line.name}" for line in found),
                tuple(line.texts[lang] for line in found),
            )
            for lang, found in have.items()
        },
        relevance={
            (asked, sought): _relevance(have[asked][: reading.limit], have[sought])
            for asked, sought in permutations(sorted(have), 2)
        },
        cluster="document" if grouped else "question",
        parallel=True,
        digests={},
    )


def _queries(lang: str, lines: Sequence[_Line], grouped: bool) -> Queries:
    return Queries(
        ids=tuple(line.name for line in lines),
        texts=tuple(line.texts[lang] for line in lines),
        clusters=tuple(str(line.doc) if grouped else line.name for line in lines),
    )


def _relevance(asked: Sequence[_Line], sought: Sequence[_Line]) -> Relevance:
    place = {line.name: row for row, line in enumerate(sought)}
    pairs = [(row, place[line.name]) for row, line in enumerate(asked) if line.name in place]
    query, passage = np.array(pairs, np.int32).reshape(-1, 2).T.copy()
    return Relevance(query, passage, np.ones(len(pairs), np.int32))


def _lines(path: Path, faults: Faults) -> list[_Line]:
    """Every good line of a file; the others are faults."""
    found: dict[str, _Line] = {}

    def parse(text: str) -> None:
        line = _line(json_object(text))
        if line.name in found:
            raise ValueError(f"{line.name!r} is the id of an earlier line")
        found[line.name] = line

    for _ in read_lines(path, faults, parse):
        pass
    return list(found.values())


def _line(stated: dict[str, Any]) -> _Line:
    texts, doc = stated.get("text"), stated.get("doc")
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("'text' is missing, or no object of a text for each language")
    trimmed = {lang: clean_text(text) for lang, text in texts.items()}
    return _Line(
        name=text_of(stated, "id"),
        doc=None if doc is None else text_of(stated, "doc"),
        texts={lang: text for lang, text in trimmed.items() if text},
    )

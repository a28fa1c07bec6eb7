"""Reads Belebele's layout, JSON Lines of a language: a question finds the passage that it was asked of.

A passage is told by its `link` in every language, a question by its `link` and `question_number`; what
follows of a row (answers to choose from) is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.records import Collection, Ints, Passages, Queries, Relevance
from xlir_bench.sources.faults import Faults
from xlir_bench.sources.lines import json_object, read_lines, text_of
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task, file_language


@dataclass(slots=True)
class _Language:
    """What was read of one file, in its order."""

    passages: dict[str, str] = field(default_factory=dict)
    """Text by link."""
    questions: dict[str, str] = field(default_factory=dict)
    """Text by id."""
    links: list[str] = field(default_factory=list)
    """Of each question."""


def read_belebele(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files, one a language; all their faults are reported at once."""
    faults = Faults(task.name)
    read = {file_language(name): _read(path, faults) for name, path in sorted(files.items())}
    faults.check()
    limit = reading.limit
    links = dict.fromkeys(link for its in read.values() for link in its.passages)
    number = {link: n for n, link in enumerate(links)}
    asked = {lang: np.array([number[x] for x in its.links[:limit]]) for lang, its in read.items()}
    sought = {lang: _rows(its, number) for lang, its in read.items()}
    return Collection(
        queries={
            lang: Queries(
                tuple(its.questions)[:limit],
                tuple(its.questions.values())[:limit],
                clusters=tuple(its.links[:limit]),
            )
            for lang, its in read.items()
        },
        passages={
            lang: Passages(
                tuple(f"{lang}:{link}" for link in its.passages), tuple(its.passages.values())
            )
            for lang, its in read.items()
        },
        relevance={(q, p): _relevance(asked[q], sought[p]) for q in read for p in read},
        cluster="document",
        parallel=True,
        digests={},
    )


def _read(path: Path, faults: Faults) -> _Language:
    found = _Language()

    def parse(line: str) -> None:
        stated = json_object(line)
        link, question = text_of(stated, "link"), text_of(stated, "question")
        name = f"{link}#{text_of(stated, 'question_number')}"
        if name in found.questions:
            raise ValueError(f"{name!r} is the link and number of an earlier question")
        passage = text_of(stated, "flores_passage")
        if found.passages.setdefault(link, passage) != passage:
            raise ValueError(f"{link!r} has another passage in an earlier line")
        found.questions[name] = question
        found.links.append(link)

    for _ in read_lines(path, faults, parse):
        pass
    return found


def _rows(found: _Language, number: Mapping[str, int]) -> Ints:
    """Where the passage of each link stands in a language; -1 where it has none."""
    rows = np.full(len(number), -1)
    rows[[number[link] for link in found.passages]] = np.arange(len(found.passages))
    return rows


def _relevance(asked: Ints, rows: Ints) -> Relevance:
    """The passage of the link of each question, where there is one."""
    passage = rows[asked]
    query = np.flatnonzero(passage >= 0)
    return Relevance(
        query.astype(np.int32), passage[query].astype(np.int32), np.ones(len(query), np.int32)
    )

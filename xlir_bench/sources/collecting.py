"""From the texts of each language to a `Collection`: what all formats share once their files are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.arrays import equal_pairs
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Passages, Queries, Relevance
from xlir_bench.tasks import Task, file_language


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a reader is to read the files of a task."""

    candidate: str
    """Which text stands for a passage."""
    limit: int | None = None
    """Only the first so many queries of each language; the candidates stay whole."""
    corpus_limit: int | None = None
    """Of a corpus on disk, only the judged passages and so many others."""
    passages: bool = True
    """Whether a corpus on disk is wanted too; without it, such a task gives its queries alone."""
    corpora: Path = Path()
    """Where corpora too large for memory are kept."""
    digests: Mapping[Path, str] = field(default_factory=dict)
    """SHA-256 of the files."""


@dataclass(slots=True)
class LanguageTexts:
    """The questions and passages of one language, in the order of their files.

    A passage is relevant to the questions of all languages whose key it is listed under.
    """

    questions: dict[str, str] = field(default_factory=dict)
    """Text by id."""
    keys: list[str] = field(default_factory=list)
    """Of each question."""
    clusters: list[str] = field(default_factory=list)
    """Of each question: what resampling moves together. The keys, where this is left empty."""
    passages: dict[str, str] = field(default_factory=dict)
    """Text by id; the collection puts the language before the id."""
    relevant: list[tuple[str, int, int]] = field(default_factory=list)
    """Key, row of a passage and grade."""

    def ask(self, name: str, text: str, key: str, what: str = "an earlier line") -> None:
        """Add a question; its id must be new."""
        if name in self.questions:
            raise ValueError(f"{name!r} is the id of {what}")
        self.questions[name] = text
        self.keys.append(key)


def named_files(task: Task, files: Mapping[str, Path], names: Sequence[str]) -> tuple[Path, ...]:
    """The files of these names, or an error that says which the task lacks."""
    lacking = [name for name in names if name not in files]
    if lacking:
        raise InputError(
            f"task {task.name!r} names no file {', '.join(lacking)}; the format {task.format} wants"
            f" {', '.join(names)}"
        )
    return tuple(files[name] for name in names)


def languages_by_file(files: Mapping[str, Path]) -> dict[Path, list[str]]:
    """The languages that share each file, sorted; files are named ``<lang>`` or ``<lang>.<part>``."""
    shared: dict[Path, list[str]] = {}
    for name in sorted(files):
        shared.setdefault(files[name], []).append(file_language(name))
    return shared


def collection(
    languages: Mapping[str, LanguageTexts],
    limit: int | None,
    cluster: str,
    parallel: bool = False,
    stored: Mapping[str, Passages] | None = None,
    queries_are_passages: bool = False,
) -> Collection:
    """The collection of these texts, with the first `limit` queries of each language.

    `stored`: passages that lie on disk, instead of those in `languages`.
    `queries_are_passages`: query n of a language is its passage n, which is not relevant to itself.
    """
    languages = dict(sorted(languages.items()))
    names = list(languages)
    codes: dict[str, int] = {}
    asked = {
        lang: np.array([codes.setdefault(key, len(codes)) for key in texts.keys[:limit]], int)
        for lang, texts in languages.items()
    }
    answers = sorted(
        (codes[key], number, row, grade)
        for number, texts in enumerate(languages.values())
        for key, row, grade in texts.relevant
        if key in codes
    )
    code, passage_lang, passage, grade = np.array(answers, np.int32).reshape(-1, 4).T.copy()
    relevance = {}
    for own_number, query_lang in enumerate(languages):
        query, answer = equal_pairs(asked[query_lang], code)
        if queries_are_passages:
            other = (passage_lang[answer] != own_number) | (passage[answer] != query)
            query, answer = query[other], answer[other]
        order = np.argsort(passage_lang[answer], kind="stable")
        query, answer = query[order].astype(np.int32), answer[order]
        numbers, starts = np.unique(passage_lang[answer], return_index=True)
        pieces = (np.split(rows, starts[1:]) for rows in (query, answer))
        for number, of_query, of_answer in zip(numbers.tolist(), *pieces, strict=False):
            relevance[query_lang, names[number]] = Relevance(
                of_query, passage[of_answer], grade[of_answer]
            )
    return Collection(
        queries={
            lang: Queries(
                tuple(texts.questions)[:limit],
                tuple(texts.questions.values())[:limit],
                clusters=tuple((texts.clusters or texts.keys)[:limit]),
            )
            for lang, texts in languages.items()
        },
        passages={
            lang: Passages(
                tuple(f"{lang}:{name}" for name in texts.passages), tuple(texts.passages.values())
            )
            for lang, texts in languages.items()
        }
        if stored is None
        else stored,
        relevance=relevance,
        cluster=cluster,
        parallel=parallel,
        digests={},
        own={lang: np.arange(len(rows)) for lang, rows in asked.items()}
        if queries_are_passages
        else {},
    )

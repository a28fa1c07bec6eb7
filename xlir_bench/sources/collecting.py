"""From the texts of each language to a `Collection`: what all formats share once their files are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.arrays import Shared, equal_pairs
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Passages, Queries, Relevance
from xlir_bench.sources.rows import Faults
from xlir_bench.tasks import Task, file_language


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a reader is to read the files of a task."""

    candidate: str
    """Which text of a passage is searched: one of the task's `candidates`."""
    limit: int | None = None
    """Only the first so many queries of each language; the candidates stay whole."""
    corpus_limit: int | None = None
    """Only the judged passages of a corpus on disk, and so many others."""
    passages: bool = True
    """Whether to read a corpus on disk, too; if not, a task that has one gives its queries alone."""
    corpora: Path = Path()
    """Where corpora too large for memory are kept."""
    digests: Mapping[Path, str] = field(default_factory=dict)
    """SHA-256 of each file."""


@dataclass(slots=True)
class LanguageTexts:
    """The questions and passages of one language, in the order of their files.

    A passage is relevant to the questions of all languages whose key it is listed under.
    """

    questions: dict[str, str] = field(default_factory=dict)
    """Text by id."""
    keys: list[str] = field(default_factory=list)
    """The key of each question."""
    clusters: list[str] = field(default_factory=list)
    """The cluster of each question: what resampling moves together."""
    passages: dict[str, str] = field(default_factory=dict)
    """Text by id; the collection puts the language before the id."""
    stored: Passages | None = None
    """The passages, if they are on disk."""
    relevant: list[tuple[str, int, int]] = field(default_factory=list)
    """Key, row of a passage and grade."""
    answers: list[tuple[str, ...]] = field(default_factory=list)
    """The answers to each question, if no passage is judged: a passage that contains one of them counts."""
    oddities: Counter[str] = field(default_factory=Counter)
    """How often each unusual thing that is no fault occurs; notes report them."""

    def ask(
        self,
        name: str,
        text: str,
        key: str,
        cluster: str | None = None,
        other: str = "an earlier line",
    ) -> None:
        """Add a question, in the cluster of its key unless another is stated. `other` names what may have its id already."""
        if name in self.questions:
            raise ValueError(f"{name!r} is the id of {other}")
        self.questions[name] = text
        self.keys.append(key)
        self.clusters.append(key if cluster is None else cluster)

    def answer(self, name: str, text: str, key: str) -> None:
        """Add a passage that is relevant to the questions of this key."""
        self.relevant.append((key, len(self.passages), 1))
        self.passages[name] = text


def named_files(task: Task, files: Mapping[str, Path], names: Sequence[str]) -> tuple[Path, ...]:
    """The files of these names; an error says which ones the task lacks."""
    lacking = [name for name in names if name not in files]
    if lacking:
        raise InputError(
            f"task {task.name!r} names no file {', '.join(lacking)}; {task.format} wants {', '.join(names)}"
        )
    return tuple(files[name] for name in names)


def read_languages(
    task: Task,
    files: Mapping[str, Path],
    read: Callable[[Path, list[str], Faults], Mapping[str, LanguageTexts]],
    faults: Faults | None = None,
) -> dict[str, LanguageTexts]:
    """The texts of all languages: `read` reads a file for the languages that share it.

    Files are named ``<lang>`` or ``<lang>.<part>``. All faults are reported at once, by the caller if
    it gives `faults`.
    """
    caller_reports = faults is not None
    faults = faults or Faults(f"the data of task {task.name!r}")
    languages: dict[str, LanguageTexts] = {}
    shared: dict[Path, list[str]] = {}
    for name in sorted(files):
        shared.setdefault(files[name], []).append(file_language(name))
    for path, langs in shared.items():
        before = faults.count
        languages |= read(path, langs, faults)
        for lang in langs:
            if faults.count == before and not languages[lang].questions:
                faults.add(path, "$", f"there is no question of {lang!r} in the whole file")
    if not caller_reports:
        faults.check()
    return languages


def collection(
    languages: Mapping[str, LanguageTexts],
    limit: int | None,
    cluster: str,
    parallel: bool = False,
    queries_are_passages: bool = False,
    passage_langs: Sequence[str] | None = None,
    notes: Iterable[str] = (),
) -> Collection:
    """The collection of these texts, with the first `limit` queries of each language.

    `passage_langs`: the languages of passages, if not all of `languages`.
    `queries_are_passages`: query n of a language is also its passage n, which is not relevant to itself.
    """
    languages = dict(sorted(languages.items()))
    oddities = []
    for oddity in dict.fromkeys(name for texts in languages.values() for name in texts.oddities):
        counts = {
            lang: count for lang, texts in languages.items() if (count := texts.oddities[oddity])
        }
        if counts:
            by_lang = ", ".join(f"{lang} {count}" for lang, count in counts.items())
            oddities.append(f"{oddity}: {sum(counts.values())} ({by_lang})")
    own = {lang: np.arange(len(texts.keys[:limit])) for lang, texts in languages.items()}
    return Collection(
        queries={
            lang: Queries(
                tuple(texts.questions)[:limit],
                tuple(texts.questions.values())[:limit],
                clusters=tuple(texts.clusters[:limit]),
            )
            for lang, texts in languages.items()
            if texts.questions
        },
        passages={
            lang: texts.stored
            or Passages(
                tuple(f"{lang}:{name}" for name in texts.passages), tuple(texts.passages.values())
            )
            for lang, texts in languages.items()
            if passage_langs is None or lang in passage_langs
        },
        relevance=_relevance(languages, limit, queries_are_passages),
        cluster=cluster,
        parallel=parallel,
        digests={},
        notes=tuple(dict.fromkeys((*oddities, *notes))),
        answers={lang: texts.answers for lang, texts in languages.items() if texts.answers},
        own=own if queries_are_passages else {},
    )


def _relevance(
    languages: Mapping[str, LanguageTexts], limit: int | None, queries_are_passages: bool
) -> dict[tuple[str, str], Relevance]:
    """The relevance of every pair of languages that has any: a passage answers the questions whose key it is listed under."""
    names = list(languages)
    codes: dict[str, int] = {}
    question_codes = {
        lang: np.array([codes.setdefault(key, len(codes)) for key in texts.keys[:limit]], int)
        for lang, texts in languages.items()
    }
    relevant = sorted(
        (codes[key], number, row, grade)
        for number, texts in enumerate(languages.values())
        for key, row, grade in texts.relevant
        if key in codes
    )
    code, lang, passage, grade = np.array(relevant, np.int32).reshape(-1, 4).T.copy()
    relevance, shared = {}, Shared()
    for query_number, query_lang in enumerate(names):
        query, place = equal_pairs(question_codes[query_lang], code)
        if queries_are_passages:
            other = (lang[place] != query_number) | (passage[place] != query)
            query, place = query[other], place[other]
        order = np.argsort(lang[place], kind="stable")
        query, place = query[order].astype(np.int32), place[order]
        numbers, starts = np.unique(lang[place], return_index=True)
        pieces = zip(np.split(query, starts[1:]), np.split(place, starts[1:]), strict=True)
        for number, (queries, places) in zip(numbers.tolist(), pieces, strict=False):
            pair = (query_lang, names[number])
            columns = queries, passage[places], grade[places]
            relevance[pair] = Relevance(*map(shared.of, columns))
    return relevance

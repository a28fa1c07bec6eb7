"""Reads SQuAD's layout: a question finds its paragraph among the distinct paragraphs of each language.

Answers inside the paragraph are not looked at. TyDiQA GoldP has this layout, one file for all languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.records import Collection, Passages, Queries, Relevance
from xlir_bench.sources.faults import Faults, JsonFile
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task

Belongs = Callable[[str, str], bool]
"""Whether the question of this id is in this language."""
TYDIQA = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}
"""How the ids of TyDiQA's questions begin."""


@dataclass(slots=True)
class _Language:
    """What was read of one file."""

    paragraphs: dict[str, int] = field(default_factory=dict)
    """Row of each distinct paragraph, by its text."""
    questions: dict[str, str] = field(default_factory=dict)
    """Text by id, in the order of the file."""
    answers: dict[str, int] = field(default_factory=dict)
    """Row of the relevant paragraph, by question id."""
    repeated: int = 0


def read_squad(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files, one a language; all their faults are reported at once."""
    return _collection(task, files, reading, lambda _lang, _id: True)


def read_tydiqa(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The same; of each file only the questions of its language, which begin with its name."""
    return _collection(
        task, files, reading, lambda lang, name: name.startswith(f"{TYDIQA.get(lang, lang)}-")
    )


def _collection(
    task: Task, files: Mapping[str, Path], reading: Reading, belongs: Belongs
) -> Collection:
    faults = Faults(task.name)
    read = {
        lang: _FileReader(lang, JsonFile(path, faults), belongs).read()
        for lang, path in sorted(files.items())
    }
    faults.check()
    queries = {lang: _queries(lang, found, reading.limit) for lang, found in read.items()}
    return Collection(
        queries=queries,
        passages={
            lang: Passages(_ids(lang, found), tuple(found.paragraphs))
            for lang, found in read.items()
        },
        relevance={
            (lang, lang): _relevance(found, queries[lang])
            for lang, found in read.items()
            if queries[lang].ids
        },
        cluster="document",
        parallel=False,
        digests={},
        notes=tuple(_notes(read)),
    )


class _FileReader:
    """Reads one file from top to bottom; whatever is wrong is counted, and reading goes on."""

    def __init__(self, lang: str, file: JsonFile, belongs: Belongs) -> None:
        self._lang = lang
        self._file = file
        self._belongs = belongs
        self._found = _Language()

    def read(self) -> _Language:
        if not self._file.loaded:
            return self._found
        top = self._file.expect(self._file.content, dict, "$")
        articles = None if top is None else self._file.take(top, "data", list, "$")
        before = self._file.faults
        for number, article in enumerate(articles or []):
            self._article(article, f"$.data[{number}]")
        if articles is not None and not self._found.questions and self._file.faults == before:
            self._file.fault("$.data", f"there is no question of {self._lang!r} in the whole file")
        return self._found

    def _article(self, value: Any, place: str) -> None:
        article = self._file.expect(value, dict, place)
        paragraphs = (
            None if article is None else self._file.take(article, "paragraphs", list, place)
        )
        for row, paragraph in enumerate(paragraphs or []):
            self._paragraph(paragraph, f"{place}.paragraphs[{row}]")

    def _paragraph(self, value: Any, place: str) -> None:
        entry = self._file.expect(value, dict, place)
        if entry is None:
            return
        context = self._file.take(entry, "context", str, place)
        questions = self._file.take(entry, "qas", list, place)
        if context is not None and not context.strip():
            self._file.fault(f"{place}.context", "is empty")
        for row, question in enumerate(questions or []):
            self._question(question, context, f"{place}.qas[{row}]")

    def _question(self, value: Any, context: str | None, place: str) -> None:
        entry = self._file.expect(value, dict, place)
        if entry is None:
            return
        name = self._file.take(entry, "id", str, place)
        text = self._file.take(entry, "question", str, place)
        if text is not None and not text.strip():
            self._file.fault(f"{place}.question", "is empty")
        if name is None or text is None or context is None or not self._belongs(self._lang, name):
            return
        found = self._found
        if name in found.questions:
            self._file.fault(f"{place}.id", f"{name!r} is the id of another question")
            return
        found.repeated += context in found.paragraphs
        found.questions[name] = text
        found.answers[name] = found.paragraphs.setdefault(context, len(found.paragraphs))


def _ids(lang: str, found: _Language) -> tuple[str, ...]:
    return tuple(f"{lang}:{row}" for row in range(len(found.paragraphs)))


def _queries(lang: str, found: _Language, limit: int | None) -> Queries:
    ids = tuple(found.questions)[:limit]
    return Queries(
        ids=ids,
        texts=tuple(found.questions[name] for name in ids),
        # Questions about one paragraph move together.
        clusters=tuple(f"{lang}:{found.answers[name]}" for name in ids),
    )


def _relevance(found: _Language, queries: Queries) -> Relevance:
    passage = np.array([found.answers[name] for name in queries.ids], np.int32)
    rows = np.arange(len(passage), dtype=np.int32)
    return Relevance(rows, passage, np.ones(len(passage), np.int32))


def _notes(read: Mapping[str, _Language]) -> Iterator[str]:
    """How many questions share a paragraph with an earlier one."""
    counts = {lang: found.repeated for lang, found in read.items() if found.repeated}
    if counts:
        by_lang = ", ".join(f"{lang} {count}" for lang, count in counts.items())
        yield f"questions about a paragraph that another question has too: {sum(counts.values())} ({by_lang})"

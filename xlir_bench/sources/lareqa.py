"""Reads LAReQA's layout: SQuAD-like JSON whose paragraphs carry their sentences and sentence breaks.

Every sentence of every paragraph is a candidate, not de-duplicated; the relevant one is the sentence
whose break interval ``[start, end)`` contains ``answer_start``. Offsets count code points.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.records import Collection, Passages, Queries, Relevance
from xlir_bench.sources.clusters import joined_labels
from xlir_bench.sources.faults import Faults, JsonFile
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task

CONTEXT = "sentence+context"
MOST_TEXT = 1 << 28
"""Characters of the candidates of a language that each hold their paragraph."""

RUNS_PAST = "answers that run past the end of their sentence"
MOVED = "answers whose text is not at their answer_start"
DIFFERS = "sentences that differ from the text between their breaks (the sentence is used)"
BLANK = "sentences without any text"
REPEATED = "sentences that repeat another of their language (kept, not de-duplicated)"
NOTES = (RUNS_PAST, MOVED, DIFFERS, BLANK, REPEATED)


@dataclass(frozen=True, slots=True)
class _Paragraph:
    context: str
    starts: list[int]
    ends: list[int]
    first: int
    """Row of its first sentence among the candidates of its language."""

    def sentence_at(self, offset: int) -> int | None:
        """Which of its sentences has this character between its breaks."""
        number = bisect_right(self.starts, offset) - 1
        return number if number >= 0 and offset < self.ends[number] else None


@dataclass(slots=True)
class _Language:
    """What was read of one file."""

    ids: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    """The paragraph of each sentence."""
    titles: list[str] = field(default_factory=list)
    """By article."""
    questions: dict[str, str] = field(default_factory=dict)
    """Text by id, in the order of the file."""
    articles: dict[str, int] = field(default_factory=dict)
    """Number of its article, by question id."""
    answers: dict[str, list[int]] = field(default_factory=dict)
    """Rows of the relevant sentences, ascending, by question id."""
    oddities: Counter[str] = field(default_factory=Counter)


def read_lareqa(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files (by language); all their faults are reported at once."""
    faults = Faults(task.name)
    read = {
        lang: _FileReader(lang, JsonFile(path, faults), reading.candidate).read()
        for lang, path in sorted(files.items())
    }
    faults.check()
    clusters = _clusters(read)
    queries = {lang: _queries(found, clusters[lang], reading.limit) for lang, found in read.items()}
    return Collection(
        queries=queries,
        passages={lang: _passages(found, reading.candidate) for lang, found in read.items()},
        relevance=dict(_relevance(queries, read)),
        cluster="article",
        parallel=True,
        digests={},
        notes=tuple(_notes(read)),
    )


class _FileReader:
    """Reads one file from top to bottom; whatever is wrong is counted, and reading goes on."""

    def __init__(self, lang: str, file: JsonFile, candidate: str) -> None:
        self._lang = lang
        self._candidate = candidate
        self._size = 0
        self._file = file
        self._found = _Language()
        self._places: dict[str, str] = {}
        self._paragraphs = 0

    def read(self) -> _Language:
        if self._file.loaded:
            self._top()
        found = self._found
        found.oddities[REPEATED] = len(found.sentences) - len(set(found.sentences))
        found.oddities[BLANK] = sum(not sentence.strip() for sentence in found.sentences)
        return found

    def _top(self) -> None:
        top = self._file.expect(self._file.content, dict, "$")
        articles = None if top is None else self._file.take(top, "data", list, "$")
        if articles is None:
            return
        before = self._file.faults
        for number, article in enumerate(articles):
            self._article(article, number, f"$.data[{number}]")
        if not self._found.questions and self._file.faults == before:
            self._file.fault("$.data", "there is no question in the whole file")

    def _article(self, value: Any, number: int, place: str) -> None:
        article = self._file.expect(value, dict, place)
        if article is None:
            self._found.titles.append("")
            return
        title = self._file.take(article, "title", str, place) if "title" in article else ""
        self._found.titles.append(title or "")
        paragraphs = self._file.take(article, "paragraphs", list, place)
        for row, paragraph in enumerate(paragraphs or []):
            self._paragraph(paragraph, number, f"{place}.paragraphs[{row}]")

    def _paragraph(self, value: Any, article: int, place: str) -> None:
        number = self._paragraphs
        self._paragraphs += 1
        entry = self._file.expect(value, dict, place)
        if entry is None:
            return
        context = self._file.take(entry, "context", str, place)
        if self._is_too_much(context, entry.get("sentences"), place):
            return
        sentences = self._sentences(entry, place)
        breaks = self._breaks(entry, context, place)
        questions = self._file.take(entry, "qas", list, place)
        paragraph = None
        if context is not None and sentences is not None and breaks is not None:
            if len(sentences) == len(breaks):
                paragraph = self._candidates(context, sentences, breaks, number)
            else:
                counts = f"{len(breaks)} breaks for {len(sentences)} sentences"
                self._file.fault(f"{place}.sentence_breaks", counts)
        for row, question in enumerate(questions or []):
            self._question(question, paragraph, article, f"{place}.qas[{row}]")

    def _is_too_much(self, context: str | None, sentences: Any, place: str) -> bool:
        """Whether the candidates would fill the memory: each of a paragraph's holds all of it."""
        if self._candidate != CONTEXT or context is None or not isinstance(sentences, list):
            return False
        before, self._size = self._size, self._size + len(sentences) * len(context)
        if before <= MOST_TEXT < self._size:
            self._file.fault(
                place,
                f"with {len(sentences):,} sentences, each joined by its paragraph, the candidates have over"
                f" {MOST_TEXT:,} characters: --candidate sentence takes them alone",
            )
        return self._size > MOST_TEXT

    def _sentences(self, entry: dict[str, Any], place: str) -> list[str] | None:
        values = self._file.take(entry, "sentences", list, place)
        if values is None:
            return None
        checked = [
            self._file.expect(value, str, f"{place}.sentences[{row}]")
            for row, value in enumerate(values)
        ]
        sentences = [sentence for sentence in checked if sentence is not None]
        return sentences if len(sentences) == len(checked) else None

    def _breaks(
        self, entry: dict[str, Any], context: str | None, place: str
    ) -> list[tuple[int, int]] | None:
        """The breaks as pairs, checked: inside the text, in order, without overlap."""
        values = self._file.take(entry, "sentence_breaks", list, place)
        if values is None or context is None:
            return None
        pairs: list[tuple[int, int]] = []
        end = 0
        for row, value in enumerate(values):
            pair = self._pair(value, f"{place}.sentence_breaks[{row}]")
            if pair is None:
                continue
            if reason := _misplaced(pair, end, len(context)):
                self._file.fault(f"{place}.sentence_breaks[{row}]", reason)
                continue
            end = pair[1]
            pairs.append(pair)
        return pairs if len(pairs) == len(values) else None

    def _pair(self, value: Any, place: str) -> tuple[int, int] | None:
        numbers = self._file.expect(value, list, place)
        if numbers is None:
            return None
        if len(numbers) != 2:
            self._file.fault(place, f"should be [start, end], has {len(numbers)} numbers")
            return None
        start = self._file.expect(numbers[0], int, f"{place}[0]")
        end = self._file.expect(numbers[1], int, f"{place}[1]")
        return None if start is None or end is None else (start, end)

    def _candidates(
        self, context: str, sentences: list[str], breaks: list[tuple[int, int]], number: int
    ) -> _Paragraph:
        found = self._found
        first = len(found.sentences)
        found.ids.extend(f"{self._lang}:{number}:{row}" for row in range(len(sentences)))
        found.sentences.extend(sentences)
        found.contexts.extend([context] * len(sentences))
        for sentence, (start, end) in zip(sentences, breaks, strict=True):
            found.oddities[DIFFERS] += context[start:end] != sentence
        return _Paragraph(context, [b[0] for b in breaks], [b[1] for b in breaks], first)

    def _question(self, value: Any, paragraph: _Paragraph | None, article: int, place: str) -> None:
        entry = self._file.expect(value, dict, place)
        if entry is None:
            return
        name = self._file.take(entry, "id", str, place)
        text = self._file.take(entry, "question", str, place)
        answers = self._file.take(entry, "answers", list, place)
        if text is not None and not text.strip():
            self._file.fault(f"{place}.question", "is empty")
        if answers is not None and not answers:
            self._file.fault(f"{place}.answers", "is empty")
        rows = {
            self._answer(answer, paragraph, f"{place}.answers[{row}]")
            for row, answer in enumerate(answers or [])
        }
        if name is None or text is None:
            return
        if name in self._places:
            reason = f"{name!r} is the id of another question: {self._places[name]}"
            self._file.fault(f"{place}.id", reason)
            return
        self._places[name] = f"{place}.id"
        self._found.questions[name] = text
        self._found.articles[name] = article
        self._found.answers[name] = sorted(row for row in rows if row is not None)

    def _answer(self, value: Any, paragraph: _Paragraph | None, place: str) -> int | None:
        """Row of the sentence that holds the answer's first character."""
        entry = self._file.expect(value, dict, place)
        if entry is None:
            return None
        start = self._file.take(entry, "answer_start", int, place)
        text = self._file.take(entry, "text", str, place)
        if start is None or text is None or paragraph is None:
            return None
        number = paragraph.sentence_at(start)
        if number is None:
            length = len(paragraph.context)
            reason = f"{start} is in no sentence break (the text has {length} characters)"
            self._file.fault(f"{place}.answer_start", reason)
            return None
        oddities = self._found.oddities
        oddities[RUNS_PAST] += start + len(text) > paragraph.ends[number]
        oddities[MOVED] += not paragraph.context.startswith(text, start)
        return paragraph.first + number


def _misplaced(pair: tuple[int, int], previous_end: int, length: int) -> str | None:
    """What is wrong with a break after one that ended there, in a text of that length."""
    start, end = pair
    if start < 0 or end > length:
        return f"[{start}, {end}] is outside the text (0 to {length})"
    if start >= end:
        return f"[{start}, {end}] does not end after its start"
    if start < previous_end:
        return f"[{start}, {end}] begins before the last one ends ({previous_end})"
    return None


def _clusters(read: Mapping[str, _Language]) -> dict[str, list[str]]:
    """A label for each article of each language; articles that share a question share it."""
    titles: dict[tuple[str, int], str] = {}
    same: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for lang, found in read.items():
        for number, title in enumerate(found.titles):
            titles[lang, number] = title or f"article {number} of {lang}"
            if title:
                same.setdefault(("title", lang, title), []).append((lang, number))
        for name, number in found.articles.items():
            same.setdefault(("question", name), []).append((lang, number))
    labels = joined_labels(titles, list(same.values()))
    return {
        lang: [labels[lang, number] for number in range(len(found.titles))]
        for lang, found in read.items()
    }


def _queries(found: _Language, clusters: list[str], limit: int | None) -> Queries:
    ids = tuple(found.questions)[:limit]
    return Queries(
        ids=ids,
        texts=tuple(found.questions[name] for name in ids),
        clusters=tuple(clusters[found.articles[name]] for name in ids),
    )


def _passages(found: _Language, candidate: str) -> Passages:
    texts = found.sentences
    if candidate == CONTEXT:
        pairs = zip(found.sentences, found.contexts, strict=True)
        texts = [f"{sentence} {context}" for sentence, context in pairs]
    return Passages(tuple(found.ids), tuple(texts))


def _relevance(
    queries: Mapping[str, Queries], read: Mapping[str, _Language]
) -> Iterator[tuple[tuple[str, str], Relevance]]:
    """For every pair of languages: the passages that answer the question of the same id."""
    for query_lang, asked in queries.items():
        for passage_lang, found in read.items():
            pairs = [
                (row, passage)
                for row, name in enumerate(asked.ids)
                for passage in found.answers.get(name, ())
            ]
            if pairs:
                query, passage = np.array(pairs, dtype=np.int32).T.copy()
                grade = np.ones(len(pairs), dtype=np.int32)
                yield (query_lang, passage_lang), Relevance(query, passage, grade)


def _notes(read: Mapping[str, _Language]) -> Iterator[str]:
    """One line a kind of oddity, with its count in each language that has any."""
    for what in NOTES:
        counts = {lang: found.oddities[what] for lang, found in read.items()}
        by_lang = ", ".join(f"{lang} {count}" for lang, count in counts.items() if count)
        if by_lang:
            yield f"{what}: {sum(counts.values())} ({by_lang})"

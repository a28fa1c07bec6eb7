"""Training rows made of parallel text: translations as they are, joined neighbours, the next sentence.

Parallel text comes as JSON Lines of ``{"id", "doc", "text": {lang: …}}`` (NTREX, TICO-19; `doc` may be missing) or
as lines of ``lang<TAB>lang<TAB>text<TAB>text`` (Tatoeba). Pairs that share a sentence become one row of many
languages: a sentence of English alone joins Thai to Hindi.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from xlir_bench.options.augmenting import Make, ParallelOptions
from xlir_bench.sources.faults import Faults
from xlir_bench.sources.lines import json_object, read_lines, text_of
from xlir_bench.train.rows import Row

UNSPACED = {"zh", "ja"}
"""Sentences of these are joined without a space."""
ORIGINS: Mapping[Make, str] = {
    "translations": "",
    "passages": "neighbours joined",
    "next": "next sentence",
    "context": "sentence and neighbours",
}
MOST_MADE = 100
"""Texts that are made of one, where sentences have many translations into many languages."""
Text = tuple[str, str]
"""A language and what is said in it."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one line says, in every language that it has."""

    id: str
    texts: Mapping[str, str]
    doc: str | None = None


def read_parallel_lines(path: Path, langs: Sequence[str] | None = None) -> list[Line]:
    """The lines of a file, in order, white space made single; all faults are reported at once."""
    faults = Faults(path.name)
    pairs = path.name.removesuffix(".gz").endswith(".tsv")
    lines = _grouped(path, faults) if pairs else list(read_lines(path, faults, _line))
    faults.check()
    found = [Line(x.id, _chosen(x.texts, langs), x.doc) for x in lines]
    return [line for line in found if line.texts]


def parallel_rows(lines: Iterable[Line], dataset: str, options: ParallelOptions) -> Iterator[Row]:
    """The rows that `options` ask for; those that begin with one sentence share its id."""
    origin = ORIGINS[options.make]
    for name, question, answer in _MAKERS[options.make](lines, options.sizes):
        if question and answer:
            yield Row(name, dataset, question, answer, {}, origin)


Sides = Iterator[tuple[str, Mapping[str, str], Mapping[str, str]]]


def _translations(lines: Iterable[Line], _sizes: Sequence[int]) -> Sides:
    for line in lines:
        if len(line.texts) > 1:
            yield line.id, line.texts, line.texts


def _passages(lines: Iterable[Line], sizes: Sequence[int]) -> Sides:
    for document in _documents(lines):
        for size in sizes:
            for first in range(0, len(document) - size + 1, size):
                texts = _joined(document[first : first + size])
                yield document[first].id, texts, texts


def _next(lines: Iterable[Line], _sizes: Sequence[int]) -> Sides:
    for document in _documents(lines):
        for line, follower in pairwise(document):
            yield line.id, line.texts, follower.texts


def _context(lines: Iterable[Line], _sizes: Sequence[int]) -> Sides:
    for document in _documents(lines):
        for place, line in enumerate(document[:-1]):
            yield line.id, line.texts, _joined(document[max(0, place - 1) : place + 2])


_MAKERS = {
    "translations": _translations,
    "passages": _passages,
    "next": _next,
    "context": _context,
}


def _documents(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Neighbours that name one document; a line that names none has no neighbours."""
    for doc, found in groupby(lines, key=lambda line: line.doc):
        if doc is not None:
            yield list(found)


def _joined(lines: Sequence[Line]) -> dict[str, str]:
    """What the lines say one after another, in the languages that all of them have."""
    return {
        lang: ("" if lang in UNSPACED else " ").join(line.texts[lang] for line in lines)
        for lang in lines[0].texts
        if all(lang in line.texts for line in lines)
    }


def _line(raw: str) -> Line:
    stated = json_object(raw)
    texts, doc = stated.get("text"), stated.get("doc")
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("'text' is missing, or no object of a text for each language")
    return Line(text_of(stated, "id"), texts, None if doc is None else text_of(stated, "doc"))


def _pair(raw: str) -> tuple[Text, Text]:
    cells = raw.rstrip("\r\n").split("\t")
    if len(cells) != 4:
        raise ValueError(f"has {len(cells)} cells; language, language, text, text are wanted")
    first, second, one, other = (" ".join(cell.split()) for cell in cells)
    if not (first and second and one and other):
        raise ValueError("has an empty cell")
    return (first, one), (second, other)


def _grouped(path: Path, faults: Faults) -> list[Line]:
    """Pairs that share a sentence as lines of many languages.

    A sentence may have several translations into one language: there are as many lines as it takes
    for each to come, all under one id.
    """
    head: dict[Text, Text] = {}
    for one, other in read_lines(path, faults, _pair):
        for text in (one, other):
            head.setdefault(text, text)
        head[_find(head, other)] = _find(head, one)
    groups: dict[Text, dict[str, list[str]]] = {}
    for text in head:
        lang, said = text
        groups.setdefault(_find(head, text), {}).setdefault(lang, []).append(said)
    made = sum(max(map(len, by_lang.values())) * len(by_lang) for by_lang in groups.values())
    if made > MOST_MADE * max(len(head), 10_000):
        faults.add(path, "$", f"{len(head):,} sentences share translations: {made:,} would be made")
        return []
    lines = []
    for number, by_lang in enumerate(groups.values()):
        for turn in range(max(map(len, by_lang.values()))):
            texts = {lang: said[turn % len(said)] for lang, said in by_lang.items()}
            lines.append(Line(str(number), texts))
    return lines


def _find(head: dict[Text, Text], text: Text) -> Text:
    """Whom a sentence's group is named by."""
    while head[text] != text:
        head[text] = head[head[text]]
        text = head[text]
    return text


def _chosen(texts: Mapping[str, str], langs: Sequence[str] | None) -> dict[str, str]:
    found = {x: " ".join(text.split()) for x, text in texts.items() if langs is None or x in langs}
    return {lang: text for lang, text in found.items() if text}

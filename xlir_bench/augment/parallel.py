"""Training rows made from parallel text: translations as they are, joined neighbours, the next sentence.

Parallel text comes as JSON Lines of ``{"id", "doc", "text": {lang: …}}`` (NTREX, TICO-19; `doc` may be missing) or
as pairs (Tatoeba, and TICO-19 as it is published). Pairs that share a sentence become one row of many
languages: an English sentence joins its Thai translation to its Hindi one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

from xlir_bench.options.augmenting import Make, ParallelOptions
from xlir_bench.sources.parallel import grouped_sentences, is_pairs, read_pairs
from xlir_bench.sources.rows import Faults, json_object, read_lines, text_of, texts_of
from xlir_bench.train.rows import Row

ORIGINS: Mapping[Make, str] = {
    "translations": "",
    "passages": "neighbours joined",
    "next": "next sentence",
    "context": "sentence and neighbours",
}
JOINED_WITHOUT_SPACE = {"zh", "ja"}
MOST_MADE = 100
"""How many texts may be made per sentence, where sentences have many translations into many languages."""


@dataclass(frozen=True, slots=True)
class ParallelLine:
    """One text in every language that it has."""

    id: str
    texts: Mapping[str, str]
    doc: str | None = None


def read_parallel_lines(path: Path, langs: Sequence[str] | None = None) -> list[ParallelLine]:
    """The lines of a file, in order; runs of white space become one space. All faults are reported at once."""
    faults = Faults(path.name)
    if is_pairs(path):
        lines = _joined_pairs(path, faults)
    else:
        lines = [line for _, line in read_lines(path, faults, _parse_line)]
    faults.check()
    wanted = [
        (line, {x: t for x, t in line.texts.items() if t and (langs is None or x in langs)})
        for line in lines
    ]
    return [replace(line, texts=texts) for line, texts in wanted if texts]


def parallel_rows(
    lines: Iterable[ParallelLine], dataset: str, options: ParallelOptions
) -> Iterator[Row]:
    """The rows that `options` ask for; rows that begin with the same sentence share its id."""
    for first, question, answer in _sides(lines, options):
        if question and answer:
            yield Row(first.id, dataset, question, answer, {}, ORIGINS[options.make])


def _sides(
    lines: Iterable[ParallelLine], options: ParallelOptions
) -> Iterator[tuple[ParallelLine, Mapping[str, str], Mapping[str, str]]]:
    """The line that a row begins with, its question and its answer."""
    if options.make == "translations":
        yield from ((line, line.texts, line.texts) for line in lines if len(line.texts) > 1)
        return
    for doc, group in groupby(lines, key=lambda line: line.doc):
        if doc is None:  # a line of no document has no neighbours
            continue
        document = list(group)
        if options.make == "next":
            for line, follower in pairwise(document):
                yield line, line.texts, follower.texts
        elif options.make == "context":
            for place, line in enumerate(document[:-1]):
                yield line, line.texts, _joined(document[max(0, place - 1) : place + 2])
        else:
            for size in options.sizes:
                for start in range(0, len(document) - size + 1, size):
                    texts = _joined(document[start : start + size])
                    yield document[start], texts, texts


def _joined(lines: Sequence[ParallelLine]) -> dict[str, str]:
    """The texts one after another, in the languages that all lines have."""
    return {
        lang: ("" if lang in JOINED_WITHOUT_SPACE else " ").join(line.texts[lang] for line in lines)
        for lang in lines[0].texts
        if all(lang in line.texts for line in lines)
    }


def _parse_line(raw: str) -> ParallelLine:
    stated = json_object(raw)
    texts = {lang: " ".join(text.split()) for lang, text in texts_of(stated).items()}
    name = text_of(stated, "id")
    return ParallelLine(name, texts, None if stated.get("doc") is None else text_of(stated, "doc"))


def _joined_pairs(path: Path, faults: Faults) -> list[ParallelLine]:
    """Pairs that share a sentence, directly or through others, as lines of many languages.

    A sentence may have several translations into one language: there are as many lines as it takes for
    each to be used, all under one id.
    """
    groups: dict[int, dict[str, list[str]]] = {}
    of_sentence = grouped_sentences(pair.sentences for _, pair in read_pairs(path, faults))
    for (lang, text), group in of_sentence.items():
        groups.setdefault(group, {}).setdefault(lang, []).append(text)
    count = sum(max(map(len, by_lang.values())) * len(by_lang) for by_lang in groups.values())
    if count > MOST_MADE * max(len(of_sentence), 10_000):
        faults.add(path, "$", f"{len(of_sentence):,} sentences would make {count:,} texts")
        return []
    return [
        ParallelLine(
            str(number), {lang: texts[turn % len(texts)] for lang, texts in by_lang.items()}
        )
        for number, by_lang in enumerate(groups.values())
        for turn in range(max(map(len, by_lang.values())))
    ]

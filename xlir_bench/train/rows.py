"""Training rows: parallel questions, answers and hard negatives, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

CHUNK = 256
"""Rows that are looked through and written together."""
SIDES = ("question", "answer", "negative")
ORIGINAL = "original"
LONGEST_ORIGIN, MOST_ORIGINS = 200, 50
MOST_LANGUAGES = 1000
"""Of a source's rows: what is counted by pair of languages grows with their square."""
LONG_FORM = ("lang_question", "lang_answer", "question", "answer")
"""The columns of a table that has one question and one answer a line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question and its answer, each in any subset of the languages; translations of each other."""

    id: str
    dataset: str
    question: Mapping[str, str]
    answer: Mapping[str, str]
    negative: Mapping[str, str]
    """Texts that do not answer the question, though they look as if; often empty."""
    origin: str = ""
    """How it was made of another row, such as ``code-switched``; empty for one that people wrote."""

    def side(self, name: str) -> Mapping[str, str]:
        """The texts of one side by language."""
        texts: Mapping[str, str] = getattr(self, name)
        return texts


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line."""

    source: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: {self.what}"


class FaultyRowError(ValueError):
    """A line that is no training row; its text says why."""


def parse_row(stated: Any, number: int) -> Row:
    """The row that an object of the format states; `number` names one without an id."""
    if not isinstance(stated, Mapping):
        raise FaultyRowError(f"an object is wanted, not {type(stated).__name__}")
    question, answer, negative = (_texts(stated.get(side), side) for side in SIDES)
    for side, texts in (("question", question), ("answer", answer)):
        if not texts:
            raise FaultyRowError(f"no {side} in any language")
    return Row(
        _name(stated, "id") or str(number),
        _name(stated, "dataset"),
        question,
        answer,
        negative,
        " ".join(_name(stated, "origin").split())[:LONGEST_ORIGIN],
    )


def parse_pair(stated: Mapping[str, Any], number: int) -> Row:
    """The row of one line of the long form: one question, one answer, their languages."""
    nested: dict[str, Any] = {name: stated.get(name) for name in ("id", "dataset", "origin")}
    for side in ("question", "answer"):
        lang = stated.get(f"lang_{side}")
        if not isinstance(lang, str) or not lang.strip():
            raise FaultyRowError(f"lang_{side} is empty")
        nested[side] = {lang.strip(): stated.get(side)}
    if stated.get("negative"):
        nested["negative"] = {next(iter(nested["answer"])): stated["negative"]}
    return parse_row(nested, number)


class Growing:
    """One row of the lines that share an id; the same language twice wants the same text."""

    def __init__(self, first: Row) -> None:
        self.first = first
        self._sides = {side: dict(first.side(side)) for side in SIDES}
        self._origin = first.origin

    def add(self, row: Row) -> None:
        """Take another line of the row, or raise and stay as it was."""
        for side, texts in self._sides.items():
            for lang, text in row.side(side).items():
                if texts.get(lang, text) != text:
                    raise FaultyRowError(
                        f"id {row.id!r} has two different texts as its {side} in {lang}"
                    )
        for side, texts in self._sides.items():
            texts.update(row.side(side))
        self._origin = join_origins([self._origin, row.origin])

    def whole(self) -> Row:
        """The row of all its lines."""
        return Row(self.first.id, self.first.dataset, **self._sides, origin=self._origin)


def join_origins(origins: Iterable[str]) -> str:
    """Everything that was done to a row, each once, in order."""
    stated = (name for origin in origins for name in origin.split(", ") if name)
    return ", ".join(dict.fromkeys(stated))[:LONGEST_ORIGIN]


def dataset_of(row: Row, source: str) -> str:
    """The data set of a row; the name of its file, if it names none."""
    return row.dataset or PurePath(source).name or source


def item_key(row: Row, source: str) -> int:
    """64 bits that rows made of one item share, whatever file they stand in."""
    return text_key(dataset_of(row, source), row.id)


def count_origin(counts: MutableMapping[str, int], row: Row) -> None:
    """Count a row where it came from; beyond so many origins they are counted as one."""
    name = row.origin or ORIGINAL
    if name not in counts and len(counts) >= MOST_ORIGINS:
        name = "other"
    counts[name] = counts.get(name, 0) + 1


def text_key(*texts: str) -> int:
    """64 bits that name texts: equal for equal ones, white space at the ends aside; never 0."""
    digest = blake2b("\0".join(t.strip() for t in texts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def chunked(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in lists of at most `CHUNK`."""
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _texts(stated: Any, side: str) -> dict[str, str]:
    """The texts of a side by language; null is absence, as tables write it."""
    if stated is None:
        return {}
    if isinstance(stated, Sequence) and not isinstance(stated, str):  # how Arrow gives a map
        try:
            stated = dict(stated)
        except (TypeError, ValueError):
            raise FaultyRowError(f"{side} wants texts by language, not a list") from None
    if not isinstance(stated, Mapping):
        raise FaultyRowError(f"{side} wants texts by language, not {type(stated).__name__}")
    if len(stated) > MOST_LANGUAGES:
        raise FaultyRowError(f"{side} is in {len(stated):,} languages, over {MOST_LANGUAGES:,}")
    texts = {}
    for lang, text in stated.items():
        if text is None:
            continue
        if not isinstance(lang, str) or not lang.strip():
            raise FaultyRowError(f"{side} has an empty language code")
        if not isinstance(text, str):
            raise FaultyRowError(f"{side}.{lang} is {type(text).__name__}, not text")
        if not text.strip():
            raise FaultyRowError(f"{side}.{lang} is blank")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise FaultyRowError(
                f"{side}.{lang} holds half a character (a lone surrogate)"
            ) from error
        texts[lang] = text
    return texts


def _name(stated: Mapping[str, Any], key: str) -> str:
    value = stated.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FaultyRowError(f"{key} is {type(value).__name__}, not text")
    return str(value)

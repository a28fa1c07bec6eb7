"""A training row: a question, its answer and hard negatives, in several languages; and what makes a row valid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import PurePath
from typing import Any, TypeVar, cast

from xlir_bench.errors import listed

T = TypeVar("T")
CHUNK = 256
"""How many rows or texts are processed together."""
SIDES = ("question", "answer", "negative")
ORIGINAL = "original"
LONGEST_ORIGIN, MOST_ORIGINS = 200, 50
MOST_LANGUAGES = 1000
"""The most languages in one source, because counts by pair of languages grow with its square."""
LONG_FORM = ("lang_question", "lang_answer", "question", "answer")
"""The columns of a table with one question and one answer per line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question and its answer; the texts of one side are translations of each other."""

    id: str
    dataset: str
    question: Mapping[str, str]
    answer: Mapping[str, str]
    negative: Mapping[str, str]
    """Texts that look like answers but are not; often empty."""
    origin: str = ""
    """How it was made by machine from another row, such as ``code-switched``; empty for an original row."""
    nulls: int = field(default=0, compare=False)
    """How many of its texts were null, and so are left out."""

    def side(self, name: str) -> Mapping[str, str]:
        """The texts of one side by language."""
        texts: Mapping[str, str] = getattr(self, name)
        return texts

    def texts(self) -> Iterator[tuple[str, str, str]]:
        """Every text, as side, language and text."""
        return ((side, lang, text) for side in SIDES for lang, text in self.side(side).items())


@dataclass(frozen=True, slots=True)
class Fault:
    """A faulty line of a source, and what is wrong with it."""

    source: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: {self.what}"


def is_long_form(record: Any) -> bool:
    """Whether a record is a line of the long form: one question and one answer, each with its language."""
    return isinstance(record, Mapping) and "lang_question" in record and "lang_answer" in record


def parse_row(record: Any, number: int) -> Row:
    """The row of a record, in the nested or the long form; `number` is its line, and its id if it has none.

    ValueError says what is wrong with a record.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"it should be an object, not {type(record).__name__}")
    if is_long_form(record):
        record = _nested(record)
    question, answer, negative = (_texts(record.get(side), side) for side in SIDES)
    for side, texts in (("question", question), ("answer", answer)):
        if not texts:
            keys = [] if side in record else [*map(str, record)]
            present = f" (its keys: {listed(keys, most=6)})" if keys else ""
            raise ValueError(f"no {side} in any language{present}")
    return Row(
        _name(record, "id") or str(number),
        _name(record, "dataset"),
        question,
        answer,
        negative,
        " ".join(_name(record, "origin").split())[:LONGEST_ORIGIN],
        sum(
            text is None
            for side in SIDES
            if isinstance(stated := record.get(side), Mapping)
            for text in stated.values()
        ),
    )


def _nested(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the long form, in the nested form."""
    nested: dict[str, Any] = {name: line.get(name) for name in ("id", "dataset", "origin")}
    for side in ("question", "answer"):
        lang = line.get(f"lang_{side}")
        if not isinstance(lang, str) or not lang.strip():
            raise ValueError(f"lang_{side} is empty")
        nested[side] = {lang.strip(): line.get(side)}
    if line.get("negative"):
        nested["negative"] = {next(iter(nested["answer"])): line["negative"]}
    return nested


def join_line(row: Row, line: Row) -> Row:
    """A row with the texts of another of its lines; raises, and adds nothing, if the two disagree.

    The texts are added to the dictionaries of `row` itself, which `parse_row` made for this row only. With copies, the
    cost of a row would grow with the square of its lines.
    """
    for side, lang, text in line.texts():
        if row.side(side).get(lang, text) != text:
            raise ValueError(f"id {row.id!r} has two different texts as its {side} in {lang}")
    for side in SIDES:
        cast(dict[str, str], row.side(side)).update(line.side(side))
    return replace(row, origin=join_origins([row.origin, line.origin]))


def join_origins(origins: Iterable[str]) -> str:
    """The names in these origins, each once, in order."""
    names = (name for origin in origins for name in origin.split(", ") if name)
    return ", ".join(dict.fromkeys(names))[:LONGEST_ORIGIN]


def no_codes(langs: Sequence[str]) -> str:
    """A message about languages whose codes are not in ISO 639."""
    return (
        f"no code of ISO 639, which evaluation uses: {listed(langs)}; each counts as a language of its own,"
        " apart from other codes of the same language"
    )


def count_origin(counts: MutableMapping[str, int], row: Row) -> None:
    """Count a row under its origin; origins beyond the first `MOST_ORIGINS` are counted together."""
    name = row.origin or ORIGINAL
    if name not in counts and len(counts) >= MOST_ORIGINS:
        name = "other"
    counts[name] = counts.get(name, 0) + 1


def dataset_of(row: Row, source: str) -> str:
    """The data set that a row names, or else the name of its file."""
    return row.dataset or PurePath(source).name or source


def item_key(row: Row, source: str) -> int:
    """64 bits of a row's data set and id: translations and copies of one row share them."""
    return text_key(dataset_of(row, source), row.id)


def text_key(*texts: str) -> int:
    """64 bits that are equal for equal texts, except for white space at their ends; never 0."""
    digest = blake2b("\0".join(t.strip() for t in texts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def chunked(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The items in lists of at most `size` items."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def _texts(stated: Any, side: str) -> dict[str, str]:
    """The texts of a side by language; null means no text, as in tables."""
    if stated is None:
        return {}
    if isinstance(stated, Sequence) and not isinstance(stated, str):  # how Arrow gives a map
        try:
            stated = dict(stated)
        except (TypeError, ValueError):
            raise ValueError(f"{side} should be texts by language, not a list") from None
    if not isinstance(stated, Mapping):
        raise ValueError(f"{side} should be texts by language, not {type(stated).__name__}")
    if len(stated) > MOST_LANGUAGES:
        raise ValueError(f"{side} is in {len(stated):,} languages, over {MOST_LANGUAGES:,}")
    texts = {lang: text for lang, text in stated.items() if text is not None}
    for lang, text in texts.items():
        if not isinstance(lang, str) or not lang.strip():
            raise ValueError(f"{side} has an empty language code")
        if not isinstance(text, str):
            raise ValueError(f"{side}.{lang} is {type(text).__name__}, not text")
        if not text.strip():
            raise ValueError(f"{side}.{lang} is blank")
    return texts


def _name(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{key} is {type(value).__name__}, not text")
    return str(value)

"""Rows of data files, packed or not, read as a stream; their faults are collected and reported together."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from xlir_bench.errors import InputError, plural
from xlir_bench.escaping import visible
from xlir_bench.files import raw_lines
from xlir_bench.untrusted import parse_json, shortened, table_rows

Row = TypeVar("Row")
Model = TypeVar("Model", bound=BaseModel)
SHOWN = 10
LONGEST_REASON = 300
QREL_COLUMNS = ("query-id", "corpus-id", "score")
HIGHEST_GRADE = 1_000_000
WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "an object",
}
"""What a field should be, by pydantic's type of error."""
KINDS = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


class Faults:
    """Collects faults, to report them in one message; `where` names the data that has them.

    `notes`: remarks that are no faults, for the result.
    """

    def __init__(self, where: str = "") -> None:
        self.notes: list[str] = []
        self._where = where
        self._lines: list[str] = []
        self.count = 0

    def add(self, file: Path, place: str, reason: str) -> None:
        """One more fault: in which file, at which line or JSON path, and why."""
        self.count += 1
        if len(self._lines) < SHOWN:
            cut = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"
            self._lines.append(visible(f"{file}: {place}: {cut}"))

    @contextmanager
    def at(self, file: Path, place: str) -> Iterator[None]:
        """Turn a `ValueError` in this block into a fault at this place."""
        try:
            yield
        except RecursionError:
            self.add(file, place, "is nested too deeply")
        except ValueError as error:
            self.add(file, place, str(error))

    def validated(self, file: Path, place: str, model: type[Model], value: Any) -> Model | None:
        """A JSON value as `model` declares it; None, with its faults added, if it does not fit."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_context=False):
                keys, kind = list(fault["loc"]), fault["type"]
                if kind == "missing":
                    reason = f"{keys.pop()!r} is missing"
                elif kind == "too_short" and not fault["input"]:
                    reason = "is empty"
                elif kind in WANTED:
                    reason = f"should be {WANTED[kind]}, is {_described(fault['input'])}"
                else:
                    reason = fault["msg"].removeprefix("Value error, ")
                path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
                self.add(file, place + path, reason)
        return None

    def __str__(self) -> str:
        """The first faults, and how many there are."""
        lines = [f"{plural(self.count, 'fault')} in {self._where}:", *self._lines]
        if self.count > len(self._lines):
            lines.append(f"(the first {len(self._lines)} of {self.count})")
        return "\n  ".join(lines)

    def check(self) -> None:
        """Raise one error for all of them, if there are any."""
        if self.count:
            raise InputError(str(self))


def _described(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"the number {value}" if isinstance(value, float) else KINDS[type(value)]


def json_object(line: str) -> dict[str, Any]:
    """The object of one line of JSON Lines."""
    value = parse_json(line)
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    return value


def read_lines(
    path: Path, faults: Faults, parse: Callable[[str], Row], blank: bool = False
) -> Iterator[tuple[str, Row]]:
    """What `parse` makes of each line, with its place (``line 7``), up to a line that cannot be read.

    Blank lines are skipped unless `blank`. A line for which `parse` raises ValueError is a fault.
    """
    number = count = 0
    try:
        for number, raw in enumerate(raw_lines(path), 1):
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            if blank or line.strip():
                count += 1
                with faults.at(path, f"line {number}"):
                    yield f"line {number}", parse(line)
    except UnicodeDecodeError as error:
        faults.add(path, f"line {number}", f"is not UTF-8 ({error.reason})")
    except FileNotFoundError:
        faults.add(path, "$", "it is not there")
    except (OSError, EOFError, zlib.error) as error:
        faults.add(path, "$", f"cannot be read ({error})")
    except ValueError as error:
        faults.add(path, f"line {number + 1}", str(error))
    if not count and not faults.count:
        faults.add(path, "$", "there is no line in it")


def rows(
    path: Path, faults: Faults, parse: Callable[[str], dict[str, Any]] = json_object
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a parquet file, or the lines of another as `parse` reads them, each with its place."""
    if path.suffix != ".parquet":
        yield from read_lines(path, faults, parse)
        return
    number = 0
    with faults.at(path, "$"):
        for number, row in table_rows(path):
            yield f"row {number}", row
    if not number and not faults.count:
        faults.add(path, "$", "there is no row in it")


def text_of(row: dict[str, Any], key: str) -> str:
    """A text of a row without blanks around it; a number gives its digits."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise ValueError(f"{key!r} is missing or no text")
    return text


def tabbed_judgement(line: str) -> dict[str, Any]:
    """A line of BEIR's judgements, or of their header, by column."""
    cells = line.rstrip("\r\n").split("\t")
    if len(cells) != len(QREL_COLUMNS) and cells[0] != QREL_COLUMNS[0]:
        raise ValueError(f"wants query-id, corpus-id and score, has {plural(len(cells), 'cell')}")
    return dict(zip(QREL_COLUMNS, cells, strict=False))


def judgements(
    path: Path, faults: Faults, parse: Callable[[str], dict[str, Any]]
) -> Iterator[tuple[str, str, str, int]]:
    """The place, query, passage and grade of each judgement; `parse` turns a line into BEIR's columns."""
    query, passage, grade = QREL_COLUMNS
    for place, row in rows(path, faults, parse):
        if row.get(query) == query:
            continue  # the header
        with faults.at(path, place):
            score = row.get(grade)
            if isinstance(score, float) and score.is_integer():
                score = int(score)
            yield place, text_of(row, query), text_of(row, passage), grade_of(str(score))


def texts_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a row of parallel text, by language."""
    texts = row.get("text")
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("'text' is missing, or is not an object of a text for each language")
    return texts


def grade_of(text: str) -> int:
    """A grade of relevance: a whole number that ranks and measures can hold."""
    if not re.fullmatch(r"-?[0-9]{1,9}", text) or abs(int(text)) > HIGHEST_GRADE:
        raise ValueError(
            f"grade {shortened(repr(text))} is no whole number up to {HIGHEST_GRADE:,}"
        )
    return int(text)

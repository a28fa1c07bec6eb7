"""Files of lines, packed or not, read as a stream: JSON Lines and tab-separated values."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from xlir_bench.files import raw_lines
from xlir_bench.reading import parse_json, shortened, table_rows
from xlir_bench.sources.faults import Faults

Row = TypeVar("Row")
HIGHEST_GRADE = 1_000_000


def read_lines(path: Path, faults: Faults, parse: Callable[[str], Row]) -> Iterator[Row]:
    """What `parse` makes of every line that is not blank; where it raises ValueError is a fault."""
    count = 0
    for number, line in numbered_lines(path, faults):
        count += 1
        try:
            yield parse(line)
        except (ValueError, RecursionError) as error:
            faults.add(path, f"line {number}", str(error) or "is nested too deeply")
    if not count and not faults.count:
        faults.add(path, "$", "there is no line in it")


def read_parquet(
    path: Path, faults: Faults, parse: Callable[[dict[str, Any]], Row]
) -> Iterator[Row]:
    """What `parse` makes of every row of a parquet file; where it raises ValueError is a fault."""
    number = 0
    try:
        for number, stated in table_rows(path):
            try:
                found = parse(stated)
            except ValueError as error:
                faults.add(path, f"row {number}", str(error))
            else:
                yield found
    except ValueError as error:
        faults.add(path, "$", str(error))
    if not number and not faults.count:
        faults.add(path, "$", "there is no row in it")


def json_object(line: str) -> dict[str, Any]:
    """The object of one line of JSON Lines."""
    stated = parse_json(line)
    if not isinstance(stated, dict):
        raise ValueError("is no JSON object")
    return stated


def text_of(stated: dict[str, Any], key: str) -> str:
    """A text of an object, blanks around it cut; a number is taken for its digits."""
    value = stated.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = clean_text(value) if isinstance(value, str) else ""
    if not text:
        raise ValueError(f"{key!r} is missing or no text")
    return text


def clean_text(text: str) -> str:
    """A text, id or language as it enters from lines and rows: the blanks around it are cut."""
    return text.strip()


def grade_of(text: str) -> int:
    """A grade of relevance: a whole number, of which ranks and measures can make use."""
    if not re.fullmatch(r"-?[0-9]{1,9}", text) or abs(int(text)) > HIGHEST_GRADE:
        raise ValueError(
            f"grade {shortened(repr(text))} is no whole number from -{HIGHEST_GRADE:,} to {HIGHEST_GRADE:,}"
        )
    return int(text)


def numbered_lines(path: Path, faults: Faults) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank, until the file ends or breaks."""
    number = 0
    try:
        for number, raw in enumerate(raw_lines(path), 1):
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            if line.strip():
                yield number, line
    except UnicodeDecodeError as error:
        faults.add(path, f"line {number}", f"is not UTF-8 ({error.reason})")
    except (OSError, EOFError, zlib.error) as error:
        faults.add(path, "$", f"cannot be read ({error})")
    except ValueError as error:
        faults.add(path, f"line {number + 1}", str(error))

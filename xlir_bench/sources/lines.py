"""Files of lines, packed or not, read as a stream: JSON Lines and tab-separated values."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from xlir_bench.files import ALWAYS_UNPACKED, most_unpacked, raw_lines
from xlir_bench.sources.faults import Faults

Row = TypeVar("Row")


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            require_fair(file.metadata, path.stat().st_size)
            for batch in file.iter_batches(batch_size=1024):
                for stated in batch.to_pylist():
                    number += 1
                    try:
                        yield parse(stated)
                    except ValueError as error:
                        faults.add(path, f"row {number}", str(error))
    except (OSError, ValueError, pa.ArrowException) as error:
        faults.add(path, "$", f"cannot be read ({error})")
    if not number and not faults.count:
        faults.add(path, "$", "there is no row in it")


def require_fair(metadata: Any, size: int) -> None:
    """Refuse a parquet file that unpacks to a multitude: each row has an id, which takes a byte at least."""
    unpacked = sum(
        metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)
    )
    if unpacked > most_unpacked(size) or metadata.num_rows > ALWAYS_UNPACKED // 16 + size:
        raise ValueError(
            f"{metadata.num_rows:,} rows of {unpacked:,} bytes are in a file of {size:,}: it is no data"
        )


def json_object(line: str) -> dict[str, Any]:
    """The object of one line of JSON Lines."""
    try:
        stated = json.loads(line)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
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

"""Reads untrusted data, JSON, TOML, tables and arrays, against a declared shape.

A file may be damaged, foreign or hostile. Whatever is wrong with it becomes one `InputError` of a line or
two that names the file. `parse_json` raises the reason alone, for callers that collect the faults of many lines.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.files import ALWAYS_UNPACKED, most_unpacked

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

T = TypeVar("T")
Holds = Literal["text", "a whole number", "a finite number"]
Columns = Mapping[str, Holds]
"""What each column of a table has to hold."""
Lone = Literal["refuse", "replace", "keep"]
"""What becomes of half a surrogate pair."""

SHOWN = 8
"""The most faults that one message names."""
LONGEST = 120
"""The most characters of a value, a key or a reason in a message."""
ROWS_A_BYTE = 64
"""The most rows that a table may state for each byte of its file: more would fill the memory."""
FAILURES = (ValueError, RecursionError, ArithmeticError, TypeError, KeyError, AttributeError)
"""What parsers raise at malformed input: `ValueError` is bad JSON, TOML, UTF-8 and Arrow."""
HALF = "holds half a character (a lone surrogate)"
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def columns(text: str, whole: str = "", number: str = "") -> Columns:
    """Columns of text, whole numbers and numbers; names are separated by blanks."""
    return {
        **dict.fromkeys(text.split(), "text"),
        **dict.fromkeys(whole.split(), "a whole number"),
        **dict.fromkeys(number.split(), "a finite number"),
    }


def shortened(text: str) -> str:
    """A text from outside for a message: on one line, and cut at `LONGEST`."""
    line = visible(text[: LONGEST + 1])
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def parse_json(content: str | bytes, lone: Lone = "refuse", strict: bool = True) -> Any:
    """The value of a JSON text; raises `ValueError`, whose text says on one line what is wrong.

    If not `strict`, it may have repeated keys and NaN, as other programs allow.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        hook, constant = (_unique, _not_a_number) if strict else (None, None)
        value = json.loads(
            text, object_pairs_hook=hook, parse_constant=constant, parse_int=_whole_number
        )
        if lone != "keep" and SURROGATE.search(text):
            plain = json.dumps(value, ensure_ascii=False)
            if lone == "replace":
                whole = plain.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
                return json.loads(whole)
            plain.encode()
        return value
    except UnicodeEncodeError:
        raise ValueError(HALF) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start} ({error.reason})") from None
    except json.JSONDecodeError as error:
        if not text.strip():
            raise ValueError("is empty") from None
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise ValueError(f"is not JSON{', it ends too early' if cut else ''}: {where}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"has the key {shortened(repr(twice))} twice")
    return value


def _whole_number(digits: str) -> int:
    if len(digits) > 4000:  # Python refuses more than 4,300, with a message of its own
        raise ValueError(f"is not JSON: a number of {len(digits):,} digits")
    return int(digits)


def _not_a_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def content_of(path: Path, remedy: str = "") -> bytes:
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = "it is not there" if isinstance(error, FileNotFoundError) else _reason(error)
        raise InputError(f"{path} cannot be read: {reason}{_then(remedy)}") from error


def load_json(path: Path, remedy: str = "", lone: Lone = "refuse", strict: bool = True) -> Any:
    """What a JSON file holds, of whatever shape."""
    content = content_of(path, remedy)
    try:
        return parse_json(content, lone, strict)
    except ValueError as error:
        raise InputError(f"{path} {error}{_then(remedy)}") from None


def read_json(path: Path, model: type[T], what: str, remedy: str = "", lone: Lone = "refuse") -> T:
    """What a JSON file holds, as `model` declares it; `what` names it in messages, such as "a result"."""
    return validated(model, load_json(path, remedy, lone), path, what, remedy)


def read_toml(path: Path) -> dict[str, Any]:
    """The table that a TOML file holds."""
    return parse_toml(content_of(path), path)


def parse_toml(content: str | bytes, where: Path | str) -> dict[str, Any]:
    """The table of a TOML text."""
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        text.encode()
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    except UnicodeEncodeError:
        reason = HALF
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = shortened(str(error))
    raise InputError(f"{where} is not TOML: {reason}")


def validated(model: type[T], stated: Any, where: Path | str, what: str, remedy: str = "") -> T:
    """`stated` as `model` declares it, or an error that names the first faults."""
    try:
        return TypeAdapter(model).validate_python(stated)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        faults = [_fault(fault["loc"], fault["type"], fault["msg"]) for fault in errors[:SHOWN]]
        more = f" (and {len(errors) - SHOWN} more)" if len(errors) > SHOWN else ""
        reason = "; ".join(dict.fromkeys(faults)) + more
    except FAILURES as error:  # of a model's own validators
        reason = shortened(f"{type(error).__name__}: {error}")
    raise InputError(f"{where} is not {what}: {reason}{_then(remedy)}")


def _fault(place: tuple[int | str, ...], kind: str, message: str) -> str:
    """``drop[2].absolute: reason``; lists are counted from 1, as people do."""
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    name = shortened("".join(parts).removeprefix("."))
    reason = message.removeprefix("Value error, ").replace("\n", " ")[:400]
    if kind == "extra_forbidden":
        reason = "no such key is known"
    return f"{name}: {reason}" if name else reason


def _reason(error: Exception) -> str:
    """What an error of the system or of a library says, on one line."""
    said = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return shortened(said) or type(error).__name__


def _then(remedy: str) -> str:
    return f"; {remedy}" if remedy else ""


@contextmanager
def _explained_table(path: Path, remedy: str) -> Iterator[None]:
    """Turn any error while a parquet file is read into an `InputError`."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException, *FAILURES) as error:
        reason = _reason(error)
        raise InputError(f"{path} cannot be read as a table: {reason}{_then(remedy)}") from error


def read_table(
    path: Path, columns: Columns, remedy: str = "", optional: Container[str] = ()
) -> pa.Table:
    """These columns of a parquet file, and no others; each has to be there, of its type, without missing values.

    `optional`: names of those that may be missing.
    A column of text comes as a dictionary: its distinct texts, and a code for each row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _explained_table(path, remedy):
        size = path.stat().st_size
        with pq.ParquetFile(path) as file:
            rows, names = file.metadata.num_rows, file.schema_arrow.names
            if rows > ROWS_A_BYTE * size:
                raise ValueError(f"it states {rows:,} rows in {size:,} bytes")
            wanted = [name for name in columns if name in names or name not in optional]
            lacking = [name for name in wanted if names.count(name) != 1]
            if lacking:
                raise ValueError(f"it wants the columns {', '.join(lacking)} once each")
            table = file.read(columns=wanted).select(wanted)
        table.validate(full=True)
        return pa.table({name: _column(name, table[name], columns[name]) for name in wanted})


def _column(name: str, column: pa.ChunkedArray, holds: Holds) -> pa.ChunkedArray:
    """The column in the type that is wanted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_a, dictionary = pa.types, pa.dictionary(pa.int32(), pa.string())
    if column.null_count:
        raise ValueError(f"column {name} has rows without a value")
    if not len(column):  # the type of a column without rows says nothing
        types = {"text": dictionary, "a whole number": pa.int32(), "a finite number": pa.float64()}
        return pa.chunked_array([], types[holds])
    if holds == "text":
        coded = is_a.is_dictionary(column.type)
        texts = column.type.value_type if coded else column.type
        if is_a.is_string(texts) or is_a.is_large_string(texts):
            return (column if coded else column.dictionary_encode()).cast(dictionary)
    elif is_a.is_integer(column.type):
        return column.cast(pa.int32() if holds == "a whole number" else pa.float64())
    elif holds == "a finite number" and is_a.is_floating(column.type):
        if not pc.all(pc.is_finite(column)).as_py():
            raise ValueError(f"column {name} has infinite or missing numbers, {holds} is wanted")
        return column
    raise ValueError(f"column {name} holds {column.type}, {holds} is wanted")


def table_notes(path: Path, remedy: str = "") -> dict[str, str]:
    """The metadata of a parquet file, by name."""
    import pyarrow.parquet as pq

    with _explained_table(path, remedy):
        stated = pq.read_schema(path).metadata or {}
        return {key.decode(): value.decode() for key, value in stated.items()}


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a parquet file, numbered from 1, a thousand in memory; `ValueError` where it breaks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as packed:
            # Each row has an id, which takes a byte at least.
            size, rows = path.stat().st_size, packed.metadata.num_rows
            groups = range(packed.metadata.num_row_groups)
            unpacked = sum(packed.metadata.row_group(group).total_byte_size for group in groups)
            if unpacked > most_unpacked(size) or rows > ALWAYS_UNPACKED // 16 + size:
                raise ValueError(
                    f"{rows:,} rows of {unpacked:,} bytes are in a file of {size:,}: it is no data"
                )
            for batch in packed.iter_batches(batch_size=1024):
                batch.validate(full=True)
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pa.ArrowException, *FAILURES) as error:
        raise ValueError(f"cannot be read after row {number:,} ({_reason(error)})") from error


def read_array(path: Path, mapped: bool = False) -> NDArray[Any]:
    """The array of an ``.npy`` file; `mapped`: its numbers are read from disk when they are used."""
    import numpy as np

    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except MemoryError as error:
        raise InputError(f"{path} is no array: it states more numbers than it has") from error
    except Exception as error:  # numpy's reader of headers raises what Python's own parser does
        raise InputError(f"{path} is no array: {_reason(error)}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is no array, but several")
    return array


def sound_lines(
    path: Path, parse: Callable[[Any], T], lines: Sequence[bytes] | None = None
) -> Iterator[T]:
    """What `parse` makes of the lines of a file of ours (or of these `lines`), up to the first damaged one.

    Where a writer was killed, its last line is incomplete.
    """
    for line in path.read_bytes().splitlines(keepends=True) if lines is None else lines:
        try:
            if not line.endswith(b"\n"):
                return
            yield parse(parse_json(line))
        except FAILURES:
            return

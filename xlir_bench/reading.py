"""Whatever comes from outside is read here: JSON, TOML, tables and arrays, against a declared shape.

A file may be damaged, foreign or hostile. Whatever is wrong with it becomes one `InputError` of a line or
two that names the file. What collects the faults of many lines takes the reason from `parse_json`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
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
Columns = Mapping[str, Literal["text", "whole", "number"]]
"""What each column of a table has to hold."""


SHOWN = 8
"""Faults that one message names."""
LONGEST = 120
"""Characters of a value, a key or a reason in a message."""
ROWS_A_BYTE = 64
"""A table that states more of them is no table, but a way to fill the memory."""
FAILURES = (ValueError, RecursionError, ArithmeticError, TypeError, KeyError, AttributeError)
"""What parsers raise at text that is none: `ValueError` is bad JSON, TOML, UTF-8 and Arrow."""
_LONE = re.compile(r"\\u[dD][89a-fA-F]")
Lone = Literal["refuse", "replace", "keep"]
HALF = "holds half a character (a lone surrogate)"


def columns(text: str, whole: str = "", number: str = "") -> Columns:
    """Names by what they hold, parted by blanks."""
    return {
        **dict.fromkeys(text.split(), "text"),
        **dict.fromkeys(whole.split(), "whole"),
        **dict.fromkeys(number.split(), "number"),
    }


def shortened(text: str) -> str:
    """Something from outside in a message: on one line, and not all of it."""
    line = visible(text[: LONGEST + 1])
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def parse_json(content: str | bytes, lone: Lone = "refuse", strict: bool = True) -> Any:
    """The value of a JSON text; raises `ValueError`, whose text says on one line what is wrong.

    `lone`: what becomes of half a surrogate pair. Not `strict`: a key that comes twice and numbers that are
    none are taken, as other programs take them.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        hook, constant = (_once, _no_number) if strict else (None, None)
        value = json.loads(
            text, object_pairs_hook=hook, parse_constant=constant, parse_int=_whole_number
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start} ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise ValueError(_place(error, text)) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if lone != "keep" and _LONE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            if lone == "refuse":
                raise ValueError(HALF) from None
            whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
            value = json.loads(whole.decode("utf-8", "replace"))
    return value


def _place(error: json.JSONDecodeError, text: str) -> str:
    if not text.strip():
        return "is empty"
    ended = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    what = ", it ends too early" if ended else ""
    return f"is not JSON{what}: {error.msg} at line {error.lineno}, column {error.colno}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has the key {shortened(repr(twice))} twice")
    return found


def _whole_number(digits: str) -> int:
    if len(digits) > 4000:  # Python itself refuses some more, in words of its own
        raise ValueError(f"is not JSON: a number of {len(digits):,} digits")
    return int(digits)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def content_of(path: Path, remedy: str = "") -> bytes:
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileNotFoundError):
            reason = "it is not there"
        raise InputError(f"{path} cannot be read: {reason}{_then(remedy)}") from error


def load_json(path: Path, remedy: str = "", lone: Lone = "refuse", strict: bool = True) -> Any:
    """What a JSON file holds, of whatever shape."""
    content = content_of(path, remedy)
    try:
        return parse_json(content, lone, strict)
    except ValueError as error:
        raise InputError(f"{path} {error}{_then(remedy)}") from None


def read_json(path: Path, model: type[T], what: str, remedy: str = "", lone: Lone = "refuse") -> T:
    """What a JSON file holds, as `model` declares it; `what` is what it should be: "a result"."""
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
        raise _refused(where, what, faults_of(error), remedy) from error
    except FAILURES as error:  # of a model's own validators
        reason = shortened(f"{type(error).__name__}: {error}")
        raise _refused(where, what, reason, remedy) from error


def _refused(where: Path | str, what: str, reason: str, remedy: str) -> InputError:
    return InputError(f"{where} is not {what}: {reason}{_then(remedy)}")


def _then(remedy: str) -> str:
    return f"; {remedy}" if remedy else ""


def faults_of(error: ValidationError, shown: int = SHOWN) -> str:
    """The first faults that a model found, on one line."""
    faults = [
        f"{_named(fault['loc'])}{_reason(fault['type'], fault['msg'])}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = f" (and {len(faults) - shown} more)" if len(faults) > shown else ""
    return "; ".join(dict.fromkeys(faults[:shown])) + more


def _named(place: tuple[int | str, ...]) -> str:
    """``drop[2].absolute: ``: lists are counted from 1, as people do."""
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place)
    name = "".join(parts).removeprefix(".")
    return f"{shortened(name)}: " if name else ""


def _reason(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such key is known"
    return message.removeprefix("Value error, ").replace("\n", " ")[:400]


def read_table(
    path: Path, columns: Columns, remedy: str = "", optional: Container[str] = ()
) -> pa.Table:
    """The columns of a parquet file, and no others: all there, of their types, without a hole.

    `optional`: names of those that may be missing.
    A column of text comes as a dictionary: its distinct texts, and a code a row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def fail(reason: str) -> InputError:
        return InputError(f"{path} cannot be read as a table: {shortened(reason)}{_then(remedy)}")

    try:
        size = path.stat().st_size
        with pq.ParquetFile(path) as file:
            rows, names = file.metadata.num_rows, file.schema_arrow.names
            if rows > ROWS_A_BYTE * size:
                raise fail(f"it states {rows:,} rows in {size:,} bytes")
            wanted = [name for name in columns if name in names or name not in optional]
            lacking = [name for name in wanted if names.count(name) != 1]
            if lacking:
                raise fail(f"it wants the columns {', '.join(lacking)} once each")
            table = file.read(columns=wanted).select(wanted)
        table.validate(full=True)
        found = {}
        for name in wanted:
            kind = columns[name]
            if table[name].null_count:
                raise fail(f"column {name} has rows without a value")
            found[name] = _column(table[name], kind)
            if found[name] is None:
                raise fail(f"column {name} holds {table[name].type}, {_HOLDS[kind]} is wanted")
    except (OSError, pa.ArrowException, *FAILURES) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise fail(reason) from error
    return pa.table(found)


def table_notes(path: Path, remedy: str = "") -> dict[str, str]:
    """What a parquet file says of itself, by name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stated = pq.read_schema(path).metadata or {}
        return {key.decode(): value.decode() for key, value in stated.items()}
    except (OSError, pa.ArrowException, *FAILURES) as error:
        reason = shortened(str(error).partition("\n")[0])
        raise InputError(f"{path} cannot be read as a table: {reason}{_then(remedy)}") from error


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a parquet file, numbered from 1, a thousand in memory; `ValueError` where it breaks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as packed:
            _require_fair(packed.metadata, path.stat().st_size)
            for batch in packed.iter_batches(batch_size=1024):
                batch.validate(full=True)
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pa.ArrowException, *FAILURES) as error:
        reason = shortened(str(error).partition("\n")[0])
        raise ValueError(f"cannot be read after row {number:,} ({reason})") from error


def _require_fair(metadata: Any, size: int) -> None:
    """Refuse a parquet file that unpacks to a multitude: each row has an id, which takes a byte at least."""
    unpacked = sum(
        metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)
    )
    if unpacked > most_unpacked(size) or metadata.num_rows > ALWAYS_UNPACKED // 16 + size:
        raise ValueError(
            f"{metadata.num_rows:,} rows of {unpacked:,} bytes are in a file of {size:,}: it is no data"
        )


_HOLDS = {"text": "text", "whole": "a whole number", "number": "a finite number"}


def _column(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray | None:
    """The column as it is wanted, None if it is another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_a = pa.types
    if not len(column):  # a column without a row is of no type that says anything
        types = {"text": pa.dictionary(pa.int32(), pa.string()), "whole": pa.int32()}
        return pa.chunked_array([], types.get(kind, pa.float64()))
    if kind == "text":
        coded = is_a.is_dictionary(column.type)
        inner = column.type.value_type if coded else column.type
        if not (is_a.is_string(inner) or is_a.is_large_string(inner)):
            return None
        column = (
            column.cast(pa.string())
            if not coded
            else column.cast(pa.dictionary(pa.int32(), pa.string()))
        )
        return column if coded else column.dictionary_encode()
    if kind == "whole":
        return column.cast(pa.int32()) if is_a.is_integer(column.type) else None
    if is_a.is_integer(column.type):
        column = column.cast(pa.float64())
    if not is_a.is_floating(column.type):
        return None
    return column if pc.all(pc.is_finite(column)).as_py() in (True, None) else None


def read_array(path: Path, mapped: bool = False) -> NDArray[Any]:
    """The array of an ``.npy`` file; `mapped`: read from disk where it is asked for."""
    import numpy as np

    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except MemoryError as error:
        raise InputError(f"{path} is no array: it states more numbers than it has") from error
    except Exception as error:  # numpy's reader of headers raises what Python's own parser does
        reason = shortened(str(error).partition("\n")[0]) or type(error).__name__
        raise InputError(f"{path} is no array: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is no array, but several")
    return array


def sound_lines(
    path: Path, parse: Callable[[Any], T], lines: Sequence[bytes] | None = None
) -> Iterator[T]:
    """What `parse` makes of the lines of a file of ours (or of some of them), up to the first damaged one.

    A line that was being written when its writer was killed is the last one there is.
    """
    for line in path.read_bytes().splitlines(keepends=True) if lines is None else lines:
        try:
            if not line.endswith(b"\n"):
                return
            yield parse(parse_json(line))
        except FAILURES:
            return

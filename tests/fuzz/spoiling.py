"""Valid files spoilt in the ways that files are spoilt: bytes, values, keys, lines, columns, headers."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

BYTES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b'"', b"\\", b"{", b"]", b",", b"=",
)  # fmt: skip
RAW = "\u2063raw\u2063"
"""A string that begins so is written into JSON as it stands."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 32768, 99999, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30,
    0.0, 0.5, -0.5, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"), f"{RAW}1e999",
    RAW + "1" + "0" * 400, RAW + "9" * 5000, RAW + "[" * 3000 + "]" * 3000, RAW + '{"a":' * 900 + "1" + "}" * 900,
    RAW + "NaN", RAW, RAW + "01", "", " ", "a", "0", "-1", "nan", "*", "en", "und", "../x", "/etc/passwd", "x\x00y",
    "\ud800", "\udcff", "a\nb", "a\x1b[2Jb", "::error::", "=1+1", "\u202e", "\u2028", "x" * 5000,
    "2026-01-01T00:00:00+00:00", "monolingual", "map", "recall@10", "recall@0", "ndcg@99999999999999999999",
    [], {}, [None], [[]], {"": None}, {"a": 1}, ["a"], [0], ["a", 1], list(range(50)), {"en": "x", "de": "y"},
)  # fmt: skip
TOML_VALUES = (
    "", "true", "0", "-1", "1", "99999999999", "9223372036854775808", "1" * 400, "1e999", "nan", "-inf", "0.5",
    '""', '"a"', '"\\ud800"', '"../x"', '"{lang}"', '"a\\nb"', '"monolingual"', '"map"', "[]", "{}", "[[]]", '["a"]',
    '["a", 1]', "[1, 2]", "{a = 1}", "[{}]", "1979-05-27T07:32:00Z", "07:32:00", "1979-05-27", "[" * 2000 + "]" * 2000,
    "{a = {a = {a = 1}}}", '"""a\nb"""', "'" + "x" * 3000 + "'", "0x7fffffffffffffffff", '"\\u0000"', '["en", "en"]',
    '{de = 1000002}', '"*"', '"en"',
)  # fmt: skip


def spoil(name: str, data: bytes, random: Random) -> bytes:
    """The content of a file of this name, spoilt in one to three places."""
    if random.random() < 0.01:
        return b""
    spoiler = _spoiler(name)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        try:
            data = (spoiler if random.random() < 0.75 else spoil_bytes)(data, random)
        except Exception:  # what was spoilt once may be no file of its kind any more
            data = spoil_bytes(data, random)
    return data


def _spoiler(name: str) -> Callable[[bytes, Random], bytes]:
    if name.endswith(".gz"):
        inner = _spoiler(name.removesuffix(".gz"))
        return lambda data, random: gzip.compress(inner(gzip.decompress(data), random))
    kinds = {
        "json": spoil_json, "jsonl": spoil_lines, "journal": spoil_lines, "toml": spoil_toml,
        "tsv": spoil_cells, "csv": spoil_cells, "parquet": spoil_parquet, "npy": spoil_npy,
        "safetensors": spoil_safetensors,
    }  # fmt: skip
    return kinds.get(name.rpartition(".")[2], spoil_bytes)


def spoil_bytes(data: bytes, random: Random) -> bytes:
    """Any file."""
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((1, 1, 2, 4, 16, 64)))
    noise = random.randbytes(random.randint(1, 8))
    piece = random.choice((*BYTES, *[noise] * len(BYTES)))
    first, middle, last = data[:start], data[start:end], data[end:]
    cut, lost, replaced, added = (
        first,
        first + last,
        first + piece + last,
        first + piece + middle + last,
    )
    doubled, beheaded = first + middle + middle + last, middle + last
    return random.choice((cut, lost, replaced, added, doubled, beheaded))


def spoil_json(data: bytes, random: Random) -> bytes:
    """One JSON text: a value replaced, a key renamed, lost, doubled or added, or all of it another."""
    return dumped(spoilt_value(json.loads(data), random)).encode("utf-8", "surrogatepass")


def dumped(value: Any) -> str:
    """JSON, with what no `dumps` writes."""
    text = json.dumps(value)
    return re.sub(
        r'"\\u2063raw\\u2063((?:[^"\\]|\\.)*)"', lambda m: str(json.loads(f'"{m[1]}"')), text
    ).replace("\\u2063twice", "")


def spoilt_value(value: Any, random: Random) -> Any:
    """A value with something else in one place."""
    places = list(_places(value, ()))
    place = random.choice(places)
    if not place:
        return random.choice(VALUES)
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    key, how = place[-1], random.random()
    if how < 0.55:
        parent[key] = random.choice(VALUES)
    elif how < 0.65:
        del parent[key]
    elif isinstance(parent, dict):
        if how < 0.75:
            parent[str(random.choice(VALUES[33:]))] = parent.pop(key)
        elif how < 0.85:
            parent[f"{key}\u2063twice"] = random.choice(VALUES)
        else:
            parent[str(random.choice(VALUES[33:]))] = random.choice(VALUES)
    elif how < 0.8:
        parent.append(random.choice([*VALUES, *parent]))
    else:
        random.shuffle(parent)
    return value


def _places(value: Any, place: tuple[Any, ...]) -> Any:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, part in items:
            yield from _places(part, (*place, key))


def spoil_lines(data: bytes, random: Random) -> bytes:
    """JSON Lines: one line spoilt, lost, doubled, moved, or run into the next."""
    lines = data.splitlines(keepends=True)
    row = random.randrange(len(lines))
    how = random.random()
    if how < 0.7:
        lines[row] = spoil_json(lines[row], random) + b"\n"
    elif how < 0.8:
        del lines[row]
    elif how < 0.9:
        lines.insert(random.randrange(len(lines)), lines[row])
    else:
        lines[row] = lines[row].strip()
    return b"".join(lines)


def spoil_toml(data: bytes, random: Random) -> bytes:
    """TOML: a value or a key replaced, a line lost, doubled or added."""
    lines = data.decode().splitlines()
    rows = [row for row, line in enumerate(lines) if "=" in line] or [0]
    row, how = random.choice(rows), random.random()
    key, _, _ = lines[row].partition("=")
    if how < 0.6:
        lines[row] = f"{key}= {random.choice(TOML_VALUES)}"
    elif how < 0.7:
        del lines[random.randrange(len(lines))]
    elif how < 0.8:
        lines.insert(random.randrange(len(lines)), lines[row])
    elif how < 0.9:
        name = random.choice(("x", "", "a.b", f"{key.strip()}.x"))
        lines[row] = f"{name} = {random.choice(TOML_VALUES)}"
    else:
        head = random.choice((f"[{key.strip()}]", f"[[{key.strip()}]]", "[x]", "[[x]]", "]"))
        lines.insert(random.randrange(len(lines)), head)
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def spoil_cells(data: bytes, random: Random) -> bytes:
    """Values between tabs or commas."""
    lines = data.decode().split("\n")
    row = random.randrange(len(lines))
    mark = "\t" if "\t" in lines[row] else ","
    cells = lines[row].split(mark)
    column, how = random.randrange(len(cells)), random.random()
    if how < 0.6:
        cells[column] = str(random.choice(VALUES)).removeprefix(RAW)
    elif how < 0.75:
        del cells[column]
    elif how < 0.9:
        cells.insert(column, cells[column])
    else:
        lines.insert(row, lines[row])
    lines[row] = mark.join(cells)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def spoil_parquet(data: bytes, random: Random) -> bytes:
    """A table whose columns are lost, renamed, of another type, with nulls, of wrong codes, cut or doubled."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data))
    at, how = random.randrange(table.num_columns), random.random()
    name, column = table.column_names[at], table.column(at)
    rows = table.num_rows
    if how < 0.15:
        table = table.remove_column(at)
    elif how < 0.25:
        table = table.append_column(random.choice(("x", name, "rank")), column)
    elif how < 0.35:
        table = table.rename_columns([*table.column_names[:at], "x", *table.column_names[at + 1 :]])
    elif how < 0.45:
        table = table.slice(random.randrange(rows + 1), random.randrange(rows + 1))
    elif how < 0.55:
        table = pa.concat_tables([table, table])
    else:
        values = column.to_pylist()

        def any_of(*choices: Any) -> Any:
            return pa.array([random.choice(choices) for _ in range(rows)])

        other = random.choice(
            (
                pa.nulls(rows), pa.array([None if random.random() < 0.1 else x for x in values], column.type),
                any_of(-1, 0, 2**31, 2**63 - 1, 7), any_of(0.5, float("nan"), float("inf"), -1e300),
                any_of("", "a", "*", "x\ny", "map"), any_of(b"\xff", b"en"), any_of([1]), any_of({"a": 1}),
                any_of(True), pa.array(list(map(str, values))).dictionary_encode(),
                pa.array(random.sample(values, rows), column.type), _bad_text(rows),
            )
        )  # fmt: skip
        table = table.set_column(at, name, other)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _bad_text(rows: int) -> Any:
    """A column that says it is text and is no UTF-8."""
    import pyarrow as pa

    raw = pa.array([b"\xff\xfe"] * rows, pa.binary())
    return pa.StringArray.from_buffers(rows, raw.buffers()[1], raw.buffers()[2])


def spoil_npy(data: bytes, random: Random) -> bytes:
    """An array of another shape, type or order, a header that does not fit, or numbers that are none."""
    if random.random() < 0.4:
        start, end = data.index(b"{"), data.index(b"\n")
        header = data[start:end]
        size = random.choice((b"-1", b"0", b"9" * 19, b"1000000000"))
        shape = random.choice((b"()", b"(3,)", b"(2,2,2)", b"None", b"('a',1)"))
        kind = random.choice((b"'|O'", b"'<f2'", b"'>f4'", b"'<U3'", b"'<i8'", b"'x'"))
        wrong = random.choice(
            (
                re.sub(rb"\(\d+", b"(" + size, header), re.sub(rb"\(.*?\)", shape, header),
                re.sub(rb"'<f\d'", kind, header), header.replace(b"descr", b"descx"), b"(" * 500 + header,
                header.replace(b"False", random.choice((b"True", b"None", b"1"))),
            )
        )  # fmt: skip
        return data[:start] + wrong.ljust(end - start) + data[end:]
    array = np.load(io.BytesIO(data), allow_pickle=False)
    flat = array.copy()
    flat.reshape(-1)[random.randrange(max(1, flat.size))] = random.choice((np.nan, np.inf, 0, 1e38))
    sink = io.BytesIO()
    with np.errstate(all="ignore"):
        other = random.choice(
            (
                flat, array[:-1], array[:, :-1] if array.ndim > 1 else array[None], array.T, array[None],
                array.astype(">f8"), array.astype(np.int8), array.astype(np.float16), array.astype(complex),
                array.astype("U8"), np.zeros((0, 0)), np.zeros((5, 0)), np.asfortranarray(array), array > 0,
            )
        )  # fmt: skip
    np.save(sink, other, allow_pickle=False)
    return sink.getvalue()


def spoil_safetensors(data: bytes, random: Random) -> bytes:
    """The header of a file of weights."""
    size = int.from_bytes(data[:8], "little")
    header = spoil_json(data[8 : 8 + size], random)
    right = len(header)
    stated = random.choice((right, right, right, right - 1, 0, 2**63, 99_999_999))
    return stated.to_bytes(8, "little") + header + data[8 + size :]

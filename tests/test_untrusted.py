from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, Field

from xlir_bench.errors import InputError
from xlir_bench.untrusted import (
    columns,
    load_json,
    parse_json,
    read_array,
    read_json,
    read_table,
    read_toml,
    sound_lines,
)


class Shape(BaseModel):
    model_config = {"extra": "forbid", "allow_inf_nan": False}
    name: str
    size: float = Field(default=1.0, ge=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b'{"name": ', "ends too early"),
        (b'{"name": }', "is not JSON"),
        (b'{"name": "\xff"}', "not UTF-8 at byte 10"),
        (b'{"name": "a", "name": "b"}', "the key 'name' twice"),
        (b'{"name": "a", "size": NaN}', "NaN is no number"),
        (b'{"name": "a", "size": 1e999}', "size: Input should be a finite number"),
        (b'{"name": "a", "size": ' + b"1" * 400 + b"}", "size: "),
        (b'{"name": "a", "size": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"name": "\\ud800"}', "lone surrogate"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "is not a shape"),
        (b'{"name": 3, "size": -1, "other": 1}', "name: Input should be a valid string; size: "),
        (b'{"name": "a", "\\u001b[2J": 1}', "\\u001b[2J: no such key is known"),
    ],
)
def test_json_that_is_not_what_it_should_be_is_one_message(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "shape.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(path, Shape, "a shape", "make it again")
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert "make it again" in message
    assert "\n" not in message
    assert len(message) < 500


def test_a_file_that_is_not_there_or_no_file_is_a_message(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path, Path("a\0b")):
        with pytest.raises(InputError, match="cannot be read"):
            load_json(path)


def test_a_key_repeated_among_hundreds_of_thousands_is_found_in_a_moment() -> None:
    pairs = ",".join(f'"{number}":0' for number in [*range(300_000), 299_999])
    with pytest.raises(ValueError, match="the key '299999' twice"):
        parse_json(f"{{{pairs}}}")


def test_half_a_character_may_be_replaced_where_a_name_of_a_file_is_no_text() -> None:
    assert parse_json(rb'["\udcff \ud83d\ude00"]', lone="replace") == ["��� 😀"]
    assert parse_json(rb'["\ud800"]', lone="keep") == ["\ud800"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = ", "is not TOML"),
        (b"a = 1\na = 2", "is not TOML"),
        (b'a = "\xff"', "not UTF-8 at byte 5"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"a = " + b"1" * 5000, "is not TOML"),
    ],
)
def test_toml_that_is_none_is_one_message(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_toml(path)
    assert str(path) in str(caught.value)


WANTED = columns("name", whole="rank", number="value")
GOOD: dict[str, Any] = {
    "name": pa.array(["a", "b", "a"]).dictionary_encode(),
    "rank": pa.array([1, 2, 3], pa.int16()),
    "value": pa.array([0.5, 1.0, 2.0], pa.float32()),
}


def bad_text() -> pa.Array:
    raw = pa.array([b"\xff\xfe"] * 3, pa.binary())
    return pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])


def test_a_table_comes_as_it_was_declared(tmp_path: Path) -> None:
    pq.write_table(pa.table(GOOD | {"more": [1, 2, 3]}), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", WANTED)
    assert found.column_names == ["name", "rank", "value"]
    assert [str(t) for t in found.schema.types[1:]] == ["int32", "float"]
    assert found["name"].to_pylist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rank": None}, "columns rank"),
        ({"rank": pa.array([1.0, 2.0, 3.0])}, "a whole number is wanted"),
        ({"rank": pa.array([1, None, 3])}, "rows without a value"),
        ({"value": pa.array([1.0, float("nan"), 2.0])}, "a finite number is wanted"),
        ({"value": pa.array([True, False, True])}, "a finite number is wanted"),
        ({"name": pa.array([1, 2, 3])}, "text is wanted"),
        ({"name": pa.array([[1], [2], [3]])}, "text is wanted"),
        ({"name": bad_text()}, "t.parquet"),
    ],
)
def test_a_table_that_is_another_is_one_message(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    given = {name: column for name, column in (GOOD | change).items() if column is not None}
    pq.write_table(pa.table(given), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=reason) as caught:
        read_table(tmp_path / "t.parquet", WANTED)
    assert "\n" not in str(caught.value)


def test_a_table_cut_short_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(GOOD), path)
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"t\.parquet"):
            read_table(path, WANTED)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:40],
        lambda data: data.replace(b"(2, 3)", b"(9999999999999, 3)"),
        lambda data: data.replace(b"'<f4'", b"'|O' "),
        lambda data: data.replace(b"{'descr", b"((((((("),
    ],
)
def test_an_array_that_is_none_is_one_message(
    spoil: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "query.de.npy"
    np.save(path, np.zeros((2, 3), np.float32))
    path.write_bytes(spoil(path.read_bytes()))
    for mapped in (False, True):
        with pytest.raises(InputError, match=r"query\.de\.npy .*array"):
            read_array(path, mapped)


def test_lines_of_ours_end_at_the_one_that_was_being_written(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": 3')
    assert list(sound_lines(path, lambda stated: stated["a"])) == [1, 2]
    path.write_bytes(b'{"a": 1}\n{"b": 2}\n{"a": 3}\n')
    assert list(sound_lines(path, lambda stated: stated["a"])) == [1]

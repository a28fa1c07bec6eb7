from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from xlir_bench.augment.output import check_output, line_of, write_rows
from xlir_bench.errors import InputError
from xlir_bench.options.training import TrainingSource
from xlir_bench.train.reading import read_rows
from xlir_bench.train.rows import Row

ROW = Row("1", "d", {"th": "แมว"}, {"en": 'a "cat"'}, {"en": "dog"}, "code-switched")


def test_what_is_written_is_read_again_packed_or_not(tmp_path: Path) -> None:
    for name in ("rows.jsonl", "new/rows.jsonl.gz"):
        write_rows(tmp_path / name, [ROW, ROW])
        rows = list(read_rows(TrainingSource(str(tmp_path / name))))
        assert rows == [ROW, ROW]
    packed = (tmp_path / "new" / "rows.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == line_of(ROW) * 2


def test_the_same_rows_give_the_same_packed_bytes(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl.gz", [ROW])
    write_rows(tmp_path / "b.jsonl.gz", [ROW])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_a_run_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def failing() -> Iterator[Row]:
        yield ROW
        raise InputError("a faulty row")

    (tmp_path / "rows.jsonl").write_text("old")
    with pytest.raises(InputError, match="a faulty row"):
        write_rows(tmp_path / "rows.jsonl", failing())
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]
    assert (tmp_path / "rows.jsonl").read_text() == "old"


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write.*\brows\.jsonl.*--output"):
        write_rows(tmp_path / "file" / "rows.jsonl", [ROW])


def test_outputs_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--output.*rows\.csv.*\.jsonl\b.*\.jsonl\.gz"):
        check_output(tmp_path / "rows.csv", [])
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_output(tmp_path / "folder.jsonl", [])
    read = tmp_path / "rows.jsonl"
    read.write_text("")
    with pytest.raises(InputError, match=r"--output.*rows\.jsonl.*\bread\b"):
        check_output(tmp_path / "." / "rows.jsonl", [TrainingSource(str(read))])
    with pytest.raises(InputError, match=r"is no UTF-8"):
        check_output(tmp_path / os.fsdecode(b"a\xff.jsonl"), [])
    with pytest.raises(InputError, match="cannot write"):
        check_output(read / "below" / "a.jsonl", [])

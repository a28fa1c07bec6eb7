from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from train.rowfiles import row, write_rows

from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.options.training import TrainingSource, parse_source
from xlir_bench.tasks import tasks_folder
from xlir_bench.train import row_files
from xlir_bench.train.row_files import read_rows, source_digest
from xlir_bench.train.rows import LONG_FORM, Fault, Row

ROWS = [row(1), row(2, "de"), row(3, negative={"en": "wrong"})]


def rows_of(path: Path | str) -> list[Row | Fault]:
    return list(read_rows(str(path)))


def test_json_lines_are_read_packed_or_not(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plain = rows_of(path)
    assert plain == rows_of(packed)
    assert [r.id for r in plain if isinstance(r, Row)] == ["row-1", "row-2", "row-3"]
    assert plain[2].negative == {"en": "wrong"}


def test_parquet_gives_the_same_rows_as_json_lines(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    columns = ("id", "dataset", "question", "answer", "negative")
    table = pa.table({name: [r.get(name) for r in ROWS] for name in columns})
    pq.write_table(table, path)  # absent languages become nulls
    assert rows_of(path) == rows_of(write_rows(tmp_path / "rows.jsonl", ROWS))


def test_a_folder_that_datasets_saved_is_read(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(ROWS[::-1]).save_to_disk(tmp_path / "saved")
    plain = rows_of(write_rows(tmp_path / "rows.jsonl", ROWS[::-1]))
    assert rows_of(tmp_path / "saved") == plain


def test_a_folder_of_files_is_read_through_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write_rows(tmp_path / "folder" / "train.jsonl", ROWS)
    assert len(rows_of(tmp_path / "folder")) == 3


def write_csv(path: Path, *lines: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ["id", "lang_question", "lang_answer", "question", "answer"]
        csv.writer(file).writerows([columns, *lines])
    return path


def test_lines_of_the_long_form_that_share_an_id_are_one_row(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "rows.csv",
        ["a", "de", "en", "Frage, eine", "answer"],
        ["a", "en", "en", "question", "answer"],
        ["b", "en", "de", "other", "andere"],
    )
    assert rows_of(path) == [
        Row("a", "", {"de": "Frage, eine", "en": "question"}, {"en": "answer"}, {}),
        Row("b", "", {"en": "other"}, {"de": "andere"}, {}),
    ]


def test_one_id_in_two_data_sets_of_a_table_is_two_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "id,dataset,lang_question,lang_answer,question,answer\n1,a,en,en,x,y\n1,b,de,de,z,w\n"
    )
    assert [(r.dataset, r.id) for r in rows_of(path)] == [("a", "1"), ("b", "1")]


def test_the_long_form_refuses_two_texts_for_one_language(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "rows.csv", ["a", "de", "en", "F", "one"], ["a", "fr", "en", "Q", "two"]
    )
    fault, kept = sorted(rows_of(path), key=lambda r: isinstance(r, Row))
    assert str(fault).startswith(f"{path}, line 3: id 'a' ")
    assert re.search("two .*answer in en$", str(fault))
    assert isinstance(kept, Row)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"id": "\\ud800", "question": {"de": "y"}, "answer": {"de": "x"}}', "half a character"),
        ('{"question": {"\\udcff": "y"}, "answer": {"de": "x"}}', "half a character"),
        ("{", "JSON, .*too early"),
        ("[1]", "object, not list"),
        ('{"id": "a", "question": {"de": "x"}}', "no answer .*language"),
        ('{"question": {"de": 1}, "answer": {"de": "x"}}', "question.de .*int, not text"),
        ('{"question": {"de": "  "}, "answer": {"de": "x"}}', "question.de is blank"),
        ('{"question": "x", "answer": {"de": "x"}}', "question .*by language"),
        ('{"id": [], "question": {"de": "y"}, "answer": {"de": "x"}}', "id .*list, not text"),
        ('{"question": {"de": "\\ud800"}, "answer": {"de": "x"}}', "half a character"),
    ],
)
def test_a_line_that_is_no_row_says_why_and_where(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n\n" + line + "\n" + json.dumps(ROWS[1]) + "\n")
    _, fault, last = rows_of(path)
    assert isinstance(fault, Fault)
    assert str(fault).startswith(f"{path}, line 3: ")
    assert re.search(what, fault.what)
    assert isinstance(last, Row)


def test_a_source_may_state_its_weight_and_which_batches_it_is_for(tmp_path: Path) -> None:
    assert parse_source("a.jsonl") == TrainingSource("a.jsonl")
    assert parse_source("a.jsonl@2.5") == TrainingSource("a.jsonl", 2.5)
    assert parse_source("a.jsonl:monolingual") == TrainingSource("a.jsonl", 1.0, "monolingual")
    assert parse_source("o/d:train@2:cross-lingual") == TrainingSource(
        "o/d:train", 2.0, "cross-lingual"
    )
    odd = write_rows(tmp_path / "b@2", [])
    assert parse_source(str(odd)) == TrainingSource(str(odd))
    assert str(parse_source("a.jsonl@2.5:monolingual")) == "a.jsonl@2.5:monolingual"


def test_a_kind_of_batches_that_there_is_not_is_told_before_the_hub_is_asked(
    tmp_path: Path,
) -> None:
    file = write_rows(tmp_path / "a.jsonl", [])
    with pytest.raises(UnknownNameError, match=f"--train .*{file.name} 'mono'.*, monolingual"):
        parse_source(f"{file}:mono")


def test_files_of_a_folder_that_do_not_fit_together_are_one_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [row(1)])
    write_rows(tmp_path / "b.jsonl", [row(2) | {"negative": {"fr": "x"}}])
    with pytest.raises(InputError, match=f"{re.escape(repr(str(tmp_path)))} .*datasets: "):
        rows_of(tmp_path)


@pytest.mark.parametrize("spec", ["a@0", "a@-1", "a@1.2.3", ""])
def test_a_weight_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(InputError):
        parse_source(spec)


@pytest.mark.parametrize(
    ("name", "what"),
    [("gone.jsonl", "is not there"), ("gone", "--train gone: .*owner/dataset")],
)
def test_what_is_not_there_is_said(name: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        rows_of(name)


def test_offline_a_name_that_is_not_cached_is_refused_without_asking_the_hub() -> None:
    with pytest.raises(OutOfReachError, match="OfflineModeIsEnabled"):
        list(read_rows("owner/no-such-rows", offline=True))


def test_files_of_no_known_kind_or_broken_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(InputError, match="no known suffix"):
        rows_of(tmp_path / "rows.txt")
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 9999)[:30])
    with pytest.raises(InputError, match="cannot be read"):
        rows_of(tmp_path / "rows.jsonl.gz")
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read"):
        rows_of(tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("id,question\n1,x\n")
    with pytest.raises(InputError, match=r"lacks .*lang_question, lang_answer, answer"):
        rows_of(tmp_path / "rows.csv")


def test_the_digest_of_a_file_follows_its_bytes(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    before = source_digest(str(path))
    assert before == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    write_rows(path, ROWS[:1])
    assert source_digest(str(path)) != before


def test_the_rows_that_come_with_the_package_go_by_their_name(tmp_path: Path, monkeypatch) -> None:
    bundled = tasks_folder() / "mini-train.jsonl"
    monkeypatch.chdir(tmp_path)
    source = parse_source("mini-train@2")
    assert str(source) == "mini-train@2"
    assert list(read_rows(source.name)) == list(read_rows(str(bundled)))
    assert source_digest(source.name) == source_digest(str(bundled))
    (tmp_path / "mini-train").mkdir()
    assert source_digest(source.name) != source_digest(str(bundled))


def test_a_row_may_say_where_it_came_from_in_every_format(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = [row(1, origin="code-switched"), row(2)]
    plain = rows_of(write_rows(tmp_path / "rows.jsonl", made))
    assert [r.origin for r in plain if isinstance(r, Row)] == ["code-switched", ""]
    columns = ("id", "dataset", "origin", "question", "answer")
    pq.write_table(
        pa.table({name: [r.get(name) for r in made] for name in columns}), tmp_path / "r.parquet"
    )
    assert rows_of(tmp_path / "r.parquet") == plain
    table = tmp_path / "rows.csv"
    lines = [
        "id,lang_question,lang_answer,question,answer,origin",
        "a,de,en,F,A,x",
        "a,fr,en,Q,A,y",
    ]
    table.write_text("\n".join(lines), encoding="utf-8")
    (joined,) = rows_of(table)
    assert isinstance(joined, Row)
    assert joined.origin == "x, y"
    (fault,) = rows_of(write_rows(tmp_path / "odd.jsonl", [row(1, origin={"by": "x"})]))
    assert isinstance(fault, Fault)
    assert re.search("origin .*dict", fault.what)


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_a_table_is_read_by_the_delimiter_between_its_columns(
    tmp_path: Path, delimiter: str
) -> None:
    lines = [["id", *LONG_FORM], ["1", "de", "en", "Was, wo; wann|?", "Here"]]
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)
    (read,) = rows_of(path)
    assert isinstance(read, Row)
    assert read.question == {"de": "Was, wo; wann|?"}


MADE = Row("1", "d", {"th": "แมว"}, {"en": 'a "cat"'}, {"en": "dog"}, "code-switched")


def test_what_is_written_is_read_again_packed_or_not(tmp_path: Path) -> None:
    for name in ("rows.jsonl", "new/rows.jsonl.gz"):
        row_files.write_rows(tmp_path / name, [MADE, MADE])
        rows = list(read_rows(str(tmp_path / name)))
        assert rows == [MADE, MADE]
    packed = (tmp_path / "new" / "rows.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == row_files.line_of(MADE) * 2


def test_the_same_rows_give_the_same_packed_bytes(tmp_path: Path) -> None:
    row_files.write_rows(tmp_path / "a.jsonl.gz", [MADE])
    row_files.write_rows(tmp_path / "b.jsonl.gz", [MADE])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_a_run_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def failing() -> Iterator[Row]:
        yield MADE
        raise InputError("a faulty row")

    (tmp_path / "rows.jsonl").write_text("old")
    with pytest.raises(InputError, match="a faulty row"):
        row_files.write_rows(tmp_path / "rows.jsonl", failing())
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]
    assert (tmp_path / "rows.jsonl").read_text() == "old"


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write.*\brows\.jsonl.*--output"):
        row_files.write_rows(tmp_path / "file" / "rows.jsonl", [MADE])


def test_outputs_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--output.*rows\.csv.*\.jsonl\b.*\.jsonl\.gz"):
        row_files.check_output(tmp_path / "rows.csv", [])
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        row_files.check_output(tmp_path / "folder.jsonl", [])
    read = tmp_path / "rows.jsonl"
    read.write_text("")
    with pytest.raises(InputError, match=r"--output.*rows\.jsonl.*\bread\b"):
        row_files.check_output(tmp_path / "." / "rows.jsonl", [str(read)])
    with pytest.raises(InputError, match=r"is no UTF-8"):
        row_files.check_output(tmp_path / os.fsdecode(b"a\xff.jsonl"), [])
    with pytest.raises(InputError, match="cannot write"):
        row_files.check_output(read / "below" / "a.jsonl", [])

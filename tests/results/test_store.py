from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from xlir_bench import Result, load_results
from xlir_bench.errors import InputError, XlirError
from xlir_bench.results import result_folder
from xlir_bench.results.store import require_writable

FILES = ["queries.parquet", "ranks.parquet", "result.json", "run.parquet"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def without_run(result: Result) -> Result:
    tables = {name: result.tables[name] for name in ("ranks", "queries")}
    return Result(result.record, tables)


@pytest.fixture
def saved(result: Result, tmp_path: Path) -> Path:
    return Path(result.save(tmp_path / "results" / "ngram" / "mini").folder or "")


def test_what_was_saved_is_loaded(result: Result, saved: Path) -> None:
    assert names(saved) == FILES
    for path in (saved, str(saved), saved / "result.json"):
        loaded = Result.load(path)
        assert loaded.record == result.record
        assert loaded.folder == saved
        assert set(loaded.tables) == {"ranks", "queries", "run"}
        for name, table in result.tables.items():
            assert loaded.tables[name].equals(table)


def test_a_result_answers_questions(result: Result) -> None:
    kinds = ["monolingual", "cross-lingual", "multilingual"]
    assert list(result.summary) == kinds
    for kind in kinds:
        means = [s.measures["map"] for s in result.record.settings if s.kind == kind]
        assert result.score(kind) == pytest.approx(sum(means) / len(means))
    assert result.score("monolingual", "recall@100") > result.score("cross-lingual", "recall@100")


def test_a_result_is_a_data_frame_of_a_row_a_setting_and_measure(result: Result) -> None:
    frame = result.to_frame()
    assert list(frame.columns) == [
        "kind", "query_lang", "passage_langs", "queries", "candidates", "measure", "value",
    ]  # fmt: skip
    assert len(frame) == (3 + 6 + 3) * 6
    pool = frame[(frame.kind == "multilingual") & (frame.measure == "map")]
    assert set(pool.passage_langs) == {"ar de en"}


def test_saving_again_replaces_the_result_and_drops_a_table_that_it_has_no_more(
    result: Result, saved: Path
) -> None:
    other = result.record.model_copy(update={"notes": ["another run"]})
    without_run(replace(result, record=other)).save(saved)
    assert names(saved) == ["queries.parquet", "ranks.parquet", "result.json"]
    assert Result.load(saved).record.notes == ["another run"]


def test_a_loaded_result_can_be_saved_where_it_was_and_elsewhere(
    result: Result, saved: Path, tmp_path: Path
) -> None:
    Result.load(saved).save(saved)
    again = Result.load(saved).save(tmp_path / "copy")
    assert names(tmp_path / "copy") == names(saved) == FILES
    assert again.tables["ranks"].equals(result.tables["ranks"])


def test_the_record_can_be_read_where_tables_are_missing(saved: Path) -> None:
    for name in ("ranks", "queries", "run"):
        (saved / f"{name}.parquet").unlink()
    loaded = Result.load(saved)
    assert dict(loaded.tables) == {}
    assert loaded.score("monolingual") > 0


def test_a_damaged_table_is_said_when_it_is_asked_for(saved: Path) -> None:
    path = saved / "ranks.parquet"
    path.write_bytes(path.read_bytes()[:200])
    loaded = Result.load(saved)
    assert len(loaded.tables["queries"])
    with pytest.raises(InputError, match=r"ranks\.parquet cannot be read"):
        loaded.tables["ranks"]


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda p: p.write_text(p.read_text("utf-8")[:300], "utf-8"),
            "is not JSON, it ends too early",
        ),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"\xff\xfe{}"), "is not UTF-8 at byte 0"),
        (lambda p: p.write_text("[" * 100_000), "is nested too deeply"),
        (lambda p: p.write_text("[1]"), "has schema None, this version reads 1"),
        (lambda p: p.write_text("{}"), "has schema None, this version reads 1"),
        (lambda p: edited(p, schema=2), "has schema 2, this version reads 1"),
        (lambda p: edited(p, schema="1"), "has schema '1', this version reads 1"),
        (lambda p: edited(p, task={}), r"is not a result: task\.name: Field required; task"),
        (lambda p: edited(p, speed=9), "is not a result: speed: no such key"),
        (lambda p: p.unlink(), "is not there; name a result folder"),
        (lambda p: (p.unlink(), p.mkdir()), "cannot be read"),
    ],
)
def test_a_file_that_is_no_result_is_one_message(saved: Path, spoil: Any, words: str) -> None:
    spoil(saved / "result.json")
    with pytest.raises(InputError, match=words) as error:
        Result.load(saved)
    assert str(saved / "result.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_in_the_way_is_said(result: Result, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "mini"):
        with pytest.raises(InputError, match=r"cannot write the result .*--output"):
            result.save(folder)
        with pytest.raises(InputError, match=r"cannot write the result .*--output"):
            require_writable(folder)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_said(result: Result, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        require_writable(tmp_path / "mini")


def test_asking_whether_a_folder_is_writable_leaves_nothing_in_it(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("file", ["ranks.parquet", "result.json"])
def test_a_disk_that_fills_up_leaves_the_old_result_and_nothing_half_written(
    result: Result, saved: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    before = (saved / "result.json").read_bytes()

    def full(path: Path) -> None:
        if file in str(path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    write_table, write_text = pq.write_table, Path.write_text

    def table(content: Any, path: Path, **how: Any) -> None:
        full(path)
        write_table(content, path, **how)

    def text(path: Path, content: str, **how: Any) -> int:
        full(path)
        return write_text(path, content, **how)

    monkeypatch.setattr(pq, "write_table", table)
    monkeypatch.setattr(Path, "write_text", text)
    with pytest.raises(XlirError, match="No space left on device") as error:
        result.save(saved)
    assert error.value.exit_code == 4
    assert names(saved) == FILES
    assert (saved / "result.json").read_bytes() == before


def test_text_that_is_no_utf8_is_written_as_json_has_it(result: Result, tmp_path: Path) -> None:
    """A shell may hand over any bytes."""
    record = result.record.model_copy(update={"command": "xlir-bench run --output re\udcffs ☃"})
    without_run(Result(record, result.tables)).save(tmp_path)
    assert "☃" in (tmp_path / "result.json").read_text("utf-8")
    assert Result.load(tmp_path).record.command == "xlir-bench run --output re���s ☃"


def test_a_full_run_has_the_folder_of_its_task_and_a_part_one_of_its_own(tmp_path: Path) -> None:
    assert result_folder(tmp_path, "slug", "mini", {}) == tmp_path / "slug" / "mini"
    part = result_folder(tmp_path, "slug", "mini", {"langs": ["de"], "limit": 3})
    assert part.parent == tmp_path / "slug"
    assert part.name.startswith("mini~")
    assert part == result_folder(tmp_path, "slug", "mini", {"limit": 3, "langs": ["de"]})
    assert part != result_folder(tmp_path, "slug", "mini", {"langs": ["de"], "limit": 4})


def test_every_result_below_some_folders_is_loaded_once_and_in_order(
    result: Result, tmp_path: Path
) -> None:
    for slug in ("b", "a"):
        encoder = result.record.encoder.model_copy(update={"slug": slug})
        record = result.record.model_copy(update={"encoder": encoder})
        without_run(Result(record, result.tables)).save(tmp_path / slug / "mini")
    found = load_results([tmp_path, tmp_path / "b", tmp_path / "a" / "mini" / "result.json"])
    assert [r.record.encoder.slug for r in found] == ["a", "b"]


def test_folders_without_results_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no result\.json"):
        load_results([tmp_path])
    with pytest.raises(InputError, match="is not there"):
        load_results([tmp_path / "no such"])
    assert load_results([]) == []

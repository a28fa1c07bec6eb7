from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kills.operations import kills

from xlir_bench import Result, load_results
from xlir_bench.errors import InputError, UnknownNameError, XlirError
from xlir_bench.files import require_writable
from xlir_bench.results import ResultRecord, result_folder, store
from xlir_bench.results.store import REMEDY
from xlir_bench.results.values import RANK_DISTANCE

FILES = ["best", "queries", "ranks", "result.json", "run", "scores"]


@pytest.fixture
def result(result: Result) -> Result:
    """One with every table that there can be: runs of before kept the values of queries."""
    values = result.table("queries").combine_chunks()
    return replace(result, tables={**result.tables, "queries": values})


def names(folder: Path) -> list[str]:
    """What lies in a folder, tables without their digests."""
    return sorted(re.sub(r"-[0-9a-f]{12}\.parquet$", "", path.name) for path in folder.iterdir())


def file_of(folder: Path, table: str) -> Path:
    (path,) = folder.glob(f"{table}-*.parquet")
    return path


def of_before(folder: Path) -> None:
    """Make a saved result one of the time when tables were called by what is in them."""
    stated = json.loads((folder / "result.json").read_text("utf-8"))
    for name, file in stated.pop("tables").items():
        (folder / file).rename(folder / f"{name}.parquet")
    (folder / "result.json").write_text(json.dumps(stated), "utf-8")


def bare(result: Result) -> ResultRecord:
    """The record but for where its tables lie."""
    return result.record.model_copy(update={"tables": None})


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
        assert bare(loaded) == result.record
        assert loaded.folder == saved
        assert set(loaded.tables) == {"ranks", "queries", "run", "best", "scores"}
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
        "task", "part", "encoder", "kind", "query_lang", "passage_langs", "queries", "candidates", "measure", "value",
    ]  # fmt: skip
    assert len(frame) == (3 + 6 + 3) * 6
    pool = frame[(frame.kind == "multilingual") & (frame.measure == "map")]
    assert set(pool.passage_langs) == {"ar de en"}


def test_saving_again_replaces_the_result_and_drops_a_table_that_it_has_no_more(
    result: Result, saved: Path
) -> None:
    other = result.record.model_copy(update={"notes": ["another run"]})
    without_run(replace(result, record=other)).save(saved)
    assert names(saved) == ["queries", "ranks", "result.json"]
    assert Result.load(saved).record.notes == ["another run"]


def test_a_loaded_result_can_be_saved_where_it_was_and_elsewhere(
    result: Result, saved: Path, tmp_path: Path
) -> None:
    Result.load(saved).save(saved)
    again = Result.load(saved).save(tmp_path / "copy")
    assert names(tmp_path / "copy") == names(saved) == FILES
    assert again.tables["ranks"].equals(result.tables["ranks"])


def test_the_record_can_be_read_where_tables_are_missing(saved: Path) -> None:
    for path in saved.glob("*.parquet"):
        path.unlink()
    loaded = Result.load(saved)
    assert dict(loaded.tables) == {}
    assert loaded.score("monolingual") > 0


def test_a_damaged_table_is_said_when_it_is_asked_for(saved: Path) -> None:
    path = file_of(saved, "ranks")
    path.write_bytes(path.read_bytes()[:200])
    loaded = Result.load(saved)
    assert len(loaded.tables["queries"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    with pytest.raises(InputError, match=rf"{re.escape(str(path))}.*digest.*{digest}"):
        loaded.tables["ranks"]


def test_a_damaged_table_of_before_is_said_when_it_is_asked_for(saved: Path) -> None:
    of_before(saved)
    path = saved / "ranks.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=rf"{re.escape(str(path))} cannot be read"):
        Result.load(saved).table("ranks")


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.write_text(p.read_text("utf-8")[:300], "utf-8"), "JSON.*ends"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"\xff\xfe{}"), r"UTF-8.*byte 0\b"),
        (lambda p: p.write_text("[" * 100_000), "nested"),
        (lambda p: p.write_text("[1]"), r"schema None\b.* reads 1\b"),
        (lambda p: p.write_text("{}"), r"schema None\b.* reads 1\b"),
        (lambda p: edited(p, schema=2), r"schema 2\b.* reads 1\b"),
        (lambda p: edited(p, schema="1"), r"schema '1'.* reads 1\b"),
        (lambda p: edited(p, task={}), r"not a result: task\.name: .*required; task\."),
        (lambda p: edited(p, speed=9), "not a result: speed: no such"),
        (lambda p: p.unlink(), "is not there; .*results/<encoder>/<task>"),
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
        with pytest.raises(InputError, match=r"cannot write .*--output"):
            result.save(folder)
        with pytest.raises(InputError, match=r"cannot write .*--output"):
            require_writable(folder, REMEDY)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_said(result: Result, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        require_writable(tmp_path / "mini", REMEDY)


def test_asking_whether_a_folder_is_writable_leaves_nothing_in_it(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b", REMEDY)
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("file", ["ranks.parquet", "result.json"])
def test_a_disk_that_fills_up_leaves_the_old_result_and_nothing_half_written(
    result: Result, saved: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    before = {path: path.read_bytes() for path in saved.iterdir()}

    def full(path: Path) -> None:
        if file in str(path):
            path.write_text("half", encoding="utf-8")
            raise OSError(errno.ENOSPC, "No space left on device")

    write_table, write_bytes = pq.write_table, Path.write_bytes

    def table(content: Any, path: Path, **how: Any) -> None:
        full(path)
        write_table(content, path, **how)

    def data(path: Path, content: bytes) -> int:
        full(path)
        return write_bytes(path, content)

    monkeypatch.setattr(pq, "write_table", table)
    monkeypatch.setattr(Path, "write_bytes", data)
    with pytest.raises(XlirError, match=r"disk.*full") as error:
        other(result).save(saved)
    assert error.value.exit_code == 4
    now = {path: path.read_bytes() for path in saved.iterdir()}
    # A new table that was whole may stay until the next result is saved; what is read is the old result.
    assert before.items() <= now.items()
    assert not list(saved.glob(".*"))
    assert same(Result.load(saved), result)


def other(result: Result) -> Result:
    """Another encoder's, with other tables."""
    encoder = result.record.encoder.model_copy(update={"name": "other"})
    record = result.record.model_copy(update={"encoder": encoder})
    return Result(record, {name: result.tables[name].slice(3) for name in ("ranks", "queries")})


def short(result: Result) -> Result:
    """With a few rows of its tables."""
    return Result(result.record, {n: result.tables[n].slice(0, 9) for n in ("ranks", "queries")})


def same(loaded: Result, result: Result) -> bool:
    """Whether it is all of this result: the record, and every table that belongs to it."""
    return bare(loaded) == bare(result) and {
        name: loaded.tables[name] for name in loaded.tables
    } == dict(result.tables)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="wants fork")
@pytest.mark.parametrize("before", [False, True])
def test_whenever_a_writer_is_killed_a_reader_sees_the_old_result_or_the_new_one(
    result: Result, tmp_path: Path, before: bool
) -> None:
    old, new, folder = short(result), short(other(result)), tmp_path / "mini"

    def old_again() -> None:
        old.save(folder)
        if before:
            of_before(folder)

    old_again()
    seen = []
    for _ in kills(lambda: new.save(folder)):
        loaded = Result.load(folder)
        seen.append(loaded.record.encoder.name)
        assert same(loaded, new) if seen[-1] == "other" else same(loaded, old)
        old_again()
    assert {old.record.encoder.name, "other"} == set(seen)
    assert same(Result.load(folder), new)
    # What killed writers left is gone with the next result.
    assert len(list(folder.iterdir())) == 3


def test_a_reader_that_misses_a_table_reads_the_result_once_more(
    result: Result, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlir_bench.results import store

    read, times = store._read_record, []

    def replaced_meanwhile(file: Path) -> ResultRecord:
        record = read(file)
        if not times:
            other(result).save(saved)
        times.append(file)
        return record

    monkeypatch.setattr(store, "_read_record", replaced_meanwhile)
    assert same(Result.load(saved), other(result))
    assert len(times) == 2


def test_a_result_that_is_replaced_after_it_was_loaded_is_never_mixed(
    result: Result, saved: Path
) -> None:
    loaded = Result.load(saved)
    other(result).save(saved)
    with pytest.raises(InputError, match=r"ranks-.*\.parquet.*replaced"):
        loaded.table("ranks")


def test_two_writers_at_once_leave_one_whole_result(result: Result, tmp_path: Path) -> None:
    both = [without_run(result), other(result)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: both[i % 2].save(tmp_path), range(12)))
    assert any(same(Result.load(tmp_path), one) for one in both)
    assert names(tmp_path) == ["queries", "ranks", "result.json"]


def test_a_result_of_before_is_read_as_it_is(result: Result, saved: Path) -> None:
    of_before(saved)
    assert same(Result.load(saved), result)


def test_a_table_name_that_leaves_the_folder_is_no_result(saved: Path) -> None:
    edited(saved / "result.json", tables={"ranks": "../../ranks-0123456789ab.parquet"})
    with pytest.raises(InputError, match=r"result\.json.*: tables\.ranks"):
        Result.load(saved)


def test_ranks_alone_give_the_values_of_every_query(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path, tables=("ranks",))
    assert names(tmp_path) == ["ranks", "result.json"]
    loaded = Result.load(tmp_path)
    assert loaded.has_values
    for measure in (*result.record.options.measures, RANK_DISTANCE):
        found, wanted = (_values(r, measure) for r in (loaded, result))
        assert found == wanted
    with pytest.raises(UnknownNameError, match="map@7"):
        loaded.values("map@7")


def _values(result: Result, measure: str) -> dict[tuple[object, ...], float]:
    found = result.values(measure)
    rows = zip(found.setting, found.query, found.cluster, found.value, strict=True)
    return {
        (found.settings[s], found.query_ids[q], found.clusters[c]): float(v) for s, q, c, v in rows
    }


def test_values_that_no_rank_gives_are_kept_with_the_ranks(result: Result, tmp_path: Path) -> None:
    """Of tasks where answers decide."""
    options = result.record.options.model_copy(update={"measures": ["recall@2kt"]})
    record = result.record.model_copy(update={"options": options})
    Result(record, result.tables).save(tmp_path, tables=("ranks",))
    assert names(tmp_path) == ["queries", "ranks", "result.json"]


def test_very_many_settings_are_written_on_one_line(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_few = result.save(tmp_path / "few")
    monkeypatch.setattr(store, "READ_BY_EYE", len(result.record.settings) - 1)
    of_many = result.save(tmp_path / "many")
    few, many = (tmp_path / name / "result.json" for name in ("few", "many"))
    assert len(few.read_text("utf-8").splitlines()) > len(result.record.settings)
    assert len(many.read_text("utf-8").splitlines()) == 1
    assert Result.load(many).record == Result.load(few).record == of_few.record == of_many.record


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
    # By this name scripts find it again.
    assert re.fullmatch(r"mini~[0-9a-f]{8}", part.name)
    assert part == result_folder(tmp_path, "slug", "mini", {"limit": 3, "langs": ["de"]})
    assert part != result_folder(tmp_path, "slug", "mini", {"langs": ["de"], "limit": 4})


@pytest.mark.parametrize(
    ("changed", "is_kept"),
    [
        ({}, False),
        ({"data": None}, False),
        ({"data": "sha256:" + "1" * 64}, True),
        ({"digest": "sha256:" + "1" * 64}, True),
        ({"digest": "sha256:" + "1" * 64, "data": None}, True),
        ({"digest": "sha256:" + "1" * 64, "version": 2}, False),
        ({"digest": "sha256:" + "1" * 64, "name": "other"}, False),
    ],
)
def test_a_result_of_other_data_is_kept_beside_the_new_one(
    result: Result, saved: Path, changed: dict[str, Any], is_kept: bool
) -> None:
    """What is unknown of older results is taken for the same; another task, or a raised version, is replaced."""
    record = result.record
    task = record.task.model_copy(update={"files": {}, "data": "sha256:" + "0" * 64})
    Result(record.model_copy(update={"task": task}), result.tables).save(saved)
    new = record.model_copy(update={"task": task.model_copy(update=changed)})
    folder = store.folder_of_data(saved, new)
    assert (folder != saved) == is_kept
    if is_kept:
        assert re.fullmatch(rf"{saved.name}-[0-9a-f]{{8}}", folder.name)
    assert store.folder_of_data(saved.parent / "none", new) == saved.parent / "none"


def test_every_result_below_some_folders_is_loaded_once_and_in_order(
    result: Result, tmp_path: Path
) -> None:
    for slug in ("b", "a"):
        encoder = result.record.encoder.model_copy(update={"slug": slug})
        record = result.record.model_copy(update={"encoder": encoder})
        without_run(Result(record, result.tables)).save(tmp_path / slug / "mini")
    found = load_results([tmp_path, tmp_path / "b", tmp_path / "a" / "mini" / "result.json"])
    assert [r.record.encoder.slug for r in found] == ["a", "b"]
    assert [len(load_results(of)) for of in (tmp_path, str(tmp_path / "a"))] == [2, 1]


def test_folders_without_results_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))}.*\bno result\.json"):
        load_results([tmp_path])
    with pytest.raises(InputError, match="is not there"):
        load_results([tmp_path / "no such"])
    assert load_results([]) == []


def test_a_result_with_other_tables_has_other_values(result: Result) -> None:
    assert len(result.values("map").value) > 0
    bare = replace(result, tables={"ranks": result.tables["ranks"].slice(0, 0)})
    assert len(bare.values("map").value) == 0

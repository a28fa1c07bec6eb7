from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
import pytrec_eval

from xlir_bench import Result
from xlir_bench.errors import InputError
from xlir_bench.results.trec import write_trec


def test_lines_end_alike_on_every_system(result, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "linesep", "\r\n")
    assert all(b"\r" not in path.read_bytes() for path in write_trec(result, tmp_path))


def test_pytrec_eval_reads_the_files_and_gives_the_same_map_in_every_setting(
    result: Result, tmp_path: Path
) -> None:
    written = write_trec(result, tmp_path)
    assert len(written) == 2 * len(result.record.settings)
    for setting in result.record.settings:
        there = "all" if len(setting.passage_langs) > 1 else setting.passage_langs[0]
        path = tmp_path / setting.kind.value / f"{setting.query_lang}-{there}"
        with path.with_suffix(".qrels").open() as file:
            relevant = pytrec_eval.parse_qrel(file)
        with path.with_suffix(".run").open() as file:
            run = pytrec_eval.parse_run(file)
        judge = pytrec_eval.RelevanceEvaluator(relevant, {"map", "recip_rank", "ndcg_cut_10"})
        judged = judge.evaluate(run).values()
        assert len(judged) == setting.queries
        for ours, theirs in (("map", "map"), ("mrr", "recip_rank"), ("ndcg@10", "ndcg_cut_10")):
            mean = sum(found[theirs] for found in judged) / len(judged)
            assert mean == pytest.approx(setting.measures[ours], abs=1e-6)


def test_names_with_blanks_stay_one_column(result: Result, tmp_path: Path) -> None:
    tables = {}
    for name in ("run", "ranks"):
        table = result.tables[name].slice(0, 3)
        row = table.column_names.index("query_id")
        tables[name] = table.set_column(row, "query_id", pa.array(["a b\tc", "ü", "100%"]))
    paths = write_trec(Result(result.record, tables), tmp_path)
    for path in paths:
        lines = [line.split(" ") for line in path.read_text("utf-8").splitlines()]
        assert {len(line) for line in lines} == {6 if path.suffix == ".run" else 4}
        assert [line[0] for line in lines] == ["a%20b%09c", "%C3%BC", "100%25"]


def test_a_run_without_passages_says_how_to_keep_them(result: Result, tmp_path: Path) -> None:
    bare = Result(result.record, {"ranks": result.tables["ranks"]})
    with pytest.raises(InputError, match="--save-run"):
        write_trec(bare, tmp_path)


def test_a_folder_that_cannot_be_written_is_one_message(result: Result, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_trec(result, tmp_path / "file")

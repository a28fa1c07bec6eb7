"""Exports, each read back by the program it is for."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest
import pytrec_eval
from changed import changed, evaluated, paired_difference, stated, times
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from stored import long_codes

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.reports.export import FORMATS, mteb_record, tidy_frame, write
from xlir_bench.results import Result
from xlir_bench.results.frame import part_of
from xlir_bench.results.values import RANK_DISTANCE

NGRAM, RANDOM = "builtin:ngram", "builtin:random"


class TestTrec:
    @pytest.fixture(scope="class", name="folder")
    @staticmethod
    def written(tmp_path_factory):
        folder = tmp_path_factory.mktemp("trec")
        write("trec", [evaluated(NGRAM, save_run=10_000)], folder)
        return next(folder.glob("builtin-ngram/mini~*"))

    def test_pytrec_eval_finds_the_same_scores(self, folder):
        record = evaluated(NGRAM, save_run=10_000).record
        for setting in record.settings:
            target = setting.passage_langs[0] if len(setting.passage_langs) == 1 else "all"
            path = folder / setting.kind / f"{setting.query_lang}-{target}"
            with path.with_suffix(".qrels").open() as qrels, path.with_suffix(".run").open() as run:
                relevant = pytrec_eval.parse_qrel(qrels)
                ranked = pytrec_eval.parse_run(run)
            asked = {"map", "recip_rank", "ndcg_cut.10", "recall.10"}
            values = pytrec_eval.RelevanceEvaluator(relevant, asked).evaluate(ranked)
            for theirs, ours in {
                "map": "map", "recip_rank": "mrr", "ndcg_cut_10": "ndcg@10", "recall_10": "recall@10",
            }.items():  # fmt: skip
                mean = sum(v[theirs] for v in values.values()) / len(relevant)
                assert mean == pytest.approx(setting.measures[ours], abs=1e-6), (path, theirs)

    def test_a_result_without_its_passages_says_how_to_get_them(self, tmp_path):
        with pytest.raises(InputError, match="--save-run"):
            write("trec", [evaluated(NGRAM)], tmp_path)


class TestMteb:
    """mteb itself reads them in tests/benchmarks/mteb_reads_export.py; here is what its reader asks for."""

    def test_the_layout_of_its_result_files(self):
        record = mteb_record(evaluated(NGRAM))
        assert isinstance(record["dataset_revision"], str)
        assert record["mteb_version"] == "2.0.0"
        assert record["evaluation_time"] > 0
        when = datetime.fromtimestamp(record["date"], UTC).isoformat()
        assert when == evaluated(NGRAM).record.created
        for scores in record["scores"]["test"]:
            assert {"main_score", "hf_subset", "languages"} <= set(scores)

    def test_every_setting_is_a_subset_with_its_languages(self):
        subsets = {s["hf_subset"]: s for s in mteb_record(evaluated(NGRAM))["scores"]["test"]}
        assert len(subsets) == 12
        assert subsets["de-th"]["languages"] == ["deu-Latn", "tha-Thai"]
        assert subsets["th-th"]["languages"] == ["tha-Thai"]
        assert subsets["en-all"]["languages"] == ["eng-Latn", "deu-Latn", "tha-Thai"]

    def test_a_code_of_language_and_script_is_spelt_as_mteb_spells_it(self):
        subsets = {s["hf_subset"]: s for s in mteb_record(long_codes())["scores"]["test"]}
        assert subsets["zho_Hans-amh_Ethi"]["languages"] == ["zho-Hans", "amh-Ethi"]

    def test_measures_are_spelt_as_mteb_spells_them(self):
        first = evaluated(NGRAM).record.settings[0].measures
        scores = mteb_record(evaluated(NGRAM))["scores"]["test"][0]
        assert scores["ndcg_at_10"] == scores["main_score"] == first["ndcg@10"]
        assert scores["map"] == first["map"]

    def test_files_lie_where_its_cache_looks(self, tmp_path):
        write("mteb", [evaluated(NGRAM), evaluated(RANDOM)], tmp_path)
        found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("*/*/*.json"))
        fingerprint = evaluated(NGRAM).record.encoder.fingerprint.removeprefix("sha256:")[:16]
        assert found[0] == f"xlir-bench__builtin-ngram/{fingerprint}/model_meta.json"
        assert found[1].startswith(f"xlir-bench__builtin-ngram/{fingerprint}/xlir-bench_mini~")
        assert len(found) == 4

    @pytest.mark.parametrize("name", ["../../../etc/x", "a/b/c", "..", "a b|<c>", "org/model"])
    def test_names_stay_in_their_folder(self, tmp_path, name):
        folder = tmp_path / "out"
        written = write("mteb", [changed(evaluated(NGRAM), times(1), name)], folder)
        for path in written:
            assert path.resolve().relative_to(folder.resolve()).parts[2:]
            assert len(path.relative_to(folder).parts) == 3


def test_text_that_a_spreadsheet_would_run_is_made_harmless_in_csv_alone(tmp_path):
    result = evaluated(NGRAM)
    encoder = result.record.encoder.model_copy(update={"name": "=HYPERLINK(1)"})
    hostile = Result(result.record.model_copy(update={"encoder": encoder}), result.tables)
    made = pd.read_csv(write("csv", [hostile], tmp_path / "t.csv")[0])
    assert set(made["encoder"]) == {"'=HYPERLINK(1)"}
    assert made["value"].dtype == float
    same = pd.read_parquet(write("parquet", [hostile], tmp_path / "t.parquet")[0])
    assert set(same["encoder"]) == {"=HYPERLINK(1)"}
    assert made["value"].to_numpy() == pytest.approx(same["value"].to_numpy())


class TestModelCard:
    def test_huggingface_hub_reads_every_macro_average_back(self, tmp_path):
        results = [evaluated(NGRAM), evaluated(RANDOM)]
        paths = write("model-index", results, tmp_path)
        for path, result in zip(paths, results, strict=True):
            stated_index = ModelCard.load(path).data.to_dict()["model-index"]
            name, scores = model_index_to_eval_results(stated_index)
            assert name == result.record.encoder.name
            read = {(s.dataset_config, s.metric_type): s.metric_value for s in scores}
            assert read == {
                (kind.value, m): part.mean
                for kind, by_measure in result.summary.items()
                for m, part in by_measure.items()
            }
            assert {s.dataset_revision for s in scores} == {result.record.task.digest}

    def test_a_part_of_a_task_says_so(self, tmp_path):
        path = write("model-index", [evaluated(NGRAM)], tmp_path)[0]
        assert "de en th" in path.read_text()

    def test_results_of_one_encoder_are_one_card(self, tmp_path):
        assert (
            len(
                write(
                    "model-index", [evaluated(NGRAM), stated(evaluated(NGRAM), limit=9)], tmp_path
                )
            )
            == 1
        )

    def test_a_name_from_outside_breaks_no_yaml(self, tmp_path):
        name = "x: [y\n---\n# {<script>}"
        path = write(
            "model-index", [changed(evaluated(NGRAM), times(1), name)], tmp_path / "cards"
        )[0]
        assert path.parent == tmp_path / "cards"
        assert ModelCard.load(path).data.to_dict()["model-index"][0]["name"] == name


class TestTables:
    def test_there_is_a_row_for_each_setting_and_measure_and_for_each_kind(self):
        frame = tidy_frame([evaluated(NGRAM).record, evaluated(RANDOM).record])
        measures = len(evaluated(NGRAM).record.options.measures)
        assert (frame["level"] == "setting").sum() == 2 * 12 * measures
        assert (frame["level"] == "kind").sum() == 2 * 3 * measures
        keys = ["slug", "level", "kind", "query_lang", "passage_lang", "measure"]
        assert not frame.duplicated(keys).any()

    def test_rows_of_a_kind_carry_their_interval(self):
        frame = tidy_frame([evaluated(NGRAM).record])
        of_kind = frame[frame["level"] == "kind"].set_index(["kind", "measure"])
        row = of_kind.loc[("cross-lingual", "map")]
        part = evaluated(NGRAM).summary["cross-lingual"]["map"]
        assert (row["value"], row["low"], row["high"]) == (part.mean, part.low, part.high)
        assert frame.loc[frame["level"] == "setting", "low"].isna().all()

    @pytest.mark.parametrize("form", ["csv", "parquet"])
    def test_pandas_reads_the_same_back(self, tmp_path, form):
        path = write(form, [evaluated(NGRAM)], tmp_path / "deep" / f"t.{form}")[0]
        # As text: before pandas 3 the last bit of a number was not always read.
        text = {"value": str}
        read = pd.read_csv(path, dtype=text) if form == "csv" else pd.read_parquet(path)
        expected = tidy_frame([evaluated(NGRAM).record])
        assert list(read.columns) == list(expected.columns)
        assert read["value"].map(float).tolist() == expected["value"].tolist()
        assert read["passage_lang"].dropna().tolist() == expected["passage_lang"].dropna().tolist()

    def test_the_same_results_give_the_same_bytes(self, tmp_path):
        first, second = (
            write("csv", [evaluated(NGRAM)], tmp_path / name)[0].read_bytes() for name in "ab"
        )
        assert first == second
        assert b"\r" not in first

    def test_a_part_of_a_task_says_so(self):
        record = evaluated(NGRAM).record
        assert set(tidy_frame([record])["part"]) == {part_of(record)}
        assert "de en th" in part_of(record)


class TestResult:
    """What a repository keeps: the record, and of the tables the ranks alone."""

    def test_its_ranks_are_enough_for_every_comparison(self, tmp_path):
        results = [evaluated(NGRAM), evaluated(RANDOM)]
        write("result", results, tmp_path)
        kept = [
            Result.load(next(tmp_path.glob(f"builtin-{n}/mini~*"))) for n in ("ngram", "random")
        ]
        assert {f.name.partition("-")[0] for f in tmp_path.rglob("*.*")} == {"result.json", "ranks"}
        for measure in ("map", "recall@1", RANK_DISTANCE):
            found, expected = (
                paired_difference(*pair, Kind.MULTILINGUAL, measure) for pair in (kept, results)
            )
            assert found.difference == pytest.approx(expected.difference)
            assert found.p == pytest.approx(expected.p)

    def test_the_same_result_is_the_same_bytes(self, tmp_path):
        first, second = (write("result", [evaluated(NGRAM)], tmp_path / name) for name in "ab")
        assert [f.name for f in first] == [f.name for f in second]
        assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]

    def test_the_speeds_and_costs_that_were_published_of_an_encoder_stay(self, tmp_path):
        result = evaluated(NGRAM)
        published = result.record.profile
        assert (published.encoded_texts, published.cached_texts) == (651, 0)
        write("result", [result], tmp_path)
        slow = published.model_copy(update={"seconds": {"encode": 1000.0}})
        again = replace(result, record=result.record.model_copy(update={"profile": slow}))
        path = write("result", [again], tmp_path)[0]
        assert Result.load(path.parent).record.profile == published
        encoder = result.record.encoder.model_copy(update={"fingerprint": "sha256:" + "1" * 64})
        other = replace(again, record=again.record.model_copy(update={"encoder": encoder}))
        path = write("result", [other], tmp_path)[0]
        assert Result.load(path.parent).record.profile == slow

    def test_tables_of_before_go(self, tmp_path):
        folder = write("result", [evaluated(NGRAM)], tmp_path)[0].parent
        for name in ("ranks", "queries"):
            (folder / f"{name}.parquet").write_bytes(b"old")
        write("result", [evaluated(NGRAM)], tmp_path)
        assert [f.suffix for f in sorted(folder.iterdir())] == [".parquet", ".json"]


def test_the_values_of_queries_are_those_of_the_means(tmp_path):
    result = evaluated(NGRAM)
    (path,) = write("queries", [result], tmp_path)
    frame = pd.read_parquet(path)
    means = frame.groupby(["query_lang", "passage_lang", "measure"], observed=True)["value"].mean()
    for s in result.record.settings:
        there = "*" if len(s.passage_langs) > 1 else s.passage_langs[0]
        for measure, value in s.measures.items():
            assert means[s.query_lang, there, measure] == pytest.approx(value)


def test_latex_is_a_tabular_with_the_best_in_bold_and_intervals_below(tmp_path):
    ngram, random = (evaluated(f"builtin:{name}") for name in ("ngram", "random"))
    part = stated(random, limit=5)
    text = write("latex", [ngram, random, part], tmp_path / "t.tex")[0].read_text("utf-8")
    assert text.count(r"\toprule") == 2
    best = ngram.summary["monolingual"]["map"]
    assert f"\\textbf{{{best.mean:.4f}}}".replace("0.", ".") in text
    assert f"{best.low:.4f} to {best.high:.4f}".replace("0.", ".") in text
    assert text.count(r"\textbf") == 4  # three kinds, and the rank distance of the other encoder
    assert "first 5 queries" in text


def test_an_unknown_format_gets_a_near_miss(tmp_path):
    with pytest.raises(UnknownNameError, match=r"'parket'.*'parquet'"):
        write("parket", [evaluated(NGRAM)], tmp_path)


@pytest.mark.parametrize("form", ["trec", "mteb", "queries", "result"])
def test_two_results_never_take_one_place(tmp_path, form):
    result = evaluated(NGRAM, save_run=10_000)
    with pytest.raises(
        InputError, match=rf"two results.*{re.escape(str(tmp_path))}.*builtin-ngram"
    ):
        write(form, [result, result], tmp_path)


@pytest.mark.parametrize("form", sorted({*FORMATS} - {"eval-yaml"}))  # of whole runs alone
def test_a_place_that_cannot_be_written_is_told(tmp_path, form):
    (tmp_path / "file").write_text("")
    dataset = "a/dataset" if form == "hf" else None
    with pytest.raises(InputError, match="cannot write"):
        write(form, [evaluated(NGRAM, save_run=10_000)], tmp_path / "file" / "below", dataset)


def test_no_number_is_lost_in_json(tmp_path):
    path = write("mteb", [evaluated(NGRAM)], tmp_path)[0]
    values = json.loads(path.read_text())["scores"]["test"]
    assert all(math.isfinite(row["main_score"]) for row in values)

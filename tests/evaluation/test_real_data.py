from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from evaluation.plain import Plain, Signs, assert_equals_plain, settings_of

from xlir_bench import Kind, Result, RunOptions, evaluate
from xlir_bench.tasks import catalogue

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at this machine's cache."""
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))


# Half a minute: 26,000 texts, 140 million scores of which a tenth are ties, and all of them sorted once more.
def test_xquad_r_equals_a_plain_computation_in_all_132_settings(xlir_data: Path) -> None:
    options = RunOptions(cache=None, data=xlir_data)
    result = evaluate("xquad-r", Signs(), options)
    assert len(result.record.settings) == 132
    assert {s.queries for s in result.record.settings} == {1190}
    (task,) = catalogue().get(["xquad-r"])
    plain = Plain({x: xlir_data / file.path for x, file in task.files.items()}, Signs())
    assert_equals_plain(result, plain)
    distance = result.record.bias["rank_distance"]
    assert distance.chance == pytest.approx(10_845.83, abs=0.01)
    assert_equals_pytrec_eval(result, queries=40)


def assert_equals_pytrec_eval(result: Result, queries: int) -> None:
    """Its values for some queries of some settings, fed with the ranks that were found."""
    ranks = result.tables["ranks"].to_pandas()
    values = result.table("queries").to_pandas()
    names = {
        "map": "map",
        "mrr": "recip_rank",
        "ndcg@10": "ndcg_cut_10",
        "recall@100": "recall_100",
    }
    for kind, query_lang in (("monolingual", "th"), ("multilingual", "en")):
        mine = ranks[(ranks.kind == kind) & (ranks.query_lang == query_lang)]
        chosen = mine.query_id.unique()[:queries]
        run: dict[str, dict[str, float]] = {}
        relevant: dict[str, dict[str, int]] = {}
        for name, rows in mine[mine.query_id.isin(chosen)].groupby("query_id", observed=True):
            at = dict(zip(rows["rank"], rows["passage_id"], strict=True))
            depth = max(at)
            run[name] = {at.get(r, f"other {r}"): float(depth - r) for r in range(1, depth + 1)}
            relevant[name] = dict.fromkeys(rows["passage_id"], 1)
        judged = pytrec_eval.RelevanceEvaluator(
            relevant, set(names.values()) | {"ndcg_cut", "recall"}
        )
        theirs = judged.evaluate(run)
        ours = values[(values.kind == kind) & (values.query_lang == query_lang)]
        for measure, name in names.items():
            found = ours[ours.measure == measure].set_index("query_id")["value"]
            for query in chosen:
                assert found[query] == pytest.approx(theirs[query][name], abs=1e-6)


def test_mlqa_r_runs_all_56_settings(xlir_data: Path) -> None:
    options = RunOptions(cache=None, data=xlir_data, measures=("mrr", "recall@100"))
    result = evaluate("mlqa-r", "builtin:ngram", options)
    settings = settings_of(result)
    assert len(settings) == 56
    assert settings["en", "en"].queries == 1148
    assert settings["en", "*"].candidates == sum(
        settings[x, x].candidates for x in ("ar", "de", "en", "es", "hi", "vi", "zh")
    )
    assert all(s.measures["recall@100"] > 100 / s.candidates for s in settings.values())
    cross = {key: s.queries for key, s in settings.items() if s.kind == Kind.CROSS_LINGUAL}
    assert 0 < min(cross.values()) < max(cross.values()) < 1148
    left_out = [settings[lang, lang].queries - queries for (lang, _), queries in cross.items()]
    told = rf"^{sum(left_out):,} queries .*\b{np.count_nonzero(left_out)} settings "
    assert any(re.search(told, note) for note in result.record.notes)


def test_a_real_encoder_gives_the_figures_that_the_leaderboards_have_of_it(minilm: Path) -> None:
    found = settings_of(evaluate("mini", str(minilm), RunOptions(langs=("en",))))
    (stored,) = LEADERBOARDS.glob("results/all-MiniLM-L6-v2-*/mini")
    known = settings_of(Result.load(stored))["en", "en"].measures
    assert found["en", "en"].measures == pytest.approx(known, abs=1e-4)

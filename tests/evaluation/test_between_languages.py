from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from evaluation.plain import Plain, Signs, mini_files, small

from xlir_bench import Kind, Result, Setting, evaluate
from xlir_bench.cli import exit_code
from xlir_bench.evaluation import unions
from xlir_bench.measures import PoolRanking
from xlir_bench.records import Ranking
from xlir_bench.rendering.document import render
from xlir_bench.rendering.numbers import number
from xlir_bench.reports.tables import report
from xlir_bench.results.schema import AlignmentPart
from xlir_bench.tasks import catalogue


class Shifted:
    """`Signs` with a part of each vector that says the language, as far as the script shows it."""

    name, fingerprint, dimension = "shifted", "sha256:" + "7" * 64, 258

    def encode(self, texts: list[str], role: str) -> np.ndarray:
        latin = np.array([all(ord(c) < 0x250 for c in text) for text in texts], np.float32)
        language = 3 * np.stack([latin, 1 - latin], axis=1)
        return np.concatenate([Signs(256).encode(texts, role) / 16, language], axis=1)


@pytest.fixture(scope="module")
def found() -> Result:
    return evaluate("mini", Shifted(), small(langs=("el", "en"), alignment=True))


def unit(texts: list[str]) -> np.ndarray:
    rows = Shifted().encode(texts, "query").astype(float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def stated(lang: str) -> list[dict]:
    articles = json.loads(mini_files()[lang].read_text("utf-8"))["data"]
    return [paragraph for article in articles for paragraph in article["paragraphs"]]


def test_questions_are_aligned_by_their_ids(found: Result) -> None:
    asked = {x: {q["id"]: q["question"] for p in stated(x) for q in p["qas"]} for x in ("el", "en")}
    cosines = unit(list(asked["el"].values())) @ unit([asked["en"][n] for n in asked["el"]]).T
    part = found.record.alignment.questions["el-en"]
    same = np.eye(len(cosines), dtype=bool)
    assert part.items == 72
    assert part.translations == pytest.approx(cosines[same].mean(), abs=1e-5)
    assert part.others == pytest.approx(cosines[~same].mean(), abs=1e-5)
    assert part.margin == pytest.approx(part.translations - part.others)
    names = list(asked["en"])
    scores = unit(list(asked["el"].values())) @ unit(list(asked["en"].values())).T
    hits = [names[line.argmax()] == name for name, line in zip(asked["el"], scores, strict=True)]
    assert part.recall["recall@1"] == pytest.approx(np.mean(hits), abs=2 / 72)


def test_answers_are_the_relevant_sentences_each_text_once(found: Result) -> None:
    sentences = {}
    for lang in ("el", "en"):
        for p in stated(lang):
            for q in p["qas"]:
                start = q["answers"][0]["answer_start"]
                (text,) = (
                    s
                    for s, (first, last) in zip(p["sentences"], p["sentence_breaks"], strict=True)
                    if first <= start < last
                )
                sentences[lang, q["id"]] = text
    pairs = {
        (text, sentences["en", name]) for (lang, name), text in sentences.items() if lang == "el"
    }
    part = found.record.alignment.answers["el-en"]
    assert part.items == len({left for left, _ in pairs})
    cosines = [float((unit([left]) * unit([right])).sum()) for left, right in pairs]
    assert part.translations == pytest.approx(np.mean(cosines), abs=1e-5)


def test_a_language_part_of_the_vectors_is_seen_and_can_be_taken_out(found: Result) -> None:
    part = found.record.alignment
    assert part.language_variance["passage"] > 0.7
    assert min(part.anisotropy["query"].values()) > 0.8
    assert set(part.anisotropy["passage"]) == {"el", "en"}
    before = found.record.summary
    assert part.map_without_centroids[Kind.MULTILINGUAL] > before[Kind.MULTILINGUAL]["map"].mean
    assert set(part.map_without_centroids) == set(Kind)
    assert part.hubness is not None


def test_map_without_centroids_equals_a_plain_computation(found: Result) -> None:
    class Centred:
        def encode(self, texts: list[str], role: str) -> np.ndarray:
            rows = unit(texts)
            return rows - rows.mean(axis=0)

    plain = Plain({x: mini_files()[x] for x in ("el", "en")}, Centred())
    maps = []
    for asked, sought in (("el", "en"), ("en", "el")):
        best, worst = plain.bounds(asked, (sought,))
        assert np.mean(1 / best) - np.mean(1 / worst) < 1e-3
        maps.append(np.mean(1 / best))
    value = found.record.alignment.map_without_centroids[Kind.CROSS_LINGUAL]
    assert value == pytest.approx(np.mean(maps), abs=1e-3)


def test_the_tables_show_it_and_only_when_it_was_asked_for(
    found: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    value = found.record.alignment.map_without_centroids[Kind.CROSS_LINGUAL]
    assert re.search(
        f"cross-lingual map .*centroids: {number(value)}", render(report(found.record))
    )
    assert re.search("question .*translation", render(report(found.record)))
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    asked = ["run", "--model", "builtin:ngram", "--langs", "de,en", "--output", str(tmp_path)]
    assert exit_code(asked) == 0
    assert "centroids" not in capsys.readouterr().out
    assert exit_code([*asked, "--alignment"]) == 0
    assert "centroids" in capsys.readouterr().out
    again = Result.load(next(tmp_path.glob("builtin-ngram/mini~*")))
    assert again.record.alignment.questions["de-en"].items == 72
    assert "centroids" in render(report(again.record), "markdown")


def test_without_it_a_result_has_an_empty_part() -> None:
    assert evaluate("mini", Signs(), small()).record.alignment == AlignmentPart()


def test_a_task_without_translations_gives_cosines_of_queries_with_passages(
    xlir_data: Path,
) -> None:
    options = small(langs=("en", "ko"), alignment=True, data=xlir_data, limit=40)
    record = evaluate("tydiqa-goldp", Signs(), options).record
    assert record.alignment.questions == record.alignment.answers == {}
    assert set(record.alignment.relevance) == {"en-en", "ko-ko"}
    assert record.alignment.relevance["en-en"].relevant > record.alignment.relevance["en-en"].others
    assert "cosine with relevant" in render(report(record))


def test_parallel_text_is_aligned_without_answers(tmp_path: Path) -> None:
    lines = [{"id": n, "text": {"de": f"Satz {n}", "en": f"Sentence {n}"}} for n in range(12)]
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    (task,) = catalogue().get([f"parallel:{path}"])
    part = evaluate(task, Signs(), small(alignment=True)).record.alignment
    assert part.questions["de-en"].items == 12
    assert part.answers == {}
    assert part.hubness is None


def test_scores_of_translations_are_correlated_over_what_either_puts_first() -> None:
    langs = ("de", "el", "en")
    record = evaluate("mini", Signs(), small(langs=langs, alignment=True, limit=9)).record
    files = {x: mini_files()[x] for x in langs}
    plain = Plain(files, Signs())
    for k in (5, 20):
        by_lang: dict[str, list[float]] = {x: [] for x in langs}
        scores = {x: plain._scores(x, langs) for x in langs}
        for row in range(9):
            best = {x: np.argsort(-scores[x][row], kind="stable")[:k] for x in langs}
            for lang in langs:
                correlations = []
                for other in langs:
                    union = sorted({*best[lang].tolist(), *best[other].tolist()})
                    a, b = scores[lang][row][union], scores[other][row][union]
                    if other != lang and len(set(a)) > 1 and len(set(b)) > 1:
                        correlations.append(scipy.stats.spearmanr(a, b).statistic)
                by_lang[lang].append(float(np.mean(correlations)))
        figure = record.bias[f"mrc@{k}"]
        assert figure.by_query_lang == pytest.approx(
            {x: np.mean(v) for x, v in by_lang.items()}, abs=1e-9
        )
        assert figure.low < figure.mean < figure.high


def recomputed(result: Result, k: int) -> dict[str, float]:
    """MRC@k from the tables that a result stores, by query language."""
    best, scores = (
        result.tables[name].to_pandas().astype({"query_lang": str, "query_id": str})
        for name in ("best", "scores")
    )
    passage = ["passage_lang", "passage_id"]
    first = {
        asked: set(map(tuple, rows[passage].to_numpy()))
        for asked, rows in best[best["rank"] <= k].groupby(["query_lang", "query_id"])
    }
    given = {
        asked: dict(zip(map(tuple, rows[passage].to_numpy()), rows["score"], strict=True))
        for asked, rows in scores.groupby(["query_lang", "query_id"])
    }
    by_lang: dict[str, list[float]] = {}
    for lang, name in first:
        correlations = []
        for other, of_other in first:
            if of_other == name and other != lang:
                union = sorted(first[lang, name] | first[other, name])
                a, b = ([given[x, name][one] for one in union] for x in (lang, other))
                if len(set(a)) > 1 and len(set(b)) > 1:
                    correlations.append(scipy.stats.spearmanr(a, b).statistic)
        if correlations:
            by_lang.setdefault(lang, []).append(float(np.mean(correlations)))
    return {lang: float(np.mean(values)) for lang, values in by_lang.items()}


@pytest.mark.parametrize("spec", ["builtin:ngram", "builtin:bm25"])
def test_correlations_of_scores_follow_from_what_a_run_stores(spec: str, tmp_path: Path) -> None:
    evaluate("mini", spec, small(langs=("de", "en", "zh"), limit=12)).save(tmp_path)
    result = Result.load(tmp_path)
    for k in (5, 20):
        figure = result.record.bias[f"mrc@{k}"]
        assert figure.by_query_lang == pytest.approx(recomputed(result, k), abs=1e-9)


class Drawn:
    """An index of twelve passages whose scores are drawn; it keeps what it was asked for."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.drawn = rng.integers(0, 6, (3, 8, 12)).astype(float)
        self.asked: dict[str, set[int]] = {}

    def scores(self, setting: Setting, query: np.ndarray, positions: np.ndarray) -> np.ndarray:
        self.asked.setdefault(setting.query_lang, set()).update(query.tolist())
        return self.drawn[("de", "el", "en").index(setting.query_lang), query, positions]


@pytest.mark.parametrize("seed", range(4))
def test_lists_of_any_length_are_correlated_and_questions_alone_are_not_scored(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    index, pools, best = Drawn(rng), [], {}
    names = {"de": "abcdefgh", "el": "hgfexyzw", "en": "cdefghuv"}
    for n, (lang, ids) in enumerate(names.items()):
        top = np.argsort(-index.drawn[n], axis=1, kind="stable")[:, :6]
        top[rng.random(top.shape) < 0.3] = -1
        if seed == 3 and lang == "el":
            top[:] = -1
        best[lang] = {x: [p for p in row if p >= 0] for x, row in zip(ids, top, strict=True)}
        setting, rows = Setting(lang, ("de", "en")), np.arange(8)
        ranking = Ranking(setting, 12, rows, rows, rows, rows, top)
        pools.append(PoolRanking(ranking, tuple(ids), {"de": 7, "en": 5}, rows))
    monkeypatch.setattr(unions, "CORRELATED", (6,))
    monkeypatch.setattr(unions, "scores_table", lambda scored, _: scored)
    found, _ = unions.score_correlations(pools, index, None, many=False)
    for n, (lang, ids) in enumerate(names.items()):
        wanted = {}
        for row, name in enumerate(ids):
            correlations = []
            for m, (other, others) in enumerate(names.items()):
                if other != lang and name in others:
                    union = sorted({*best[lang][name], *best[other][name]})
                    a, b = index.drawn[n, row, union], index.drawn[m, others.index(name), union]
                    if len(set(a)) > 1 and len(set(b)) > 1:
                        correlations.append(scipy.stats.spearmanr(a, b).statistic)
            if correlations:
                wanted[row] = np.mean(correlations)
        view = found["mrc@6"][lang]
        assert dict(zip(view.query.tolist(), view.value, strict=True)) == pytest.approx(wanted)
        shared = {row for row, x in enumerate(ids) if sum(x in y for y in names.values()) > 1}
        assert index.asked[lang] <= shared


def test_more_scores_than_can_be_held_are_asked_for_in_turns_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def figures(**more: bool) -> tuple[dict[str, object], bool]:
        result = evaluate("mini", Signs(), small(langs=("de", "el", "en"), limit=9, **more))
        found = {name: view for name, view in result.record.bias.items() if "mrc" in name}
        return found, "scores" in result.tables

    whole, kept = figures()
    assert len(whole) == 3
    assert kept
    monkeypatch.setattr(unions, "AT_ONCE", 100)
    assert figures() == (whole, False)
    monkeypatch.setattr(unions, "UNASKED", 26)
    assert figures() == ({}, False)
    assert figures(alignment=True) == (whole, False)


def test_the_affinity_has_an_interval_over_articles(found: Result) -> None:
    part = found.record.alignment
    for kind in ("questions", "answers"):
        low, high = part.affinity_interval[kind]
        value, chance = part.affinity[kind]
        assert chance is not None
        assert 0 <= low < value < high <= 1
    shown = render(report(found.record))
    assert f"95 % {f'{low:.4f}'.lstrip('0')} to" in shown

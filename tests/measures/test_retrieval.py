from __future__ import annotations

import re
import subprocess
import sys
from math import log2

import numpy as np
import pytest
import pytrec_eval

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.measures import check_measures, retrieval, score
from xlir_bench.records import Ranking, Setting

MEASURES = (
    "map", "mrr", "ndcg", "ndcg_burges", "dcg", "dcg_burges", "r-precision", "rbp.80", "rbp.5",
    "map@3", "mrr@3", "ndcg@1", "ndcg@10", "ndcg_burges@10", "dcg@10", "dcg_burges@3",
    "recall@1", "recall@10", "recall@100", "precision@1", "precision@10", "precision@100",
    "hit_rate@1", "hit_rate@10", "hits@10", "f1@1", "f1@10",
)  # fmt: skip
Answers = dict[int, tuple[int, int]]
"""Of one query: grade and rank (0: not retrieved) by passage."""


def plain(measure: str, answers: Answers) -> float:
    """The measure by its definition, for one query."""
    name, _, cut = measure.partition("@")
    k = int(cut) if cut else 10**9
    grades = sorted((grade for grade, _ in answers.values()), reverse=True)
    hits = sorted((rank, grade) for grade, rank in answers.values() if 0 < rank <= k)
    ranks, count = [rank for rank, _ in hits], len(answers)
    if name == "map":
        return sum((i + 1) / rank for i, rank in enumerate(ranks)) / count
    if name == "mrr":
        return 1 / ranks[0] if ranks else 0.0
    if name.removesuffix("_burges") in ("ndcg", "dcg"):
        gain = (lambda g: 2**g - 1) if name.endswith("_burges") else float
        found = sum(gain(grade) / log2(rank + 1) for rank, grade in hits)
        ideal = sum(gain(grade) / log2(i + 2) for i, grade in enumerate(grades[:k]))
        return found / ideal if name.startswith("n") else found
    if name == "r-precision":
        return sum(rank <= count for rank in ranks) / count
    if name.startswith("rbp."):
        p = float("0." + name.removeprefix("rbp."))
        return (1 - p) * sum(grade * p ** (rank - 1) for rank, grade in hits)
    precision, recall = len(hits) / k, len(hits) / count
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {
        "recall": recall,
        "precision": precision,
        "hit_rate": float(bool(hits)),
        "hits": float(len(hits)),
        "f1": f1,
    }[name]


def random_answers(seed: int, queries: int, candidates: int, missed: float = 0.0) -> list[Answers]:
    """Graded answers at random places; the first passage of the pool is often among them."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(queries):
        count = int(rng.integers(1, min(8, candidates) + 1))
        passages = rng.choice(min(candidates, 20), min(count, candidates), replace=False)
        ranks = rng.choice(candidates, len(passages), replace=False) + 1
        ranks = np.where(rng.random(len(passages)) < 0.3, np.argsort(ranks) + 1, ranks)
        if len(set(ranks)) < len(ranks):
            ranks = np.argsort(passages) + 1
        ranks = np.where(rng.random(len(passages)) < missed, 0, ranks)
        grades = rng.integers(1, 4, len(passages))
        found.append(
            {int(p): (int(g), int(r)) for p, g, r in zip(passages, grades, ranks, strict=True)}
        )
    return found


def ranking(answers: list[Answers], candidates: int, rows: list[int] | None = None) -> Ranking:
    table = [
        (row, passage, *found)
        for row, query in zip(rows or range(len(answers)), answers, strict=True)
        for passage, found in sorted(query.items())
    ]
    query, passage, grade, rank = np.array(table, np.int64).reshape(-1, 4).T
    return Ranking(Setting("en", ("de",)), candidates, query, passage, grade, rank)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_is_what_its_definition_says(measure: str) -> None:
    answers = random_answers(0, 60, 150)
    (found,) = score([ranking(answers, 150)], [measure])
    np.testing.assert_allclose(found.values[measure], [plain(measure, a) for a in answers])


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_exceeds_1_for_a_perfect_ranking_only_where_its_bounds_say_so(
    measure: str,
) -> None:
    perfect = {passage: (3, passage + 1) for passage in range(6)}
    (found,) = score([ranking([perfect], 150)], [measure])
    assert (found.values[measure][0] > 1 + 1e-9) == (retrieval.bounds_of(measure)[1] > 1)


@pytest.mark.parametrize("queries", [1, 2, 9, 10, 11])
@pytest.mark.parametrize("candidates", [1, 5, 40])
def test_few_queries_and_few_candidates_are_scored_like_many(queries: int, candidates: int) -> None:
    answers = random_answers(queries, queries, candidates)
    (found,) = score([ranking(answers, candidates)], MEASURES)
    for measure in MEASURES:
        np.testing.assert_allclose(found.values[measure], [plain(measure, a) for a in answers])


def test_what_was_not_retrieved_counts_nothing() -> None:
    answers = [*random_answers(3, 40, 60, missed=0.5), {0: (1, 0)}, {0: (2, 0), 7: (1, 0)}]
    (found,) = score([ranking(answers, 60)], MEASURES)
    for measure in MEASURES:
        np.testing.assert_allclose(found.values[measure], [plain(measure, a) for a in answers])
        assert found.values[measure][-2:].tolist() == [0, 0]


def test_the_first_passage_of_the_pool_is_no_special_one() -> None:
    """Lists of relevant passages are filled up to one length: with id 0, its nDCG would be .61 here."""
    answers: list[Answers] = [{0: (1, 1)}, {5: (1, 1), 7: (1, 2)}]
    (found,) = score([ranking(answers, 9)], ["ndcg@10", "ndcg", "map"])
    assert [v.tolist() for v in found.values.values()] == [[1, 1]] * 3


def test_rankings_of_different_depth_and_size_are_scored_together_and_apart_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = [(30, 8), (5, 400), (1, 3), (12, 3000)]
    answers = [random_answers(i, *size) for i, size in enumerate(sizes)]
    rankings = [ranking(a, size) for a, (_, size) in zip(answers, sizes, strict=True)]
    rankings.insert(2, ranking([], 4))
    together = score(rankings, MEASURES)
    for bound, value in (("CHUNK_PLACES", 1), ("ROWS", 1)):
        with monkeypatch.context() as changed:
            changed.setattr(retrieval, bound, value)
            apart = score(rankings, MEASURES)
        for one, again in zip(together, apart, strict=True):
            for measure in MEASURES:
                np.testing.assert_array_equal(one.values[measure], again.values[measure])
    for alone, found in zip(rankings, together, strict=True):
        assert found.candidates == alone.candidates
        np.testing.assert_array_equal(found.query, alone.scored)
        for measure in MEASURES:
            np.testing.assert_allclose(
                found.values[measure], score([alone], [measure])[0].values[measure], rtol=1e-12
            )


def test_values_come_by_query_row_and_only_for_queries_with_an_answer() -> None:
    answers: list[Answers] = [{1: (1, 4)}, {2: (1, 1)}]
    (found,) = score([ranking(answers, 9, rows=[3, 8])], ["mrr"])
    assert found.query.tolist() == [3, 8]
    assert found.values["mrr"].tolist() == [0.25, 1]


def test_no_rankings_and_no_queries_have_no_values() -> None:
    assert score([], ["map", "recall@10"]) == []
    (found,) = score([ranking([], 9)], ["map", "recall@10"])
    assert {m: len(v) for m, v in found.values.items()} == {"map": 0, "recall@10": 0}


def test_pytrec_eval_gives_the_same_values() -> None:
    candidates, names = 250, {
        "map": "map", "mrr": "recip_rank", "ndcg@10": "ndcg_cut_10", "recall@100": "recall_100",
        "precision@10": "P_10", "hit_rate@10": "success_10", "r-precision": "Rprec",
        "ndcg": "ndcg", "map@10": "map_cut_10",
    }  # fmt: skip
    answers = random_answers(7, 50, candidates)
    rng = np.random.default_rng(7)
    runs, relevant = {}, {}
    for row, query in enumerate(answers):
        at = {rank: passage for passage, (_, rank) in query.items()}
        others = iter(p for p in rng.permutation(candidates) if p not in query)
        order = [at.get(rank + 1) if rank + 1 in at else next(others) for rank in range(candidates)]
        runs[str(row)] = {f"p{p}": float(candidates - rank) for rank, p in enumerate(order)}
        relevant[str(row)] = {f"p{passage}": grade for passage, (grade, _) in query.items()}
    judge = pytrec_eval.RelevanceEvaluator(relevant, pytrec_eval.supported_measures)
    judged = judge.evaluate(runs)
    (found,) = score([ranking(answers, candidates)], list(names))
    for measure, theirs in names.items():
        wanted = [judged[str(row)][theirs] for row in range(len(answers))]
        np.testing.assert_allclose(found.values[measure], wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["map", "mrr", "map@7", "mrr@7", "recall@1", "recall@100"])
def test_what_follows_from_ranks_is_what_ranx_gives_to_the_bit(name: str) -> None:
    answers = [*random_answers(11, 300, 5000, missed=0.2), {0: (1, 0)}]
    (found,) = score([ranking(answers, 5000)], [name])
    run = np.full((len(answers), 5000, 1), -1.0)
    relevant = np.full((len(answers), max(map(len, answers)), 2), retrieval.PADDING)
    for row, query in enumerate(answers):
        for column, (passage, (grade, rank)) in enumerate(query.items()):
            relevant[row, column] = passage, grade
            if rank:
                run[row, rank - 1] = passage
    by_ranx = retrieval._ranx_function(name)(relevant, run)
    assert found.values[name].tolist() == by_ranx.tolist()


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_what_was_not_retrieved_counts_last_in_ranks_of_any_width(kind: type) -> None:
    query, rank = np.array([0, 0, 0]), np.array([0, 4, 2], kind)
    assert retrieval.average_precision(query, rank).tolist() == [(1 / 2 + 2 / 4) / 3]


def test_the_threads_of_numba_are_left_as_they_were() -> None:
    import numba

    before = numba.get_num_threads()
    score([ranking([{0: (1, 1)}], 3)], ["map"])
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("measure", MEASURES)
def test_every_supported_name_is_accepted(measure: str) -> None:
    assert check_measures([measure]) == (measure,)


def test_a_measure_that_is_asked_for_twice_is_given_once() -> None:
    assert check_measures(["map", "mrr", "map"]) == ("map", "mrr")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["mapp"], ["'mapp'", "'map'"]),
        (["recal@10"], ["'recal@10'", "'recall@10'"]),
        (["precison@5", "mrrr"], ["'precison@5'", "'precision@10'", "'mrrr'"]),
        (["ndcg@0"], ["'ndcg@0'"]),
        (
            ["ndcg@-1", "ndcg@1.5", "ndcg@", "@10", ""],
            ["'ndcg@-1'", "'ndcg@1.5'", "'@10'", "measure ''"],
        ),
        (["r-precision@5", "rbp"], ["'r-precision@5'", "'rbp'"]),
        (["map-l2"], ["'map-l2'"]),
        (["recall", "mapp"], ["'recall'", "'recall@10'", "'mapp'"]),
        (["map@99999999"], ["'map@99999999'"]),
        (["map\n"], ["'map\\n'"]),
    ],
)
def test_unknown_measures_are_reported_together(names: list[str], words: list[str]) -> None:
    with pytest.raises(UnknownNameError) as error:
        check_measures(["map", *names])
    assert all(word in str(error.value) for word in words)
    assert error.value.exit_code == 2


def test_measures_that_want_a_cut_off_say_so() -> None:
    with pytest.raises(InputError) as error:
        check_measures(["recall", "f1"])
    assert error.value.exit_code == 2
    told = str(error.value).split("; ")
    assert all("cut-off" in each for each in told)
    assert [re.findall("'(.*?)'", each) for each in told] == [
        ["recall", "recall@10"],
        ["f1", "f1@10"],
    ]


def test_no_measure_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no measure.*--measures"):
        check_measures([])


def test_ranx_is_imported_only_when_something_is_scored() -> None:
    program = "import sys, xlir_bench.measures\nassert not {'ranx', 'numba', 'pandas', 'torch', 'faiss'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_scoring_does_not_wait_for_the_parts_of_ranx_that_it_does_not_use() -> None:
    """And leaves the whole of ranx to those who import it afterwards."""
    program = (
        "import sys\n"
        "from xlir_bench.measures import score\n"
        "assert score([], ['map', 'ndcg@10']) == []\n"
        "assert 'numba' in sys.modules\n"
        "assert not {'ranx', 'matplotlib', 'scipy.stats', 'ir_datasets'} & set(sys.modules)\n"
        "from ranx import Qrels, Run, evaluate\n"
        "found = evaluate(Qrels({'q': {'a': 1}}), Run({'q': {'b': 2.0, 'a': 1.0}}), 'map')\n"
        "assert found == 0.5, found\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

"""Tests and intervals of paired differences: what they are, and what they do not let through."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xlir_bench.measures.bootstrap import ClusterSums, intervals
from xlir_bench.measures.significance import (
    PERMUTATIONS,
    clusters_to_see,
    holm,
    least_p,
    paired_tests,
    sign_flip_p,
    visible_loss,
)

RNG = np.random.default_rng(0)
SIX = RNG.normal(0.3, 1, 6)


def differences(values, clusters, settings=None) -> ClusterSums:
    values, clusters = np.asarray(values, float), np.asarray(clusters)
    settings = np.zeros(len(clusters), int) if settings is None else np.asarray(settings)
    rows = [settings == setting for setting in range(settings.max() + 1)]
    return ClusterSums.of(
        [values[of] for of in rows], [clusters[of] for of in rows], clusters.max() + 1
    )


def one(values, clusters=None, **options):
    clusters = np.arange(len(values)) if clusters is None else clusters
    return paired_tests(differences(values, clusters), [[0]], **options)[0]


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_few_clusters_are_enumerated(alternative):
    sums = [float(np.dot(signs, SIX)) for signs in product([1, -1], repeat=6)]
    seen = SIX.sum()
    as_much = {
        "two-sided": [abs(s) >= abs(seen) - 1e-12 for s in sums],
        "less": [s <= seen + 1e-12 for s in sums],
        "greater": [s >= seen - 1e-12 for s in sums],
    }[alternative]
    assert sign_flip_p(SIX[:, None], alternative)[0] == pytest.approx(np.mean(as_much))


def test_clusters_of_unlike_sizes_are_enumerated_by_their_t():
    """The sum over the deviations of clusters from their shares of it: large clusters vary more by themselves."""
    parts, shares = np.array([0.1, 0.1, 0.3, 0.1, -0.1, 0.2]), np.array([10, 6, 1, 2, 1, 4]) / 24

    def t(signs) -> float:
        turned = signs * parts
        return turned.sum() / np.sqrt(((turned - shares * turned.sum()) ** 2).sum())

    every = [t(np.array(signs)) for signs in product([1, -1], repeat=6)]
    as_much = [x >= t(np.ones(6)) - 1e-9 for x in every]
    by_sums = [np.dot(signs, parts) >= parts.sum() - 1e-9 for signs in product([1, -1], repeat=6)]
    assert np.mean(as_much) != np.mean(by_sums), "else this shows nothing"
    found = sign_flip_p(parts[:, None], "greater", shares=shares[:, None])
    assert found[0] == pytest.approx(np.mean(as_much))


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_it_agrees_with_scipy(alternative):
    found = stats.permutation_test(
        (SIX, np.zeros(6)), lambda a, b, axis: (a - b).sum(axis=axis), vectorized=True,
        permutation_type="samples", alternative=alternative,
    )  # fmt: skip
    assert sign_flip_p(SIX[:, None], alternative)[0] == pytest.approx(found.pvalue)


def test_many_clusters_are_sampled_and_come_near_the_normal_distribution():
    values = RNG.normal(0.15, 1, 200)
    z = values.sum() / np.sqrt((values**2).sum())
    assert one(values).p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)


def test_a_sampled_p_is_never_zero():
    assert one(np.ones(200)).p == 1 / (PERMUTATIONS + 1)


def test_no_difference_has_p_one_and_an_interval_of_nothing():
    found = one(np.zeros(30))
    assert (found.p, found.difference, found.low, found.high) == (1, 0, 0, 0)


def test_rounding_makes_no_difference():
    """.1 + .2 - .3 is not zero to a computer; the sum of all signs turned is as large as this one."""
    assert one([0.1, 0.2, -0.3]).p == 1


def test_one_sided_tests_speak_for_their_side():
    down = RNG.normal(-1, 1, 40)
    assert one(down, alternative="less").p < 0.001
    assert one(down, alternative="greater").p > 0.99


def test_questions_of_one_cluster_are_not_counted_as_independent():
    values = np.repeat(RNG.normal(0.4, 1, 10), 20)
    by_cluster = one(values, np.repeat(np.arange(10), 20))
    by_question = one(values)
    assert by_cluster.p > 10 * by_question.p
    assert by_cluster.high - by_cluster.low > 3 * (by_question.high - by_question.low)


def test_translations_move_together():
    """The same differences again in ten more languages add no evidence."""
    values, clusters = RNG.normal(0.4, 1, 30), np.arange(30)
    alone = paired_tests(differences(values, clusters), [[0]])[0]
    eleven = differences(np.tile(values, 11), np.tile(clusters, 11), np.repeat(np.arange(11), 30))
    together = paired_tests(eleven, [range(11)])[0]
    assert together.p == alone.p
    assert together.low == pytest.approx(alone.low)
    assert together.high == pytest.approx(alone.high)
    assert (together.queries, together.clusters) == (330, 30)


def test_every_setting_weighs_the_same_whatever_its_size():
    data = differences([1, 1, 1, 1, 3], [0, 1, 2, 3, 0], [0, 0, 0, 0, 1])
    found = paired_tests(data, [[0, 1], [0], [1]])
    assert [f.difference for f in found] == [2, 1, 3]
    assert [f.queries for f in found] == [5, 4, 1]


def test_the_interval_of_a_difference_is_that_of_a_mean():
    values, clusters = RNG.normal(0, 1, 400), RNG.integers(0, 40, 400)
    (mean,) = intervals(differences(values, clusters), [[0]])
    found = one(values, clusters)
    assert found.difference == pytest.approx(mean.mean)
    assert found.low == pytest.approx(mean.low, abs=0.01)
    assert found.high == pytest.approx(mean.high, abs=0.01)


def test_a_single_cluster_has_no_interval_and_proves_nothing():
    found = one([1, 2, 3], [0, 0, 0])
    assert (found.low, found.high, found.p) == (None, None, 1)


def test_a_setting_that_some_resamples_miss_keeps_its_interval_finite():
    data = differences([1.0, 2.0, 4.0, 3.0], [0, 1, 2, 3], [0, 0, 1, 1])
    found = paired_tests(data, [[0, 1]])[0]
    assert 1 <= found.low <= found.difference <= found.high <= 4


def test_the_same_question_gets_the_same_answer():
    values = RNG.normal(0.1, 1, 60)
    assert one(values) == one(values)
    assert one(values).p != one(values, seed=1).p


def test_a_group_is_tested_alike_whatever_stands_beside_it():
    data = differences(RNG.normal(0.1, 1, 120), np.tile(np.arange(60), 2), np.repeat([0, 1], 60))
    assert paired_tests(data, [[0]])[0] == paired_tests(data, [[1], [0], [0, 1]])[1]


def test_no_group_is_no_test():
    assert paired_tests(differences([1.0], [0]), []) == []


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(4)
    scale = rng.uniform(0.2, 3, 25)[:, None]
    parts = rng.normal(0, 1, (25, 1000)) * scale
    for alternative in ("two-sided", "less"):
        rate = np.mean(sign_flip_p(parts, alternative) <= 0.05)
        assert 0.03 <= rate <= 0.07


@pytest.mark.parametrize("tests", [1, 48, 146, 1332])
def test_a_family_of_any_size_leaves_room_for_a_small_p(tests):
    assert least_p(48, tests) < 0.05 / 2
    assert least_p(3, tests) > 0.05
    found = one(np.ones(200), family=tests)
    assert found.p * tests <= least_p(200, tests) * (1 + 1e-12)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_the_p_value_and_bonferroni_and_keeps_the_order(p_values):
    p, adjusted = np.array(p_values), holm(p_values)
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= np.minimum(1, p * len(p)) + 1e-12)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


@pytest.mark.parametrize(("loss", "tests"), [(0.02, 1), (0.05, 12), (0.004, 3)])
def test_so_many_clusters_see_a_loss_and_one_less_does_not(loss: float, tests: int) -> None:
    def seen(count: int) -> float | None:
        return visible_loss(0.01 * (24 / count) ** 0.5, count, tests, 0.05)

    enough = clusters_to_see(loss, 0.01, 24, tests, 0.05)
    assert enough is not None
    assert (seen(enough) or 1) <= loss < (seen(enough - 1) or 1)
    assert clusters_to_see(1e-9, 0.01, 24, tests, 0.05) is None


def test_the_loss_that_is_seen_is_that_of_students_t() -> None:
    """Six clusters, one test: (t at .95 + t at .95) x the error, with five degrees of freedom."""
    t = stats.t.ppf(0.95, 5)
    assert visible_loss(0.01, 6, 1, 0.05) == pytest.approx(2 * t * 0.01)
    assert visible_loss(0.01, 6, 1, 0.05, allowed=0.5) == pytest.approx(0.5 + t * 0.01)
    of_five = stats.t.ppf(1 - 0.3 / 5, 11) + stats.t.ppf(0.95, 11)
    assert visible_loss(0.01, 12, 5, 0.3) == pytest.approx(of_five * 0.01)
    assert visible_loss(0.01, 1, 1, 0.9) is None
    assert visible_loss(0.01, 2, 1, 0.3) is not None
    assert visible_loss(0.01, 4, 1, 0.05) is None, "1/16 at best"

"""Differences over articles and seeds: against plain arithmetic, and simulated where nothing is true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xlir_bench.measures.significance import BOUND, Spread, by_article, seed_test, seeds_to_show


def rate(seeds: int, ratio: float, mean: float = 0.0, tables: int = 400) -> float:
    """How often either side is called; seeds spread so many standard errors of the articles."""
    rng = np.random.default_rng(7)
    error = np.sqrt((1 + 0.25 / seeds) / 24)
    called = 0
    for _ in range(tables):
        table = rng.standard_normal((1, 24)) + rng.standard_normal((seeds, 24)) / 2 + mean
        called += seed_test(table + ratio * error * rng.standard_normal((seeds, 1))).p < 0.05
    return called / tables


# make bench has the whole table, of more simulations.
@pytest.mark.parametrize(("seeds", "ratio"), [(3, 0), (3, 1), (3, 2), (3, 4), (2, 4)])
def test_an_effect_of_nothing_is_rarely_called_however_wide_the_seeds_spread(
    seeds: int, ratio: float
) -> None:
    assert rate(seeds, ratio) <= 0.06


def test_a_real_effect_is_found() -> None:
    assert rate(3, 0, mean=0.8, tables=100) > 0.85
    assert rate(5, 1, mean=1.2, tables=100) > 0.85


def test_seeds_that_do_not_differ_leave_the_articles_alone() -> None:
    row = np.random.default_rng(0).standard_normal(30)
    found = seed_test(np.stack([row, row, row]))
    assert found.spread is not None
    assert found.spread.error == pytest.approx(row.std(ddof=1) / 30**0.5)
    assert found.spread.freedom == pytest.approx(29)


def test_one_seed_or_one_article_shows_nothing() -> None:
    for shape in ((1, 20), (5, 1)):
        found = seed_test(np.ones(shape) + np.random.default_rng(1).random(shape))
        assert (found.p, found.low, found.high) == (1.0, None, None)
        assert seeds_to_show(found, 0.05) is None


def test_a_constant_difference_is_certain_and_none_at_all_says_nothing() -> None:
    assert seed_test(np.full((3, 5), 0.01)).p == 0
    assert seed_test(np.full((3, 5), -0.01)).less == 0
    assert seed_test(np.zeros((3, 5))).p == 1


def test_a_row_has_the_macro_average_as_its_mean_and_the_linearised_average_as_its_spread() -> None:
    rng = np.random.default_rng(3)
    # Two settings of unlike sizes and levels, over five articles.
    setting = np.repeat([0, 1], [30, 10])
    cluster, value = rng.integers(0, 5, 40), rng.random(40) + setting
    weight = np.where(setting == 0, 1 / 60, 1 / 20)
    means = np.array([value[setting == s].mean() for s in (0, 1)])
    row = by_article(value, means[setting], weight, cluster)
    assert row.mean() == pytest.approx(means.mean())

    def macro(times: np.ndarray) -> float:
        w = times[cluster]
        return float(
            np.mean([np.average(value[setting == s], weights=w[setting == s]) for s in (0, 1)])
        )

    step = 1e-6
    slopes = [(macro(1 + step * (np.arange(5) == a)) - macro(np.ones(5))) / step for a in range(5)]
    assert row - row.mean() == pytest.approx(np.array(slopes) * 5, rel=1e-3)


def test_more_seeds_show_what_they_would_show() -> None:
    rng = np.random.default_rng(4)
    table = 0.2 * rng.standard_normal((1, 40)) + 0.1 * rng.standard_normal((3, 40))
    table += np.array([[0.02], [0.18], [0.16]])
    found = seed_test(table)
    wanted = seeds_to_show(found, 0.05)
    assert found.p > 0.05
    assert wanted is not None
    assert found.spread is not None
    assert wanted > 3
    # As seen from these seeds: the same spread with more rows.
    spread = found.spread.with_seeds(wanted)
    assert spread.shape == (wanted, 40)
    assert spread.error < found.spread.error
    assert found.spread.with_seeds(3).error == pytest.approx(found.spread.error, rel=0.05)
    assert seeds_to_show(seed_test(rng.standard_normal((3, 40))), 1e-9) is None


def test_what_more_seeds_promise_is_the_expectation_of_mean_squares() -> None:
    """Of articles count x their variance and the rest's, of seeds as many times theirs as there are articles."""
    of_five = Spread(articles=7.0, seeds=5.0, rest=1.0, shape=(3, 4)).with_seeds(5)
    assert (of_five.articles, of_five.seeds, of_five.rest) == pytest.approx((5 * 2 + 1, 5.0, 1.0))
    of_nothing = Spread(articles=0.5, seeds=0.2, rest=1.0, shape=(3, 4)).with_seeds(5)
    assert (of_nothing.articles, of_nothing.seeds) == (1.0, 1.0)


def test_mean_squares_are_those_of_two_crossed_effects() -> None:
    table = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 6.0]])
    spread = Spread.of(table)
    assert spread.articles == pytest.approx(2 * np.var([1.5, 2, 5], ddof=1))
    assert spread.seeds == pytest.approx(3 * np.var([7 / 3, 10 / 3], ddof=1))
    total = ((table - table.mean()) ** 2).sum()
    assert spread.rest == pytest.approx((total - 2 * spread.articles - spread.seeds) / 2)


def test_degrees_of_freedom_are_satterthwaites_with_a_bound_of_what_seeds_contribute() -> None:
    bound = 0.3 * 3 / stats.chi2.isf(BOUND, 3)
    wanted = (0.5 + bound) ** 2 / (0.5**2 / 19 + bound**2 / 3)
    assert Spread(0.5, 0.3, 0.1, (4, 20)).freedom == pytest.approx(wanted, rel=1e-12)
    assert Spread(0.0, 0.0, 0.0, (4, 20)).freedom == 19

from __future__ import annotations

import numpy as np
import pytest

from xlir_bench.measures import ClusteredValues, Interval, macro_intervals
from xlir_bench.measures.statistics import relative_change


def macro_interval(settings: list[ClusteredValues], clusters: int, seed: int = 0) -> Interval:
    """Of one measure."""
    return macro_intervals([settings], clusters, seed)[0]


def random_settings(seed: int, clusters: int = 12) -> list[ClusteredValues]:
    """Three settings of different size; clusters of different size and difficulty."""
    rng = np.random.default_rng(seed)
    level = rng.random(clusters)
    found = []
    for count in (90, 40, 65):
        codes = rng.integers(0, clusters, count)
        found.append(ClusteredValues(0.6 * level[codes] + 0.4 * rng.random(count), codes))
    return found


def test_the_mean_is_over_queries_and_then_over_settings() -> None:
    settings = [
        ClusteredValues(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 1, 2, 3])),
        ClusteredValues(np.array([1.0]), np.array([2])),
    ]
    assert macro_interval(settings, 4).mean == (0.25 + 1) / 2


def test_an_interval_is_the_same_whenever_it_is_computed() -> None:
    settings = random_settings(0)
    first = macro_interval(settings, 12, seed=3)
    assert first == macro_interval(settings, 12, seed=3)
    assert first != macro_interval(settings, 12, seed=4)
    assert first.mean == macro_interval(settings, 12, seed=4).mean
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.mean < first.high


def test_an_interval_is_that_of_a_plain_bootstrap_over_clusters() -> None:
    settings = random_settings(1)
    rng = np.random.default_rng(99)
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, 12, 12)
        of_settings = []
        for setting in settings:
            values = [v for c in drawn for v in setting.values[setting.clusters == c]]
            of_settings.append(np.mean(values))
        means.append(np.mean(of_settings))
    low, high = np.percentile(means, [2.5, 97.5])
    found = macro_interval(settings, 12)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_questions_that_move_together_widen_the_interval() -> None:
    """Ten questions of an article that all fare alike are worth one."""
    rng = np.random.default_rng(0)
    fate = rng.random(30)
    values, article = np.repeat(fate, 10), np.repeat(np.arange(30), 10)

    def width(clusters: np.ndarray) -> float:
        found = macro_interval([ClusteredValues(values, clusters)], clusters.max() + 1)
        assert found.low is not None
        assert found.high is not None
        return found.high - found.low

    assert width(article) / width(np.arange(300)) == pytest.approx(10**0.5, rel=0.1)


def test_translations_do_not_narrow_the_interval() -> None:
    """The same questions in eleven languages are one sample, not eleven."""
    (one, *_) = random_settings(2)
    alone, eleven = macro_interval([one], 12), macro_interval([one] * 11, 12)
    assert (eleven.low, eleven.high) == pytest.approx((alone.low, alone.high))


def test_without_two_clusters_there_is_no_interval() -> None:
    setting = ClusteredValues(np.array([0.5, 1.0]), np.array([3, 3]))
    found = macro_interval([setting], 8)
    assert (found.mean, found.low, found.high) == (0.75, None, None)


def test_clusters_that_have_no_question_here_are_no_part_of_the_sample() -> None:
    settings = random_settings(3)
    apart = [ClusteredValues(s.values, s.clusters * 5 + 2) for s in settings]
    assert macro_interval(apart, 200) == macro_interval(settings, 12)


def test_a_setting_of_which_a_resample_has_nothing_is_left_out_of_it() -> None:
    settings = [
        ClusteredValues(np.zeros(6), np.arange(6)),
        ClusteredValues(np.ones(1), np.array([0])),
    ]
    found = macro_interval(settings, 6)
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 0.5)


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    found = macro_interval([ClusteredValues(np.full(9, 0.25), np.arange(9))], 9)
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_no_setting_at_all_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no setting"):
        macro_interval([], 3)


def test_several_measures_share_their_resamples() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 9, 40)
    measures = [[ClusteredValues(rng.random(40), clusters)] for _ in range(3)]
    assert macro_intervals(measures, 9) == [macro_interval(settings, 9) for settings in measures]


def test_a_relative_change_of_paired_values_does_not_see_how_they_vary() -> None:
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 20, 200)
    values = rng.random(200)
    first = [ClusteredValues(values, clusters)]
    second = [ClusteredValues(values * 0.75, clusters)]
    found = relative_change(first, second, (20, 20), paired=True)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((-0.25, -0.25, -0.25))
    apart = relative_change(first, second, (20, 20), paired=False)
    assert apart is not None
    assert apart.mean == pytest.approx(-0.25)
    assert apart.low < -0.3 < -0.2 < apart.high


def test_a_relative_change_covers_the_truth_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        samples = []
        for mean in (0.5, 0.4):
            of_cluster = rng.normal(mean, 0.1, 40)
            clusters = np.repeat(np.arange(40), 5)
            samples.append(
                [ClusteredValues(of_cluster[clusters] + rng.normal(0, 0.05, 200), clusters)]
            )
        found = relative_change(samples[0], samples[1], (40, 40), paired=False)
        assert found is not None
        covered += found.low < -0.2 < found.high
    assert 88 <= covered <= 100


def test_nothing_is_a_change_of_nothing() -> None:
    zeros, ones = ([ClusteredValues(np.full(4, value), np.arange(4))] for value in (0.0, 1.0))
    assert relative_change(zeros, ones, (4, 4), paired=False) is None
    alone = [ClusteredValues(np.ones(3), np.zeros(3, int))]
    found = relative_change(alone, ones, (1, 4), paired=False)
    assert found is not None
    assert (found.mean, found.low) == (0, None)

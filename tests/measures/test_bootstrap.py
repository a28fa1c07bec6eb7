from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from xlir_bench.measures import bootstrap
from xlir_bench.measures.bootstrap import (
    UNIT,
    ClusterSums,
    Interval,
    estimates,
    relative_change,
)

Setting = tuple[np.ndarray, np.ndarray]
"""Values, and the cluster of each."""


def sums(settings: list[Setting], clusters: int) -> ClusterSums:
    if not settings:
        return ClusterSums(np.zeros((clusters, 0)), np.zeros((clusters, 0), int))
    return ClusterSums.of(*zip(*settings, strict=True), clusters)


def macro_interval(
    settings: list[Setting], clusters: int, seed: int = 0, bounds: tuple[float, float] | None = None
) -> Interval:
    """Of one measure."""
    return next(estimates([sums(settings, clusters)], seed)).interval(bounds)


def random_settings(seed: int, clusters: int = 12) -> list[Setting]:
    """Three settings of different size; clusters of different size and difficulty."""
    rng = np.random.default_rng(seed)
    level = rng.random(clusters)
    found = []
    for count in (90, 40, 65):
        codes = rng.integers(0, clusters, count)
        found.append((0.6 * level[codes] + 0.4 * rng.random(count), codes))
    return found


def test_the_mean_is_over_queries_and_then_over_settings() -> None:
    settings = [
        (np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 1, 2, 3])),
        (np.array([1.0]), np.array([2])),
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


def test_an_interval_is_that_of_a_plain_bootstrap_t_over_clusters() -> None:
    """Half-way between the t of plain resamples, each with the standard error of a ratio, and Student's."""
    settings = random_settings(1)
    rng = np.random.default_rng(99)

    def estimate(drawn: np.ndarray) -> tuple[float, float]:
        means, parts = [], np.zeros(len(drawn))
        for values, codes in settings:
            mine = [values[codes == c] for c in drawn]
            queries = sum(len(values) for values in mine)
            means.append(sum(values.sum() for values in mine) / queries)
            parts += [(values.sum() - means[-1] * len(values)) / queries for values in mine]
        return float(np.mean(means)), float(np.sqrt(12 / 11 * np.sum((parts / len(settings)) ** 2)))

    mean, error = estimate(np.arange(12))
    resampled = [estimate(rng.integers(0, 12, 12)) for _ in range(4000)]
    far = np.quantile([abs(m - mean) / e for m, e in resampled], 0.95)
    far = (far + stats.t.ppf(0.975, 11)) / 2
    found = macro_interval(settings, 12)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (mean, mean - far * error, mean + far * error), abs=0.05 * far * error
    )


def test_the_same_resamples_give_a_single_setting_its_standard_errors_one_by_one() -> None:
    """To rounding what a loop over resamples says, of two figures at once, with clusters of unlike sizes."""
    rng = np.random.default_rng(5)
    codes = np.concatenate([np.arange(6), rng.integers(0, 6, 20)])
    values = rng.random((2, 26)) + codes  # clusters differ
    figures = [sums([(of_figure, codes)], 6) for of_figure in values]
    draws = np.concatenate(list(bootstrap._draws(3, 50, 200, 6)))
    for of_figure, found in zip(values, estimates(figures, seed=3, resamples=200), strict=True):
        wanted = []
        mean = of_figure.mean()
        spread = 6 / 5
        error = (
            np.sqrt(spread * sum((of_figure[codes == c] - mean).sum() ** 2 for c in range(6))) / 26
        )
        for times in draws:
            weight = times[codes]
            drawn = weight.sum()
            of_draw = (weight * of_figure).sum() / drawn
            square = sum(times[c] * (of_figure[codes == c] - of_draw).sum() ** 2 for c in range(6))
            wanted.append((of_draw - mean) / (np.sqrt(spread * square) / drawn))
        assert (found.mean, found.error) == pytest.approx((mean, error))
        assert np.sort(found.t) == pytest.approx(np.sort(wanted))


def test_values_that_sit_in_few_clusters_are_no_less_sure_for_the_others() -> None:
    """A setting whose questions are of 2 of 40 articles, all won: most resamples that miss both say nothing."""
    won = (np.ones(6), np.repeat([3, 17], 3))
    apart = (np.tile([0.0, 1.0], 40), np.repeat(np.arange(40), 2))
    found = macro_interval([won], 40)
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    both = macro_interval([won, apart], 40)
    assert (both.mean, both.low, both.high) == pytest.approx((0.75, 0.75, 0.75))


def test_where_few_clusters_say_anything_the_interval_is_students() -> None:
    values = np.zeros(40)
    values[:2] = 1
    found = macro_interval([(values, np.arange(40))], 40)
    error = values.std(ddof=1) / 40**0.5
    far = stats.t.ppf(0.975, 39) * error
    assert (found.low, found.high) == pytest.approx((0.05 - far, 0.05 + far))


def test_an_interval_stays_within_what_can_be() -> None:
    values = np.r_[np.ones(11), 0.4]
    settings = [(values, np.arange(12))]
    free, within = (macro_interval(settings, 12, bounds=b) for b in (None, UNIT))
    assert free.high is not None
    assert free.high > 1
    assert (within.low, within.high) == (free.low, 1)


def test_intervals_hold_the_truth_in_about_95_of_100_samples_of_few_skewed_clusters() -> None:
    """24 clusters, as mini has, of a skewed measure: percentiles hold it in 90 of 100."""
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(300):
        settings = [(rng.exponential(0.2, 24), np.arange(24))]
        (estimate,) = estimates([sums(settings, 24)], seed, resamples=400)
        found = estimate.interval(None)
        assert found.low is not None
        assert found.high is not None
        held += found.low < 0.2 < found.high
    assert 0.92 <= held / 300 <= 0.98


def test_questions_that_move_together_widen_the_interval() -> None:
    """Ten questions of an article that all fare alike are worth one."""
    rng = np.random.default_rng(0)
    fate = rng.random(30)
    values, article = np.repeat(fate, 10), np.repeat(np.arange(30), 10)

    def width(clusters: np.ndarray) -> float:
        found = macro_interval([(values, clusters)], clusters.max() + 1)
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
    setting = (np.array([0.5, 1.0]), np.array([3, 3]))
    found = macro_interval([setting], 8)
    assert (found.mean, found.low, found.high) == (0.75, None, None)


def test_where_a_language_has_one_cluster_there_is_no_interval() -> None:
    """Nothing says how clusters of that language vary; an interval of the others would say that they do not."""
    settings = [(np.array([0.9]), np.array([0])), (np.array([0.4, 0.5]), np.array([1, 1]))]
    found = macro_interval(settings, 2)
    assert (found.mean, found.low, found.high) == (pytest.approx(0.675), None, None)
    with_two = [*settings, (np.array([0.1, 0.7]), np.array([0, 1]))]
    assert macro_interval(with_two, 2).low is None
    data = sums(settings, 2)
    change = relative_change(data, data, paired=False)
    assert change is not None
    assert change.low is None


def test_clusters_that_have_no_question_here_are_no_part_of_the_sample() -> None:
    settings = random_settings(3)
    apart = [(values, codes * 5 + 2) for values, codes in settings]
    assert macro_interval(apart, 200) == macro_interval(settings, 12)


def test_a_setting_of_which_a_resample_has_nothing_is_left_out_of_it() -> None:
    settings = [
        (np.zeros(6), np.arange(6)),
        (np.ones(2), np.array([0, 1])),
    ]
    found = macro_interval(settings, 6)
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    found = macro_interval([(np.full(9, 0.25), np.arange(9))], 9)
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_no_setting_at_all_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no setting"):
        macro_interval([], 3)


def test_several_measures_share_their_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "FIGURES", 2)
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 9, 40)
    measures = [[(rng.random(40), clusters)] for _ in range(3)]
    together = list(estimates([sums(settings, 9) for settings in measures]))
    for estimate, settings in zip(together, measures, strict=True):
        found = estimate.interval(None)
        alone = macro_interval(settings, 9)
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_a_relative_change_of_paired_values_does_not_see_how_they_vary() -> None:
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 20, 200)
    values = rng.random(200)
    first = [(values, clusters)]
    second = [(values * 0.75, clusters)]
    found = relative_change(sums(first, 20), sums(second, 20), paired=True)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((-0.25, -0.25, -0.25))
    apart = relative_change(sums(first, 20), sums(second, 20), paired=False)
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
            samples.append([(of_cluster[clusters] + rng.normal(0, 0.05, 200), clusters)])
        found = relative_change(*(sums(s, 40) for s in samples), paired=False)
        assert found is not None
        covered += found.low < -0.2 < found.high
    assert 88 <= covered <= 100


def test_a_relative_change_of_two_samples_has_the_standard_error_of_a_ratio() -> None:
    """By plain arithmetic on the sample: of independent means u and v, v/u varies by (var v + (v/u)^2 var u)/u^2."""
    rng = np.random.default_rng(2)
    u, v = 1 + rng.random(30), 3 + 2 * rng.random(30)
    first, second = ([(values, np.arange(30))] for values in (u, v))
    found = relative_change(sums(first, 30), sums(second, 30), paired=False)
    ratio = v.mean() / u.mean()
    error = np.sqrt(v.var(ddof=1) / 30 + ratio**2 * u.var(ddof=1) / 30) / u.mean()
    assert found is not None
    assert found.mean == pytest.approx(ratio - 1)
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 29) * error, rel=0.05)


def test_nothing_is_a_change_of_nothing() -> None:
    zeros, ones = ([(np.full(4, value), np.arange(4))] for value in (0.0, 1.0))
    assert relative_change(sums(zeros, 4), sums(ones, 4), paired=False) is None
    alone = [(np.ones(3), np.zeros(3, int))]
    found = relative_change(sums(alone, 1), sums(ones, 4), paired=False)
    assert found is not None
    assert (found.mean, found.low) == (0, None)


def test_figures_of_one_thread_and_of_several_are_the_same() -> None:
    figures = [sums(random_settings(seed, 500), 500) for seed in range(3)]
    figures += [figure.of_settings([0]) for figure in figures]
    found = []
    for threads in (1, 5):
        with threadpool_limits(threads):
            found.append([estimate.interval(UNIT) for estimate in estimates(figures)])
    assert found[0] == found[1]
    assert all(interval.low < interval.mean < interval.high for interval in found[0])

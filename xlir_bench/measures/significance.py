"""Tests over clusters, or over articles and seeds: is a difference more than chance, and how small a one would be found?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlir_bench.measures.bootstrap import (
    LEVEL,
    NO_VARIANCE,
    TINY,
    Alternative,
    Bounds,
    ClusterSums,
    estimates,
    student_quantile,
    student_tail,
)
from xlir_bench.records import Floats, Ints

PERMUTATIONS = 20_000
"""How many patterns of sign flips are drawn; up to 14 clusters have fewer, and all of these are tried."""
PERMUTATIONS_A_TEST = 100
"""Sign flips for each test of a family, at least: with fewer, no p could be small enough to survive the correction."""
SIGNIFICANT = 0.05
"""A difference whose corrected p is below this is larger than chance explains."""
STEP = 1_000
"""Sign flips that are computed at a time."""
MOST_CLUSTERS = 2**30
BOUND = 0.8
"""Confidence of the upper bound of the seeds' mean square by which degrees of freedom are counted. Two or three seeds
often spread far less than they should: with their own mean square, 7 to 12 % of effects of 0 would be significant."""
MOST_SEEDS = 1000
"""The most seeds that are tried in a search for how many would be enough."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A macro average of differences, its 95 % interval and its p."""

    difference: float
    low: float | None
    high: float | None
    """No interval if a setting has fewer than two clusters."""
    p: float
    """The larger of the p-values of sign flips and bootstrap; not yet corrected for other tests."""
    queries: int
    """Pairs of values compared; a query counts in every setting."""
    clusters: int
    error: float | None = None
    """Standard error; like the two bounds below, None without an interval."""
    at_least: float | None = None
    """One-sided 95 % lower bound."""
    at_most: float | None = None
    """One-sided 95 % upper bound."""


def paired_tests(
    data: ClusterSums,
    groups: Sequence[Sequence[int]],
    alternative: Alternative = "two-sided",
    seed: int = 0,
    family: int = 1,
    bounds: Bounds | None = None,
) -> list[Difference]:
    """One difference for each group of settings: mean over queries in a setting, then over its settings.

    All groups are tested with the same sign flips and the same resamples of clusters: whatever belongs to one article
    moves together, in every language and setting. p is the larger of two: sign flips are wrong where differences are
    skewed, the bootstrap where they are few (measured: benchmark `gate_error_rates`). `family`: how many tests are
    corrected together, where that is more than these.
    """
    if not groups:
        return []
    weight = np.zeros((len(groups), data.sums.shape[1]))
    for row, group in zip(weight, groups, strict=True):
        row[list(group)] = 1 / len(group)
    queries = np.maximum(data.sizes.sum(axis=0), 1)
    parts, shares = ((side / queries) @ weight.T for side in (data.sums, data.sizes))
    flips = sign_flip_p(
        parts, alternative, seed, permutations(max(family, len(groups))), shares=shares
    )
    differences = []
    for i, estimate in enumerate(estimates([data.of_settings(group) for group in groups], seed)):
        interval = estimate.interval(bounds)
        at_least, at_most = estimate.one_sided(bounds)
        differences.append(
            Difference(
                difference=float(parts[:, i].sum()),
                low=interval.low,
                high=interval.high,
                p=max(float(flips[i]), estimate.p(alternative)),
                queries=int(data.sizes[:, list(groups[i])].sum()),
                clusters=estimate.clusters,
                error=None if at_least is None else estimate.error,
                at_least=at_least,
                at_most=at_most,
            )
        )
    return differences


def permutations(tests: int) -> int:
    """How many sign flips are drawn for so many tests."""
    return max(PERMUTATIONS, PERMUTATIONS_A_TEST * tests)


def least_p(clusters: int, tests: int) -> float:
    """The smallest p that so many clusters allow, corrected for so many tests."""
    return min(1.0, tests * max(0.5**clusters, 1 / (permutations(tests) + 1)))


def visible_loss(
    error: float, clusters: int, tests: int, alpha: float, allowed: float = 0.0
) -> float | None:
    """The smallest loss that is found in 95 % of cases: larger than allowed, and significant among so many tests.

    None where there are too few clusters to find any. It is computed by Student's t, as if the standard error were known.
    """
    if clusters < 2 or least_p(clusters, tests) >= alpha:
        return None
    df = clusters - 1
    needed = max(allowed, student_quantile(1 - alpha / tests, df) * error)
    return needed + student_quantile(LEVEL, df) * error


def clusters_to_see(
    loss: float, error: float, clusters: int, tests: int, alpha: float
) -> int | None:
    """How many clusters like these it takes to find this loss in 95 % of cases; None if no number is enough.

    With that many, a candidate that lost nothing passes in 95 % of cases.
    """

    def enough(count: int) -> bool:
        visible = visible_loss(error * (clusters / count) ** 0.5, count, tests, alpha)
        return visible is not None and visible <= loss

    most = 2
    while not enough(most):
        most *= 2
        if most > MOST_CLUSTERS:
            return None
    return bisect_left(range(most + 1), True, lo=2, key=enough)


def sign_flip_p(
    parts: Floats,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    draws: int = PERMUTATIONS,
    shares: Floats | None = None,
) -> Floats:
    """p of each column's t where every row (a cluster) keeps or changes its sign with equal probability.

    `shares`: each cluster's share of the queries, by default equal. Exact where few clusters differ from 0, else
    (b + 1) / (n + 1), where b of n draws are at least as extreme.

    >>> sign_flip_p(np.ones((5, 1)), "greater").tolist()  # only one of 2 ** 5 patterns is as large
    [0.03125]
    """
    if shares is None:
        shares = np.full_like(parts, 1 / len(parts))
    moving = np.any(parts != 0, axis=1)
    both = np.hstack([parts, parts * shares])[moving]
    squares, sizes = (parts**2).sum(axis=0), (shares**2).sum(axis=0)
    total = both.sum(axis=0)

    def studentised(turned: Floats) -> Floats:
        sums, across = np.hsplit(total - 2 * (turned @ both), 2)
        variance = squares - 2 * sums * across + sums**2 * sizes
        return np.asarray(sums / np.sqrt(np.maximum(variance, NO_VARIANCE * squares + TINY)))

    clusters = len(both)
    observed = studentised(np.zeros((1, clusters)))
    # Sums in another order differ in their last bits: equal ones must count as equal.
    slack = 1e-9 * np.abs(observed) + TINY
    exact = clusters < 63 and 2**clusters <= draws
    count = 2**clusters if exact else draws
    rng = np.random.default_rng(seed)
    extreme = np.zeros(parts.shape[1], np.int64)
    for start in range(0, count, STEP):
        size = min(STEP, count - start)
        if exact:  # bit c of a pattern's number turns the sign of cluster c
            turned = (np.arange(start, start + size)[:, None] >> np.arange(clusters) & 1).astype(
                float
            )
        else:
            drawn = np.frombuffer(rng.bytes(size * (clusters // 8 + 1)), np.uint8).reshape(size, -1)
            turned = np.unpackbits(drawn, axis=1, count=clusters).astype(float)
        t = studentised(turned)
        if alternative == "two-sided":
            as_much = np.abs(t) >= np.abs(observed) - slack
        elif alternative == "less":
            as_much = t <= observed + slack
        else:
            as_much = t >= observed - slack
        extreme += as_much.sum(axis=0)
    return extreme / count if exact else (extreme + 1) / (count + 1)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's adjusted p-values: with probability 1 - alpha, chance alone puts none of them below alpha.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


@dataclass(frozen=True, slots=True)
class SeedTest:
    """A mean over articles and seeds, its 95 % interval and its p-values."""

    difference: float
    low: float | None
    high: float | None
    """No interval with one seed, or one article."""
    greater: float
    """One-sided p: small where the difference is above 0."""
    less: float
    """One-sided p: small where the difference is below 0."""
    spread: Spread | None

    @property
    def p(self) -> float:
        """Two-sided; not yet corrected for other tests."""
        return min(1.0, 2 * min(self.greater, self.less))


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean squares of a table of seeds and articles."""

    articles: float
    seeds: float
    rest: float
    shape: tuple[int, int]
    """How many seeds and articles."""

    @classmethod
    def of(cls, table: Floats) -> Spread:
        """From a table with two seeds or more (rows) and two articles or more (columns)."""
        seeds, articles = table.shape
        mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
        rest = table - rows[:, None] - columns + mean
        return cls(
            articles=float(seeds * columns.var(ddof=1)),
            seeds=float(articles * rows.var(ddof=1)),
            rest=float((rest**2).sum() / ((seeds - 1) * (articles - 1))),
            shape=(seeds, articles),
        )

    @property
    def error(self) -> float:
        """The standard error of the mean of the whole table."""
        seeds, articles = self.shape
        square = max(self.articles, self.articles + self.seeds - self.rest)
        return float(np.sqrt(square / (seeds * articles)))

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom, with an upper bound of what seeds contribute."""
        from scipy.special import chdtri

        seeds, articles = self.shape
        bound = self.seeds * (seeds - 1) / float(chdtri(seeds - 1, BOUND))
        if not self.articles + bound:
            return float(articles - 1)
        parts = self.articles**2 / (articles - 1) + bound**2 / (seeds - 1)
        return float((self.articles + bound) ** 2 / parts)

    def with_seeds(self, count: int) -> Spread:
        """The mean squares to expect of so many seeds, if they spread as these do."""
        seeds, articles = self.shape
        of_articles = max(0.0, (self.articles - self.rest) / seeds)
        of_seeds = max(0.0, (self.seeds - self.rest) / articles)
        return Spread(
            count * of_articles + self.rest,
            articles * of_seeds + self.rest,
            self.rest,
            (count, articles),
        )


def by_article(
    difference: Floats, expected: Floats, weight: Floats, cluster: Ints, shift: float = 0.0
) -> Floats:
    """One seed's row of the table of `seed_test`: a value for each article, from one value for each question.

    The mean of the row is the macro average of the differences, plus `shift`. `weight` is a question's part of the macro
    average; `expected` is the difference it would have if all questions of a setting were alike. An article's value is
    the macro average plus the sum of its questions' weighted distances from `expected`, times the number of articles
    (the average, linearised).
    """
    _, place = np.unique(cluster, return_inverse=True)
    parts = np.bincount(place, weight * (difference - expected))
    row: Floats = len(parts) * parts + float(weight @ difference) + shift
    return row


def seed_test(table: Floats) -> SeedTest:
    """Whether the mean of a table (rows: seeds, columns: articles) differs from 0.

    Both are samples: other articles, or other seeds, would have given another difference. The mean of a row is the
    difference of that seed. The variance of the whole mean has two random effects and their interaction,

        s2_A / A + s2_S / S - s2_AS / (A S),

    where s2_A and s2_S are the variances of the columns' and of the rows' means, and s2_AS is the residual mean square.
    It is never taken to be less than its first part, that of the articles alone.

    >>> test = seed_test(np.array([[1.0, 2.0, 3.0, 2.0], [2.0, 3.0, 4.0, 3.0]]))
    >>> test.difference, round(test.p, 2)
    (2.5, 0.15)
    """
    mean = float(table.mean())
    if min(table.shape) < 2:
        return SeedTest(mean, None, None, 1.0, 1.0, None)
    spread = Spread.of(table)
    error, freedom = spread.error, spread.freedom
    # Sums in another order differ in their last bits: that is no variance.
    if error <= 1e-12 * max(abs(mean), float(np.abs(table).max())):
        return SeedTest(mean, mean, mean, float(mean <= 0), float(mean >= 0), spread)
    reach = student_quantile(0.975, freedom) * error
    t = mean / error
    return SeedTest(
        mean,
        mean - reach,
        mean + reach,
        student_tail(-t, freedom),
        student_tail(t, freedom),
        spread,
    )


def seeds_to_show(test: SeedTest, level: float) -> int | None:
    """How many seeds would show a difference of this size, if they spread as these do; None if `MOST_SEEDS` would not."""
    if test.spread is None:
        return None
    for count in range(test.spread.shape[0] + 1, MOST_SEEDS + 1):
        spread = test.spread.with_seeds(count)
        error = spread.error
        if not error or 2 * student_tail(-abs(test.difference) / error, spread.freedom) < level:
            return count
    return None

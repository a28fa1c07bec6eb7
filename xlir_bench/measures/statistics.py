"""Intervals and tests by clusters: questions of one article are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xlir_bench.records import Floats, Ints

RESAMPLES = 10_000
PERMUTATIONS = 20_000
"""Sign flips drawn; all there are where that is no more (up to 14 clusters)."""
PERMUTATIONS_A_TEST = 100
"""At least so many for each test of a family: else no p is small enough to outlive the correction."""
STEP = 1_000

Alternative = Literal["two-sided", "less", "greater"]
"""What a small p speaks for: a difference, a difference below zero, or one above it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A macro average and its 95 % interval; without at least two clusters there is no interval."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ClusteredValues:
    """The per-query values of one setting, each with the number of its cluster."""

    values: Floats
    clusters: Ints


def macro_intervals(
    measures: Sequence[Sequence[ClusteredValues]],
    clusters: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """For each measure the mean over queries in a setting, then over settings; percentile bootstrap.

    All measures are of the same queries. A resample draws clusters with replacement, the same for every
    setting and measure: translations of a question move together.
    """
    if not all(measures):
        raise ValueError("no setting to average")
    if not measures:
        return []
    sums: Floats = np.stack([_by_cluster(settings, clusters) for settings in measures])
    sizes = np.stack([np.bincount(s.clusters, minlength=clusters) for s in measures[0]], axis=1)
    means = (sums.sum(axis=1) / sizes.sum(axis=0)).mean(axis=1)
    # A cluster without any query here (another kind has them) is no part of this sample.
    seen = sizes.sum(axis=1) > 0
    if np.count_nonzero(seen) < 2:
        return [Interval(float(mean), None, None) for mean in means]
    sums, sizes = sums[:, seen], sizes[seen]
    resampled = _resamples(np.random.default_rng(seed), sums, sizes, resamples)
    low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=1)
    return [
        Interval(float(mean), float(least), float(most))
        for mean, least, most in zip(means, low, high, strict=True)
    ]


def relative_change(
    first: Sequence[ClusteredValues],
    second: Sequence[ClusteredValues],
    clusters: tuple[int, int],
    paired: bool,
    seed: int = 0,
) -> Interval | None:
    """How much higher the second macro mean is than the first, as a share of it; None where that is 0.

    `paired`: both are values of the same queries, which are drawn together. A fall from .40 to .30 is -.25.
    """
    groups = [_seen(settings, n) for settings, n in zip((first, second), clusters, strict=True)]
    before, after = (float(np.mean(s.sum(axis=0) / n.sum(axis=0))) for s, n in groups)
    if before == 0:
        return None
    change = after / before - 1
    if min(len(sums) for sums, _ in groups) < 2:
        return Interval(change, None, None)
    if paired:
        (one, sizes), (two, _) = groups
        rng = np.random.default_rng(seed)
        drawn = _resamples(rng, np.stack([one, two]), sizes, RESAMPLES)
    else:
        drawn = np.concatenate(
            [
                _resamples(np.random.default_rng([seed, n]), sums[None], sizes, RESAMPLES)
                for n, (sums, sizes) in enumerate(groups)
            ]
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = drawn[1] / drawn[0] - 1
    low, high = np.nanpercentile(changes[np.isfinite(changes)], [2.5, 97.5])
    return Interval(change, float(low), float(high))


def _seen(settings: Sequence[ClusteredValues], clusters: int) -> tuple[Floats, Ints]:
    """Sums and sizes by cluster (rows) and setting, of the clusters that have any query."""
    sums = _by_cluster(settings, clusters)
    sizes = np.stack([np.bincount(s.clusters, minlength=clusters) for s in settings], axis=1)
    seen = sizes.sum(axis=1) > 0
    return sums[seen], sizes[seen]


def _resamples(rng: np.random.Generator, sums: Floats, sizes: Ints, count: int) -> Floats:
    """Means of all resamples, a row a measure, step by step to bound memory."""
    steps = [min(STEP, count - done) for done in range(0, count, STEP)]
    return np.concatenate([_resampled(rng, sums, sizes, step) for step in steps], axis=1)


def _by_cluster(settings: Sequence[ClusteredValues], clusters: int) -> Floats:
    sums: Floats = np.stack([np.bincount(s.clusters, s.values, clusters) for s in settings], axis=1)
    return sums


def _resampled(rng: np.random.Generator, sums: Floats, sizes: Ints, count: int) -> Floats:
    """Means of so many resamples, a row a measure."""
    clusters = len(sizes)
    draws = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=count).astype(float)
    weight = draws @ sizes
    # A setting of which no cluster was drawn says nothing in this resample.
    weight[weight == 0] = np.nan
    means: list[Floats] = [np.nanmean((draws @ of_measure) / weight, axis=1) for of_measure in sums]
    return np.stack(means)


@dataclass(frozen=True, slots=True)
class PairedDifferences:
    """Differences of per-query values, summed by cluster (rows) and setting (columns)."""

    sums: Floats
    sizes: Ints
    """How many queries each sum is over."""

    @classmethod
    def of(
        cls, values: Floats, clusters: Ints, settings: Ints, shape: tuple[int, int]
    ) -> PairedDifferences:
        """From one value a query and setting; `shape` is (clusters, settings)."""
        cell = clusters * shape[1] + settings
        sums = np.bincount(cell, values, shape[0] * shape[1])
        sizes = np.bincount(cell, minlength=shape[0] * shape[1])
        return cls(sums.astype(float).reshape(shape), sizes.reshape(shape))


@dataclass(frozen=True, slots=True)
class Difference:
    """A macro average of differences, its 95 % interval, and how likely chance alone gives as much."""

    difference: float
    low: float | None
    high: float | None
    """No interval without at least two clusters."""
    p: float
    """By sign flips; not yet corrected for other tests."""
    queries: int
    """Pairs of values compared; a query counts in every setting."""
    clusters: int


def paired_tests(
    data: PairedDifferences,
    groups: Sequence[Sequence[int]],
    alternative: Alternative = "two-sided",
    seed: int = 0,
    intervals: bool = True,
    family: int = 1,
) -> list[Difference]:
    """One difference a group of settings: mean over queries in a setting, then over its settings.

    `family` is how many tests will be corrected together, where that is more than these. All groups are tested with the same sign flips and the same resamples of clusters: whatever belongs
    to one article moves together, in every language and setting.
    """
    if not groups:
        return []
    weight = np.zeros((len(groups), data.sums.shape[1]))
    for row, group in zip(weight, groups, strict=True):
        row[list(group)] = 1 / len(group)
    parts = (data.sums / data.sizes.sum(axis=0)) @ weight.T
    present = [data.sizes[:, list(group)].sum(axis=1) > 0 for group in groups]
    p_values = sign_flip_p(parts, alternative, seed, permutations(max(family, len(groups))))
    bounds = _bounds(data, weight, seed) if intervals else np.full((2, len(groups)), np.nan)
    return [
        Difference(
            difference=float(parts[:, i].sum()),
            low=float(bounds[0, i]) if intervals and present[i].sum() > 1 else None,
            high=float(bounds[1, i]) if intervals and present[i].sum() > 1 else None,
            p=float(p_values[i]),
            queries=int(data.sizes[:, list(group)].sum()),
            clusters=int(present[i].sum()),
        )
        for i, group in enumerate(groups)
    ]


def permutations(tests: int) -> int:
    """How many sign flips so many tests ask for."""
    return max(PERMUTATIONS, PERMUTATIONS_A_TEST * tests)


def least_p(clusters: int, tests: int) -> float:
    """The smallest p that so many clusters allow, corrected for so many tests."""
    return min(1.0, tests * max(0.5**clusters, 1 / (permutations(tests) + 1)))


def sign_flip_p(
    parts: Floats,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    throws: int = PERMUTATIONS,
) -> Floats:
    """p of each column's sum when the sign of every row (a cluster) is a coin's throw.

    Exact where few clusters differ at all, else (b + 1) / (n + 1) of n throws.

    >>> sign_flip_p(np.ones((5, 1)), "greater").tolist()  # one of 2 ** 5 says as much
    [0.03125]
    """
    observed = parts.sum(axis=0)
    moving = parts[np.any(parts != 0, axis=1)]
    # Sums in another order differ in their last bits; what is equal has to count as equal.
    slack = 1e-12 * np.abs(parts).sum(axis=0)
    exact = len(moving) < 63 and 2 ** len(moving) <= throws
    count = 2 ** len(moving) if exact else throws
    rng = np.random.default_rng(seed)
    extreme = np.zeros(parts.shape[1], np.int64)
    for start in range(0, count, STEP):
        size = min(STEP, count - start)
        flips = _every_sign(start, size, len(moving)) if exact else _signs(rng, size, len(moving))
        sums = flips @ moving
        if alternative == "two-sided":
            as_much = np.abs(sums) >= np.abs(observed) - slack
        elif alternative == "less":
            as_much = sums <= observed + slack
        else:
            as_much = sums >= observed - slack
        extreme += as_much.sum(axis=0)
    return extreme / count if exact else (extreme + 1) / (count + 1)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's adjusted p-values: none of them under alpha by chance, with probability 1 - alpha.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def _every_sign(start: int, count: int, clusters: int) -> Floats:
    """The patterns of this range: bit c of a pattern's number is the sign of cluster c."""
    bits = np.arange(start, start + count)[:, None] >> np.arange(clusters) & 1
    return 1.0 - 2.0 * bits


def _signs(rng: np.random.Generator, count: int, clusters: int) -> Floats:
    drawn = np.frombuffer(rng.bytes(count * (clusters // 8 + 1)), np.uint8)
    bits = np.unpackbits(drawn.reshape(count, -1), axis=1, count=clusters)
    return np.asarray(1.0 - 2.0 * bits)


def _draws(rng: np.random.Generator, count: int, clusters: int) -> Floats:
    """How often each cluster was drawn, as many draws as there are clusters; a row a resample."""
    # Drawing and counting is four times faster than the generator's own multinomial.
    drawn = rng.integers(0, clusters, (count, clusters)) + np.arange(count)[:, None] * clusters
    counted = np.bincount(drawn.ravel(), minlength=count * clusters)
    return counted.reshape(count, clusters).astype(float)


def _bounds(data: PairedDifferences, weight: Floats, seed: int) -> Floats:
    """The 2.5 and 97.5 percentiles of each group over resampled clusters; rows low and high."""
    clusters, rng = len(data.sums), np.random.default_rng(seed)
    found = []
    for start in range(0, RESAMPLES, STEP):
        size = min(STEP, RESAMPLES - start)
        draws = _draws(rng, size, clusters)
        drawn = draws @ data.sizes
        means = np.divide(draws @ data.sums, drawn, out=np.zeros_like(drawn), where=drawn > 0)
        # A setting of which no cluster was drawn says nothing in this resample.
        share = (drawn > 0).astype(float) @ weight.T
        found.append(np.divide(means @ weight.T, share, out=np.zeros_like(share), where=share > 0))
    return np.asarray(np.percentile(np.concatenate(found), [2.5, 97.5], axis=0))

"""Bootstrap intervals over clusters: questions about one article are not independent of each other.

Every figure is a macro average: over the queries of a setting, then over settings. Its standard error is that of a
ratio of sums over clusters. Its interval is a bootstrap-t: clusters are drawn with replacement, and the distance of
each resample from the figure is counted in standard errors of that resample. (Percentiles of resampled means cover
too little where clusters are few.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.records import Floats, Ints
from xlir_bench.threads import product_threads

RESAMPLES = 10_000
CELLS = 200_000
"""Resamples times clusters of one matrix: as many as fit into the processor's cache."""
FIGURES = 256
"""Figures that are resampled at a time: the 10,000 values of each are 160 KB."""
KEPT = 40_000_000
"""The draws of a sample are kept for the next figure if there are no more of them than this (40 MB)."""
TINY = 1e-300
NO_VARIANCE = 1e-10
"""A resample with less than this share of the sample's variance has none: what is left is rounding error."""
LEVEL = 0.95
"""Confidence of intervals and bounds, and how often a test has to find a loss that counts as visible."""
FEW = 1e-3
"""If a larger share of the resamples has no variance, Student's t is used: too few clusters carry information."""
UNIT = (0.0, 1.0)
"""The least and the largest value of most measures (`retrieval.bounds_of` knows the others)."""
Seed = int | tuple[int, ...]
Bounds = tuple[float, float]
"""The least and the largest value that a figure can have."""
Alternative = Literal["two-sided", "less", "greater"]
"""What a small p supports: a difference, a difference below zero, or one above it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A macro average and its 95 % interval, which is None if a setting has fewer than two clusters."""

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Such as ``0.5198 [0.4764, 0.5633]``."""
        bounds = "" if None in (self.low, self.high) else f" [{self.low:.4f}, {self.high:.4f}]"
        return f"{self.mean:.4f}{bounds}"


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """Values of queries (or their differences), summed by cluster (rows) and setting (columns)."""

    sums: Floats
    sizes: Ints
    """How many queries each sum is over."""

    @classmethod
    def of(cls, values: Iterable[Floats], clusters: Sequence[Ints], count: int) -> ClusterSums:
        """From the values of each setting and the cluster of each value; there are `count` clusters."""
        shape = (count, len(clusters))
        sums, sizes = np.empty(shape), np.empty(shape, np.int32)
        for setting, (value, cluster) in enumerate(zip(values, clusters, strict=True)):
            sums[:, setting] = np.bincount(cluster, value, count)
            sizes[:, setting] = np.bincount(cluster, minlength=count)
        return cls(sums, sizes)

    def of_settings(self, settings: Sequence[int]) -> ClusterSums:
        """Only the columns of these settings."""
        # Not `take`: in another memory layout the same sums differ in their last bits, and so do intervals.
        return ClusterSums(self.sums[:, list(settings)], self.sizes[:, list(settings)])


def intervals(
    data: ClusterSums,
    groups: Sequence[Sequence[int]],
    seed: int = 0,
    bounds: Bounds | None = None,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """The macro average of each group of settings, with its interval."""
    averages = estimates((data.of_settings(group) for group in groups), seed, resamples)
    return [average.interval(bounds) for average in averages]


def estimates(
    figures: Iterable[ClusterSums], seed: int = 0, resamples: int = RESAMPLES
) -> Iterator[Estimate]:
    """The macro average of each figure, over queries in a setting, then over its settings.

    All figures use the same resamples of clusters: translations of a question move together, in every setting.
    """
    averages = [_Average.of(figure) for figure in figures]
    if not averages:
        return
    seen = np.unique(np.concatenate([average.seen for average in averages]))
    for part in slices(len(averages), FIGURES):
        kept = [average.of_clusters(seen) for average in averages[part]]
        moments = _resample(_resampler(kept), [len(seen)], [seed], resamples)
        for average, means, variances in zip(averages[part], *moments, strict=True):
            yield Estimate.of(average.clusters, means, variances)


def _resampler(averages: Sequence[_Average]) -> Callable[[Floats], tuple[Floats, Floats]]:
    """A function that computes the mean and variance of each of these averages (row) in each resample (column)."""
    single = [i for i, average in enumerate(averages) if len(average.weight) == 1]
    several = [i for i, average in enumerate(averages) if len(average.weight) > 1]
    resample_single = _single_resampler([averages[i] for i in single]) if single else None

    def resampled(times: Floats) -> tuple[Floats, Floats]:
        moments = np.empty((2, len(averages), len(times)))
        if resample_single is not None:
            moments[:, single] = resample_single(times)
        for i in several:
            means, parts = averages[i].parts(times)
            moments[:, i] = means, _squares(times, parts)
        return moments[0], moments[1]

    return resampled


def relative_change(
    first: ClusterSums, second: ClusterSums, paired: bool, seed: int = 0
) -> Interval | None:
    """How much higher the second macro average is, as a share of the first; None where the first is 0.

    `paired`: both are values of the same queries, whose clusters are drawn together. A fall from .40 to .30 is -.25.
    """
    before, after = (
        average.of_clusters(average.seen) for average in map(_Average.of, (first, second))
    )

    def change(times: Floats, times_after: Floats | None = None) -> tuple[Floats, Floats]:
        """The change in each resample, and its variance, which is that of a ratio."""
        times_after = times if times_after is None else times_after
        mean, parts = before.parts(times)
        mean_after, parts_after = after.parts(times_after)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = mean_after / mean
            if paired:
                variance = _squares(times, parts_after - ratio[:, None] * parts)
            else:
                variance = _squares(times_after, parts_after) + ratio**2 * _squares(times, parts)
            return ratio - 1, variance / mean**2

    clusters = [len(average.sizes) for average in (before, after)]
    seeds: list[Seed] = [(seed, n) for n in range(1 if paired else 2)]
    means, variances = _resample(change, clusters[: len(seeds)], seeds, RESAMPLES)
    if not np.isfinite(means[0]):
        return None
    sampled = min(before.clusters, after.clusters)
    return Estimate.of(sampled, means, variances).interval((-1.0, np.inf))


@dataclass(frozen=True, slots=True)
class _Average:
    """A macro average over columns; settings with the same queries in every cluster are averaged into one column."""

    center: Floats
    """The mean of each column."""
    residual: Floats
    """By cluster (row) and column: the sum of its queries' distances from the column's mean."""
    sizes: Floats
    """Queries by cluster and column."""
    weight: Floats
    """The share of each column in the average; they add up to 1."""
    spread: Floats
    """By column: corrects a standard error for few clusters."""

    @classmethod
    def of(cls, data: ClusterSums) -> _Average:
        sizes = data.sizes
        if not sizes.shape[1]:
            raise ValueError("no setting to average")
        # The common case, and checked faster than columns are sorted.
        if bool((sizes == sizes[:, :1]).all()):
            distinct, count = sizes[:, :1], np.array([sizes.shape[1]])
            place = np.zeros(sizes.shape[1], int)
        else:
            distinct, place, count = np.unique(
                sizes, axis=1, return_inverse=True, return_counts=True
            )
        columns = data.sums @ ((place.ravel()[:, None] == np.arange(len(count))) / count)
        center = columns.sum(axis=0) / distinct.sum(axis=0)
        clusters = np.count_nonzero(distinct, axis=0)
        return cls(
            center=center,
            residual=columns - center * distinct,
            sizes=distinct.astype(float),
            weight=count / count.sum(),
            spread=np.sqrt(clusters / np.maximum(clusters - 1, 1)),
        )

    @property
    def seen(self) -> Ints:
        """The clusters that have any query."""
        return np.flatnonzero(self.sizes.any(axis=1))

    @property
    def clusters(self) -> int:
        """How many clusters are drawn from; 1 where a column has only one, since its variance is then unknown."""
        several = np.count_nonzero(self.sizes, axis=0) > 1
        return len(self.seen) if several.all() else 1

    def of_clusters(self, clusters: Ints) -> _Average:
        """The same average over these clusters alone, which must hold all its queries."""
        return replace(self, residual=self.residual[clusters], sizes=self.sizes[clusters])

    def parts(self, times: Floats) -> tuple[Floats, Floats]:
        """By resample (row): the average, and by how much each cluster (column) moves it.

        `times`: how often each cluster was drawn.
        """
        drawn = times @ self.sizes
        # A column gets no weight in a resample that drew none of its clusters.
        share = self.weight * (drawn > 0)
        share /= np.maximum(share.sum(axis=1, keepdims=True), TINY)
        drawn = np.maximum(drawn, 1)
        off = times @ self.residual / drawn
        each = self.spread * share / drawn
        # Half the precision is enough for a standard error, and half the time.
        added = np.hstack([each, -each * off]).astype(np.float32)
        columns = np.hstack([self.residual, self.sizes]).astype(np.float32)
        return (share * (self.center + off)).sum(axis=1), added @ columns.T


def _single_resampler(
    averages: Sequence[_Average],
) -> Callable[[Floats], tuple[Floats, Floats]]:
    """`_resampler` of averages of one column each, the common case: all are computed at once."""
    sizes = np.stack([average.sizes[:, 0] for average in averages])
    residual = np.stack([average.residual[:, 0] for average in averages])
    distinct, inverse = np.unique(sizes, axis=0, return_inverse=True)
    place = inverse.ravel()
    center, spread = (
        np.array([getattr(average, name) for average in averages]) for name in ("center", "spread")
    )
    products = [residual, residual**2, residual * sizes, distinct, distinct**2]
    ends = np.cumsum([len(rows) for rows in products])[:-1]
    stacked = np.concatenate(products)

    def resampled(times: Floats) -> tuple[Floats, Floats]:
        off, squares, across, drawn, drawn_squares = np.split(stacked @ times.T, ends)
        # A resample without any of these queries gets no variance, and so is left out.
        drawn = np.maximum(drawn, 1)[place]
        # In place: allocating memory at each step would take half of the time.
        off /= drawn
        across *= off
        across *= 2
        squares -= across
        np.square(off, out=across)
        across *= drawn_squares[place]
        squares += across
        np.divide(spread, drawn, out=drawn)
        squares *= np.square(drawn, out=drawn)
        off += center
        return off, squares

    return resampled


def _resample(
    figure: Callable[..., tuple[Floats, Floats]],
    clusters: Sequence[int],
    seeds: Sequence[Seed],
    resamples: int,
) -> tuple[Floats, Floats]:
    """Means and variances of the sample itself (first) and of its resamples.

    `figure` gets an array for each independent sample: how often each of its `clusters` was drawn.
    """
    results = [figure(*(np.ones((1, count)) for count in clusters))]
    step = max(CELLS // max(clusters), 20)
    rows = resamples if min(clusters) > 1 else 0
    kept = rows * max(clusters) <= KEPT
    draws = [
        _kept_draws(seed, step, rows, count) if kept else _draws(seed, step, rows, count)
        for seed, count in zip(seeds, clusters, strict=True)
    ]

    def moments(drawn: Sequence[Ints]) -> tuple[Floats, Floats]:
        return figure(*(times.astype(float) for times in drawn))

    parts = zip(*draws, strict=True)
    if rows <= step:
        results += map(moments, parts)
    else:
        with product_threads() as (count, threads):
            # Few at a time: all draws at once may not fit in memory.
            while batch := list(islice(parts, count)):
                results += threads.map(moments, batch)
    means, variances = zip(*results, strict=True)
    return np.concatenate(means, axis=-1), np.concatenate(variances, axis=-1)


@lru_cache(maxsize=2)
def _kept_draws(seed: Seed, step: int, rows: int, clusters: int) -> Sequence[Ints]:
    """`_draws`, kept: all measures and encoders of a task use the same, and drawing takes a third of the time."""
    # One byte for each is enough: where clusters are many, hardly one is drawn even ten times.
    return [
        times.astype(np.min_scalar_type(times.max()))
        for times in _draws(seed, step, rows, clusters)
    ]


def _draws(seed: Seed, step: int, rows: int, clusters: int) -> Iterator[Ints]:
    """How often each cluster was drawn, one row for each resample (of as many draws as clusters), `step` rows at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, rows, step):
        size = min(step, rows - start)
        # Drawing and counting is four times faster than the generator's own multinomial.
        drawn = rng.integers(0, clusters, (size, clusters)) + np.arange(size)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=size * clusters).reshape(size, clusters)


def _squares(times: Floats, parts: Floats) -> Floats:
    """The sum of squares of each row; a cluster that was drawn n times counts n times."""
    return np.asarray(np.einsum("rc,rc->r", times.astype(parts.dtype), parts * parts), float)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its standard error, and the t of each resample: its distance from the figure in its own standard errors."""

    mean: float
    error: float
    clusters: int
    t: Floats
    """A value for each resample that has a variance."""
    student: bool
    """Whether too few resamples have a variance: then Student's t is used instead."""

    @classmethod
    def of(cls, clusters: int, means: Floats, variances: Floats) -> Estimate:
        """From the means and variances of the sample (first) and of its resamples."""
        mean, variance = float(means[0]), float(variances[0])
        # A smaller standard error, for this mean, is rounding error: see `NO_VARIANCE`.
        error = float(np.sqrt(variance)) if variance > NO_VARIANCE**2 * mean**2 else 0.0
        varied = variances[1:] > NO_VARIANCE * variance
        t = (means[1:][varied] - mean) / np.sqrt(variances[1:][varied])
        return cls(mean, error, clusters, t, len(t) < (1 - FEW) * len(varied))

    def interval(self, bounds: Bounds | None) -> Interval:
        """The 95 % interval.

        Symmetric, since the tails of t are too uncertain where clusters are few (benchmark `coverage`).
        """
        reach = self._reach(LEVEL)
        return Interval(self.mean, *self._limits(-reach, reach, bounds))

    def one_sided(self, bounds: Bounds | None) -> Bounds | tuple[None, None]:
        """A lower and an upper bound of the true value, each with 95 % confidence: the wider of two estimates."""
        reach = self._reach(2 * LEVEL - 1)
        if self.student or not len(self.t):
            return self._limits(-reach, reach, bounds)
        low, high = np.quantile(self.t, [1 - LEVEL, LEVEL])
        return self._limits(min(low, -reach), max(high, reach), bounds)

    def _reach(self, share: float) -> float:
        """How many standard errors on either side of the figure cover the true value in this share of samples.

        Half-way between the quantile of the resamples, which is uncertain where clusters are few, and Student's.
        """
        if self.clusters < 2:
            return 0.0
        student = student_quantile((1 + share) / 2, self.clusters - 1)
        return (
            student if self.student else (float(np.quantile(np.abs(self.t), share)) + student) / 2
        )

    def _limits(
        self, low_t: float, high_t: float, bounds: Bounds | None
    ) -> Bounds | tuple[None, None]:
        if self.clusters < 2:
            return None, None
        low, high = self.mean - high_t * self.error, self.mean - low_t * self.error
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
        return float(low), float(high)

    def p(self, alternative: Alternative) -> float:
        """The probability, by chance alone, of a t at least as extreme; 0 where the resamples cannot tell."""
        if self.clusters < 2 or self.error == 0:
            return 0.0
        t = self.mean / self.error
        if alternative == "two-sided":
            return min(1.0, 2 * self._tail(-np.abs(self.t), -abs(t), 0.5))
        return self._tail(self.t, t) if alternative == "less" else self._tail(-self.t, -t)

    def _tail(self, resampled: Floats, t: float, share: float = 1.0) -> float:
        """The probability of a value up to `t`, from resamples that stand for this share of the whole distribution."""
        df = self.clusters - 1
        if self.student:
            return student_tail(t, df)
        count = int(np.count_nonzero(resampled <= t))
        p = share * (count + 1) / (len(resampled) + 1)
        if count == 0:
            # Below all resamples the tail continues as Student's: a family of tests needs smaller p-values than these give.
            p *= student_tail(t, df) / student_tail(float(resampled.min()), df)
        return min(1.0, p)


def student_quantile(probability: float, df: float) -> float:
    """The t below which Student's distribution has this probability."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def student_tail(t: float, df: float) -> float:
    """The probability that Student's distribution gives to values up to `t`."""
    from scipy.special import stdtr

    return float(stdtr(df, t))

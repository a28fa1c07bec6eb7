"""Intervals by clusters: questions of one article are not independent of each other.

Every figure is a macro average: over the queries of a setting, then over settings. Its standard error is
that of a ratio of sums over clusters (what each cluster adds to the mean, beyond its share of it, squared
and added up). Its interval is a bootstrap-t: clusters are drawn with replacement, and each resample says
how many of its own standard errors it lies off the figure. Percentiles of resampled means cover too little
where clusters are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xlir_bench.records import Floats, Ints

RESAMPLES = 10_000


CELLS = 200_000
"""Of a matrix of resamples and clusters that is worked on at once."""


TINY = 1e-300


UNIT = (0.0, 1.0)
"""What every retrieval measure lies within."""


NO_VARIANCE = 1e-10
"""A variance below this share of the sample's is rounding."""


LEVEL = 0.95
"""Of intervals, of bounds, and of the cases in which a loss that counts as visible is found."""


FEW = 1e-3
"""If more of the resamples have no variance, too few clusters say anything: Student's t then."""


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


@dataclass(frozen=True, slots=True)
class PairedDifferences:
    """Per-query values (differences, mostly), summed by cluster (rows) and setting (columns)."""

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


def macro_intervals(
    measures: Sequence[Sequence[ClusteredValues]],
    clusters: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
    bounds: tuple[float, float] | None = None,
) -> list[Interval]:
    """For each measure the mean over queries in a setting, then over settings, and its interval.

    All measures are of the same queries. A resample draws clusters with replacement, the same for every
    setting and measure: translations of a question move together. `bounds`: what the truth lies within.
    """
    if not all(measures):
        raise ValueError("no setting to average")
    if not measures:
        return []
    figures = [_Figure.of_settings(settings, clusters) for settings in measures]
    return [e.interval(bounds) for e in _estimates(figures, seed, resamples)]


def intervals(
    data: PairedDifferences,
    groups: Sequence[Sequence[int]],
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """The mean of each group of settings (over queries, then over settings), and its interval."""
    return [e.interval(bounds) for e in estimates_of_groups(data, groups, seed, resamples)]


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
    sides = [_Figure.of_settings(*side) for side in zip((first, second), clusters, strict=True)]
    before, after = (figure.where(figure.seen) for figure in sides)
    counts = len(before.sizes), len(after.sizes)

    def change(times: Floats, others: Floats) -> tuple[Floats, Floats]:
        """The change in each resample and its variance: that of a ratio."""
        (one, u), (two, v) = before.parts(times), after.parts(others)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = two / one
            if paired:
                variance = _squares(times, v - ratio[:, None] * u)
            else:
                variance = _squares(others, v) + ratio**2 * _squares(times, u)
            return ratio - 1, variance / one**2

    sample = change(*(np.ones((1, count)) for count in counts))
    if not np.isfinite(sample[0][0]):
        return None
    streams = [np.random.default_rng([seed, n]) for n in range(2)]
    found = [sample]
    for step in _steps(RESAMPLES, max(counts)) if min(counts) > 1 else []:
        times = _draws(streams[0], step, counts[0])
        found.append(change(times, times if paired else _draws(streams[1], step, counts[1])))
    means, variances = (np.concatenate(part) for part in zip(*found, strict=True))
    return Estimate.of(min(counts), means, variances).interval((-1.0, np.inf))


@dataclass(frozen=True, slots=True)
class _Figure:
    """A macro average, as few columns: settings with the same queries in every cluster are one, their mean."""

    center: Floats
    """The mean of each column."""
    residual: Floats
    """What each cluster (rows) has beyond its share, summed over its queries."""
    sizes: Floats
    """Queries, by cluster and column."""
    weight: Floats
    """The share of each column in the mean; all are 1."""
    spread: Floats
    """Of each column: what a standard error is to be multiplied by, as clusters are few."""

    @classmethod
    def of(cls, sums: Floats, sizes: Ints) -> _Figure:
        """Of sums and sizes by cluster and setting."""
        alike = bool((sizes == sizes[:, :1]).all())
        distinct, place, count = (
            # What is true of most data is found sooner than by sorting columns.
            (sizes[:, :1], np.zeros(sizes.shape[1], int), np.array([sizes.shape[1]]))
            if alike
            else np.unique(sizes, axis=1, return_inverse=True, return_counts=True)
        )
        columns = sums @ ((place.ravel()[:, None] == np.arange(len(count))) / count)
        center = columns.sum(axis=0) / distinct.sum(axis=0)
        clusters = np.count_nonzero(distinct, axis=0)
        return cls(
            center=center,
            residual=columns - center * distinct,
            sizes=distinct.astype(float),
            weight=count / count.sum(),
            spread=np.sqrt(clusters / np.maximum(clusters - 1, 1)),
        )

    @classmethod
    def of_settings(cls, settings: Sequence[ClusteredValues], clusters: int) -> _Figure:
        """Of one value a query."""
        sums = [np.bincount(s.clusters, s.values, clusters) for s in settings]
        sizes = [np.bincount(s.clusters, minlength=clusters) for s in settings]
        return cls.of(np.stack(sums, axis=1), np.stack(sizes, axis=1))

    @property
    def seen(self) -> Ints:
        """The clusters that have any query."""
        return np.flatnonzero(self.sizes.any(axis=1))

    def where(self, clusters: Ints) -> _Figure:
        """The same, if these clusters hold all its queries."""
        return replace(self, residual=self.residual[clusters], sizes=self.sizes[clusters])

    def resampled(self, times: Floats) -> tuple[Floats, Floats]:
        """The figure and its variance in each resample (rows): clusters count so many times."""
        means, parts = self.parts(times)
        return means, _squares(times, parts)

    def parts(self, times: Floats) -> tuple[Floats, Floats]:
        """The figure in each resample, and what each cluster (columns) adds to it beyond its share."""
        drawn = times @ self.sizes
        # A column of which no cluster was drawn says nothing in this resample.
        share = self.weight * (drawn > 0)
        share /= np.maximum(share.sum(axis=1, keepdims=True), TINY)
        drawn = np.maximum(drawn, 1)
        off = times @ self.residual / drawn
        each = self.spread * share / drawn
        # Half the precision is enough for a standard error, and half the time.
        added = np.hstack([each, -each * off]).astype(np.float32)
        columns = np.hstack([self.residual, self.sizes]).astype(np.float32)
        return (share * (self.center + off)).sum(axis=1), added @ columns.T


class _OneColumn:
    """Figures of one column each, the common case: all at once, without a matrix of parts for each."""

    def __init__(self, figures: Sequence[_Figure]) -> None:
        sizes = np.stack([f.sizes[:, 0] for f in figures])
        residual = np.stack([f.residual[:, 0] for f in figures])
        distinct, place = np.unique(sizes, axis=0, return_inverse=True)
        self.place = place.ravel()
        self.center, self.spread = (
            np.array([getattr(f, name) for f in figures]) for name in ("center", "spread")
        )
        self.products = [residual, residual**2, residual * sizes, distinct, distinct**2]

    def resampled(self, times: Floats) -> tuple[Floats, Floats]:
        """Each figure (rows) and its variance; a column a resample."""
        products = np.concatenate(self.products) @ times.T
        ends = np.cumsum([len(part) for part in self.products])
        off, squares, across, drawn, drawn_squares = np.split(products, ends[:-1])
        # A resample without any of these queries has no variance, and is left out for that.
        drawn = np.maximum(drawn, 1)[self.place]
        off = off / drawn
        squares = squares - 2 * off * across + off**2 * drawn_squares[self.place]
        return self.center + off, squares * (self.spread / drawn) ** 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its standard error, and how many of its own each resample lies off it."""

    mean: float
    error: float
    clusters: int
    t: Floats
    """Ascending; only of resamples that have a variance."""
    student: bool
    """Whether too few of them have one; then t is as Student's."""

    @classmethod
    def of(cls, clusters: int, means: Floats, variances: Floats) -> Estimate:
        """Of the sample (first) and its resamples."""
        mean, variance = float(means[0]), float(variances[0])
        # What differs less is the same: see `NO_VARIANCE`.
        error = float(np.sqrt(variance)) if variance > NO_VARIANCE**2 * mean**2 else 0.0
        varied = variances[1:] > NO_VARIANCE * variance
        t = np.sort((means[1:][varied] - mean) / np.sqrt(variances[1:][varied]))
        return cls(mean, error, clusters, t, len(t) < (1 - FEW) * len(varied))

    def interval(self, bounds: tuple[float, float] | None) -> Interval:
        """The 95 % interval: as many errors either way as 95 % of samples lie off at most.

        Symmetric, since the tails of t are too uneven a guess where clusters are few (benchmark `coverage`).
        """
        far = self._within(LEVEL)
        return Interval(self.mean, *self._limits(-far, far, bounds))

    def one_sided(
        self, bounds: tuple[float, float] | None
    ) -> tuple[float, float] | tuple[None, None]:
        """What the truth is not below, and what it is not above, each with 95 %: the wider of two guesses."""
        far = self._within(2 * LEVEL - 1)
        if self.student or not len(self.t):
            return self._limits(-far, far, bounds)
        least, most = np.quantile(self.t, [1 - LEVEL, LEVEL])
        return self._limits(min(least, -far), max(most, far), bounds)

    def _within(self, share: float) -> float:
        """How many standard errors off this share of samples is at most.

        Half-way between the resamples' answer, which few clusters make uncertain, and Student's.
        """
        if self.clusters < 2:
            return 0.0
        student = student_quantile((1 + share) / 2, self.clusters - 1)
        return (
            student if self.student else (float(np.quantile(np.abs(self.t), share)) + student) / 2
        )

    def _limits(
        self, least: float, most: float, bounds: tuple[float, float] | None
    ) -> tuple[float, float] | tuple[None, None]:
        if self.clusters < 2:
            return None, None
        low, high = self.mean - most * self.error, self.mean - least * self.error
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
        return float(low), float(high)

    def p(self, alternative: Alternative) -> float:
        """How likely chance alone gives such a t; 0 if nothing can be said of it."""
        if self.clusters < 2 or self.error == 0:
            return 0.0
        t = self.mean / self.error
        if alternative == "two-sided":
            return min(1.0, 2 * self._tail(-np.sort(np.abs(self.t))[::-1], -abs(t), 0.5))
        return self._tail(self.t, t) if alternative == "less" else self._tail(-self.t[::-1], -t)

    def _tail(self, ascending: Floats, t: float, share: float = 1.0) -> float:
        """The share of resamples that are not above `t`, of a tail that holds `share` of them all."""
        df = self.clusters - 1
        if self.student:
            return student_tail(t, df)
        count = int(np.searchsorted(ascending, t, "right"))
        p = share * (count + 1) / (len(ascending) + 1)
        if count == 0:
            # Beyond all resamples the tail goes on as Student's: a family of tests needs small p-values.
            p *= student_tail(t, df) / student_tail(float(ascending[0]), df)
        return min(1.0, p)


def student_quantile(probability: float, df: float) -> float:
    """The t below which Student's distribution has this probability."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def student_tail(t: float, df: float) -> float:
    """The probability of a smaller t than this."""
    from scipy.special import stdtr

    return float(stdtr(df, t))


def _estimates(figures: Sequence[_Figure], seed: int, resamples: int = RESAMPLES) -> list[Estimate]:
    """One estimate a figure, all of the same resamples of the clusters that any of them has."""
    if not figures:
        return []
    seen = np.unique(np.concatenate([figure.seen for figure in figures]))
    single = [i for i, figure in enumerate(figures) if len(figure.weight) == 1]
    kept = [figure.where(seen) for figure in figures]
    one_column = _OneColumn([kept[i] for i in single]) if single else None

    def resampled(times: Floats) -> tuple[Floats, Floats]:
        found = np.empty((2, len(figures), len(times)))
        if one_column is not None:
            found[:, single] = one_column.resampled(times)
        for i in set(range(len(figures))) - set(single):
            found[:, i] = kept[i].resampled(times)
        return found[0], found[1]

    rng = np.random.default_rng(seed)
    sample = resampled(np.ones((1, len(seen))))
    steps = _steps(resamples, len(seen)) if len(seen) > 1 else []
    drawn = [resampled(_draws(rng, step, len(seen))) for step in steps]
    means, variances = (
        np.concatenate([sample[side], *(part[side] for part in drawn)], axis=1) for side in (0, 1)
    )
    return [
        Estimate.of(len(figure.seen), means[i], variances[i]) for i, figure in enumerate(figures)
    ]


def estimates_of_groups(
    data: PairedDifferences, groups: Sequence[Sequence[int]], seed: int, resamples: int = RESAMPLES
) -> list[Estimate]:
    """The estimate of each group of settings."""
    chosen = [_Figure.of(data.sums[:, list(g)], data.sizes[:, list(g)]) for g in groups]
    return _estimates(chosen, seed, resamples)


def _squares(times: Floats, parts: Floats) -> Floats:
    """The sum of squares of each row, each as often as its cluster was drawn."""
    return np.asarray(np.einsum("rc,rc->r", times.astype(parts.dtype), parts * parts), float)


def _steps(count: int, clusters: int) -> list[int]:
    """So many resamples in parts whose matrices fit a cache."""
    step = min(max(CELLS // clusters, 20), count)
    return [min(step, count - done) for done in range(0, count, step)]


def _draws(rng: np.random.Generator, count: int, clusters: int) -> Floats:
    """How often each cluster was drawn, as many draws as there are clusters; a row a resample."""
    # Drawing and counting is four times faster than the generator's own multinomial.
    drawn = rng.integers(0, clusters, (count, clusters)) + np.arange(count)[:, None] * clusters
    counted = np.bincount(drawn.ravel(), minlength=count * clusters)
    return counted.reshape(count, clusters).astype(float)

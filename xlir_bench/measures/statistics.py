"""Intervals by resampling clusters: questions of one article are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Floats, Ints

RESAMPLES = 10_000
STEP = 1_000


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


def macro_interval(
    settings: Sequence[ClusteredValues], clusters: int, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Mean over queries in a setting, then over settings; percentile bootstrap over clusters.

    A resample draws clusters with replacement, the same for every setting: translations of a question
    move together.
    """
    if not settings:
        raise ValueError("no setting to average")
    sums: Floats = np.stack([np.bincount(s.clusters, s.values, clusters) for s in settings], axis=1)
    sizes = np.stack([np.bincount(s.clusters, minlength=clusters) for s in settings], axis=1)
    mean = float(np.mean(sums.sum(axis=0) / sizes.sum(axis=0)))
    # A cluster without any query here (another kind has them) is no part of this sample.
    seen = sizes.sum(axis=1) > 0
    if np.count_nonzero(seen) < 2:
        return Interval(mean, None, None)
    sums, sizes = sums[seen], sizes[seen]
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            _resampled(rng, sums, sizes, min(STEP, resamples - done))
            for done in range(0, resamples, STEP)
        ]
    )
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def _resampled(rng: np.random.Generator, sums: Floats, sizes: Ints, count: int) -> Floats:
    clusters = len(sums)
    draws = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=count).astype(float)
    weight = draws @ sizes
    # A setting of which no cluster was drawn says nothing in this resample.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean((draws @ sums) / np.where(weight > 0, weight, np.nan), axis=1))

"""95 % intervals of single settings, from the per-query tables that may lie beside a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.measures.statistics import RESAMPLES
from xlir_bench.records import Floats, Kind
from xlir_bench.reports.pairing import RANK_DISTANCE, QueryValues, query_values
from xlir_bench.results import Result

STEP = 500
Bounds = tuple[float, float]
Cell = tuple[str, str, str]
"""Query language, passage language (``*``: the pool), measure."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """What the tables give; empty where there are none, or they do not belong to the result."""

    cells: Mapping[Cell, Bounds] = field(default_factory=dict)
    distance: Bounds | None = None
    """Of the rank distance, mean over query languages."""
    distance_by_lang: Mapping[str, Bounds] = field(default_factory=dict)


def has_tables(folder: Path) -> bool:
    """Whether the values of single queries can be had of the result in this folder."""
    return Result.load(folder).has_values


def setting_intervals(folder: Path, measures: Sequence[str]) -> Intervals:
    """Percentile bootstrap over clusters, of every setting and measure, and of the rank distance."""
    if not has_tables(folder):
        return Intervals()
    result = Result.load(folder)
    try:
        cells = {
            (query_lang, passage_lang, measure): bounds
            for measure in measures
            for (query_lang, passage_lang), bounds in _Resampled.of(
                query_values(result, measure)
            ).by_setting.items()
        }
        if not any(s.kind == Kind.MULTILINGUAL for s in result.record.settings):
            return Intervals(cells)
        distances = _Resampled.of(query_values(result, RANK_DISTANCE))
    except InputError:
        return Intervals()
    by_lang = {lang: bounds for (lang, _), bounds in distances.by_setting.items()}
    return Intervals(cells, distances.overall, by_lang)


@dataclass(frozen=True, slots=True)
class _Resampled:
    """The bounds of each setting's mean, by query and passage language, and of the mean over all."""

    by_setting: Mapping[tuple[str, str], Bounds]
    overall: Bounds | None

    @classmethod
    def of(cls, values: QueryValues) -> _Resampled:
        used, setting = np.unique(values.setting, return_inverse=True)
        shape = (len(values.clusters), len(used))
        cell = values.cluster * len(used) + setting
        sums = np.bincount(cell, values.value, shape[0] * shape[1]).reshape(shape).astype(float)
        counts = np.bincount(cell, minlength=shape[0] * shape[1])
        sizes: Floats = counts.reshape(shape).astype(float)
        if not len(used) or np.count_nonzero(sizes.sum(axis=1)) < 2:
            return cls({}, None)
        means = _means(sums, sizes)
        low, high = _percentiles(means)
        several = (sizes > 0).sum(axis=0) > 1
        settings = [values.settings[i] for i in used.tolist()]
        by_setting = {
            (s.query_lang, s.passage_lang): (float(a), float(b))
            for s, a, b, wanted in zip(settings, low, high, several, strict=True)
            if wanted
        }
        lowest, highest = _percentiles(np.nanmean(means, axis=1)[:, None])
        return cls(by_setting, (float(lowest[0]), float(highest[0])))


def _means(sums: Floats, sizes: Floats) -> Floats:
    """The mean of each setting (columns) in each resample of clusters; NaN where none was drawn."""
    clusters, rng = len(sums), np.random.default_rng(0)
    means = np.empty((RESAMPLES, sums.shape[1]))
    for start in range(0, RESAMPLES, STEP):
        drawn = rng.integers(0, clusters, (STEP, clusters))
        drawn += np.arange(STEP)[:, None] * clusters
        counted = np.bincount(drawn.ravel(), minlength=STEP * clusters)
        times = counted.reshape(STEP, clusters).astype(float)
        weight = times @ sizes
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + STEP] = (times @ sums) / weight
    return means


def _percentiles(means: Floats) -> Floats:
    """The 2.5 and 97.5 percentiles of each column, rows low and high."""
    if np.isnan(means).any():
        return np.asarray(np.nanpercentile(means, [2.5, 97.5], axis=0))
    return np.asarray(np.percentile(means, [2.5, 97.5], axis=0))

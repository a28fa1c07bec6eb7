"""95 % intervals of single settings, from the ranks that are kept with a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.measures.bootstrap import UNIT, ClusterSums, intervals
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

Bounds = tuple[float, float]
Langs = tuple[str, str]
"""Query language, passage language (``*``: the pool)."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """What the values of single queries give; empty where there are none, or they are of another result."""

    cells: Mapping[str, Mapping[Langs, Bounds]] = field(default_factory=dict)
    """By measure."""
    distance: Bounds | None = None
    """Of the rank distance, mean over query languages."""
    distance_by_lang: Mapping[str, Bounds] = field(default_factory=dict)


def setting_intervals(folder: Path, measures: Sequence[str]) -> Intervals:
    """Of every setting and measure, and of the rank distance, bootstrap-t over clusters."""
    result = Result.load(folder)
    if not result.has_values:
        return Intervals()
    try:
        cells = {measure: _bounds(result.values(measure))[0] for measure in measures}
        if "rank_distance" not in result.record.bias:
            return Intervals(cells)
        by_setting, overall = _bounds(result.values(RANK_DISTANCE))
    except InputError:
        return Intervals()
    return Intervals(cells, overall, {lang: bounds for (lang, _), bounds in by_setting.items()})


def _bounds(values: QueryValues) -> tuple[dict[Langs, Bounds], Bounds | None]:
    """Of each setting's mean, and of the mean over all settings."""
    shape = (len(values.clusters), len(values.settings))
    data = ClusterSums.of(values.value, values.cluster, values.setting, shape)
    used = np.unique(values.setting).tolist()
    if not used:
        return {}, None
    within = None if values.measure == RANK_DISTANCE else UNIT
    found = [
        None if interval.low is None or interval.high is None else (interval.low, interval.high)
        for interval in intervals(data, [*([i] for i in used), used], bounds=within)
    ]
    langs = [(s.query_lang, s.passage_lang) for s in (values.settings[i] for i in used)]
    return {
        pair: bounds for pair, bounds in zip(langs, found[:-1], strict=True) if bounds is not None
    }, found[-1]

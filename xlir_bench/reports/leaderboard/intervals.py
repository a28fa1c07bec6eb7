"""95 % intervals of single settings, from the per-query tables that may lie beside a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.measures.statistics import UNIT, PairedDifferences, intervals
from xlir_bench.records import Kind
from xlir_bench.reports.pairing import RANK_DISTANCE, QueryValues, query_values
from xlir_bench.results import Result

Bounds = tuple[float, float]
Cell = tuple[str, str, str]
"""Query language, passage language (``*``: the pool), measure."""
OVERALL = ("", "")


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
    """Of every setting and measure, and of the rank distance; bootstrap-t over clusters."""
    if not has_tables(folder):
        return Intervals()
    result = Result.load(folder)
    try:
        cells = {
            (query_lang, passage_lang, measure): bounds
            for measure in measures
            for (query_lang, passage_lang), bounds in _bounds(query_values(result, measure)).items()
            if query_lang
        }
        if not any(s.kind == Kind.MULTILINGUAL for s in result.record.settings):
            return Intervals(cells)
        distances = _bounds(query_values(result, RANK_DISTANCE))
    except InputError:
        return Intervals()
    overall = distances.pop(OVERALL, None)
    return Intervals(cells, overall, {lang: bounds for (lang, _), bounds in distances.items()})


def _bounds(values: QueryValues) -> dict[tuple[str, str], Bounds]:
    """Of each setting's mean, by query and passage language, and of the mean over all."""
    shape = (len(values.clusters), len(values.settings))
    data = PairedDifferences.of(values.value, values.cluster, values.setting, shape)
    used = np.unique(values.setting).tolist()
    names = [(values.settings[i].query_lang, values.settings[i].passage_lang) for i in used]
    bounds = None if values.measure == RANK_DISTANCE else UNIT
    found = intervals(data, [*([i] for i in used), used] if used else [], bounds=bounds)
    return {
        name: (interval.low, interval.high)
        for name, interval in zip([*names, OVERALL], found, strict=False)
        if interval.low is not None and interval.high is not None
    }

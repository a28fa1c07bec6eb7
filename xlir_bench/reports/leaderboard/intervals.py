"""95 % intervals of single settings, from the per-query tables that may lie beside a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.measures.statistics import PairedDifferences, paired_tests
from xlir_bench.records import Kind
from xlir_bench.reports.pairing import RANK_DISTANCE, QueryValues, query_values
from xlir_bench.results import Result

Bounds = tuple[float, float]
Cell = tuple[str, str, str]
"""Query language, passage language (``*``: the pool), measure."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """What the tables give; empty where there are none."""

    cells: Mapping[Cell, Bounds] = field(default_factory=dict)
    distance: Bounds | None = None
    """Of the rank distance, mean over query languages."""
    distance_by_lang: Mapping[str, Bounds] = field(default_factory=dict)


def has_tables(folder: Path) -> bool:
    """Whether both per-query tables lie beside a result."""
    return all((folder / f"{name}.parquet").is_file() for name in ("ranks", "queries"))


def setting_intervals(folder: Path, measures: Sequence[str]) -> Intervals:
    """Percentile bootstrap over clusters, of every setting and measure, and of the rank distance."""
    if not has_tables(folder):
        return Intervals()
    result = Result.load(folder)
    cells: dict[Cell, Bounds] = {}
    for measure in measures:
        values = query_values(result, measure)
        for (query_lang, passage_lang), bounds in _by_setting(values).items():
            cells[query_lang, passage_lang, measure] = bounds
    if not any(s.kind == Kind.MULTILINGUAL for s in result.record.settings):
        return Intervals(cells)
    distances = query_values(result, RANK_DISTANCE)
    by_lang = {lang: bounds for (lang, _), bounds in _by_setting(distances).items()}
    return Intervals(cells, _over_settings(distances), by_lang)


def _by_setting(values: QueryValues) -> dict[tuple[str, str], Bounds]:
    """The bounds of each setting's mean, by query and passage language."""
    used = np.unique(values.setting).tolist()
    found = _bounds(values, [[i] for i in range(len(used))])
    settings = [values.settings[i] for i in used]
    return {
        (setting.query_lang, setting.passage_lang): bounds
        for setting, bounds in zip(settings, found, strict=True)
        if bounds
    }


def _over_settings(values: QueryValues) -> Bounds | None:
    """The bounds of the mean over settings."""
    used = np.unique(values.setting)
    return _bounds(values, [list(range(len(used)))])[0] if len(used) else None


def _bounds(values: QueryValues, groups: list[list[int]]) -> list[Bounds | None]:
    """Bounds of the means over groups of settings: a value is its difference from nothing."""
    used, setting = np.unique(values.setting, return_inverse=True)
    shape = (len(values.clusters), len(used))
    data = PairedDifferences.of(values.value, values.cluster, setting, shape)
    return [
        (d.low, d.high) if d.low is not None and d.high is not None else None
        for d in paired_tests(data, groups)
    ]

"""Plots of stored results for papers and READMEs: safe for colour-blind eyes, numbers in the cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.options.drawing import DrawOptions
from xlir_bench.rendering.canvas import FORMATS, save, style
from xlir_bench.reports.plots.bias import draw_bias, draw_languages
from xlir_bench.reports.plots.charts import (
    draw_checkpoints,
    draw_cost,
    draw_robustness,
    draw_trade_off,
)
from xlir_bench.reports.plots.heatmaps import (
    MARGIN,
    alignment_figures,
    draw_alignment,
    draw_difference,
    draw_matrix,
)
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "PICTURES", "draw", "draw_cost", "draw_robustness", "save"]

PICTURES: Mapping[str, Callable[[Sequence[ResultRecord], str], Figure]] = {
    "matrix": draw_matrix,
    "difference": draw_difference,
    "languages": draw_languages,
    "bias": draw_bias,
    "trade-off": draw_trade_off,
    "checkpoints": draw_checkpoints,
    "alignment": draw_alignment,
    "cost": draw_cost,
}


def draw(
    kind: str,
    records: Sequence[ResultRecord],
    measure: str | None = None,
    options: DrawOptions | None = None,
) -> Figure:
    """A picture of one of the `PICTURES`; by default of map, and ``alignment`` of the margin."""
    if kind not in PICTURES:
        raise UnknownNameError("kind of plot", [kind], PICTURES)
    if not records:
        raise InputError("no result to draw; name a result folder (results/<encoder>/<task>)")
    if len({(r.task.name, r.task.digest) for r in records}) > 1:
        names = ", ".join(sorted({record.task.name for record in records}))
        raise NotComparableError(
            f"these results are of several tasks ({names}), or of several versions of one; draw one at a time"
        )
    if kind == "alignment":
        measure = measure or MARGIN
        known = [name for record in records for name in alignment_figures(record)]
    else:
        measure = measure or "map"
        known = [name for r in records for by_measure in r.summary.values() for name in by_measure]
    if measure not in known:
        raise UnknownNameError("measure of these results", [measure], set(known))
    with style(options):
        return PICTURES[kind](records, measure)

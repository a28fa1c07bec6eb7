"""Map against what a variant costs, a point each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlir_bench.escaping import visible
from xlir_bench.reports.cost import milliseconds, size
from xlir_bench.reports.plots.canvas import (
    ACCENT,
    MUTED,
    grid_lines,
    label_of,
    new_figure,
    style,
    write_title,
)
from xlir_bench.reports.plots.trade_off import label_points
from xlir_bench.reports.tables import number
from xlir_bench.results.schema import CostPart, ResultRecord, VariantPart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_cost(record: ResultRecord, cost: CostPart) -> Figure:
    """Mean map against milliseconds of a query, and against bytes of the index."""
    with style():
        figure, (left, right) = new_figure(11.0, 5.2, 1, 2, sharey=True)
        for v in cost.variants:
            _point(left, v, v.query.p50, "latency")
            left.plot(
                [min(v.query.rounds), max(v.query.rounds)],
                [v.mean_map] * 2,
                color=MUTED,
                alpha=0.45,
            )
            _point(right, v, v.index_bytes, "size")
        left.set_xlabel("milliseconds of one query, p50", color=MUTED)
        left.set_ylabel("map, mean of the kinds of setting", color=MUTED)
        left.xaxis.set_major_formatter(lambda value, _: milliseconds(value))
        left.yaxis.set_major_formatter(lambda value, _: number(value, 3) if value else "0")
        right.set_xlabel("size of the index", color=MUTED)
        right.xaxis.set_major_formatter(lambda value, _: size(value) if value else "0")
        for axes in (left, right):
            axes.margins(x=0.3, y=0.14)
            grid_lines(axes)
        right.set_xlim(left=0)
        write_title(
            figure,
            f"Quality and cost, {label_of(record)} on {visible(record.task.title)}",
            "up and to the left is better; filled: unbeaten in map and this cost; lines span the rounds",
        )
        # Names give way to each other by where points lie on the page, which is known once it is laid out.
        figure.draw_without_rendering()
        label_points(left, [(v.query.p50, v.mean_map, _name(v, "latency")) for v in cost.variants])
        label_points(right, [(v.index_bytes, v.mean_map, _name(v, "size")) for v in cost.variants])
    return figure


def _point(axes: Axes, variant: VariantPart, x: float, by: str) -> None:
    filled = by in variant.unbeaten
    axes.plot(
        x, variant.mean_map, "o", color=ACCENT if filled else MUTED, markersize=7, zorder=3,
        markerfacecolor=ACCENT if filled else "white",
    )  # fmt: skip


def _name(variant: VariantPart, by: str) -> str:
    """Of the unbeaten alone: names of all would hide the points."""
    if by not in variant.unbeaten:
        return ""
    return visible(f"{variant.dtype} {variant.dimension} {variant.index}")

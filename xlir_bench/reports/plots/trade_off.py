"""A measure against rank distance, a point an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.records import Kind
from xlir_bench.reports.plots.canvas import (
    ACCENT,
    INK,
    MUTED,
    grid_lines,
    label_of,
    new_figure,
    write_title,
)
from xlir_bench.reports.tables import big, number
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_trade_off(records: Sequence[ResultRecord], measure: str) -> Figure:
    """A measure in the pool of all languages against rank distance: up and to the left is better."""
    kind = Kind.MULTILINGUAL
    points = [
        (record, distance, record.summary[kind][measure])
        for record in records
        if measure in record.summary.get(kind, {})
        if (distance := _distance(record)) is not None
    ]
    if not points:
        raise InputError(
            f"no result has both multilingual {measure} and a rank distance; run the multilingual settings"
        )
    figure, (axes,) = new_figure(7.0, 4.9)
    for _, distance, part in points:
        if part.low is not None and part.high is not None:
            axes.plot(
                [distance] * 2, [part.low, part.high], color=ACCENT, alpha=0.45, linewidth=2.2
            )
        axes.plot(distance, part.mean, "o", color=ACCENT, markersize=7, zorder=3)
    chance = points[0][0].bias["rank_distance"].chance
    mine = [s.chance_map for s in points[0][0].settings if s.kind == kind and s.queries]
    marks = [(d, p.mean, label_of(r)) for r, d, p in points]
    if isinstance(chance, float) and measure == "map" and mine:
        axes.plot(
            chance, sum(mine) / len(mine), "x", color=MUTED, markersize=7, markeredgewidth=1.8
        )
        marks.append((chance, sum(mine) / len(mine), "chance"))
    axes.margins(x=0.16, y=0.14)
    axes.set_ylim(bottom=-0.05 * axes.get_ylim()[1])
    axes.set_xlabel("rank distance (lower is better)", color=MUTED)
    axes.set_ylabel(f"{kind.value} {measure}", color=MUTED)
    axes.xaxis.set_major_formatter(lambda value, _: big(value).removesuffix(".0"))
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 2) if value else "0")
    grid_lines(axes)
    label_points(axes, marks)
    task = visible(records[0].task.title)
    write_title(
        figure,
        f"Quality and language bias, {task}",
        "up and to the left is better; bars are 95 % intervals",
    )
    return figure


def _distance(record: ResultRecord) -> float | None:
    view = record.bias.get("rank_distance")
    return view.mean if view is not None and isinstance(view.mean, float) else None


def label_points(axes: Axes, marks: Sequence[tuple[float, float, str]]) -> None:
    """Names beside points; where names would lie on each other they give way upwards or down."""
    to_pixels = axes.transData.transform
    boxes: list[tuple[float, float, float, float]] = []
    points = [to_pixels((x, y)) for x, y, _ in marks]
    for (x, y, name), (px, py) in zip(marks, points, strict=True):
        width, height = 6.0 * len(name) + 4, 13.0
        right_edge = axes.transAxes.transform((1, 1))[0]
        left = px + 9 + width > right_edge
        for step in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6):
            start = px - 9 - width if left else px + 9
            box = (start, py + step * height - 6, start + width, py + step * height + 7)
            if not any(_overlap(box, other) for other in boxes) and not any(
                _overlap(box, (a - 5, b - 5, a + 5, b + 5)) for a, b in points if (a, b) != (px, py)
            ):
                break
        boxes.append(box)
        offset = 72 / axes.figure.dpi
        axes.annotate(
            name, (x, y), ((-9 if left else 9) * offset, step * height * offset), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=9,
            color=MUTED if name == "chance" else INK, fontstyle="italic" if name == "chance" else "normal",
        )  # fmt: skip


def _overlap(one: Sequence[float], two: Sequence[float]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]

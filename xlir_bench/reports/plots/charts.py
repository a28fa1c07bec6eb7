"""A measure against something else: rank distance, training steps, cost, or the same on a reference task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.records import Kind
from xlir_bench.reports.cost import milliseconds, size, variant_name
from xlir_bench.reports.leaderboard.columns import DISTANCE, Column
from xlir_bench.reports.plots.canvas import (
    ACCENT,
    INK,
    MUTED,
    grid_lines,
    label_of,
    label_points,
    new_figure,
    style,
    titled,
)
from xlir_bench.reports.robustness import Shift
from xlir_bench.reports.tables import big, number
from xlir_bench.results.schema import CostPart, ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {Kind.MONOLINGUAL: "#0b5aa8", Kind.CROSS_LINGUAL: "#c45a00", Kind.MULTILINGUAL: "#2f7d5b"}
MARKS = {Kind.MONOLINGUAL: "o", Kind.CROSS_LINGUAL: "s", Kind.MULTILINGUAL: "D"}


def draw_trade_off(records: Sequence[ResultRecord], measure: str) -> Figure:
    """A measure in the pool of all languages against rank distance: up and to the left is better."""
    kind = Kind.MULTILINGUAL
    points = [
        (record, distance, average)
        for record in records
        if (average := record.average(kind, measure))
        and (distance := record.rank_distance) is not None
    ]
    if not points:
        raise InputError(
            f"no result has both multilingual {measure} and a rank distance; run the multilingual settings"
        )
    figure, (axes,) = new_figure(7.0, 4.9)
    for _, x, part in points:
        if part.low is not None and part.high is not None:
            axes.plot([x, x], [part.low, part.high], color=ACCENT, alpha=0.45, linewidth=2.2)
        axes.plot(x, part.mean, "o", color=ACCENT, markersize=7, zorder=3)
    names = [(x, part.mean, label_of(record)) for record, x, part in points]
    first = points[0][0]
    chance_x, chance_y = DISTANCE.chance(first), Column(kind, measure).chance(first)
    if chance_x is not None and chance_y is not None:
        axes.plot(chance_x, chance_y, "x", color=MUTED, markersize=7, markeredgewidth=1.8)
        names.append((chance_x, chance_y, "chance"))
    axes.margins(x=0.16, y=0.14)
    axes.set_ylim(bottom=-0.05 * axes.get_ylim()[1])
    axes.set_xlabel("rank distance (lower is better)", color=MUTED)
    axes.set_ylabel(f"{kind.value} {measure}", color=MUTED)
    axes.xaxis.set_major_formatter(lambda value, _: big(value).removesuffix(".0"))
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 2) if value else "0")
    grid_lines(axes)
    label_points(axes, names)
    reading = "up and to the left is better; bars are 95 % intervals"
    return titled(figure, f"Quality and language bias, {visible(records[0].task.title)}", reading)


def draw_checkpoints(records: Sequence[ResultRecord], measure: str) -> Figure:
    """A measure by kind over results: by number where names end in one, else in the order given."""
    ends = [re.fullmatch(r"(.*?)(\d+)(\D*)", r.encoder.name, re.DOTALL) for r in records]
    steps = [int(end[2]) for end in ends if end]
    stems = {end[1] + end[3] for end in ends if end}
    numbered = len(set(steps)) == len(records) > 1 == len(stems)
    if numbered:
        records = [records[i] for i in sorted(range(len(records)), key=steps.__getitem__)]
        places, labels = sorted(steps), [f"{step:,}" for step in sorted(steps)]
    else:
        places, labels = list(range(len(records))), [label_of(record) for record in records]
    figure, (axes,) = new_figure(max(6.4, 2.5 + (0.0 if numbered else 0.9) * len(records)), 4.3)
    line_ends = []
    for kind, colour in COLOURS.items():
        parts = [
            (x, part)
            for x, record in zip(places, records, strict=True)
            if (part := record.average(kind, measure))
        ]
        if not parts:
            continue
        xs, means = [x for x, _ in parts], [part.mean for _, part in parts]
        axes.plot(xs, means, MARKS[kind] + "-", color=colour, linewidth=1.8, markersize=5)
        bands = [(x, p.low, p.high) for x, p in parts if p.low is not None and p.high is not None]
        if bands:
            at, low, high = zip(*bands, strict=True)
            axes.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0)
        line_ends.append((float(xs[-1]), means[-1], kind))
    axes.set_xticks(places, labels)
    if not numbered:
        axes.tick_params("x", rotation=30)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(measure, color=MUTED)
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 2) if value else "0")
    axes.margins(x=0.03)
    grid_lines(axes)
    _name_lines(axes, line_ends)
    order = visible(next(iter(stems)).rstrip("-_/ ")) if numbered else "in the order given"
    title = f"{measure} over checkpoints, {visible(records[0].task.title)}"
    return titled(figure, title, f"{order}; bands are 95 % intervals")


def _name_lines(axes: Axes, ends: Sequence[tuple[float, float, Kind]]) -> None:
    """Kinds at the ends of their lines, moved apart where they would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.055
    at = -float("inf")
    for x, y, kind in sorted(ends, key=lambda end: end[1]):
        at = max(y, at + gap)
        axes.annotate(
            kind.value, (x, at), (8, 0), textcoords="offset points", va="center",
            color=COLOURS[kind], fontsize=9.5, annotation_clip=False,
        )  # fmt: skip


@style()
def draw_cost(record: ResultRecord, cost: CostPart) -> Figure:
    """Mean map against milliseconds of a query, and against bytes of the index."""
    figure, (left, right) = new_figure(11.0, 5.2, 1, 2, sharey=True)
    names: dict[str, list[tuple[float, float, str]]] = {"latency": [], "size": []}
    for v in cost.variants:
        costs = {"latency": v.query.p50, "size": v.index_bytes}
        for axes, (by, x) in zip((left, right), costs.items(), strict=True):
            unbeaten = by in v.unbeaten
            colour, fill = (ACCENT, ACCENT) if unbeaten else (MUTED, "white")
            axes.plot(x, v.mean_map, "o", color=colour, markerfacecolor=fill, markersize=7, zorder=3)  # fmt: skip
            # Names of all would hide the points.
            names[by].append((x, v.mean_map, visible(variant_name(v)) if unbeaten else ""))
        span = [min(v.query.rounds), max(v.query.rounds)]
        left.plot(span, [v.mean_map] * 2, color=MUTED, alpha=0.45)
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
    titled(
        figure,
        f"Quality and cost, {label_of(record)} on {visible(record.task.title)}",
        "up and to the left is better; filled: unbeaten in map and this cost; lines span the rounds",
    )
    # Where points lie on the page, and so where names would overlap, is known once it is laid out.
    figure.draw_without_rendering()
    label_points(left, names["latency"])
    label_points(right, names["size"])
    return figure


@style()
def draw_robustness(shifts: Sequence[Shift], beside: str, measure: str) -> Figure:
    """A line for each encoder and task, a mark for each kind of setting, bars for the intervals."""
    shown = [shift for shift in shifts if shift.change is not None]
    if not shown:
        raise InputError("nothing to draw: no task stands beside its reference")
    lines = list(dict.fromkeys((s.encoder, s.task) for s in shown))
    place = {line: len(lines) - n for n, line in enumerate(lines)}
    figure, (axes,) = new_figure(7.0, 1.6 + 0.5 * len(lines))
    for s in shown:
        y = place[s.encoder, s.task] + 0.2 * (1 - list(Kind).index(s.kind))
        if s.low is not None and s.high is not None:
            axes.plot([100 * s.low, 100 * s.high], [y, y], color=ACCENT, alpha=0.45)
        axes.plot(100 * (s.change or 0.0), y, MARKS[s.kind], color=ACCENT, markersize=5)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(list(place.values()), [visible(f"{e}, {t}") for e, t in place])
    axes.set_xlabel(f"change of {measure} in percent", color=MUTED)
    for kind, mark in MARKS.items():
        axes.plot([], [], mark, color=ACCENT, label=kind.value)
    axes.legend(loc="best", fontsize=8, frameon=False)
    grid_lines(axes)
    return titled(figure, f"Beside {visible(beside)}", "bars are 95 % intervals")

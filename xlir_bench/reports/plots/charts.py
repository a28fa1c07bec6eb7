"""A measure against something else: rank distance, training steps, cost, or the same measure of a reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.records import Kind
from xlir_bench.rendering.canvas import (
    ACCENT,
    INK,
    KIND_COLOURS,
    KIND_MARKS,
    MUTED,
    grid_lines,
    label_points,
    laid_out,
    new_figure,
    plain_ticks,
    style,
    titled,
)
from xlir_bench.rendering.numbers import milliseconds, size
from xlir_bench.reports.cost import variant_name
from xlir_bench.reports.robustness import Shift
from xlir_bench.reports.scores import DISTANCE, Score
from xlir_bench.results.frame import part_of
from xlir_bench.results.schema import ResultRecord

LEAST_MAP_SPAN = 0.02
"""An axis of map spans at least this much, so that small differences look small."""

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def draw_trade_off(records: Sequence[ResultRecord], measure: str) -> Figure:
    """A measure in the pool of all languages against rank distance: up and to the left is better."""
    kind = Kind.MULTILINGUAL
    measured = [
        (record, distance, average)
        for record in records
        if (average := record.average(kind, measure))
        and (distance := record.rank_distance) is not None
    ]
    if not measured:
        raise InputError(f"no result has both multilingual {measure} and a rank distance")
    figure, (axes,) = new_figure(7.0, 4.0)
    bars = []
    for _, x, part in measured:
        if part.low is not None and part.high is not None:
            axes.plot([x, x], [part.low, part.high], color=ACCENT, alpha=0.45, linewidth=2.2)
            bars.append((x, part.low, x, part.high))
        axes.plot(x, part.mean, "o", color=ACCENT, markersize=7, zorder=3)
    names = [(x, part.mean, visible(record.encoder.name)) for record, x, part in measured]
    first = measured[0][0]
    chance_x, chance_y = DISTANCE.chance(first), Score(kind, measure).chance(first)
    if chance_x is not None and chance_y is not None:
        axes.plot(chance_x, chance_y, "x", color=MUTED, markersize=7, markeredgewidth=1.8)
        names.append((chance_x, chance_y, "chance"))
    axes.margins(x=0.16, y=0.14)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=-0.05 * axes.get_ylim()[1])
    axes.set_xlabel("rank distance (lower is better)")
    axes.set_ylabel(f"{kind.value} {visible(measure)}")
    plain_ticks(axes.xaxis, distance=True)
    plain_ticks(axes.yaxis)
    grid_lines(axes)
    reading = "up and to the left is better; bars are 95 % intervals"
    title = f"Quality and language bias, {visible(records[0].task.title)}"
    titled(figure, title, reading, map(part_of, records))
    label_points(axes, names, bars)
    return figure


def draw_checkpoints(records: Sequence[ResultRecord], measure: str) -> Figure:
    """A measure of several results, by kind of setting: by step if only a number in their names differs, else as given."""
    ends = [re.fullmatch(r"(.*?)(\d+)(\D*)", r.encoder.name, re.DOTALL) for r in records]
    steps = [int(end[2]) for end in ends if end]
    stems = {end[1] + end[3] for end in ends if end}
    numbered = len(set(steps)) == len(records) > 1 == len(stems)
    if numbered:
        records = [records[i] for i in sorted(range(len(records)), key=steps.__getitem__)]
        places, labels = sorted(steps), [f"{step:,}" for step in sorted(steps)]
    else:
        places, labels = (
            list(range(len(records))),
            [visible(record.encoder.name) for record in records],
        )
    figure, (axes,) = new_figure(max(6.4, 2.5 + (0.0 if numbered else 0.9) * len(records)), 3.5)
    line_ends, key = [], []
    for n, (kind, colour) in enumerate(KIND_COLOURS.items()):
        parts = [
            (x, part)
            for x, record in zip(places, records, strict=True)
            if (part := record.average(kind, measure))
        ]
        if not parts:
            continue
        # Checkpoints of one training are joined by a line; other models are not.
        xs, means = [x + (0 if numbered else 0.14 * (n - 1)) for x, _ in parts], [p.mean for _, p in parts]  # fmt: skip
        mark = KIND_MARKS[kind] + ("-" if numbered else "")
        key += axes.plot(
            xs, means, mark, color=colour, linewidth=1.8, markersize=5, label=kind.value
        )
        bands = [(x, p.low, p.high) for x, (_, p) in zip(xs, parts, strict=True) if p.low is not None and p.high is not None]  # fmt: skip
        if bands and numbered:
            xs_of_band, low, high = zip(*bands, strict=True)
            axes.fill_between(xs_of_band, low, high, color=colour, alpha=0.16, linewidth=0)
        elif bands:
            axes.vlines(*zip(*bands, strict=True), color=colour, alpha=0.45, linewidth=2.2)
        line_ends.append((float(xs[-1]), means[-1], kind))
    axes.set_xticks(places, labels)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(visible(measure))
    plain_ticks(axes.yaxis)
    axes.margins(x=0.03 if numbered else 0.06)
    grid_lines(axes)
    title = f"{visible(measure)} over checkpoints, {visible(records[0].task.title)}"
    if numbered:
        axes.set_xlabel("step")
        _name_lines(axes, line_ends)
        stem = visible(next(iter(stems)).rstrip("-_/ "))
        titled(figure, title, f"{stem}; bands are 95 % intervals", map(part_of, records))
        _thin_out(axes)
        return figure
    axes.tick_params("x", rotation=30)
    for tick in axes.get_xticklabels():
        tick.set_horizontalalignment("right")
    title = title.replace(" over checkpoints", "")
    return titled(
        figure, title, "in the order given; bars are 95 % intervals", map(part_of, records), key
    )


def _thin_out(axes: Axes) -> None:
    """Hide labels that would overlap another; the last one stays."""
    laid_out(axes)
    labels = axes.xaxis.get_majorticklabels()
    boxes = [label.get_window_extent().padded(2) for label in labels]
    kept = boxes[-1:]
    for label, box in zip(labels[:-1], boxes[:-1], strict=True):
        if any(box.overlaps(other) for other in kept):
            label.set_visible(False)
        else:
            kept.append(box)


def _name_lines(axes: Axes, ends: Sequence[tuple[float, float, Kind]]) -> None:
    """Write each kind at the end of its line, moved apart where two would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.055
    label_y = -float("inf")
    for x, y, kind in sorted(ends, key=lambda end: end[1]):
        label_y = max(y, label_y + gap)
        axes.annotate(
            kind.value, (x, label_y), (8, 0), textcoords="offset points", va="center",
            color=KIND_COLOURS[kind], annotation_clip=False,
        )  # fmt: skip


@style()
def draw_cost(records: Sequence[ResultRecord], _measure: str = "map") -> Figure:
    """What `xlir-bench profile` measured of one result: map against milliseconds of a query, and against bytes."""
    if len(records) != 1 or (cost := records[0].profile.cost) is None:
        encoders = ", ".join(visible(record.encoder.name) for record in records)
        raise InputError(f"plot cost draws one result of xlir-bench profile, not: {encoders}")
    figure, (left, right) = new_figure(11.0, 4.2, 1, 2, sharey=True)
    names: dict[str, list[tuple[float, float, str]]] = {"latency": [], "size": []}
    spans = []
    for v in cost.variants:
        costs = {"latency": v.query.p50, "size": v.index_bytes}
        for axes, (by, x) in zip((left, right), costs.items(), strict=True):
            unbeaten = by in v.unbeaten
            colour, fill = (ACCENT, ACCENT) if unbeaten else (MUTED, "white")
            axes.plot(x, v.mean_map, "o", color=colour, markerfacecolor=fill, markersize=7, zorder=3)  # fmt: skip
            names[by].append((x, v.mean_map, visible(variant_name(v))))
        span = [min(v.query.rounds), max(v.query.rounds)]
        left.plot(span, [v.mean_map] * 2, color=MUTED, alpha=0.45)
        spans.append((span[0], v.mean_map, span[1], v.mean_map))
    left.set_ylabel("map, mean of the kinds of setting")
    for axes, title, text in (
        (left, "milliseconds of one query, p50 (log scale)", milliseconds),
        (right, "size of the index (log scale)", size),
    ):
        axes.set_xlabel(title)
        axes.margins(x=0.3, y=0.14)
        axes.set_xscale("log")
        _log_ticks(axes.xaxis, text)
        grid_lines(axes)
    low, high = left.get_ylim()
    if high - low < LEAST_MAP_SPAN:
        middle = (low + high) / 2
        left.set_ylim(middle - LEAST_MAP_SPAN / 2, middle + LEAST_MAP_SPAN / 2)
    plain_ticks(left.yaxis)
    titled(
        figure,
        f"Quality and cost, {visible(records[0].encoder.name)} on {visible(records[0].task.title)}",
        "up and to the left is better; filled: unbeaten in map and this cost; lines span the rounds",
        map(part_of, records),
    )
    label_points(left, names["latency"], spans)
    label_points(right, names["size"])
    return figure


def _log_ticks(axis: Axis, text: Callable[[float], str]) -> None:
    """A few labelled places on a logarithmic axis, however short it is."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = axis.get_view_interval()
    subs = (1, 2, 5) if high < 100 * low else (1,)
    locator = MaxNLocator(5, steps=[1, 2, 5, 10]) if high < 5 * low else LogLocator(subs=subs)
    places = [place for place in locator.tick_values(low, high) if low <= place <= high]
    axis.set_ticks(places, [text(place) for place in places])
    axis.set_ticks([], minor=True)


@style()
def draw_robustness(shifts: Sequence[Shift], beside: str, measure: str) -> Figure:
    """A line for each encoder and task, a mark for each kind of setting, bars for the intervals."""
    shown = [shift for shift in shifts if shift.change is not None]
    if not shown:
        raise InputError("nothing to draw: no result has a change from its reference")
    lines = list(dict.fromkeys((s.encoder, s.task) for s in shown))
    names = {(s.encoder, s.task): visible(f"{s.name}, {s.task}") + (" (a part)" if s.part else "") for s in shown}  # fmt: skip
    place = {line: len(lines) - n for n, line in enumerate(lines)}
    figure, (axes,) = new_figure(8.0, 1.1 + 0.5 * len(lines))
    ratios = [1 + x for s in shown for x in (s.change, s.low, s.high) if x is not None and x > -1]
    least = min(ratios, default=1.0) / 1.5
    axes.set_xscale("log", base=2)
    key: list[Artist] = []
    for kind in Kind:
        of_kind = [s for s in shown if s.kind == kind]
        ys = [place[s.encoder, s.task] + 0.2 * (1 - list(Kind).index(kind)) for s in of_kind]
        colour = KIND_COLOURS[kind]
        for s, y in zip(of_kind, ys, strict=True):
            if s.low is not None and s.high is not None:
                ends = [max(least, 1 + s.low), max(least, 1 + s.high)]
                axes.plot(ends, [y, y], alpha=0.45, color=colour)
        xs = [max(least, 1 + (s.change or 0.0)) for s in of_kind]
        key += axes.plot(xs, ys, KIND_MARKS[kind], markersize=5, label=kind.value, color=colour)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(list(place.values()), [names[line] for line in place])
    axes.set_ylim(0.4, len(lines) + 0.6)
    axes.set_xlabel(f"{visible(measure)} as a multiple of that of {visible(beside)} (log scale)")
    _log_ticks(axes.xaxis, lambda ratio: f"×{ratio:.3g}")
    grid_lines(axes)
    subtitle = "bars are 95 % intervals; ×1 is no change"
    return titled(figure, f"Compared with {visible(beside)}", subtitle, key=key)

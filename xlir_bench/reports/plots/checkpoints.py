"""A measure by kind over the checkpoints of a training run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xlir_bench.escaping import visible
from xlir_bench.records import Kind
from xlir_bench.reports.plots.canvas import MUTED, grid_lines, label_of, new_figure, write_title
from xlir_bench.reports.tables import number
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KIND_COLOURS = {
    Kind.MONOLINGUAL: "#0b5aa8",
    Kind.CROSS_LINGUAL: "#c45a00",
    Kind.MULTILINGUAL: "#2f7d5b",
}
KIND_MARKS = {Kind.MONOLINGUAL: "o", Kind.CROSS_LINGUAL: "s", Kind.MULTILINGUAL: "D"}


def draw_checkpoints(records: Sequence[ResultRecord], measure: str) -> Figure:
    """A measure by kind over results: by number where names end in one, else in the order given."""
    numbers = [re.search(r"(\d+)\D*$", record.encoder.name) for record in records]
    stems = {re.sub(r"\d+(\D*)$", r"\1", record.encoder.name) for record in records}
    numbered = len(records) > 1 and len(stems) == 1 and all(numbers)
    if numbered:
        order = [int(found[1]) for found in numbers if found]
        if len(set(order)) == len(order):
            records = [r for _, r in sorted(zip(order, records, strict=True), key=lambda x: x[0])]
            places, labels = sorted(order), [f"{n:,}" for n in sorted(order)]
        else:
            numbered = False
    if not numbered:
        places, labels = list(range(len(records))), [label_of(r) for r in records]
    figure, (axes,) = new_figure(max(6.4, 2.5 + (0.0 if numbered else 0.9) * len(records)), 4.3)
    ends = []
    for kind in Kind:
        parts = [
            (x, r.summary.get(kind, {}).get(measure)) for x, r in zip(places, records, strict=True)
        ]
        known = [(x, part) for x, part in parts if part is not None]
        if not known:
            continue
        xs, means = [x for x, _ in known], [part.mean for _, part in known]
        colour = KIND_COLOURS[kind]
        axes.plot(xs, means, KIND_MARKS[kind] + "-", color=colour, linewidth=1.8, markersize=5)
        bands = [(x, p.low, p.high) for x, p in known if p.low is not None and p.high is not None]
        if bands:
            bx, low, high = zip(*bands, strict=True)
            axes.fill_between(bx, low, high, color=colour, alpha=0.16, linewidth=0)
        ends.append((float(xs[-1]), means[-1], kind.value, colour))
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
    _end_labels(axes, ends)
    named = visible(next(iter(stems)).rstrip("-_/ ")) if numbered else "in the order given"
    write_title(
        figure,
        f"{measure} over checkpoints, {visible(records[0].task.title)}",
        f"{named}; bands are 95 % intervals",
    )
    return figure


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the ends of lines, moved apart where they would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.055
    at = -float("inf")
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        at = max(y, at + gap)
        axes.annotate(
            name,
            (x, at),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=9.5,
            annotation_clip=False,
        )

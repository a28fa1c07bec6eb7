"""What an encoder gains or loses away from its reference, task by task."""

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
    new_figure,
    style,
    write_title,
)
from xlir_bench.reports.robustness import Shift

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = {Kind.MONOLINGUAL: "o", Kind.CROSS_LINGUAL: "s", Kind.MULTILINGUAL: "D"}


def draw_robustness(shifts: Sequence[Shift], beside: str, measure: str) -> Figure:
    """A line an encoder and task, a mark a kind of setting, bars for the intervals."""
    shown = [s for s in shifts if s.change is not None]
    if not shown:
        raise InputError("nothing to draw: no task stands beside its reference")
    lines = list(dict.fromkeys((s.encoder, s.task) for s in shown))
    place = {line: len(lines) - n for n, line in enumerate(lines)}
    with style():
        figure, (axes,) = new_figure(7.0, 1.6 + 0.5 * len(lines))
        for s in shown:
            step = 0.2 * (1 - list(Kind).index(s.kind))
            height, change = place[s.encoder, s.task] + step, 100 * (s.change or 0.0)
            if s.low is not None and s.high is not None:
                axes.plot([100 * s.low, 100 * s.high], [height] * 2, color=ACCENT, alpha=0.45)
            axes.plot(change, height, MARKS[s.kind], color=ACCENT, markersize=5)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(list(place.values()), [visible(f"{e}, {t}") for e, t in place])
        axes.set_xlabel(f"change of {measure} in percent", color=MUTED)
        for kind, mark in MARKS.items():
            axes.plot([], [], mark, color=ACCENT, label=kind.value)
        axes.legend(loc="best", fontsize=8, frameon=False)
        grid_lines(axes)
        write_title(figure, f"Beside {visible(beside)}", "bars are 95 % intervals")
    return figure

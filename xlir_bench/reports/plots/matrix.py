"""Every pair of languages of one result as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError
from xlir_bench.records import POOL
from xlir_bench.reports.markup import visible
from xlir_bench.reports.plots.canvas import MUTED, label_of, luminance, new_figure, write_title
from xlir_bench.reports.tables import number, passage
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RAMP = ("#f2f6fa", "#b9cde0", "#7f9fc1", "#44719f", "#062b55")
"""One hue, light to dark: read the same with any colour vision, and in grey."""


def draw_matrix(records: Sequence[ResultRecord], measure: str) -> Figure:
    """Query languages down, passage languages across, the pool of all languages apart."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    record = _only(records, "matrix")
    values = {
        (s.query_lang, passage(s.passage_langs)): s.measures.get(measure) for s in record.settings
    }
    langs = sorted({q for q, _ in values})
    columns = sorted({p for _, p in values} - {POOL})
    pool = any(p == POOL for _, p in values)
    shown = [*columns, *([POOL] if pool else [])]
    places = [*range(len(columns)), *([len(columns) + 0.35] if pool else [])]
    figure, (axes,) = new_figure(1.9 + 0.52 * len(shown), 1.75 + 0.44 * len(langs))
    top = max((v for v in values.values() if v is not None), default=1.0) or 1.0
    colours = LinearSegmentedColormap.from_list("xlir", RAMP)
    for y, query in enumerate(langs):
        for x, lang in zip(places, shown, strict=True):
            value = values.get((query, lang))
            share = 0.0 if value is None else value / top
            face = colours(share) if value is not None else "none"
            axes.add_patch(_cell(x, y, face))
            ink = "white" if value is not None and luminance(face) < 0.2 else "black"
            axes.text(x, y, number(value, 3), ha="center", va="center", color=ink, fontsize=8.5)
    axes.set_xlim(-0.55, places[-1] + 0.55)
    axes.set_ylim(len(langs) - 0.45, -0.55)
    axes.set_xticks(np.array(places), ["all" if c == POOL else c for c in shown])
    axes.set_yticks(range(len(langs)), langs)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9.5, labelcolor=MUTED)
    axes.spines[:].set_visible(False)
    axes.text(-0.62, -0.78, "query ↓", ha="right", va="center", color=MUTED, fontsize=8)
    means = ", ".join(
        f"{kind.value} {number(by[measure].mean)}"
        for kind, by in record.summary.items()
        if measure in by
    )
    write_title(
        figure, f"{label_of(record)} on {visible(record.task.title)}", f"{measure}: {means}"
    )
    return figure


def _cell(x: float, y: float, face: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.475, y - 0.465), 0.95, 0.93, facecolor=face, edgecolor="none")


def _only(records: Sequence[ResultRecord], kind: str) -> ResultRecord:
    if len(records) != 1:
        raise InputError(f"plot {kind} draws one result, {len(records)} were given")
    return records[0]

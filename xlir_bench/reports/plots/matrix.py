"""Every pair of languages of one result as a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.records import POOL
from xlir_bench.reports.plots.canvas import MUTED, label_of, luminance, new_figure, write_title
from xlir_bench.reports.tables import number, passage
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RAMP = ("#f2f6fa", "#b9cde0", "#7f9fc1", "#44719f", "#062b55")
"""One hue, light to dark: read the same with any colour vision, and in grey."""
SHORT = 5
"""Characters of a language's code that stand over a column; longer ones are turned."""


def draw_matrix(records: Sequence[ResultRecord], measure: str) -> Figure:
    """Query languages down, passage languages across, the pool of all languages apart."""
    record = only(records, "matrix")
    values = {
        (s.query_lang, passage(s.passage_langs)): s.measures.get(measure) for s in record.settings
    }
    langs = sorted({q for q, _ in values})
    columns = sorted({p for _, p in values} - {POOL})
    pool = any(p == POOL for _, p in values)
    shown = [*columns, *([POOL] if pool else [])]
    places = [*range(len(columns)), *([len(columns) + 0.35] if pool else [])]
    more = room(shown)
    figure, (axes,) = new_figure(1.9 + more + 0.52 * len(shown), 1.75 + more + 0.44 * len(langs))
    top = max((v for v in values.values() if v is not None), default=1.0) or 1.0
    for y, query in enumerate(langs):
        for x, lang in zip(places, shown, strict=True):
            draw_cell(axes, x, y, values.get((query, lang)), top)
    frame(axes, langs, dict(zip(places, ["all" if c == POOL else c for c in shown], strict=True)))
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


def draw_cell(axes: Axes, x: float, y: float, value: float | None, top: float) -> None:
    """A value on a scale from 0 to `top`, its number in it."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    colours = LinearSegmentedColormap.from_list("xlir", RAMP)
    face: Any = "none" if value is None else colours(max(0.0, value / top))
    axes.add_patch(Rectangle((x - 0.475, y - 0.465), 0.95, 0.93, facecolor=face, edgecolor="none"))
    ink = "white" if value is not None and luminance(face) < 0.2 else "black"
    axes.text(x, y, number(value, 3), ha="center", va="center", color=ink, fontsize=8.5)


def frame(axes: Axes, langs: Sequence[str], columns: Mapping[float, str]) -> None:
    """Languages at the left and at the top, at their places."""
    axes.set_xlim(-0.55, max(columns) + 0.55)
    axes.set_ylim(len(langs) - 0.45, -0.55)
    axes.set_xticks(list(columns), list(columns.values()))
    axes.set_yticks(range(len(langs)), langs)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9.5, labelcolor=MUTED)
    if room(langs):
        axes.tick_params(axis="x", labelrotation=90)
    axes.spines[:].set_visible(False)


def room(langs: Sequence[str]) -> float:
    """How many inches more the codes of these languages want than short ones do, beside and above."""
    longest = max(map(len, langs), default=0)
    return 0.08 * longest if longest > SHORT else 0.0


def only(records: Sequence[ResultRecord], kind: str) -> ResultRecord:
    """The one result of a picture that shows one."""
    if len(records) != 1:
        raise InputError(f"plot {kind} draws one result, {len(records)} were given")
    return records[0]

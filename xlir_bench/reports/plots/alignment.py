"""How the languages of one result lie to each other, as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.reports.aligned import translations
from xlir_bench.reports.plots.canvas import INK, label_of, new_figure, write_title
from xlir_bench.reports.plots.matrix import draw_cell, frame, only, room
from xlir_bench.reports.tables import number
from xlir_bench.results.schema import PairAlignmentPart, ResultRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = "margin"


def alignment_figures(record: ResultRecord) -> list[str]:
    """What a result says of every pair: the margin, and recall at each cut-off."""
    pairs = next(iter(translations(record.alignment).values()), None)
    if pairs is None:
        raise InputError(
            f"{label_of(record)} says nothing of translations; xlir-bench run --alignment measures"
            " them, where the task has any"
        )
    return list(_figures(next(iter(pairs.values()))))


def draw_alignment(records: Sequence[ResultRecord], figure_name: str) -> Figure:
    """Questions, and the passages that answer them: `margin`, or recall at a cut-off, of every pair."""
    record = only(records, "alignment")
    kinds = translations(record.alignment)
    values = {
        kind: {pair: _figures(part)[figure_name] for pair, part in pairs.items()}
        for kind, pairs in kinds.items()
    }
    langs = sorted({lang for pairs in values.values() for pair in pairs for lang in pair})
    size, more = len(langs), room(langs)
    shape = (1.1 + more + 0.52 * size) * len(kinds), 2.0 + more + 0.44 * size
    picture, panels = new_figure(*shape, 1, len(kinds))
    top = max(v for pairs in values.values() for v in pairs.values())
    for axes, (kind, pairs) in zip(panels, values.items(), strict=True):
        for y, asked in enumerate(langs):
            for x, sought in enumerate(langs):
                draw_cell(axes, x, y, pairs.get((asked, sought)), max(top, 1e-9))
        frame(axes, langs, dict(enumerate(langs)))
        mean = sum(pairs.values()) / len(pairs)
        axes.set_title(f"{kind}, mean {number(mean)}", fontsize=10.5, color=INK, loc="left", pad=8)
    write_title(
        picture,
        f"{figure_name} of {label_of(record)} on {visible(record.task.title)}",
        _reading(figure_name),
    )
    return picture


def _reading(figure_name: str) -> str:
    cut = figure_name.rpartition("@")[2]
    if figure_name == MARGIN:
        return "how much nearer (cosine) a text of the row is to its translation than to other texts of the column"
    return f"how often a translation is among the {cut} nearest texts of the column to a text of the row"


def _figures(part: PairAlignmentPart) -> dict[str, float]:
    return {MARGIN: part.margin, **part.recall}

"""Before and after, by query language: how often the own language comes first, and the score in the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.records import Kind
from xlir_bench.reports.plots.canvas import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    grid_lines,
    label_of,
    new_figure,
    write_title,
)
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#b3bac4", ACCENT, "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
"""One a result: the first is where the others come from; the rest are Okabe and Ito's, but for ours."""
MARKS = "osD^vP"
OWN_FIRST = "same_language_preference"
Figures = Mapping[str, float]


def draw_bias(records: Sequence[ResultRecord], measure: str) -> Figure:
    """Two panels with a row a query language; each result a mark, from the first a line to the last."""
    if len(records) > len(COLOURS):
        raise InputError(
            f"{len(records)} results are too many for one picture: {len(COLOURS)} at most"
        )
    first = [_own_first(record) for record in records]
    pooled = [_pooled(record, measure) for record in records]
    langs = [lang for lang in sorted(first[0]) if lang != "mean"]
    rows = [*langs, "mean"]
    figure, panels = new_figure(9.5, 2.3 + 0.3 * len(rows), 1, 2, sharey=True)
    titles = ("own language first (bar: by chance)", f"multilingual {visible(measure)}")
    for axes, values, title in zip(panels, (first, pooled), titles, strict=True):
        _rows(axes, rows, values)
        axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=8)
    part = records[0].bias[OWN_FIRST]
    for y, lang in enumerate(rows):
        chance = part.chance_by_query_lang.get(lang, part.chance)
        if isinstance(chance, float):
            panels[0].plot([chance, chance], [y - 0.3, y + 0.3], color=MUTED, linewidth=1.2)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_xlim(-0.02, 1.02)
    panels[1].set_xlim(left=0)
    handles = panels[0].get_legend_handles_labels()[0]
    figure.legend(
        handles, [label_of(r) for r in records], loc="outside lower right", ncols=len(records),
        frameon=False, labelcolor=INK,
    )  # fmt: skip
    write_title(
        figure,
        f"Whose passages come first, {visible(records[0].task.title)}",
        "in a pool of all languages, by query language; left: nearer to chance is better",
    )
    return figure


def _rows(axes: Axes, rows: Sequence[str], values: Sequence[Figures]) -> None:
    grid_lines(axes)
    for y, lang in enumerate(rows):
        found = [by_lang[lang] for by_lang in values if lang in by_lang]
        axes.plot(found, [y] * len(found), color=LINE, linewidth=3, zorder=1)
    for i, by_lang in enumerate(values):
        places = [y for y, lang in enumerate(rows) if lang in by_lang]
        axes.scatter(
            [by_lang[rows[y]] for y in places], places, s=44, color=COLOURS[i], marker=MARKS[i],
            edgecolor="white", linewidth=0.8, zorder=3, label=str(i),
        )  # fmt: skip


def _own_first(record: ResultRecord) -> dict[str, float]:
    part = record.bias.get(OWN_FIRST)
    if part is None or not isinstance(part.mean, float):
        raise InputError(
            f"{label_of(record)}: no multilingual setting was run, so there is no bias"
        )
    return {x: v for x, v in part.by_query_lang.items() if isinstance(v, float)} | {
        "mean": part.mean
    }


def _pooled(record: ResultRecord, measure: str) -> dict[str, float]:
    mine = [s for s in record.settings if s.kind == Kind.MULTILINGUAL and measure in s.measures]
    mean = record.summary[Kind.MULTILINGUAL][measure].mean
    return {s.query_lang: s.measures[measure] for s in mine} | {"mean": mean}

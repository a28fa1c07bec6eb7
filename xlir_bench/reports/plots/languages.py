"""The languages of the ten best passages as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.reports.plots.canvas import INK, MUTED, label_of, luminance, new_figure, write_title
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANGUAGE_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499",
    "#666666", "#cccccc",
)  # fmt: skip
"""Paul Tol's muted scheme; every segment carries its language's code besides."""


def draw_languages(records: Sequence[ResultRecord], _measure: str) -> Figure:
    """The languages of the ten best passages by query language, over their share of the pool."""
    views = [record.bias.get("top10_language_share") for record in records]
    missing = [label_of(r) for r, view in zip(records, views, strict=True) if view is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)}: no multilingual setting was run, so there is no top 10"
        )
    parts = [view for view in views if view is not None]
    langs = sorted({lang for part in parts for lang in _shares(part.chance)})
    rows = max(len(part.by_query_lang) for part in parts) + 2
    figure, panels = new_figure(
        1.0 + 5.0 * len(records), 2.1 + 0.34 * rows, 1, len(records), sharey=True
    )
    for axes, record, part in zip(panels, records, parts, strict=True):
        bars = {lang: _shares(shares) for lang, shares in sorted(part.by_query_lang.items())}
        bars |= {"mean": _shares(part.mean), "pool": _shares(part.chance)}
        places = [*range(len(bars) - 2), len(bars) - 1.6, len(bars) - 0.6]
        for y, (query, shares) in zip(places, bars.items(), strict=True):
            _stack(axes, y, query, shares, langs)
        axes.set_yticks(places, list(bars))
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.tick_params(length=0, labelcolor=MUTED)
        axes.spines[:].set_visible(False)
        axes.set_title(label_of(record), fontsize=10.5, color=INK, loc="left", pad=8)
    panels[0].set_ylabel("query", color=MUTED)
    write_title(
        figure,
        f"Languages of the ten best passages, {visible(records[0].task.title)}",
        "without favourites every bar looks like the last; the query's own language is framed",
    )
    return figure


def _stack(
    axes: Axes, y: float, query: str, shares: Mapping[str, float], langs: Sequence[str]
) -> None:
    left = 0.0
    for i, lang in enumerate(langs):
        share = shares.get(lang, 0.0)
        if not share:
            continue
        colour = LANGUAGE_COLOURS[i % len(LANGUAGE_COLOURS)]
        own = lang == query
        axes.barh(
            y, share, left=left, height=0.78, color=colour,
            edgecolor=INK if own else "white", linewidth=1.3 if own else 0.6, zorder=3 if own else 2,
        )  # fmt: skip
        if share >= 0.045:
            from matplotlib.colors import to_rgb

            ink = "white" if luminance(to_rgb(colour)) < 0.2 else "black"
            axes.text(
                left + share / 2, y, lang, ha="center", va="center", fontsize=7.5, color=ink, zorder=4,
                fontweight="bold" if own else "normal",
            )  # fmt: skip
        left += share


def _shares(value: Any) -> dict[str, float]:
    return dict(value) if isinstance(value, Mapping) else {}

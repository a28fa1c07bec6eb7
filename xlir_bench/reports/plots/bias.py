"""Language bias in the pool of all languages: own language first, and the languages of the ten best passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.records import Kind
from xlir_bench.rendering.canvas import (
    ACCENT,
    INK,
    LINE,
    MARKS,
    MUTED,
    PANEL,
    grid_lines,
    language_colour,
    new_figure,
    plain_ticks,
    points,
    text_colour_on,
    titled,
)
from xlir_bench.results.frame import part_of
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#b3bac4", ACCENT, "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
"""One for each result: grey for the one that the others started from; the rest are Okabe and Ito's, except ours."""
OWN_FIRST = "same_language_preference"


def draw_bias(records: Sequence[ResultRecord], measure: str) -> Figure:
    """Two panels with a row for each query language, and in it a mark for each result, joined by a line."""
    if len(records) > len(COLOURS):
        raise InputError(f"one picture has {len(COLOURS)} results at most, not {len(records)}")
    own_first, in_pool = [], []
    for record in records:
        part = record.bias.get(OWN_FIRST)
        if part is None or not isinstance(part.mean, float):
            raise InputError(f"{visible(record.encoder.name)}: no multilingual setting, so no bias")
        by_lang = {x: v for x, v in part.by_query_lang.items() if isinstance(v, float)}
        own_first.append(by_lang | {"mean": part.mean})
        settings = [s for s in record.settings if s.kind == Kind.MULTILINGUAL]
        by_lang = {s.query_lang: s.measures[measure] for s in settings if measure in s.measures}
        in_pool.append(by_lang | {"mean": record.summary[Kind.MULTILINGUAL][measure].mean})
    rows = [*(lang for lang in sorted(own_first[0]) if lang != "mean"), "mean"]
    figure, panels = new_figure(9.5, 1.1 + 0.3 * len(rows), 1, 2, sharey=True)
    titles = ("own language first (bar: by chance)", f"multilingual {visible(measure)}")
    for axes, values, title in zip(panels, (own_first, in_pool), titles, strict=True):
        key = _marks(axes, rows, values, [visible(record.encoder.name) for record in records])
        axes.set_title(title, **PANEL)
        plain_ticks(axes.xaxis)
    part = records[0].bias[OWN_FIRST]
    for y, lang in enumerate(rows):
        chance = part.chance_by_query_lang.get(lang, part.chance)
        if isinstance(chance, float):
            panels[0].plot([chance, chance], [y - 0.3, y + 0.3], color=MUTED, linewidth=1.2)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_xlim(-0.02, 1.02)
    panels[1].set_xlim(left=0)
    reading = "in a pool of all languages, by query language; left: nearer to chance is better"
    title = f"Whose passages come first, {visible(records[0].task.title)}"
    return titled(figure, title, reading, map(part_of, records), key)


def _marks(
    axes: Axes, rows: Sequence[str], results: Sequence[Mapping[str, float]], names: Sequence[str]
) -> list[Artist]:
    """A mark for each result in each row, joined by a line; one of each for a key."""
    grid_lines(axes)
    key: list[Artist] = []
    for y, lang in enumerate(rows):
        values = [by_lang[lang] for by_lang in results if lang in by_lang]
        axes.plot(values, [y] * len(values), color=LINE, linewidth=3, zorder=1)
    for i, by_lang in enumerate(results):
        places = [y for y, lang in enumerate(rows) if lang in by_lang]
        marks = axes.scatter(
            [by_lang[rows[y]] for y in places], places, s=44, color=COLOURS[i], marker=MARKS[i],
            edgecolor="white", linewidth=0.8, zorder=3, label=names[i],
        )  # fmt: skip
        key.append(marks)
    return key


def draw_languages(records: Sequence[ResultRecord], _measure: str) -> Figure:
    """The languages of the ten best passages by query language, above their share of the pool."""
    name = "top10_language_share"
    if missing := [visible(record.encoder.name) for record in records if name not in record.bias]:
        raise InputError(f"{', '.join(missing)}: no multilingual setting, so no top 10")
    bars = [
        {**dict(sorted(view.by_query_lang.items())), "mean": view.mean, "pool": view.chance}
        for view in (record.bias[name] for record in records)
    ]
    langs = sorted({lang for by_query in bars for lang in _shares(by_query["pool"])})
    width, height = 1.0 + 5.0 * len(records), 1.1 + 0.34 * max(map(len, bars))
    figure, panels = new_figure(width, height, 1, len(records), sharey=True)
    for axes, record, by_query in zip(panels, records, bars, strict=True):
        places = [*range(len(by_query) - 2), len(by_query) - 1.6, len(by_query) - 0.6]
        for y, (query, shares) in zip(places, by_query.items(), strict=True):
            _stack(axes, y, query, _shares(shares), langs)
        axes.set_yticks(places, list(by_query))
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.tick_params(length=0, labelcolor=MUTED)
        axes.spines[:].set_visible(False)
        axes.set_title(visible(record.encoder.name), **PANEL)
    panels[0].set_ylabel("query", color=MUTED)
    return titled(
        figure,
        f"Languages of the ten best passages, {visible(records[0].task.title)}",
        "without favourites every bar looks like the last; the query's own language is framed",
        map(part_of, records),
    )


def _stack(
    axes: Axes, y: float, query: str, shares: Mapping[str, float], langs: Sequence[str]
) -> None:
    from matplotlib.colors import to_rgb

    left = 0.0
    for lang in langs:
        share = shares.get(lang, 0.0)
        if not share:
            continue
        colour = language_colour(lang)
        own = lang == query
        axes.barh(
            y, share, left=left, height=0.78, color=colour,
            edgecolor=INK if own else "white", linewidth=1.3 if own else 0.6, zorder=3 if own else 2,
        )  # fmt: skip
        if share >= 0.02 + 0.0125 * len(lang):
            axes.text(
                left + share / 2, y, lang, ha="center", va="center", fontsize=points(7.5), zorder=4,
                color=text_colour_on(to_rgb(colour)), fontweight="bold" if own else "normal",
            )  # fmt: skip
        left += share


def _shares(value: object) -> dict[str, float]:
    return dict(value) if isinstance(value, Mapping) else {}

"""Plots by language of one result or several: a measure or alignment of every pair, and which languages come first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.records import POOL, Kind
from xlir_bench.rendering.canvas import (
    ACCENT,
    INK,
    LINE,
    MARKS,
    MUTED,
    grid_lines,
    language_colour,
    new_figure,
    plain_ticks,
    points,
    text_colour_on,
    titled,
)
from xlir_bench.rendering.numbers import number, short, signed
from xlir_bench.reports.alignment import Pair, translations
from xlir_bench.reports.tables import passage_columns
from xlir_bench.results.frame import part_of
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = "margin"
RAMP = ("#f2f6fa", "#b9cde0", "#7f9fc1", "#44719f", "#062b55")
"""One hue, light to dark: it reads the same with any colour vision, and in grey."""
SIDES = ("#a84a00", "#e5a572", "#f6f6f4", "#86b0dc", "#0b5aa8")
"""For differences: below 0, neutral at 0, above 0."""
SHORT = 5
"""Codes of languages with more characters are turned, so that columns do not run into each other."""
COLOURS = ("#b3bac4", ACCENT, "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
"""One for each result: grey for the first, with which the others are compared, then our accent and Okabe and Ito's."""
OWN_FIRST = "same_language_preference"


def draw_matrix(records: Sequence[ResultRecord], measure: str) -> Figure:
    """Query languages down, passage languages across, the pool of all languages apart."""
    (record,) = records
    means = ", ".join(
        f"{kind.value} {number(average.mean)}"
        for kind in record.summary
        if (average := record.average(kind, measure))
    )
    title = f"{visible(record.encoder.name)} on {visible(record.task.title)}"
    figure = _pairs_of_languages(_by_pair(record, measure))
    return titled(figure, title, f"{visible(measure)}: {means}", map(part_of, records))


def draw_difference(records: Sequence[ResultRecord], measure: str) -> Figure:
    """The first result minus the second, for every pair of languages that both have."""
    first, second = (_by_pair(record, measure) for record in records)
    gaps = {pair: first[pair] - second[pair] for pair in first if pair in second}
    if not gaps:
        raise InputError("these two results have no pair of languages in common")
    a, b = (visible(record.encoder.name) for record in records)
    means = ", ".join(
        f"{kind.value} {signed(one.mean - other.mean)}"
        for kind in records[0].summary
        if (one := records[0].average(kind, measure))
        and (other := records[1].average(kind, measure))
    )
    title = f"{a} minus {b} on {visible(records[0].task.title)}"
    subtitle = f"{visible(measure)}: {means}; blue: {a} is better. Tested by xlir-bench compare"
    return titled(_pairs_of_languages(gaps, SIDES), title, subtitle, map(part_of, records))


def _by_pair(record: ResultRecord, measure: str) -> dict[Pair, float]:
    return {
        (s.query_lang, s.passage_lang): s.measures[measure]
        for s in record.settings
        if measure in s.measures
    }


def _pairs_of_languages(values: Mapping[Pair, float], ramp: Sequence[str] = RAMP) -> Figure:
    langs = sorted({query for query, _ in values})
    columns = passage_columns(lang for _, lang in values)
    places = {lang: x + 0.35 * (lang == POOL) for x, lang in enumerate(columns)}
    extra = _extra_inches(columns)
    figure, (axes,) = new_figure(
        1.7 + extra + 0.52 * len(columns), 0.85 + extra + 0.44 * len(langs)
    )
    top = max(map(abs, values.values()), default=1.0) or 1.0
    _grid(axes, langs, places, values, top, ramp)
    return figure


def alignment_figures(record: ResultRecord) -> list[str]:
    """What a result has for every pair: the margin, and recall at each cut-off."""
    kinds = list(translations(record.alignment).values())
    if not kinds:
        raise InputError(
            f"{visible(record.encoder.name)} has no alignment of translations: xlir-bench run --alignment measures it if the task has any"
        )
    return [MARGIN, *next(iter(kinds[0].values())).recall]


def draw_alignment(records: Sequence[ResultRecord], figure_name: str) -> Figure:
    """Questions, and the passages that answer them: `margin`, or recall at a cut-off, of every pair."""
    (record,) = records
    kinds = {
        kind: {
            pair: part.margin if figure_name == MARGIN else part.recall[figure_name]
            for pair, part in pairs.items()
        }
        for kind, pairs in translations(record.alignment).items()
    }
    langs = sorted({lang for values in kinds.values() for pair in values for lang in pair})
    size, extra = len(langs), _extra_inches(langs)
    shape = max(2.6, 1.1 + extra + 0.52 * size) * len(kinds), 1.1 + extra + 0.44 * size
    figure, panels = new_figure(*shape, 1, len(kinds))
    top = max(1e-9, *(value for values in kinds.values() for value in values.values()))
    for axes, (kind, values) in zip(panels, kinds.items(), strict=True):
        _grid(axes, langs, {lang: float(x) for x, lang in enumerate(langs)}, values, top)
        mean = sum(values.values()) / len(values)
        axes.set_title(f"{kind}, mean {number(mean)}")
    cut = figure_name.rpartition("@")[2]
    reading = (
        "how much nearer (cosine) a text of the row is to its translation than to other texts of the column"
        if figure_name == MARGIN
        else f"how often a translation is among the {cut} nearest texts of the column to a text of the row"
    )
    title = f"{figure_name} of {visible(record.encoder.name)} on {visible(record.task.title)}"
    return titled(figure, title, reading, map(part_of, records))


def _grid(
    axes: Axes,
    langs: Sequence[str],
    places: Mapping[str, float],
    values: Mapping[Pair, float],
    top: float,
    ramp: Sequence[str] = RAMP,
) -> None:
    """Query languages down, passage languages at their places across; each value with its number in it, coloured on a
    scale from 0 (with two sides: from -top) to `top`.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    colours = LinearSegmentedColormap.from_list("xlir", ramp)
    for y, query in enumerate(langs):
        for lang, x in places.items():
            value = values.get((query, lang))
            place = 0.0 if value is None else value / top
            place = (1 + place) / 2 if ramp is SIDES else max(0.0, place)
            face: Any = "none" if value is None else colours(place)
            corner = x - 0.475, y - 0.465
            axes.add_patch(Rectangle(corner, 0.95, 0.93, facecolor=face, edgecolor="none"))
            ink = "black" if value is None else text_colour_on(face)
            text = short(value) if ramp is not SIDES or value is None else signed(value, short)
            axes.text(x, y, text, ha="center", va="center", color=ink, fontsize=points(8.5))
    axes.set_xlim(-0.55, max(places.values()) + 0.55)
    axes.set_ylim(len(langs) - 0.45, -0.55)
    axes.set_xticks([*places.values()], [*passage_columns(places).values()])
    axes.set_yticks(range(len(langs)), langs)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("passages", fontsize=points(8.5))
    axes.set_ylabel("queries", fontsize=points(8.5))
    if _extra_inches(langs):
        axes.tick_params(axis="x", labelrotation=90)
    axes.spines[:].set_visible(False)


def _extra_inches(langs: Collection[str]) -> float:
    """How many more inches long codes of languages need than short ones, beside and above."""
    longest = max(map(len, langs), default=0)
    return 0.08 * longest if longest > SHORT else 0.0


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
        axes.set_title(title)
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
    """Draw a mark for each result in each row, joined by a line; returns the marks for a key."""
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
    """The languages of the ten best passages by query language, and below these their shares of the pool."""
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
        axes.spines[:].set_visible(False)
        axes.set_title(visible(record.encoder.name))
    panels[0].set_ylabel("query")
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

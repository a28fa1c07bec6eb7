"""Pictures of stored results for papers and READMEs: safe for colour-blind eyes, numbers in the cells."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError, XlirError
from xlir_bench.records import POOL, Kind
from xlir_bench.reports.markup import visible
from xlir_bench.reports.tables import big, number, passage
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
INK, MUTED, LINE, ACCENT = "#1a1f26", "#586270", "#dfe2e6", "#0b5aa8"
RAMP = ("#f2f6fa", "#b9cde0", "#7f9fc1", "#44719f", "#062b55")
"""One hue, light to dark: read the same with any colour vision, and in grey."""
KIND_COLOURS = {
    Kind.MONOLINGUAL: "#0b5aa8",
    Kind.CROSS_LINGUAL: "#c45a00",
    Kind.MULTILINGUAL: "#2f7d5b",
}
KIND_MARKS = {Kind.MONOLINGUAL: "o", Kind.CROSS_LINGUAL: "s", Kind.MULTILINGUAL: "D"}
LANGUAGE_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499",
    "#666666", "#cccccc",
)  # fmt: skip
"""Paul Tol's muted scheme; every segment carries its language's code besides."""
SCRIPT_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans Devanagari", "Noto Sans Thai",
    "Noto Sans Arabic", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS",
)  # fmt: skip
"""Looked for in this order where an encoder's name is in another script."""


def draw(kind: str, records: Sequence[ResultRecord], measure: str = "map") -> Figure:
    """The picture of one kind: ``matrix``, ``languages``, ``trade-off`` or ``checkpoints``."""
    if kind not in PICTURES:
        raise UnknownNameError("kind of plot", [kind], PICTURES)
    if not records:
        raise InputError("no result to draw; name a result folder (results/<encoder>/<task>)")
    _check(records, measure)
    with _style():
        return PICTURES[kind](records, measure)


def save(figure: Figure, path: Path, dpi: int = 200) -> None:
    """Write the picture; its format is that of the name. The same picture gives the same bytes."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InputError(f"--output {path} wants a name that ends in .{', .'.join(FORMATS)}")
    metadata: dict[str, Any] = {
        "png": {"Software": None},
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
    }[suffix]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _style():
            figure.savefig(temporary, format=suffix, dpi=dpi, metadata=metadata)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def _check(records: Sequence[ResultRecord], measure: str) -> None:
    tasks = {(r.task.name, r.task.digest) for r in records}
    if len(tasks) > 1:
        names = ", ".join(sorted(name for name, _ in tasks))
        raise NotComparableError(
            f"these results are of several tasks ({names}), or of several versions of one; draw one at a time"
        )
    known = {m for r in records for by in r.summary.values() for m in by}
    if measure not in known:
        raise UnknownNameError("measure of these results", [measure], known)


def _matrix(records: Sequence[ResultRecord], measure: str) -> Figure:
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
    figure, axes = _figure(1.9 + 0.52 * len(shown), 1.75 + 0.44 * len(langs))
    top = max((v for v in values.values() if v is not None), default=1.0) or 1.0
    colours = LinearSegmentedColormap.from_list("xlir", RAMP)
    for y, query in enumerate(langs):
        for x, lang in zip(places, shown, strict=True):
            value = values.get((query, lang))
            share = 0.0 if value is None else value / top
            face = colours(share) if value is not None else "none"
            axes.add_patch(_cell(x, y, face))
            ink = "white" if value is not None and _luminance(face) < 0.2 else "black"
            axes.text(x, y, number(value, 3), ha="center", va="center", color=ink, fontsize=8.5)
    axes.set_xlim(-0.55, places[-1] + 0.55)
    axes.set_ylim(len(langs) - 0.45, -0.55)
    axes.set_xticks(np.array(places), ["all" if c == POOL else c for c in shown])
    axes.set_yticks(range(len(langs)), langs)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9.5, labelcolor=MUTED)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("query", color=MUTED)
    means = ", ".join(
        f"{kind.value} {number(by[measure].mean)}"
        for kind, by in record.summary.items()
        if measure in by
    )
    _title(figure, f"{_name(record)} on {visible(record.task.title)}", f"{measure}: {means}")
    return figure


def _cell(x: float, y: float, face: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.475, y - 0.465), 0.95, 0.93, facecolor=face, edgecolor="none")


def _luminance(colour: Any) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def _languages(records: Sequence[ResultRecord], _measure: str) -> Figure:
    """The languages of the ten best passages by query language, over their share of the pool."""
    views = [record.bias.get("top10_language_share") for record in records]
    missing = [_name(r) for r, view in zip(records, views, strict=True) if view is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)}: no multilingual setting was run, so there is no top 10"
        )
    parts = [view for view in views if view is not None]
    langs = sorted({lang for part in parts for lang in _shares(part.chance)})
    rows = max(len(part.by_query_lang) for part in parts) + 2
    figure, *panels = _figure(
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
        axes.set_title(_name(record), fontsize=10.5, color=INK, loc="left", pad=8)
    panels[0].set_ylabel("query", color=MUTED)
    _title(
        figure,
        f"Languages of the ten best passages, {visible(records[0].task.title)}",
        "of the pool of all languages; an encoder without favourites looks like the bar `pool`; the query's own language is framed",
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

            ink = "white" if _luminance(to_rgb(colour)) < 0.2 else "black"
            axes.text(
                left + share / 2, y, lang, ha="center", va="center", fontsize=7.5, color=ink, zorder=4,
                fontweight="bold" if own else "normal",
            )  # fmt: skip
        left += share


def _shares(value: Any) -> dict[str, float]:
    return dict(value) if isinstance(value, Mapping) else {}


def _trade_off(records: Sequence[ResultRecord], measure: str) -> Figure:
    """A measure in the pool of all languages against rank distance: up and to the left is better."""
    kind = Kind.MULTILINGUAL
    points = [
        (record, distance.mean, record.summary[kind][measure])
        for record in records
        if (distance := record.bias.get("rank_distance"))
        and isinstance(distance.mean, float)
        and measure in record.summary.get(kind, {})
    ]
    if not points:
        raise InputError(
            f"no result has both multilingual {measure} and a rank distance; run the multilingual settings"
        )
    figure, axes = _figure(7.0, 4.9)
    for _, distance, part in points:
        if part.low is not None and part.high is not None:
            axes.plot([distance] * 2, [part.low, part.high], color=ACCENT, alpha=0.45, linewidth=2.2)
        axes.plot(distance, part.mean, "o", color=ACCENT, markersize=7, zorder=3)
    chance = points[0][0].bias["rank_distance"].chance
    mine = [s.chance_map for s in points[0][0].settings if s.kind == kind and s.queries]
    marks = [(float(d), p.mean, _name(r)) for r, d, p in points]
    if isinstance(chance, float) and measure == "map" and mine:
        axes.plot(chance, sum(mine) / len(mine), "x", color=MUTED, markersize=7, markeredgewidth=1.8)
        marks.append((chance, sum(mine) / len(mine), "chance"))
    axes.margins(x=0.16, y=0.14)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_xlabel("rank distance (lower is better)", color=MUTED)
    axes.set_ylabel(f"{kind.value} {measure}", color=MUTED)
    axes.xaxis.set_major_formatter(lambda value, _: big(value).removesuffix(".0"))
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 2) if value else "0")
    _grid(axes)
    _label(axes, marks)
    title = f"Quality and language bias, {visible(records[0].task.title)}"
    _title(figure, title, "up and to the left is better; bars are 95 % intervals")
    return figure


def _label(axes: Axes, marks: Sequence[tuple[float, float, str]]) -> None:
    """Names beside points; where names would lie on each other they give way upwards or down."""
    to_pixels = axes.transData.transform
    boxes: list[tuple[float, float, float, float]] = []
    points = [to_pixels((x, y)) for x, y, _ in marks]
    for (x, y, name), (px, py) in zip(marks, points, strict=True):
        width, height = 6.0 * len(name) + 4, 13.0
        right_edge = axes.transAxes.transform((1, 1))[0]
        left = px + 9 + width > right_edge
        for step in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6):
            start = px - 9 - width if left else px + 9
            box = (start, py + step * height - 6, start + width, py + step * height + 7)
            if not any(_overlap(box, other) for other in boxes) and not any(
                _overlap(box, (a - 5, b - 5, a + 5, b + 5)) for a, b in points if (a, b) != (px, py)
            ):
                break
        boxes.append(box)
        offset = 72 / axes.figure.dpi
        axes.annotate(
            name, (x, y), ((-9 if left else 9) * offset, step * height * offset), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=9,
            color=MUTED if name == "chance" else INK, fontstyle="italic" if name == "chance" else "normal",
        )  # fmt: skip


def _overlap(one: Sequence[float], two: Sequence[float]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def _checkpoints(records: Sequence[ResultRecord], measure: str) -> Figure:
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
        places, labels = list(range(len(records))), [_name(r) for r in records]
    figure, axes = _figure(max(6.4, 2.5 + (0.0 if numbered else 0.9) * len(records)), 4.3)
    ends = []
    for kind in Kind:
        parts = [(x, r.summary.get(kind, {}).get(measure)) for x, r in zip(places, records, strict=True)]
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
    axes.set_xticks(places, labels, **({} if numbered else {"rotation": 30, "ha": "right"}))
    axes.set_ylim(bottom=0)
    axes.set_ylabel(measure, color=MUTED)
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 2) if value else "0")
    axes.margins(x=0.03)
    _grid(axes)
    _end_labels(axes, ends)
    named = visible(next(iter(stems)).rstrip("-_/ ")) if numbered else "in the order given"
    _title(figure, f"{measure} over checkpoints, {visible(records[0].task.title)}", f"{named}; bands are 95 % intervals")
    return figure


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the ends of lines, moved apart where they would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.055
    at = -float("inf")
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        at = max(y, at + gap)
        axes.annotate(name, (x, at), (8, 0), textcoords="offset points", va="center", color=colour, fontsize=9.5, annotation_clip=False)


def _grid(axes: Axes) -> None:
    axes.grid(color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(length=0, labelcolor=MUTED)


def _title(figure: Figure, title: str, under: str) -> None:
    figure.suptitle(f"{title}", x=0.012, ha="left", fontsize=12.5, fontweight="bold", color=INK)
    figure.text(0.012, 0.0, under, ha="left", va="bottom", fontsize=8.5, color=MUTED)


def _only(records: Sequence[ResultRecord], kind: str) -> ResultRecord:
    if len(records) != 1:
        raise InputError(f"plot {kind} draws one result, {len(records)} were given")
    return records[0]


def _name(record: ResultRecord) -> str:
    return visible(record.encoder.name)


def _figure(width: float, height: float, *grid: int, sharey: bool = False) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, 0.055, 1, 0.945))
    axes = figure.subplots(*(grid or (1, 1)), sharey=sharey, squeeze=False)
    return figure, *axes.ravel()


@contextmanager
def _style() -> Iterator[None]:
    """Our look, whatever the user's matplotlibrc says; names are never read as formulas."""
    try:
        import matplotlib as mpl
        from matplotlib import font_manager
    except ImportError as error:
        raise XlirError(
            "plots need matplotlib, which is not installed: pip install 'xlir-bench[plot]'"
        ) from error
    there = set(font_manager.get_font_names())
    look = {
        "font.family": ["DejaVu Sans", *(f for f in SCRIPT_FONTS if f in there)],
        "font.size": 9.5,
        "text.parse_math": False,
        "axes.unicode_minus": True,
        "svg.hashsalt": "xlir-bench",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
        "savefig.bbox": "standard",
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(look)
        # A name in a script that no font here has is drawn as boxes; the picture is made all the same.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


PICTURES: Mapping[str, Callable[[Sequence[ResultRecord], str], Figure]] = {
    "matrix": _matrix,
    "languages": _languages,
    "trade-off": _trade_off,
    "checkpoints": _checkpoints,
}

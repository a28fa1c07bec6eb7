"""What all plots share: style, frame, colours, names beside points, and files."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.extras import require
from xlir_bench.files import explained, replacing
from xlir_bench.options.drawing import DrawOptions
from xlir_bench.records import Kind
from xlir_bench.rendering.numbers import big, number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

FORMATS = ("png", "svg", "pdf")
INK, MUTED, LINE, ACCENT, WARNING = "#1a1f26", "#586270", "#dfe2e6", "#0b5aa8", "#a84a00"
SERIES = ("#0b5aa8", "#c45a00", "#2f7d5b", "#a83279", "#6b4fa0", "#8a6d00", "#4a8fb5", "#5b5b5b")
MARKS = "osD^vP*X"
"""A colour and a mark for each of several encoders or trainings."""
KIND_COLOURS = dict(zip(Kind, SERIES, strict=False))
KIND_MARKS = dict(zip(Kind, MARKS, strict=False))
LANGUAGE_COLOURS = {
    "ar": "#332288", "de": "#88ccee", "el": "#44aa99", "en": "#117733", "es": "#999933", "hi": "#ddcc77",
    "ru": "#cc6677", "th": "#882255", "tr": "#aa4499", "vi": "#666666", "zh": "#cccccc", "fr": "#0072b2",
    "ja": "#e69f00", "ko": "#56b4e9", "fi": "#009e73", "bn": "#d55e00", "id": "#b07aa1", "sw": "#9c755f",
    "te": "#7a8f00", "it": "#f1a2b4",
}  # fmt: skip
"""Paul Tol's muted scheme, and more colours; whatever is drawn in one also shows the language's code."""
MARGIN, GAP, LEAST_WIDTH = 0.1, 0.12, 3.4
"""In inches: around the picture, between it and its title or foot, and how narrow it may be."""
Box = tuple[float, float, float, float]
BASE = 9.5
"""The size of text in points, unless another is asked for."""
OPTIONS: ContextVar[DrawOptions] = ContextVar("OPTIONS", default=DrawOptions())  # noqa: B039 (it is frozen)
"""The options of the picture that is being drawn."""
SCRIPT_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans Devanagari", "Noto Sans Thai",
    "Noto Sans Arabic", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS",
)  # fmt: skip
"""For names of encoders in other scripts; the first that is installed is used."""
LOOK: dict[str, Any] = {
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlesize": "large",
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "pdf.fonttype": 42,
    "savefig.bbox": "standard",
    "svg.fonttype": "none",
    "svg.hashsalt": "xlir-bench",
    "text.parse_math": False,
    **{f"{axis}tick.{what}": x for axis in "xy" for what, x in (("labelcolor", MUTED), ("major.size", 0))},
}  # fmt: skip
"""Settings of matplotlib that all pictures share; its titles are the titles of panels here."""


def points(size: float = BASE) -> float:
    """A size of text, scaled like the font size that was asked for."""
    return size * (OPTIONS.get().font_size or BASE) / BASE


def new_figure(
    width: float, height: float, *grid: int, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, in inches without the title and the foot; larger where its text is larger."""
    from matplotlib.figure import Figure

    scale = max(1.0, points(1.0))
    size = (max(LEAST_WIDTH, width * scale), height * scale)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(*(grid or (1, 1)), sharey=sharey, squeeze=False)
    return figure, list(axes.ravel())


def grid_lines(axes: Axes) -> None:
    """Faint lines below all that is drawn."""
    axes.grid(True)
    axes.set_axisbelow(True)


def titled(
    figure: Figure,
    text: str,
    under: str,
    parts: Iterable[str] = (),
    key: Sequence[Artist] = (),
) -> Figure:
    """The figure with a title, a line on what makes its results partial, a key, and a foot that says how to read it.

    It grows by the room that these need, unless its size was asked for; lines that are too long are broken.
    """
    options = OPTIONS.get()
    width, height = options.size or figure.get_size_inches()
    figure.set_size_inches(width, height)
    distinct = dict.fromkeys(parts)
    part = " / ".join(visible(x) or "full run" for x in distinct) if any(distinct) else ""
    room = (width - 3 * MARGIN) * figure.dpi
    above = [
        figure.text(
            0, 0, options.title or text, va="top", fontsize=points(12.5), color=INK, fontweight="bold"
        ),
        *([figure.text(0, 0, f"A part: {part}", va="top", fontsize=points(9), color=WARNING)] if part else []),
    ]  # fmt: skip
    foot = figure.text(0, 0, under, va="bottom", fontsize=points(8.5), color=MUTED)
    for line in (*above, foot):
        _broken(line, room)
    heights = [line.get_window_extent().height / figure.dpi for line in (*above, foot)]
    legend = _legend(figure, key, room) if key else None
    if legend is not None:
        heights.insert(-1, legend.get_window_extent().height / figure.dpi)
    head = 1.5 * MARGIN + sum(heights[:-1]) + 0.06 * (len(heights) - 2) + GAP
    base = 1.5 * MARGIN + heights[-1] + GAP / 2
    if options.size is None:
        height += head + base
        figure.set_size_inches(width, height)
    top, left = height - 1.5 * MARGIN, 1.5 * MARGIN / width
    for line, tall in zip(above, heights, strict=False):
        line.set_position((left, top / height))
        top -= tall + 0.06
    foot.set_position((left, 1.5 * MARGIN / height))
    if legend is not None:
        legend.set_bbox_to_anchor((left, top / height))
    frame = (MARGIN / width, base / height, 1 - 2 * MARGIN / width, 1 - (head + base) / height)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=frame)  # type: ignore[call-arg]
    return figure


def _legend(figure: Figure, key: Sequence[Artist], room: float) -> Legend:
    """What each mark is, in as few lines as there is room for."""
    for columns in range(len(key), 0, -1):
        legend = figure.legend(
            handles=key, loc="upper left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
            labelcolor=INK, borderpad=0, borderaxespad=0, handletextpad=0.4, fontsize=points(9),
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent().width <= room:
            break
        legend.remove()
    return legend


def _broken(text: Text, room: float) -> None:
    """Break a text into lines no wider than so many pixels."""
    lines: list[str] = []
    for word in text.get_text().split(" "):
        text.set_text(" ".join([*lines[-1:], word]))
        if lines and text.get_window_extent().width <= room:
            lines[-1] = text.get_text()
        else:
            lines.append(word)
    text.set_text("\n".join(lines))


def plain_ticks(axis: Axis, distance: bool = False) -> None:
    """Few labels, with as many digits as their step needs; `distance`: with thousands separated."""
    from matplotlib.ticker import MaxNLocator

    def label(value: float, _: float) -> str:
        steps = axis.get_majorticklocs()
        whole = (d for d in range(6) if max(abs(steps - steps.round(d)), default=0) < 1e-9)
        digits = next(whole, 6)
        if not value:
            return "0"
        return big(value).removesuffix(".0") if distance else number(value, digits)

    axis.set_major_locator(MaxNLocator(5 if distance else 6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(label)


def language_colour(lang: str) -> str:
    """The colour of a language, the same in every picture."""
    others = sorted(LANGUAGE_COLOURS.values())
    digest = hashlib.sha256(lang.encode("utf-8", "surrogatepass")).digest()
    return LANGUAGE_COLOURS.get(lang, others[digest[0] % len(others)])


def text_colour_on(colour: Any) -> str:
    """The colour of text that is easy to read on this one (red, green, blue from 0 to 1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.2 else "black"


def label_points(
    axes: Axes, marks: Sequence[tuple[float, float, str]], bars: Sequence[Box] = ()
) -> None:
    """Names beside points, where they cover no other name, no point and none of the `bars` (x, y, x, y).

    Call it last: where things lie is known once the page is laid out.
    """
    laid_out(axes)
    to_pixels = axes.transData.transform
    frame = axes.get_window_extent()
    pixel = 72 / axes.figure.dpi  # in points, which hold for any dots an inch
    unit = points() / pixel
    taken: list[Box] = [(x - unit / 2, y - unit / 2, x + unit / 2, y + unit / 2) for x, y in (to_pixels((x, y)) for x, y, _ in marks)]  # fmt: skip
    for x0, y0, x1, y1 in bars:
        (a, b), (c, d) = to_pixels((x0, y0)), to_pixels((x1, y1))
        taken.append((a - 2, b - 2, c + 2, d + 2))
    for x, y, name in marks:
        style = "italic" if name == "chance" else "normal"
        text = axes.annotate(
            name, (x, y), (0, 0), textcoords="offset points", va="center", fontsize=points(9),
            color=MUTED if name == "chance" else INK, fontstyle=style,
        )  # fmt: skip
        size = text.get_window_extent()
        px, py = to_pixels((x, y))
        for step in (0, *(s * n for n in range(1, 9) for s in (1, -1))):
            far = 0.9 * unit if step < 3 else 1.6 * unit
            for left in (False, True):
                start = px - far - size.width if left else px + far
                middle = py + step * 0.75 * size.height
                half = size.height / 2
                box = (start, middle - half, start + size.width, middle + half)
                inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1  # fmt: skip
                if inside and not any(_overlap(box, other) for other in taken):
                    break
            else:
                continue
            break
        taken.append(box)
        text.set_position(((box[0] - px) * pixel, (middle - py) * pixel))
        if abs(step) > 1:
            edge = (box[2] + 2 if left else box[0] - 2, middle)
            axes.annotate(
                "", (x, y), ((edge[0] - px) * pixel, (edge[1] - py) * pixel), textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkB": 3, "shrinkA": 0},
            )  # fmt: skip


def laid_out(axes: Axes) -> None:
    """Lay out the page, after which it is known where things lie."""
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.draw_without_rendering()


def _overlap(one: Sequence[float], two: Sequence[float]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def require_format(path: Path, option: str = "--output") -> str:
    """The format that the name of a picture asks for."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InputError(f"{option} {path} wants a name that ends in .{', .'.join(FORMATS)}")
    return suffix


def save(figure: Figure, path: Path, dpi: int = 200) -> None:
    """Write the picture in the format of its name. The same picture gives the same bytes."""
    suffix = require_format(path)
    metadata: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
    with explained(path, "name another file"), replacing(path) as temporary:
        if suffix == "svg":
            temporary.write_bytes(svg(figure).encode())
        else:
            with style():
                figure.savefig(temporary, format=suffix, dpi=dpi, metadata=metadata[suffix])


def svg(figure: Figure) -> str:
    """The picture as SVG text. The same picture gives the same text.

    The last bits of a layout change names of clips and marks, and long fractions: these are numbered and rounded.
    """
    written = io.StringIO()
    with style():
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    # The list of other fonts depends on the machine.
    text = re.sub(r"'DejaVu Sans'(?:, [^;\"<]*)?", "'DejaVu Sans', sans-serif", text)
    names = dict.fromkeys(re.findall(r'id="([a-z][0-9a-f]{10})"', text))
    number = {name: f"n{place}" for place, name in enumerate(names)}
    text = re.sub(r"\b[a-z][0-9a-f]{10}\b", lambda match: number.get(match[0], match[0]), text)
    return re.sub(r"\b[1-9]\d*\.\d{4,}\b", lambda match: f"{float(match[0]):.3f}", text)


@contextmanager
def style(options: DrawOptions | None = None) -> Iterator[None]:
    """Our look and what was asked for, whatever the user's matplotlibrc says; names are never read as formulas."""
    try:
        import matplotlib as mpl
        from matplotlib import font_manager
    except ImportError:
        require("plot", "a picture")
        raise
    installed = set(font_manager.get_font_names())
    before = OPTIONS.set(options or OPTIONS.get())
    fonts = ["DejaVu Sans", *(f for f in SCRIPT_FONTS if f in installed)]
    try:
        with mpl.rc_context(), warnings.catch_warnings():
            mpl.rcdefaults()
            mpl.rcParams.update(LOOK | {"font.family": fonts, "font.size": points()})
            # A name in a script that no font here has is drawn as boxes; the picture is made all the same.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            yield
    finally:
        OPTIONS.reset(before)

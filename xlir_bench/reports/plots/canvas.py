"""What all plots share: style, frame, names beside points, and files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError, XlirError
from xlir_bench.escaping import visible
from xlir_bench.files import explained, replacing
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
INK, MUTED, LINE, ACCENT = "#1a1f26", "#586270", "#dfe2e6", "#0b5aa8"
MARGIN, HEAD, FOOT = 0.1, 0.5, 0.34
"""In inches: around the picture, for the title, for the line at the foot."""
SCRIPT_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans Devanagari", "Noto Sans Thai",
    "Noto Sans Arabic", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS",
)  # fmt: skip
"""For names of encoders in other scripts; the first that is installed is used."""
PANEL: dict[str, Any] = {"fontsize": 10.5, "color": INK, "loc": "left", "pad": 8}
"""How the title of one of several panels is set."""


def new_figure(
    width: float, height: float, *grid: int, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches, and its axes after it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    frame = (MARGIN / width, FOOT / height, 1 - 2 * MARGIN / width, 1 - (HEAD + FOOT) / height)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=frame)  # type: ignore[call-arg]
    axes = figure.subplots(*(grid or (1, 1)), sharey=sharey, squeeze=False)
    return figure, list(axes.ravel())


def grid_lines(axes: Axes) -> None:
    """Faint lines, and no frame."""
    axes.grid(color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(length=0, labelcolor=MUTED)


def titled(figure: Figure, text: str, under: str) -> Figure:
    """The figure with a title at the top, and a line at the foot that says how to read it."""
    width, height = figure.get_size_inches()
    left = 1.5 * MARGIN / width
    figure.text(
        left, 1 - 1.5 * MARGIN / height, text, va="top", fontsize=12.5, fontweight="bold", color=INK
    )
    figure.text(left, 1.5 * MARGIN / height, under, va="bottom", fontsize=8.5, color=MUTED)
    return figure


def label_of(record: ResultRecord) -> str:
    """The encoder, as it is written in pictures."""
    return visible(record.encoder.name)


def text_colour_on(colour: Any) -> str:
    """The colour of text that is easy to read on this one (red, green, blue from 0 to 1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.2 else "black"


def label_points(axes: Axes, marks: Sequence[tuple[float, float, str]]) -> None:
    """Names beside points; a name that would cover another moves up or down."""
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
            temporary.write_text(svg(figure), encoding="utf-8")
        else:
            with style():
                figure.savefig(temporary, format=suffix, dpi=dpi, metadata=metadata[suffix])


def svg(figure: Figure) -> str:
    """The picture as SVG text. The same picture gives the same text.

    What depends on the last bits of a layout is taken out: names of clips and marks, long fractions.
    """
    written = io.StringIO()
    with style():
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    names = dict.fromkeys(re.findall(r'id="([a-z][0-9a-f]{10})"', text))
    number = {name: f"n{place}" for place, name in enumerate(names)}
    text = re.sub(r"\b[a-z][0-9a-f]{10}\b", lambda match: number.get(match[0], match[0]), text)
    return re.sub(r"\b[1-9]\d*\.\d{4,}\b", lambda match: f"{float(match[0]):.3f}", text)


@contextmanager
def style() -> Iterator[None]:
    """Our look, whatever the user's matplotlibrc says; names are never read as formulas."""
    try:
        import matplotlib as mpl
        from matplotlib import font_manager
    except ImportError as error:
        raise XlirError(
            "plots need matplotlib, which is not installed: pip install 'xlir-bench[plot]'"
        ) from error
    there = set(font_manager.get_font_names())
    look: dict[Any, Any] = {
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

"""What the pictures share: their look, their frame, and how they are written."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlir_bench.errors import InputError, XlirError
from xlir_bench.escaping import visible
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
INK, MUTED, LINE, ACCENT = "#1a1f26", "#586270", "#dfe2e6", "#0b5aa8"
MARGIN, HEAD, FOOT = 0.1, 0.5, 0.34
"""In inches: round the picture, for the title, for the line under it."""
SCRIPT_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans Devanagari", "Noto Sans Thai",
    "Noto Sans Arabic", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS",
)  # fmt: skip
"""Looked for in this order where an encoder's name is in another script."""


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


def write_title(figure: Figure, text: str, under: str) -> None:
    """A title at the top, and a line at the foot that says how to read the picture."""
    width, height = figure.get_size_inches()
    left = 1.5 * MARGIN / width
    figure.text(
        left, 1 - 1.5 * MARGIN / height, text, va="top", fontsize=12.5, fontweight="bold", color=INK
    )
    figure.text(left, 1.5 * MARGIN / height, under, va="bottom", fontsize=8.5, color=MUTED)


def label_of(record: ResultRecord) -> str:
    """The encoder, as it is written in pictures."""
    return visible(record.encoder.name)


def luminance(colour: Any) -> float:
    """How light a colour is, from 0 to 1; white is read on one under .18, black on others."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def require_format(path: Path, option: str = "--output") -> str:
    """The format that the name asks for."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InputError(f"{option} {path} wants a name that ends in .{', .'.join(FORMATS)}")
    return suffix


def save(figure: Figure, path: Path, dpi: int = 200) -> None:
    """Write the picture; its format is that of the name. The same picture gives the same bytes."""
    suffix = require_format(path)
    metadata: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == "svg":
            temporary.write_text(svg(figure), encoding="utf-8")
        else:
            with style():
                figure.savefig(temporary, format=suffix, dpi=dpi, metadata=metadata[suffix])
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def svg(figure: Figure) -> str:
    """The picture as SVG text. The same picture gives the same text."""
    written = io.StringIO()
    with style():
        figure.savefig(written, format="svg", metadata={"Date": None})
    return settled(written.getvalue())


def settled(text: str) -> str:
    """SVG without what depends on the last bits of a layout: names of clips and marks, long fractions."""
    names = dict.fromkeys(re.findall(r'id="([a-z][0-9a-f]{10})"', text))
    number = {name: f"n{place}" for place, name in enumerate(names)}
    text = re.sub(r"\b[a-z][0-9a-f]{10}\b", lambda found: number.get(found[0], found[0]), text)
    return re.sub(r"\b[1-9]\d*\.\d{4,}\b", lambda found: f"{float(found[0]):.3f}", text)


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

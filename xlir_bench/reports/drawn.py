"""Figures on disk that say of what they were drawn: what was drawn of the same by the same code is not drawn again.

A remark in the SVG has two digests: of what it shows and the code that draws it, and of its own text. A figure that was
changed by hand, or that other results or code would draw otherwise, is drawn again and compared.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from xlir_bench.reports.markup import escape

CODE = (
    "escaping.py", "options/drawing.py", "records.py", "results/schema.py", "reports/cost.py", "reports/numbers.py",
    "reports/tables.py", "reports/leaderboard/figures.py", "reports/experiment/figures.py",
    *(f"reports/plots/{name}.py" for name in ("__init__", "bias", "canvas", "charts", "heatmaps")),
)  # fmt: skip
"""The modules that run while a figure is drawn (a test holds it to that)."""
REMARK = re.compile(r"<!-- (.*); drawn of ([0-9a-f]{16}), text ([0-9a-f]{16}) -->\n")
RELEASE = re.compile(r"Matplotlib v[\d.]+")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure to be."""

    file: str
    """Its path in the folder."""
    title: str
    """Its text on a page, where it is not drawn."""
    section: str
    """Which part of the pages shows it."""
    shows: str
    """All that it is drawn of, as text."""
    svg: Callable[[], str]
    """Draws it."""

    @property
    def image(self) -> str:
        """Markdown that shows it."""
        return f"![{escape(self.title)}]({self.file})"

    @property
    def digest(self) -> str:
        """Of what it shows, and of the code that draws it."""
        return _digest(_code_digest() + self.shows)

    def is_drawn_in(self, text: str) -> bool:
        """Whether an SVG was drawn of the same, and is as it was drawn."""
        remark = REMARK.search(text)
        return remark is not None and remark.groups()[1:] == (self.digest, _digest(_bare(text)))

    def text(self, marker: str) -> str:
        """The figure drawn, with its remark after the XML declaration, which has to be first."""
        svg = self.svg()
        remark = f"<!-- {marker}; drawn of {self.digest}, text {_digest(svg)} -->\n"
        return svg.replace("?>\n", f"?>\n{remark}", 1)


def drawn(
    folder: Path, drawings: Sequence[Drawing], marker: str, check: bool
) -> dict[str, str] | None:
    """The text of each figure: that in the folder, where it was drawn of the same, else drawn now.

    None where something has to be drawn and cannot be: there is no matplotlib here, or, with `check`, the figures in
    the folder are of another release of it. With `check`, a figure that comes out as it is there stays as it is.
    """
    there = {
        drawing.file: path.read_bytes().decode("utf-8", "replace")
        for drawing in drawings
        if (path := folder / drawing.file).is_file()
    }
    texts = {d.file: text for d in drawings if d.is_drawn_in(text := there.get(d.file, ""))}
    if len(texts) < len(drawings) and find_spec("matplotlib") is None:
        return None
    for drawing in drawings:
        if drawing.file in texts:
            continue
        fresh, old = drawing.text(marker), there.get(drawing.file)
        if check and old is not None:
            if RELEASE.findall(fresh)[:1] != RELEASE.findall(old)[:1]:
                return None
            if _bare(fresh) == _bare(old):
                fresh = old
        texts[drawing.file] = fresh
    return texts


def _bare(svg: str) -> str:
    """Without its remark."""
    return REMARK.sub("", svg, count=1)


@cache
def _code_digest() -> str:
    root = files("xlir_bench")
    return _digest("".join(root.joinpath(name).read_text(encoding="utf-8") for name in CODE))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

"""How a picture is drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xlir_bench.options.stating import option

PICTURE = "Picture"


def _inches(text: str) -> tuple[float, float]:
    match = re.fullmatch(r"(\d{1,2}(?:\.\d+)?)x(\d{1,2}(?:\.\d+)?)", text.strip().lower())
    if match is None or min(float(match[1]), float(match[2])) < 1:
        raise ValueError("width and height have to be in inches, from 1 to 99, such as 6.5x4")
    return float(match[1]), float(match[2])


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """Options of every picture."""

    title: str | None = option("A title of your own.", None, group=PICTURE, metavar="TEXT")
    size: tuple[float, float] | None = option(
        "Width and height in inches, such as 6.5x4.  [default: as large as it needs]",
        None, group=PICTURE, metavar="WxH", parse=_inches,
    )  # fmt: skip
    font_size: float | None = option(
        "The size of its text in points.  [default: 9.5]", None, group=PICTURE, metavar="PT", least=4, most=40
    )  # fmt: skip
    dpi: int = option("Dots an inch of a PNG.", 200, group=PICTURE, least=30, most=1200)

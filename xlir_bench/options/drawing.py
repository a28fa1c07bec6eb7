"""How a picture is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from xlir_bench.options.stating import option

PICTURE = "Picture"


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """What may be asked of any picture."""

    title: str | None = option("A title of your own.", None, group=PICTURE, metavar="TEXT")
    size: tuple[float, float] | None = option(
        "Width and height in inches, such as 6.5x4.  [default: as large as it needs]",
        None, group=PICTURE, metavar="WxH", form="inches",
    )  # fmt: skip
    font_size: float | None = option(
        "The size of its text in points.  [default: 9.5]", None, group=PICTURE, metavar="PT", least=4, most=40
    )  # fmt: skip
    dpi: int = option("Dots an inch of a PNG.", 200, group=PICTURE, least=30, most=1200)

"""Loss and figures over the steps of a run, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xlir_bench.files import replacing


def draw_curves(lines: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw the lines of a training log; False where matplotlib (the extra ``plot``) is not installed."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    figures = [(line["step"], line["evaluation"]) for line in lines if "evaluation" in line]
    maps = sorted({name for _, its in figures for name in its if name.endswith(".map")})
    distances = sorted({n for _, its in figures for n in its if n.endswith("rank_distance")})
    panels = [("loss", losses)] + [
        (what, []) for what, its in (("map", maps), ("rank distance", distances)) if its
    ]
    figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (what, points) in zip(axes, panels, strict=True):
        if points:
            axis.plot(*zip(*points, strict=True))
        for name in {"map": maps, "rank distance": distances}.get(what, []):
            its = [(step, figure_of[name]) for step, figure_of in figures if name in figure_of]
            axis.plot(*zip(*its, strict=True), marker="o", label=name.removesuffix(".map"))
        if what != "loss":
            axis.legend(fontsize="small")
        axis.set_xlabel("step")
        axis.set_title(what)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return True

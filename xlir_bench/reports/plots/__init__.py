"""Pictures of stored results for papers and READMEs: safe for colour-blind eyes, numbers in the cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.reports.plots.canvas import FORMATS, save, style
from xlir_bench.reports.plots.checkpoints import draw_checkpoints
from xlir_bench.reports.plots.languages import draw_languages
from xlir_bench.reports.plots.matrix import draw_matrix
from xlir_bench.reports.plots.trade_off import draw_trade_off
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "PICTURES", "draw", "save"]

PICTURES: Mapping[str, Callable[[Sequence[ResultRecord], str], Figure]] = {
    "matrix": draw_matrix,
    "languages": draw_languages,
    "trade-off": draw_trade_off,
    "checkpoints": draw_checkpoints,
}


def draw(kind: str, records: Sequence[ResultRecord], measure: str = "map") -> Figure:
    """The picture of one kind: ``matrix``, ``languages``, ``trade-off`` or ``checkpoints``."""
    if kind not in PICTURES:
        raise UnknownNameError("kind of plot", [kind], PICTURES)
    if not records:
        raise InputError("no result to draw; name a result folder (results/<encoder>/<task>)")
    _check(records, measure)
    with style():
        return PICTURES[kind](records, measure)


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

"""Pictures of stored results for papers and READMEs: safe for colour-blind eyes, numbers in the cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.reports.plots.alignment import MARGIN, alignment_figures, draw_alignment
from xlir_bench.reports.plots.bias import draw_bias
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
    "bias": draw_bias,
    "trade-off": draw_trade_off,
    "checkpoints": draw_checkpoints,
    "alignment": draw_alignment,
}


def draw(kind: str, records: Sequence[ResultRecord], measure: str | None = None) -> Figure:
    """The picture of one kind, a name of `PICTURES`; of map (``alignment``: of the margin) unless told."""
    if kind not in PICTURES:
        raise UnknownNameError("kind of plot", [kind], PICTURES)
    if not records:
        raise InputError("no result to draw; name a result folder (results/<encoder>/<task>)")
    aligned = kind == "alignment"
    drawn = measure or (MARGIN if aligned else "map")
    _check_task(records)
    _check_measure(
        drawn, [m for r in records for m in (alignment_figures if aligned else _measures)(r)]
    )
    with style():
        return PICTURES[kind](records, drawn)


def _check_task(records: Sequence[ResultRecord]) -> None:
    tasks = {(r.task.name, r.task.digest) for r in records}
    if len(tasks) > 1:
        names = ", ".join(sorted(name for name, _ in tasks))
        raise NotComparableError(
            f"these results are of several tasks ({names}), or of several versions of one; draw one at a time"
        )


def _check_measure(measure: str, known: Sequence[str]) -> None:
    if measure not in known:
        raise UnknownNameError("measure of these results", [measure], list(dict.fromkeys(known)))


def _measures(record: ResultRecord) -> list[str]:
    return [m for by_measure in record.summary.values() for m in by_measure]

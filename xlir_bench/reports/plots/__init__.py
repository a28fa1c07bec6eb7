"""Plots of stored results for papers and READMEs: safe for colour-blind eyes, numbers in the cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.options.drawing import DrawOptions
from xlir_bench.records import Kind
from xlir_bench.rendering.canvas import FORMATS, save, style, svg
from xlir_bench.reports.generated import FIGURES, Drawing
from xlir_bench.reports.plots.charts import (
    draw_checkpoints,
    draw_cost,
    draw_robustness,
    draw_trade_off,
)
from xlir_bench.reports.plots.languages import (
    MARGIN,
    alignment_figures,
    draw_alignment,
    draw_bias,
    draw_difference,
    draw_languages,
    draw_matrix,
)
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xlir_bench.reports.leaderboard.board import Board

__all__ = ["FORMATS", "PICTURES", "board_figures", "draw", "draw_cost", "draw_robustness", "save"]

PICTURES: Mapping[str, Callable[[Sequence[ResultRecord], str], Figure]] = {
    "matrix": draw_matrix,
    "difference": draw_difference,
    "languages": draw_languages,
    "bias": draw_bias,
    "trade-off": draw_trade_off,
    "checkpoints": draw_checkpoints,
    "alignment": draw_alignment,
    "cost": draw_cost,
}
COUNTS = {"matrix": 1, "difference": 2, "alignment": 1}
"""How many results a picture draws, where that is fixed."""


def draw(
    kind: str,
    records: Sequence[ResultRecord],
    measure: str | None = None,
    options: DrawOptions | None = None,
) -> Figure:
    """One of the `PICTURES`. By default it shows map; ``alignment`` shows the margin."""
    if kind not in PICTURES:
        raise UnknownNameError("kind of plot", [kind], PICTURES)
    if not records:
        raise InputError("no result to draw; name a result folder (results/<encoder>/<task>)")
    wanted = COUNTS.get(kind, len(records))
    if len(records) != wanted:
        many = {1: "one result", 2: "two results"}[wanted]
        raise InputError(f"plot {kind} draws {many}, {len(records)} were given")
    if len({(r.task.name, r.task.digest) for r in records}) > 1:
        names = ", ".join(sorted({record.task.name for record in records}))
        raise NotComparableError(
            f"these results are of several tasks ({names}), or of several versions of one; draw one at a time"
        )
    if kind == "alignment":
        measure = measure or MARGIN
        known = [name for record in records for name in alignment_figures(record)]
    else:
        measure = measure or "map"
        known = [name for r in records for by_measure in r.summary.values() for name in by_measure]
    if measure not in known:
        raise UnknownNameError("measure of these results", [measure], set(known))
    with style(options):
        return PICTURES[kind](records, measure)


def board_figures(board: Board) -> Iterator[Drawing]:
    """The figures of a leaderboard: for each task that was run in full, of its best encoder, its best two, or all."""
    for task in board.tasks:
        if task.is_part:
            continue
        records = [row.record for row in task.rows]
        pooled = [r for r in records if r.average(Kind.MULTILINGUAL, task.main)]
        biased = [r for r in pooled if r.rank_distance is not None]
        aligned = [r for r in records if r.alignment.questions or r.alignment.answers]
        measured = [r for r in records if r.profile.cost is not None]
        drawn_of = {
            "matrix": records[:1],
            "difference": records[:2] if len(records) > 1 else [],
            "trade-off": pooled if biased else [],
            "bias": biased[:2][::-1],
            "languages": biased[:2],
            "alignment": aligned[:1],
            "cost": measured[:1],
        }
        for kind, chosen in drawn_of.items():
            measure = None if kind == "alignment" else task.main
            if chosen:
                yield Drawing(
                    file=f"{FIGURES}/{task.file}-{kind}.svg",
                    title=f"{task.title}: {kind}",
                    section=task.file,
                    shows="\n".join([kind, str(measure), *(r.model_dump_json() for r in chosen)]),
                    svg=partial(_svg, kind, chosen, measure),
                )


def _svg(kind: str, records: Sequence[ResultRecord], measure: str | None) -> str:
    """The same results give the same bytes."""
    return svg(draw(kind, records, measure))

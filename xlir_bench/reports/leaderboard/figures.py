"""The figures of a leaderboard: of each task that was run whole, drawn from its best encoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xlir_bench.records import Kind
from xlir_bench.reports.generated import FIGURES, Drawing
from xlir_bench.reports.leaderboard.board import Board, TaskBoard
from xlir_bench.results.schema import ResultRecord


def board_figures(board: Board) -> Iterator[Drawing]:
    """What can be drawn: the best encoder, the best two, or all of a task."""
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
            if chosen:
                yield _drawing(task, kind, chosen)


def _drawing(task: TaskBoard, kind: str, records: Sequence[ResultRecord]) -> Drawing:
    """The figure as SVG; the same results give the same bytes."""
    measure = None if kind == "alignment" else task.main

    def draw_svg() -> str:
        from xlir_bench.rendering.canvas import svg
        from xlir_bench.reports.plots import draw

        return svg(draw(kind, records, measure))

    return Drawing(
        file=f"{FIGURES}/{task.file}-{kind}.svg",
        title=f"{task.title}: {kind}",
        section=task.file,
        shows="\n".join([kind, str(measure), *(record.model_dump_json() for record in records)]),
        svg=draw_svg,
    )

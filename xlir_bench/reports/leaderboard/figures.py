"""The figures of a leaderboard: of each task that was run whole, drawn from its best encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xlir_bench.records import Kind
from xlir_bench.reports.drawn import Drawing
from xlir_bench.reports.leaderboard.board import Board, TaskBoard
from xlir_bench.reports.leaderboard.files import HEAD, MARKER
from xlir_bench.results.schema import ResultRecord

FOLDER = "figures"


@dataclass(frozen=True, slots=True)
class BoardFigure:
    """One figure, and the results that it is drawn of."""

    task: TaskBoard
    kind: str
    records: tuple[ResultRecord, ...]
    measure: str | None = None

    @property
    def file(self) -> str:
        """Its path in the leaderboard's folder."""
        return f"{FOLDER}/{self.task.file}-{self.kind}.svg"

    @property
    def drawing(self) -> Drawing:
        """The figure as SVG; the same results give the same bytes."""

        def draw_svg() -> str:
            from xlir_bench.reports.plots import draw
            from xlir_bench.reports.plots.canvas import svg

            return svg(draw(self.kind, self.records, self.measure))

        shows = (record.model_dump_json() for record in self.records)
        return Drawing(self.file, "\n".join([self.kind, str(self.measure), *shows]), draw_svg)


def board_figures(board: Board) -> Iterator[BoardFigure]:
    """What can be drawn: the best encoder, the best two, or all of a task."""
    for task in board.tasks:
        if task.is_part:
            continue
        records = tuple(row.record for row in task.rows)
        pooled = tuple(r for r in records if r.average(Kind.MULTILINGUAL, task.main))
        yield BoardFigure(task, "matrix", records[:1], task.main)
        if len(records) > 1:
            yield BoardFigure(task, "difference", records[:2], task.main)
        if any(r.rank_distance is not None for r in pooled):
            yield BoardFigure(task, "trade-off", pooled, task.main)
        if biased := tuple(r for r in pooled if r.rank_distance is not None)[:2]:
            yield BoardFigure(task, "bias", biased[::-1], task.main)
            yield BoardFigure(task, "languages", biased, task.main)
        for kind, suits in SINGLE.items():
            if suited := [record for record in records if suits(record)]:
                measure = None if kind == "alignment" else task.main
                yield BoardFigure(task, kind, tuple(suited[:1]), measure)


SINGLE: dict[str, Callable[[ResultRecord], bool]] = {
    "alignment": lambda record: bool(record.alignment.questions or record.alignment.answers),
    "cost": lambda record: record.profile.cost is not None,
}
"""Figures of one result, and which have what they show."""


def figures_there(folder: Path) -> list[Path]:
    """The figures in a leaderboard's folder that this command made."""
    found = []
    for file in sorted((folder / FOLDER).glob("*.svg")):
        with file.open("rb") as opened:
            if MARKER.encode() in opened.read(HEAD):
                found.append(file)
    return found

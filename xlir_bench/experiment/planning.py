"""What of a recipe is done, what is to do, and how long that takes as far as finished cells tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xlir_bench.experiment.running import Where, is_finished, model_folder
from xlir_bench.recipe import Cell, Recipe, Variant
from xlir_bench.reports.experiment import CellRecord, cell_record


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell of the grid."""

    cell: Cell
    state: str
    """``done``, ``begun`` or ``to do``."""
    seconds: float | None
    """What it took, or what it should take; None if nothing tells."""


def plan_cells(recipe: Recipe, where: Where) -> list[Planned]:
    """Every cell, in the order they are run; time is the mean of the finished cells most like it."""
    records = {c: r for c in recipe.cells() if (r := cell_record(where.folder, c)) is not None}
    timed = {c.variant: [] for c in records}  # type: dict[Variant, list[float]]
    for cell, record in records.items():
        if record.train_seconds is not None:
            timed[cell.variant].append(_seconds(record))
    planned = []
    for cell in recipe.cells():
        if is_finished(recipe, where, cell):
            planned.append(Planned(cell, "done", _seconds(records[cell])))
        else:
            state = "begun" if model_folder(where, cell).is_dir() else "to do"
            planned.append(Planned(cell, state, _expected(cell.variant, timed)))
    return planned


def time_left(planned: Sequence[Planned]) -> float | None:
    """Seconds of all that is not done; None if of any nothing is known."""
    left = [p.seconds for p in planned if p.state != "done"]
    known = [seconds for seconds in left if seconds is not None]
    return sum(known) if len(known) == len(left) else None


def _seconds(record: CellRecord) -> float:
    return (record.train_seconds or 0.0) + record.evaluate_seconds


def _expected(variant: Variant, timed: dict[Variant, list[float]]) -> float | None:
    """By cells of the same model, batch size and loss, else of the same model."""
    alike = [v for v in timed if v.model == variant.model and v.trained == variant.trained]
    closer = [v for v in alike if (v.batch_size, v.loss) == (variant.batch_size, variant.loss)]
    for group in (closer, alike):
        found = [seconds for v in group for seconds in timed[v]]
        if found:
            return sum(found) / len(found)
    return None

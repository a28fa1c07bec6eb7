"""How far an experiment is, and what the rest should take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlir_bench.experiment.running import Where, is_finished, model_folder
from xlir_bench.recipe import Cell, Recipe, Variant
from xlir_bench.reports.experiment.stored import CellRecord, cell_record


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell, and how far it is."""

    cell: Cell
    state: str
    """``done``, ``begun`` or ``to do``."""
    seconds: float | None
    """What it took, or what it should take; None if nothing tells."""


def plan_cells(recipe: Recipe, where: Where) -> list[Planned]:
    """Every cell in the recipe's order; expected times are means of the finished cells most like it."""
    records = {c: r for c in recipe.cells() if (r := cell_record(where.folder, c)) is not None}
    planned = []
    for cell in recipe.cells():
        if is_finished(recipe, where, cell):
            planned.append(Planned(cell, "done", records[cell].seconds))
        else:
            state = "begun" if model_folder(where, cell).is_dir() else "to do"
            planned.append(Planned(cell, state, _expected_seconds(cell.variant, records)))
    return planned


def _expected_seconds(variant: Variant, records: Mapping[Cell, CellRecord]) -> float | None:
    """By cells of the same model, batch size and loss, else of the same model."""
    alike = [
        (cell.variant, record.seconds)
        for cell, record in records.items()
        if (cell.variant.model, cell.variant.trained) == (variant.model, variant.trained)
        and record.train_seconds is not None
    ]
    setting = (variant.batch_size, variant.loss)
    closer = [seconds for v, seconds in alike if (v.batch_size, v.loss) == setting]
    times = closer or [seconds for _, seconds in alike]
    return sum(times) / len(times) if times else None


def time_left(planned: Sequence[Planned]) -> float | None:
    """Seconds of all that is not done; None if of any nothing is known."""
    left = [each.seconds for each in planned if each.state != "done"]
    return None if None in left else sum(filter(None, left))

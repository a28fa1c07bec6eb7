"""An experiment as it is on disk: its finished cells, their results, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

from xlir_bench.recipe import Cell, Recipe, Variant
from xlir_bench.reports.pairing import require_comparable
from xlir_bench.reports.scores import Score, compared_by
from xlir_bench.results import Result
from xlir_bench.results.cells import (
    RESULTS,
    CellRecord,
    Questions,
    cell_folder,
    cell_record,
    read_questions,
)
from xlir_bench.results.store import RESULT_FILE


@dataclass(frozen=True)
class Experiment:
    """The finished cells of a recipe and their results."""

    recipe: Recipe
    records: Mapping[Cell, CellRecord]
    """The finished cells."""
    results: Mapping[tuple[Cell, str], Result]
    """By cell and task; a finished cell may not be evaluated on every task yet."""
    _questions: dict[tuple[Variant, str], dict[int, Questions]] = field(default_factory=dict)
    """The files that `questions` has read."""

    @cached_property
    def missing(self) -> list[Cell]:
        """Cells that are not finished."""
        return [cell for cell in self.recipe.cells() if cell not in self.records]

    def lacking(self, task: str) -> list[Cell]:
        """Cells that were not evaluated on a task."""
        wanted = [cell for cell in self.recipe.cells() if task in self.recipe.tasks_of(cell)]
        return [cell for cell in wanted if (cell, task) not in self.results]

    def evaluated(self, variant: Variant, task: str) -> dict[int, Result]:
        """The results of a variant on a task, by seed."""
        return {
            cell.seed: self.results[cell, task]
            for cell in self.recipe.cells()
            if cell.variant == variant and (cell, task) in self.results
        }

    def values(self, variant: Variant, task: str, column: Score) -> list[float]:
        """One score of a variant, a value for each seed."""
        results = sorted(self.evaluated(variant, task).items())
        values = (column.value(result.record) for _, result in results)
        return [value for value in values if value is not None]

    def questions(self, variant: Variant, task: str) -> dict[int, Questions]:
        """The means of every question of a variant on a task, by seed; each file is read once."""
        if (variant, task) not in self._questions:
            results = self.evaluated(variant, task).items()
            self._questions[variant, task] = {seed: read_questions(r) for seed, r in results}
        return self._questions[variant, task]

    def training(self, variant: Variant) -> list[CellRecord]:
        """The records of a variant, in order of seeds."""
        return [record for cell, record in self.records.items() if cell.variant == variant]

    def any_result(self, task: str) -> Result | None:
        """A result on a task, for what all of them have in common."""
        return next((r for (_, name), r in self.results.items() if name == task), None)

    def columns(self, task: str) -> list[Score]:
        """The figures that differences are tested on: map, or the first measure, of each kind; rank distance."""
        result = self.any_result(task)
        if result is None:
            return []
        columns = compared_by(result.record.main_measure)
        return [column for column in columns if column.value(result.record) is not None]


def read_experiment(recipe: Recipe, folder: Path) -> Experiment:
    """The finished cells of a recipe in a folder; refused if they do not measure the same thing."""
    records = {c: r for c in recipe.cells() if (r := cell_record(folder, c)) is not None}
    results = {
        (cell, task): Result.load(cell_folder(folder, cell) / task)
        for cell in records
        for task in recipe.tasks
        if (cell_folder(folder, cell) / task / RESULT_FILE).is_file()
    }
    remedy = f"remove the older results from {folder / RESULTS} and run the experiment again"
    for task, encoding in product(recipe.tasks, {c.variant.encoding for c in records}):
        # Only results of one encoding must agree: encodings differ in dtype, and that is what is compared.
        of_encoding = [
            r for (c, t), r in results.items() if (t, c.variant.encoding) == (task, encoding)
        ]
        if of_encoding:
            require_comparable(of_encoding, False, remedy)
    return Experiment(recipe, records, results)

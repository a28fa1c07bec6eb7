"""The cells of an experiment on disk: trainings, their results, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from xlir_bench.errors import InputError
from xlir_bench.files import write
from xlir_bench.recipe import Cell, Recipe, Variant
from xlir_bench.records import Kind
from xlir_bench.rendering.numbers import Written, number
from xlir_bench.reports.experiment.questions import Questions, read_questions
from xlir_bench.reports.pairing import require_comparable
from xlir_bench.reports.scores import DISTANCE, Score
from xlir_bench.results import Result
from xlir_bench.results.store import RESULT_FILE
from xlir_bench.results.training import TrainingRecord
from xlir_bench.untrusted import read_json

RESULTS, CELL_FILE = "results", "cell.json"
TRAINING = (
    "base", "data", "batches", "outcome", "before", "after", "evaluations", "environment", "created",
)  # fmt: skip
"""What a cell keeps of the record of its training: no paths, and no text of any row."""


class CellRecord(BaseModel):
    """cell.json: the mark of a finished cell."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_: Literal[1] = Field(default=1, alias="schema")
    cell: dict[str, Any]
    """Its place in the grid."""
    digest: str
    """Of everything in the recipe that the weights depend on."""
    training: dict[str, Any]
    leaking: int
    """Training rows that were left out because they hold text of the tasks."""
    train_seconds: float | None
    """None where the training was interrupted and resumed."""
    evaluate_seconds: float

    @property
    def seconds(self) -> float:
        """What the cell took."""
        return (self.train_seconds or 0.0) + self.evaluate_seconds

    @cached_property
    def trained(self) -> TrainingRecord:
        """What `training` says, by field."""
        return TrainingRecord.model_validate(self.training)

    @model_validator(mode="after")
    def _as_training_writes_it(self) -> Self:
        _ = self.trained
        return self


def cell_folder(folder: Path, cell: Cell) -> Path:
    """Where the results of a cell lie, a folder a task."""
    return folder / RESULTS / cell.name


def cell_record(folder: Path, cell: Cell) -> CellRecord | None:
    """The record of a finished cell; None if it is not finished."""
    path = cell_folder(folder, cell) / CELL_FILE
    if not path.is_file():
        return None
    remedy = f"remove {path.parent} and run the experiment again"
    record = read_json(path, CellRecord, "the record of a cell", remedy, lone="replace")
    if record.digest != cell.digest:
        raise InputError(f"{path} is of another recipe; name another folder with --output")
    return record


def write_cell(folder: Path, record: CellRecord, name: str) -> None:
    """Mark a cell as finished."""
    stated = record.model_dump(mode="json", by_alias=True)
    text = json.dumps(stated, ensure_ascii=False, indent=1) + "\n"
    write(folder / RESULTS / name / CELL_FILE, text)


@dataclass(frozen=True)
class Experiment:
    """The finished cells of a recipe and their results."""

    recipe: Recipe
    records: Mapping[Cell, CellRecord]
    """The finished cells."""
    results: Mapping[tuple[Cell, str], Result]
    """By cell and task; a task may have been left out for now."""
    _questions: dict[tuple[Variant, str], dict[int, Questions]] = field(default_factory=dict)
    """What `questions` has read."""

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
        """One figure of a variant, a value a seed."""
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
        measure = result.record.main_measure
        columns = [Score(kind, measure) for kind in Kind if kind in result.summary]
        return columns + [DISTANCE] * (DISTANCE.measure in result.record.bias)


def mean_and_deviation(values: Sequence[float], text: Written = number) -> str:
    """Over seeds; a dash where there are no values."""
    if not values:
        return "-"
    mean = text(float(np.mean(values)))
    return mean if len(values) < 2 else f"{mean} ± {text(float(np.std(values, ddof=1)))}"


def read_experiment(recipe: Recipe, folder: Path) -> Experiment:
    """The finished cells of a recipe in a folder; refused if they do not measure the same thing."""
    records = {c: r for c in recipe.cells() if (r := cell_record(folder, c)) is not None}
    results = {
        (cell, task): Result.load(cell_folder(folder, cell) / task)
        for cell in records
        for task in recipe.tasks
        if (cell_folder(folder, cell) / task / RESULT_FILE).is_file()
    }
    remedy = f"remove what is older from {folder / RESULTS} and run the experiment again"
    for task, encoding in product(recipe.tasks, {c.variant.encoding for c in records}):
        # Vectors that are kept in another dtype are what is compared between encodings.
        alike = [r for (c, t), r in results.items() if (t, c.variant.encoding) == (task, encoding)]
        if alike:
            require_comparable(alike, False, remedy)
    return Experiment(recipe, records, results)

"""The cells of an experiment on disk: what was trained, what was measured, and what is not there yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from xlir_bench.errors import InputError
from xlir_bench.files import replacing
from xlir_bench.recipe import Cell, Recipe, Variant
from xlir_bench.records import Kind
from xlir_bench.reports.comparable import require_comparable
from xlir_bench.reports.experiment.questions import Questions, read_questions
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
    """Of everything that decides about the weights, as the recipe says it."""
    training: dict[str, Any]
    leaking: int
    """Training rows that were left out because they hold text of the tasks."""
    train_seconds: float | None
    """None where the training was stopped on its way and gone on with."""
    evaluate_seconds: float

    @field_validator("training")
    @classmethod
    def _as_training_writes_it(cls, stated: dict[str, Any]) -> dict[str, Any]:
        TrainingRecord.model_validate(stated)
        return stated


def cell_folder(folder: Path, cell: Cell) -> Path:
    """Where the results of a cell lie, a folder a task."""
    return folder / RESULTS / cell.name


def cell_record(folder: Path, cell: Cell) -> CellRecord | None:
    """The record of a cell that was finished, else None."""
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
    with replacing(folder / RESULTS / name / CELL_FILE) as temporary:
        text = json.dumps(
            record.model_dump(mode="json", by_alias=True), ensure_ascii=False, indent=1
        )
        temporary.write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Experiment:
    """Everything that is there of a recipe."""

    recipe: Recipe
    records: Mapping[Cell, CellRecord]
    """The finished cells."""
    results: Mapping[tuple[Cell, str], Result]
    """By cell and task; a task may have been left out for now."""
    folder: Path

    @cached_property
    def missing(self) -> list[Cell]:
        """Cells that are not finished."""
        return [cell for cell in self.recipe.cells() if cell not in self.records]

    def lacking(self, task: str) -> list[Cell]:
        """Cells that were not evaluated on a task."""
        wanted = [cell for cell in self.recipe.cells() if task in self.recipe.tasks_of(cell)]
        return [cell for cell in wanted if (cell, task) not in self.results]

    def of(self, variant: Variant, task: str) -> dict[int, Result]:
        """The results of a variant on a task, by seed."""
        return {
            cell.seed: self.results[cell, task]
            for cell in self.recipe.cells()
            if cell.variant == variant and (cell, task) in self.results
        }

    def questions(self, variant: Variant, task: str) -> dict[int, Questions]:
        """The means of every question of a variant on a task, by seed."""
        return {
            cell.seed: read_questions(
                self.results[cell, task], cell_folder(self.folder, cell) / task
            )
            for cell in self.recipe.cells()
            if cell.variant == variant and (cell, task) in self.results
        }

    def training(self, variant: Variant) -> list[CellRecord]:
        """The records of a variant, in order of seeds."""
        return [record for cell, record in self.records.items() if cell.variant == variant]

    def any_result(self, task: str) -> Result | None:
        """One of the task's, for its names and sizes."""
        return next((r for (_, name), r in self.results.items() if name == task), None)

    def kinds(self, task: str) -> list[Kind]:
        """The kinds of setting that were measured."""
        result = self.any_result(task)
        return [] if result is None else [k for k in Kind if k in result.summary]

    def measure(self, task: str) -> str:
        """What a task is judged by: map, or the first of its measures."""
        result = self.any_result(task)
        measures = result.record.options.measures if result is not None else ["map"]
        return "map" if "map" in measures else measures[0]


def read_experiment(recipe: Recipe, folder: Path) -> Experiment:
    """The finished cells of a recipe in a folder; refused if they do not measure the same thing."""
    records = {c: r for c in recipe.cells() if (r := cell_record(folder, c)) is not None}
    results = {
        (cell, task): Result.load(cell_folder(folder, cell) / task)
        for cell in records
        for task in recipe.tasks
        if (cell_folder(folder, cell) / task / RESULT_FILE).is_file()
    }
    for task in recipe.tasks:
        _require_same([r for (_, name), r in results.items() if name == task], folder)
    return Experiment(recipe, records, results, folder)


def _require_same(results: Sequence[Result], folder: Path) -> None:
    if results:
        remedy = f"remove what is older from {folder / RESULTS} and run the experiment again"
        require_comparable(results, False, remedy)

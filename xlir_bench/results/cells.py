"""The cells of an experiment on disk: how a training is marked as finished, and what is kept of its results.

Beside result.json a cell keeps questions.parquet: the mean of every question by kind of setting. The tables of every
setting would be a hundred times as large, and no page of an experiment needs them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from xlir_bench.errors import InputError
from xlir_bench.files import replacing, text_digest, write
from xlir_bench.recipe import Cell
from xlir_bench.records import Floats, Ints, Kind
from xlir_bench.results.store import Result
from xlir_bench.results.training import TrainingRecord
from xlir_bench.results.values import RANK_DISTANCE, QueryValues
from xlir_bench.untrusted import columns, read_json, read_table, table_notes

RESULTS, CELL_FILE = "results", "cell.json"
TRAINING = (
    "base", "data", "batches", "outcome", "before", "after", "evaluations", "environment", "created",
)  # fmt: skip
"""What a cell keeps of the record of its training: no paths, and no text of any row."""
QUESTIONS_FILE = "questions.parquet"
SCHEMA = "1"
COLUMNS = columns("kind measure", whole="question cluster", number="weight mean expected")
NUMBERS = {
    "question": np.int32,
    "cluster": np.int32,
    "weight": np.float64,
    "mean": np.float32,
    "expected": np.float32,
}
"""The columns of numbers and the types in which they are written; each is a field of `Means`."""


class CellRecord(BaseModel):
    """cell.json: the mark of a finished cell."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_: Literal[1] = Field(default=1, alias="schema")
    cell: dict[str, Any]
    """The cell's place in the grid."""
    digest: str
    """The digest of everything in the recipe that the weights depend on."""
    training: dict[str, Any]
    leaking: int
    """Training rows that were left out because they hold text of the tasks."""
    train_seconds: float | None
    """None where the training was interrupted and resumed."""
    evaluate_seconds: float

    @property
    def seconds(self) -> float:
        """How long training and evaluation took; a training of unknown length counts 0."""
        return (self.train_seconds or 0.0) + self.evaluate_seconds

    @cached_property
    def trained(self) -> TrainingRecord:
        """The record in `training`, checked."""
        return TrainingRecord.model_validate(self.training)

    @model_validator(mode="after")
    def _as_training_writes_it(self) -> Self:
        _ = self.trained
        return self


def cell_folder(folder: Path, cell: Cell) -> Path:
    """The folder of the results of a cell, with a folder for each task."""
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


@dataclass(frozen=True, slots=True)
class Means:
    """One measure in one kind of setting: a value for each question, with its translations."""

    question: Ints
    """The number of the question among all questions of the task, sorted by id."""
    cluster: Ints
    """The number of the question's article among all articles, sorted by name."""
    weight: Floats
    """The question's part of the macro average, which is the sum of weight times mean."""
    mean: Floats
    """The question's mean over the settings it was asked in, each weighted as in the macro average."""
    expected: Floats
    """The question's mean if it had scored the average of each of its settings."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The means of all kinds and measures of a result."""

    asked: str
    """A digest of the ids and articles of all questions: if it is equal, two results asked the same questions."""
    means: Mapping[tuple[Kind, str], Means]

    @classmethod
    def of(cls, result: Result) -> Questions:
        """From the tables beside a result."""
        distance = [RANK_DISTANCE] if RANK_DISTANCE in result.record.bias else []
        values = [result.values(m) for m in (*result.record.options.measures, *distance)]
        pairs = sorted(
            {
                (v.query_ids[query], v.clusters[cluster])
                for v in values
                for query, cluster in np.unique([v.query, v.cluster], axis=1).T.tolist()
            }
        )
        number = {pair: n for n, pair in enumerate(pairs)}
        clusters = sorted({cluster for _, cluster in pairs})
        cluster_number = {cluster: n for n, cluster in enumerate(clusters)}
        means = {}
        for each in values:
            for kind in Kind:
                of_kind = _means(each, kind, number, cluster_number)
                if of_kind is not None:
                    means[kind, each.measure] = of_kind
        return cls(text_digest(json.dumps(pairs, ensure_ascii=False)), means)

    def save(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        means = self.means.values()
        sizes = [len(m.question) for m in means]
        kinds, measures = [kind.value for kind, _ in self.means], [m for _, m in self.means]
        names = {"kind": np.repeat(kinds, sizes), "measure": np.repeat(measures, sizes)}
        numbers = {
            name: np.concatenate([getattr(m, name) for m in means]).astype(dtype)
            for name, dtype in NUMBERS.items()
        }
        table = pa.table({k: pa.array(v).dictionary_encode() for k, v in names.items()} | numbers)
        table = table.replace_schema_metadata({"schema": SCHEMA, "asked": self.asked})
        with replacing(folder / QUESTIONS_FILE) as temporary:
            pq.write_table(
                table, temporary, compression="zstd", compression_level=19,
                use_dictionary=["kind", "measure", "cluster", "weight", "expected"],
                column_encoding={"question": "DELTA_BINARY_PACKED", "mean": "BYTE_STREAM_SPLIT"},
            )  # fmt: skip

    @classmethod
    def load(cls, folder: Path) -> Questions:
        """Read the file back."""
        path = folder / QUESTIONS_FILE
        remedy = f"remove {folder} and run the experiment again"
        table = read_table(path, COLUMNS, remedy)
        notes = table_notes(path, remedy)
        if notes.get("schema") != SCHEMA:
            raise InputError(f"{path} cannot be read: it has another schema; {remedy}")
        kinds, measures = (np.array(table[n].to_pylist(), object) for n in ("kind", "measure"))
        numbers = {name: table[name].to_numpy() for name in NUMBERS}
        positions = np.concatenate([numbers["question"], numbers["cluster"]])
        # Each numbered question has a row, so no number is above the number of rows.
        numbered = not len(positions) or 0 <= positions.min() <= positions.max() < len(table)
        if not numbered or set(kinds.tolist()) - {kind.value for kind in Kind}:
            raise InputError(
                f"{path} cannot be read: it numbers questions that it does not hold, or names unknown kinds; {remedy}"
            )
        means = {}
        for kind, measure in sorted(set(zip(kinds.tolist(), measures.tolist(), strict=True))):
            rows = (kinds == kind) & (measures == measure)
            means[Kind(kind), measure] = Means(*(numbers[name][rows] for name in NUMBERS))
        return cls(notes.get("asked", ""), means)


def has_questions(result: Result) -> bool:
    """Whether a stored result has the means of its questions, or tables to compute them from."""
    folder = result.folder
    return result.has_values or (folder is not None and (folder / QUESTIONS_FILE).is_file())


def read_questions(result: Result) -> Questions:
    """The means of a stored result's questions, as stored, else computed from the tables of every setting."""
    if result.folder is not None and (result.folder / QUESTIONS_FILE).is_file():
        return Questions.load(result.folder)
    if not result.has_values:
        raise InputError(
            f"{result.where} has no {QUESTIONS_FILE} beside its result.json; the same command without --check makes it"
        )
    return Questions.of(result)


def _means(
    values: QueryValues,
    kind: Kind,
    number: Mapping[tuple[str, str], int],
    cluster_number: Mapping[str, int],
) -> Means | None:
    """The means of one measure in the settings of a kind; None where it has no values in them."""
    chosen = np.isin(values.setting, values.of_kinds([kind]))
    if not chosen.any():
        return None
    setting, value = values.setting[chosen], values.value[chosen]
    sizes = np.bincount(setting, minlength=len(values.settings))
    average = np.bincount(setting, value, len(sizes)) / np.maximum(sizes, 1)
    weight = 1 / (np.count_nonzero(sizes) * sizes[setting])
    width = len(values.clusters)
    keys, place = np.unique(
        values.query[chosen] * width + values.cluster[chosen], return_inverse=True
    )
    names = [(values.query_ids[k // width], values.clusters[k % width]) for k in keys.tolist()]
    question = np.array([number[name] for name in names], np.int64)
    cluster = np.array([cluster_number[name] for _, name in names], np.int64)
    total: Floats = np.bincount(place, weight).astype(float)
    mean, expected = (
        np.bincount(place, weight * each) / total for each in (value, average[setting])
    )
    order = np.argsort(question)
    return Means(question[order], cluster[order], total[order], mean[order], expected[order])

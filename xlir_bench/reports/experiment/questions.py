"""What is kept of a training beside result.json: the mean of every question by kind, in a small file.

The tables of every setting would be a hundred times as large, and no page of an experiment needs them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.files import replacing
from xlir_bench.records import Floats, Ints, Kind
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE, QueryValues
from xlir_bench.untrusted import columns, read_table, table_notes

FILE = "questions.parquet"
SCHEMA = "1"
COLUMNS = columns("kind measure", whole="question cluster", number="weight mean expected")
NUMBERS = ("question", "cluster", "weight", "mean", "expected")


@dataclass(frozen=True, slots=True)
class Means:
    """One measure in one kind of setting: a value a question, translations together."""

    question: Ints
    """Its number among all questions of the task, sorted by id."""
    cluster: Ints
    """The number of its article among all, sorted by name."""
    weight: Floats
    """Its part of the macro average: the sum of weight times mean."""
    mean: Floats
    """Over the settings that it was asked in, each weighted as in the macro average."""
    expected: Floats
    """What its mean would be if it scored what its settings do on average."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The means of all kinds and measures of a result."""

    asked: str
    """A digest of the ids and articles of all questions: two results with the same asked the same."""
    means: Mapping[tuple[Kind, str], Means]

    @classmethod
    def of(cls, result: Result) -> Questions:
        """From the tables beside a result."""
        found: dict[tuple[Kind, str], _Named] = {}
        measures = list(result.record.options.measures)
        for measure in measures + [RANK_DISTANCE] * (RANK_DISTANCE in result.record.bias):
            values = result.values(measure)
            for kind in Kind:
                named = _of_kind(values, kind)
                if named is not None:
                    found[kind, measure] = named
        pairs = sorted({pair for named in found.values() for pair in named.pairs})
        clusters = sorted({cluster for _, cluster in pairs})
        number = {pair: n for n, pair in enumerate(pairs)}
        of_cluster = {name: n for n, name in enumerate(clusters)}
        text = json.dumps(pairs, ensure_ascii=False)
        return cls(
            hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
            {key: named.numbered(number, of_cluster) for key, named in found.items()},
        )

    def save(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sizes = [len(m.question) for m in self.means.values()]
        names = {
            "kind": np.repeat([kind.value for kind, _ in self.means], sizes),
            "measure": np.repeat([measure for _, measure in self.means], sizes),
        }
        types = (np.int32, np.int32, np.float64, np.float32, np.float32)
        numbers = {
            name: np.concatenate([getattr(m, name) for m in self.means.values()]).astype(kind)
            for name, kind in zip(NUMBERS, types, strict=True)
        }
        table = pa.table({k: pa.array(v).dictionary_encode() for k, v in names.items()} | numbers)
        table = table.replace_schema_metadata({"schema": SCHEMA, "asked": self.asked})
        with replacing(folder / FILE) as temporary:
            pq.write_table(
                table, temporary, compression="zstd", compression_level=19,
                use_dictionary=["kind", "measure", "cluster", "weight", "expected"],
                column_encoding={"question": "DELTA_BINARY_PACKED", "mean": "BYTE_STREAM_SPLIT"},
            )  # fmt: skip

    @classmethod
    def load(cls, folder: Path) -> Questions:
        """Read the file back."""
        path = folder / FILE
        remedy = f"remove {folder} and run the experiment again"
        table = read_table(path, COLUMNS, remedy)
        stated = table_notes(path, remedy)
        if stated.get("schema") != SCHEMA:
            raise InputError(f"{path} cannot be read: it has another schema; {remedy}")
        kinds, measures = (np.array(table[n].to_pylist(), object) for n in ("kind", "measure"))
        found = {name: table[name].to_numpy() for name in NUMBERS}
        numbers = np.concatenate([found["question"], found["cluster"]])
        strange = set(kinds.tolist()) - {kind.value for kind in Kind}
        # Every question that is numbered has a row.
        if strange or (len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(table)):
            raise InputError(f"{path} cannot be read: its numbers are of no questions; {remedy}")
        means = {
            (Kind(kind), measure): Means(
                *(found[name][(kinds == kind) & (measures == measure)] for name in NUMBERS)
            )
            for kind, measure in sorted(set(zip(kinds.tolist(), measures.tolist(), strict=True)))
        }
        return cls(stated.get("asked", ""), means)


def has_questions(result: Result) -> bool:
    """Whether a stored result has the values of its questions, as they are kept now or were before."""
    folder = result.folder
    return result.has_values or (folder is not None and (folder / FILE).is_file())


def read_questions(result: Result, folder: Path) -> Questions:
    """The means of a result's questions; from the tables of every setting, where those were kept."""
    if (folder / FILE).is_file():
        return Questions.load(folder)
    if not result.has_values:
        raise InputError(
            f"{folder} has no {FILE} beside its result.json; the same command without --check makes it"
        )
    return Questions.of(result)


@dataclass(frozen=True, slots=True)
class _Named:
    """Means by id and article instead of numbers."""

    pairs: list[tuple[str, str]]
    weight: Floats
    mean: Floats
    expected: Floats

    def numbered(
        self, number: Mapping[tuple[str, str], int], of_cluster: Mapping[str, int]
    ) -> Means:
        question = np.array([number[pair] for pair in self.pairs], np.int64)
        order = np.argsort(question)
        cluster = np.array([of_cluster[cluster] for _, cluster in self.pairs], np.int64)
        return Means(
            question[order],
            cluster[order],
            self.weight[order],
            self.mean[order],
            self.expected[order],
        )


def _of_kind(values: QueryValues, kind: Kind) -> _Named | None:
    mine = np.array([s.kind == kind for s in values.settings], bool)[values.setting]
    if not mine.any():
        return None
    setting, value = values.setting[mine], values.value[mine]
    sizes = np.bincount(setting, minlength=len(values.settings))
    average = np.bincount(setting, value, len(sizes)) / np.maximum(sizes, 1)
    weight = 1 / (np.count_nonzero(sizes) * sizes[setting])
    width = len(values.clusters)
    keys, place = np.unique(values.query[mine] * width + values.cluster[mine], return_inverse=True)
    total: Floats = np.bincount(place, weight).astype(float)
    return _Named(
        [(values.query_ids[k // width], values.clusters[k % width]) for k in keys.tolist()],
        total,
        np.bincount(place, weight * value) / total,
        np.bincount(place, weight * average[setting]) / total,
    )

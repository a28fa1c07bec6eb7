"""Plans the batches of a run into an Arrow file before the first step, and makes tokens of its entries.

An entry of the file is a batch in numbers: rows of the store, the languages of their questions and answers, and
second languages of their questions. The file is the trainer's data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset

from xlir_bench.encoders.prompts import Prompts
from xlir_bench.options.training import TrainOptions
from xlir_bench.records import Progress, Role
from xlir_bench.train.batches import Planner
from xlir_bench.train.processes import part, processes, rank
from xlir_bench.train.row_store import ANSWER, NEGATIVE, QUESTION, Flags, RowStore
from xlir_bench.train.teaching import Teacher

PLAN = "plan.arrow"
COLUMNS = ("row", "question", "answer", "second")
PROMPTED: Mapping[str, Role] = {
    "question": "query", "answer": "passage", "negative": "passage", "second": "query",
}  # fmt: skip
"""The columns of a batch that are encoded, and the role whose prompt each gets."""


@dataclass(frozen=True)
class Plan:
    """The batches of a run, in a folder, and the rows that they are made of."""

    folder: Path
    store: RowStore
    languages: Flags
    """Which languages of the store are used."""
    batches: int
    """How many there are."""
    counts: Mapping[str, Any]
    """Batches of each kind, questions in each language, and languages left out, in the form of the run's record."""
    teacher: Teacher | None = None

    def dataset(self) -> Any:
        """The `datasets.Dataset` of the batches."""
        return Dataset.from_file(str(self.folder / PLAN))

    def describe(self, number: int) -> str:
        """A batch in words, for an error message."""
        batch = self.dataset()[number]
        pairs = Counter(zip(batch["question"], batch["answer"], strict=True))
        names = self.store.languages
        shown = ", ".join(f"{names[q]}-{names[a]}" for (q, a), _ in pairs.most_common(4))
        more = f" and {len(pairs) - 4} more pairs" if len(pairs) > 4 else ""
        texts = self.store.fetch(batch["row"], QUESTION, batch["question"])
        texts += self.store.fetch(batch["row"], ANSWER, batch["answer"])
        longest = max(map(len, texts))
        return f"{len(batch['row'])} rows, {shown}{more}, the longest text {longest:,} characters"

    def planned_rows(self) -> Any:
        """The rows of the store that are in any batch, each once, in the order of the store."""
        rows = pc.unique(pc.list_flatten(self.dataset().data.column("row")))
        return np.sort(rows.to_numpy())


def write_plan(
    planner: Planner, steps: int, folder: Path, progress: Progress, second: bool = False
) -> Plan:
    """Plan this many batches into a folder; `second`: with a second language for each question."""
    numbers = (pa.int64() if name == "row" else pa.int32() for name in COLUMNS)
    schema = pa.schema(list(zip(COLUMNS, map(pa.list_, numbers), strict=True)))
    rows = alone = 0
    kinds: Counter[str] = Counter()
    languages: Counter[int] = Counter()
    progress.start("plan batches", steps, "batches")
    with pa.OSFile(str(folder / PLAN), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for number, batch in enumerate(planner.batches(steps)):
            others = np.full(len(batch.rows), -1)
            if second:
                others = planner.second_languages(batch, number)
            rows += len(batch.rows)
            alone += int((others < 0).sum())
            columns = (batch.rows, batch.question, batch.answer, others)
            entry = {name: x.tolist() for name, x in zip(COLUMNS, columns, strict=True)}
            writer.write_batch(pa.RecordBatch.from_pylist([entry], schema=schema))
            kinds[batch.kind] += 1
            languages.update(batch.question.tolist())
            progress.advance(1)
    progress.finish()
    store = planner.store
    counts: dict[str, Any] = {
        "batches": dict(kinds),
        "questions": {store.languages[x]: count for x, count in sorted(languages.items())},
        "left_out": planner.left_out,
    }
    if second:
        counts["infonce_alone"] = alone / rows
    return Plan(folder, store, planner.mask, steps, counts)


@dataclass(frozen=True)
class BatchCollator:
    """Fetches the texts of a batch and tokenizes them, column by column, with the prompt of each column.

    If there are several processes, each tokenizes its part of every column.
    """

    plan: Plan
    options: TrainOptions
    tokenize: Callable[..., Mapping[str, Any]]
    """Makes the inputs of the model's first module from texts and a prompt."""
    prompts: Prompts

    def __call__(self, entries: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
        """The trainer's batch: the tensors of each column, and a label with what the loss needs from the whole batch."""
        [entry] = entries
        texts, label = self.read(entry)
        label["counts"] = {name: len(column) for name, column in texts.items() if column}
        batch: dict[str, Any] = {}
        for name, count in label["counts"].items():
            own_part = texts[name][part(count, rank(), processes())]
            features = self.tokenize(
                own_part or texts[name][:1], prompt=self.prompts.of(PROMPTED[name]) or None
            )
            batch |= {f"{name}_{key}": value for key, value in features.items()}
        return batch | {"label": label}

    def read(
        self, entry: Mapping[str, Sequence[int]]
    ) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """The texts of a batch by column, and its label.

        A hard negative is in the language of its row's answer. It is left out if it equals a question or an answer of the
        batch. ``figures`` of the label are for the log; its other entries are fields of `losses.EncodedBatch`.
        """
        store, fetch = self.plan.store, self.plan.store.fetch
        rows, question_lang, answer_lang, second = (np.array(entry[name]) for name in COLUMNS)
        label: dict[str, Any] = {"figures": {}}
        questions = fetch(rows, QUESTION, question_lang)
        if self.options.batches.whole_answers:
            # All answers of a row, except one that equals its question.
            places, langs = np.nonzero((store.keys[rows, ANSWER] != 0) & self.plan.languages)
            every = zip(places.tolist(), fetch(rows[places], ANSWER, langs), strict=True)
            kept = [(place, text) for place, text in every if text != questions[place]]
            answers = [text for _, text in kept]
            label["answer_row"] = torch.tensor([place for place, _ in kept])
        else:
            answers = fetch(rows, ANSWER, answer_lang)
        has_negative = store.keys[rows, NEGATIVE, answer_lang] != 0
        negatives = fetch(rows[has_negative], NEGATIVE, answer_lang[has_negative])
        in_batch = {*questions, *answers}
        texts = {
            "question": questions,
            "answer": answers,
            "negative": [text for text in negatives if text not in in_batch],
        }
        if self.options.loss == "lakda":
            places = np.flatnonzero(second >= 0)
            texts["second"] = fetch(rows[places], QUESTION, second[places])
            label["second_row"] = torch.from_numpy(places)
            label["figures"]["infonce_alone"] = 1 - len(places) / len(rows)
        if self.plan.teacher is not None:
            keys = self.plan.teacher.keys_of(store, rows)
            taught = torch.from_numpy((keys != 0).astype(np.float32))
            # From [row, question or answer] to [question or answer, row].
            label["teacher"] = torch.from_numpy(self.plan.teacher.of(keys)).transpose(0, 1)
            label["taught"] = taught.transpose(0, 1)
            label["figures"]["infonce_alone"] = 1 - float(taught.mean())
        return texts, label

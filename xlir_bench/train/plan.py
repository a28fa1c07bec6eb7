"""The plan of a run on disk: an Arrow file of (row, question language, answer language), batch after batch.

It enters the trainer as its data set: a transform fetches the texts, and the sampler reads it in order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.records import Progress
from xlir_bench.train.batches import Planner
from xlir_bench.train.store import ANSWER, NEGATIVE, QUESTION, Flags, RowStore

PLAN, STARTS, KINDS = "plan.arrow", "starts.npy", "plan.json"
COLUMNS = ("row", "question", "answer")


@dataclass(frozen=True)
class Plan:
    """The batches of a run, as they lie in a folder."""

    folder: Path

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each batch begins; one more at the end."""
        starts: NDArray[np.int64] = np.load(self.folder / STARTS, allow_pickle=False)
        return starts

    @cached_property
    def stated(self) -> Mapping[str, Any]:
        """Kinds and languages of the batches, counted."""
        stated: dict[str, Any] = json.loads((self.folder / KINDS).read_text())
        return stated

    @property
    def steps(self) -> int:
        """How many batches there are."""
        return len(self.starts) - 1

    def dataset(self, texts: BatchTexts) -> Any:
        """The `datasets.Dataset` of the plan, whose entries come out as texts."""
        from datasets import Dataset

        return Dataset.from_file(str(self.folder / PLAN)).with_transform(texts)

    def describe(self, step: int, store: RowStore) -> str:
        """One batch in words, for whoever has to find out what went wrong with it."""
        from datasets import Dataset

        places = range(int(self.starts[step]), int(self.starts[step + 1]))
        entries = Dataset.from_file(str(self.folder / PLAN))[places]
        pairs = Counter(zip(entries["question"], entries["answer"], strict=True))
        names = store.languages
        shown = ", ".join(f"{names[q]}-{names[a]}" for (q, a), _ in pairs.most_common(4))
        sides = [np.full(len(places), side) for side in (QUESTION, ANSWER)]
        longest = max(
            len(text)
            for side, column in zip(sides, COLUMNS[1:], strict=True)
            for text in store.fetch(entries["row"], side, entries[column])
        )
        more = f" and {len(pairs) - 4} more pairs" if len(pairs) > 4 else ""
        return f"{len(places)} rows, {shown}{more}, the longest text {longest:,} characters"


def write_plan(planner: Planner, steps: int, folder: Path, progress: Progress) -> Plan:
    """Plan a run of so many steps."""
    import pyarrow as pa

    schema = pa.schema([("row", pa.int64()), ("question", pa.int32()), ("answer", pa.int32())])
    starts = [0]
    kinds: Counter[str] = Counter()
    languages: Counter[int] = Counter()
    progress.start("plan batches", steps, "batches")
    with (
        pa.OSFile(str(folder / PLAN), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for batch in planner.batches(steps):
            columns = [batch.rows, batch.question.astype(np.int32), batch.answer.astype(np.int32)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            starts.append(starts[-1] + len(batch.rows))
            kinds[batch.kind] += 1
            languages.update(batch.question.tolist())
            progress.advance(1)
    progress.finish()
    np.save(folder / STARTS, np.array(starts, np.int64), allow_pickle=False)
    names = planner.store.languages
    stated = {
        "batches": dict(kinds),
        "questions": {names[x]: count for x, count in sorted(languages.items())},
        "left_out": planner.left_out,
    }
    (folder / KINDS).write_text(json.dumps(stated))
    return Plan(folder)


@dataclass(frozen=True)
class BatchTexts:
    """Turns entries of the plan into texts: a question, its answer or answers, and a hard negative."""

    store: RowStore
    langs: Flags
    """Which languages of the store count."""
    whole_answers: bool = False

    def __call__(self, entries: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Columns ``question``, ``answer`` (all of a row's answers, if they are asked for), ``negative``."""
        rows, asked, answered = (np.asarray(entries[name]) for name in COLUMNS)
        question = self._side(QUESTION, rows, asked)
        if self.whole_answers:
            answer: list[Any] = self._all_answers(rows, question)
        else:
            answer = self._side(ANSWER, rows, answered)
        columns: dict[str, list[Any]] = {"question": question, "answer": answer}
        if self._has_negatives:
            columns["negative"] = self._negatives(rows, answered)
        return columns

    def _side(self, side: int, rows: Any, langs: Any) -> list[str]:
        return self.store.fetch(rows, np.full(len(rows), side), langs)

    def _all_answers(self, rows: Any, question: list[str]) -> list[list[str]]:
        """Every answer of each row, but for one that repeats its question."""
        place, langs = np.nonzero((self.store.keys[rows, ANSWER] != 0) & self.langs)
        found: list[list[str]] = [[] for _ in rows]
        for i, text in zip(place, self._side(ANSWER, rows[place], langs), strict=True):
            if text != question[i]:
                found[i].append(text)
        return found

    @cached_property
    def _has_negatives(self) -> bool:
        """Whether any row has a hard negative."""
        keys, step = self.store.keys, 8192
        starts = range(0, self.store.rows, step)
        return any(keys[first : first + step, NEGATIVE].any() for first in starts)

    def _negatives(self, rows: Any, langs: Any) -> list[str]:
        """Hard negatives in the languages of the answers, "" where there is none."""
        there = np.flatnonzero(self.store.keys[rows, NEGATIVE, langs])
        found = [""] * len(rows)
        for i, text in zip(there, self._side(NEGATIVE, rows[there], langs[there]), strict=True):
            found[i] = text
        return found


@dataclass(frozen=True, slots=True)
class PlannedBatches:
    """The trainer's `batch_sampler` argument: batches in the order of the plan."""

    starts_file: Path

    def __call__(self, dataset: Any, batch_size: int, drop_last: bool, **_: Any) -> Any:
        """The sampler; whatever the trainer says of shuffling is not needed."""
        from xlir_bench.train.feeding import PlanSampler

        return PlanSampler(dataset, np.load(self.starts_file, allow_pickle=False), batch_size)

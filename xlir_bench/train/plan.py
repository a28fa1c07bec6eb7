"""The plan of a run on disk: an Arrow file of (row, question language, answer language, second question language),
batch after batch.

The trainer reads it as its data set, in order; a transform turns the numbers into texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.records import Progress
from xlir_bench.train.batches import Planner
from xlir_bench.train.folder import write_array
from xlir_bench.train.store import ANSWER, NEGATIVE, PAGE, QUESTION, Flags, Keys, RowStore

if TYPE_CHECKING:
    from xlir_bench.train.teaching import Teacher

PLAN, STARTS = "plan.arrow", "starts.npy"
COLUMNS = ("row", "question", "answer", "second")


@dataclass(frozen=True)
class Plan:
    """The batches of a run, in a folder, and the rows that they are made of."""

    folder: Path
    store: RowStore
    languages: Flags
    """Which languages of the store count."""
    whole_answers: bool
    starts: NDArray[np.int64]
    """Where each batch begins in the plan; one more at the end."""
    counts: Mapping[str, Any]
    """Batches of each kind, questions of each language, and languages left out; as the record has them."""
    second: bool = False
    """Whether questions have a second language, where there is one."""
    teacher: Teacher | None = None
    teacher_lang: str = ""

    @property
    def starts_file(self) -> Path:
        """`starts` as a file: the trainer stores its arguments in each checkpoint, so they have only its path."""
        return self.folder / STARTS

    def dataset(self) -> Any:
        """The `datasets.Dataset` of the plan, whose entries come out as texts."""
        return self._entries().with_transform(self.texts)

    def describe(self, number: int) -> str:
        """A batch in words, for an error message."""
        batch = self._entries()[range(int(self.starts[number]), int(self.starts[number + 1]))]
        pairs = Counter(zip(batch["question"], batch["answer"], strict=True))
        names = self.store.languages
        shown = ", ".join(f"{names[q]}-{names[a]}" for (q, a), _ in pairs.most_common(4))
        more = f" and {len(pairs) - 4} more pairs" if len(pairs) > 4 else ""
        texts = self.store.fetch(batch["row"], QUESTION, batch["question"])
        texts += self.store.fetch(batch["row"], ANSWER, batch["answer"])
        longest = max(map(len, texts))
        rows = len(batch["row"])
        return f"{rows} rows, {shown}{more}, the longest text {longest:,} characters"

    def texts(self, entries: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Columns ``question``, ``answer`` (a list of all where `whole_answers`), and ``negative`` if any row has one.

        A negative is in the language of its answer; "" where there is none. So is ``second``, the question in
        another language. ``teacher`` has the vectors of question and answer in the language of the teacher;
        zeros where there is none, and ``taught`` is 0.
        """
        rows, asked, answered, second = (np.asarray(entries[name]) for name in COLUMNS)
        questions = self.store.fetch(rows, QUESTION, asked)
        columns: dict[str, list[Any]] = {"question": questions}
        if self.whole_answers:
            columns["answer"] = self._all_answers(rows, questions)
        else:
            columns["answer"] = self.store.fetch(rows, ANSWER, answered)
        if self._has_negatives:
            there = self.store.keys[rows, NEGATIVE, answered] != 0
            columns["negative"] = self._where(there, rows, NEGATIVE, answered)
        if self.second:
            columns["second"] = self._where(second >= 0, rows, QUESTION, second)
        if self.teacher is not None:
            taught = self.taught_keys(rows)
            columns["teacher"] = list(self.teacher.of(taught))
            columns["taught"] = (taught != 0).tolist()
        return columns

    def taught_keys(self, rows: Any) -> Keys:
        """``[row, question or answer]``: the keys of the texts in the teacher's language, 0 where there is none."""
        lang = self.store.languages.index(self.teacher_lang)
        keys: Keys = self.store.keys[rows][:, [QUESTION, ANSWER], lang]
        return keys

    def planned_rows(self) -> Any:
        """Which rows of the store the batches have, each once, in their order."""
        return np.unique(self._entries().data.column("row").to_numpy())

    def _where(self, there: Flags, rows: Any, side: int, langs: Any) -> list[str]:
        """The texts of a side where there are any, and "" elsewhere."""
        texts = np.full(len(rows), "", object)
        texts[there] = self.store.fetch(rows[there], side, langs[there])
        return list(texts)

    def _entries(self) -> Any:
        from datasets import Dataset

        return Dataset.from_file(str(self.folder / PLAN))

    def _all_answers(self, rows: Any, questions: list[str]) -> list[list[str]]:
        """Every answer of each row, except one that repeats its question."""
        places, langs = np.nonzero((self.store.keys[rows, ANSWER] != 0) & self.languages)
        answers: list[list[str]] = [[] for _ in rows]
        for place, text in zip(places, self.store.fetch(rows[places], ANSWER, langs), strict=True):
            if text != questions[place]:
                answers[place].append(text)
        return answers

    @cached_property
    def _has_negatives(self) -> bool:
        keys = self.store.keys
        pages = range(0, self.store.rows, PAGE)
        return any(keys[first : first + PAGE, NEGATIVE].any() for first in pages)


def write_plan(
    planner: Planner, steps: int, folder: Path, progress: Progress, second: bool = False
) -> Plan:
    """Plan a run of so many batches, in a folder; `second`: with a second language of each question."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.int64() if name == "row" else pa.int32()) for name in COLUMNS])
    starts, alone = [0], 0
    kinds: Counter[str] = Counter()
    languages: Counter[int] = Counter()
    progress.start("plan batches", steps, "batches")
    with pa.OSFile(str(folder / PLAN), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for number, batch in enumerate(planner.batches(steps)):
            others = np.full(len(batch.rows), -1)
            if second:
                others = planner.second_languages(batch, number)
            alone += int((others < 0).sum())
            langs = [x.astype(np.int32) for x in (batch.question, batch.answer, others)]
            columns = [batch.rows, *langs]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            starts.append(starts[-1] + len(batch.rows))
            kinds[batch.kind] += 1
            languages.update(batch.question.tolist())
            progress.advance(1)
    progress.finish()
    starts_array = np.array(starts, np.int64)
    write_array(folder / STARTS, starts_array)
    store, options = planner.store, planner.options
    counts = {
        "batches": dict(kinds),
        "questions": {store.languages[x]: count for x, count in sorted(languages.items())},
        "left_out": planner.left_out,
    }
    if second:
        counts["infonce_alone"] = alone / starts[-1]
    return Plan(folder, store, planner.mask, options.whole_answers, starts_array, counts, second)

"""The plan of a run on disk: an Arrow file of (row, question language, answer language, second question language),
batch after batch.

The trainer reads it as its data set, in order; the collator turns the numbers into texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.records import Progress
from xlir_bench.train.batches import Planner
from xlir_bench.train.folder import write_array
from xlir_bench.train.row_store import ANSWER, NEGATIVE, QUESTION, Flags, RowStore

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

    @property
    def starts_file(self) -> Path:
        """`starts` as a file: the trainer stores its arguments in each checkpoint, so they have only its path."""
        return self.folder / STARTS

    def dataset(self) -> Any:
        """The `datasets.Dataset` of the plan: its entries are numbers, of which `texts` makes texts."""
        from datasets import Dataset

        return Dataset.from_file(str(self.folder / PLAN))

    def describe(self, number: int) -> str:
        """A batch in words, for an error message."""
        batch = self.dataset()[range(int(self.starts[number]), int(self.starts[number + 1]))]
        pairs = Counter(zip(batch["question"], batch["answer"], strict=True))
        names = self.store.languages
        shown = ", ".join(f"{names[q]}-{names[a]}" for (q, a), _ in pairs.most_common(4))
        more = f" and {len(pairs) - 4} more pairs" if len(pairs) > 4 else ""
        texts = self.store.fetch(batch["row"], QUESTION, batch["question"])
        texts += self.store.fetch(batch["row"], ANSWER, batch["answer"])
        longest = max(map(len, texts))
        rows = len(batch["row"])
        return f"{rows} rows, {shown}{more}, the longest text {longest:,} characters"

    def texts(self, entries: Mapping[str, Any]) -> dict[str, Any]:
        """The texts of some entries: ``question``, ``answer`` and ``negative``, in the language of its answer.

        ``answer`` has all of a row where `whole_answers`, except one that repeats its question; ``answer_row`` says
        whose each is. ``second`` has questions in another language, ``second_row`` says whose. ``teacher`` has
        the vectors of question and answer in the language of the teacher; zeros where there is no such text,
        and ``taught`` is False.
        """
        fetch, keys = self.store.fetch, self.store.keys
        rows, asked, answered, second = (np.asarray(entries[name]) for name in COLUMNS)
        texts: dict[str, Any] = {"question": fetch(rows, QUESTION, asked)}
        if self.whole_answers:
            places, langs = np.nonzero((keys[rows, ANSWER] != 0) & self.languages)
            answers = zip(places, fetch(rows[places], ANSWER, langs), strict=True)
            new = [(n, text) for n, text in answers if text != texts["question"][n]]
            texts |= {"answer_row": [n for n, _ in new], "answer": [text for _, text in new]}
        else:
            texts["answer"] = fetch(rows, ANSWER, answered)
        there = keys[rows, NEGATIVE, answered] != 0
        texts["negative"] = fetch(rows[there], NEGATIVE, answered[there])
        if self.second:
            texts["second_row"] = places = np.flatnonzero(second >= 0)
            texts["second"] = fetch(rows[places], QUESTION, second[places])
        if self.teacher is not None:
            taught = self.teacher.keys_of(self.store, rows)
            texts |= {"teacher": self.teacher.of(taught), "taught": taught != 0}
        return texts

    def planned_rows(self) -> Any:
        """Which rows of the store the batches have, each once, in their order."""
        return np.unique(self.dataset().data.column("row").to_numpy())


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

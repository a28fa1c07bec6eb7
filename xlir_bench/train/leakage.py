"""Finds training rows that hold evaluation texts, exactly or nearly, in one pass.

Memory holds the evaluation texts and tables of their runs of letters, never the training rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlir_bench.errors import XlirError, listed
from xlir_bench.records import ROLES, Progress, Silent, followed
from xlir_bench.sources import ON_DISK, data_state, load_present
from xlir_bench.tasks import Task
from xlir_bench.train.ngrams import NEAR_FROM, RUN, SHARE, KnownTexts, Letters
from xlir_bench.train.row_files import read_rows
from xlir_bench.train.rows import Row, chunked

EXACT_FROM = 6
"""Evaluation texts with fewer letters are not compared: they are everyday words and numbers."""
SHOWN = 10
EXACT, NEAR = "exact", "near"
NO_TEXTS = {"texts": 0, "exact_only": 0, "not_compared": 0}
Owner = tuple[str, str]
"""The task and language of an evaluation text."""
RULE = (
    f"exact: the same {EXACT_FROM} or more letters and digits; case, width, accents, spaces and punctuation do not"
    f" count; near: {SHARE[1][1]:.0%} of an evaluation text ({SHARE[1][0]:.0%} of a text of {NEAR_FROM} letters) is in"
    f" the row in runs of {RUN} letters (3 of Han or Hangul, 4 of kana); a longer text has to hold more of a short one"
)
"""What counts as a leak, for reports and cards."""


@dataclass(frozen=True)
class EvaluationTexts:
    """The queries and passages of tasks, with an index to look training texts up in."""

    texts: Sequence[str]
    """As the tasks have them; of several texts with the same letters, only the first."""
    owners: Sequence[set[Owner]]
    """The tasks and languages of each text."""
    known: KnownTexts
    counts: Mapping[str, Mapping[str, int]]
    """By task: how many different ``texts`` it has, how many are too short to be looked for inside other texts
    (``exact_only``), and how many are too short to be compared at all (``not_compared``)."""
    checked: Mapping[str, Sequence[str]]
    """Tasks whose data is on disk, and their languages on disk."""
    unchecked: Mapping[str, str]
    """Tasks that were not checked, and why."""

    @classmethod
    def load(cls, tasks: Iterable[Task], root: Path | None, progress: Progress) -> EvaluationTexts:
        """The texts of all tasks whose data is on disk; nothing is downloaded."""
        owners: dict[str, set[Owner]] = {}
        checked: dict[str, list[str]] = {}
        unchecked: dict[str, str] = {}
        for task in followed([*tasks], progress, "read what must not leak", "tasks"):
            in_memory = task.format not in ON_DISK
            state = data_state(task, root, passages=in_memory)
            reasons = [f"{listed(state.missing)} not in {state.folder}"] if state.missing else []
            if state.here and not in_memory:
                reasons.append("its passages, which are too many; its queries were")
            if reasons:
                unchecked[task.name] = "; ".join(reasons)
            if not state.here:
                continue
            try:
                collection = load_present(task, root, state.here, Silent(), in_memory)
            except XlirError as error:
                unchecked[task.name] = str(error)
                continue
            checked[task.name] = list(state.here)
            for role in ROLES:
                for lang in collection.languages(role):
                    for text in collection.texts(role, lang):
                        owners.setdefault(text, set()).add((task.name, lang))
        return cls.of(owners, checked, unchecked)

    @classmethod
    def of(
        cls,
        owners: Mapping[str, Iterable[Owner]],
        checked: Mapping[str, Sequence[str]] | None = None,
        unchecked: Mapping[str, str] | None = None,
    ) -> EvaluationTexts:
        """Index the texts that are the keys of `owners`, which has the tasks and languages of each."""
        letters = Letters.of(list(owners))
        weights = letters.text_weights().tolist()
        texts: dict[str, tuple[str, int]] = {}
        owners_of: dict[str, set[Owner]] = {}
        for number, (text, text_owners) in enumerate(owners.items()):
            key = letters[number]
            texts.setdefault(key, (text, weights[number]))
            owners_of.setdefault(key, set()).update(text_owners)
        counts = {task: dict(NO_TEXTS) for task in checked or {}}
        for key, (_, weight) in texts.items():
            for task in {task for task, _ in owners_of[key]}:
                count = counts.setdefault(task, dict(NO_TEXTS))
                count["texts"] += 1
                count["not_compared"] += len(key) < EXACT_FROM
                count["exact_only"] += len(key) >= EXACT_FROM and weight < NEAR_FROM
        kept = {key: text for key, (text, _) in texts.items() if len(key) >= EXACT_FROM}
        return cls(
            texts=list(kept.values()),
            owners=[owners_of[key] for key in kept],
            known=KnownTexts.of(Letters.of(list(kept.values()))),
            counts=counts,
            checked=checked or {},
            unchecked=unchecked or {},
        )

    def matches(self, texts: Sequence[str]) -> list[dict[int, str]]:
        """For each text, the numbers of the evaluation texts that it equals (exact) or holds nearly whole (near)."""
        matches: list[dict[int, str]] = [{} for _ in texts]
        if not self.texts:
            return matches
        letters = Letters.of(texts)
        for place, number in self.known.near(letters):
            matches[place][number] = NEAR
        for place, number in self.known.equal(letters):
            matches[place][number] = EXACT
        return matches


@dataclass(slots=True)
class LeakageReport:
    """What was found in training rows."""

    evaluation: EvaluationTexts
    rows: int = 0
    """Training rows that were checked."""
    leaking: int = 0
    """Those that hold evaluation text."""
    examples: list[dict[str, str]] = field(default_factory=list)
    """The first of them: the ``row``, the ``task``, ``lang`` and ``text`` that it holds, and how (``match``)."""
    _counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def by_task(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """Training rows by task, language of the evaluation text, then exact or near."""
        by_task: dict[str, dict[str, dict[str, int]]] = {}
        for (task, lang, match), count in sorted(self._counts.items()):
            by_task.setdefault(task, {}).setdefault(lang, {EXACT: 0, NEAR: 0})[match] = count
        return by_task

    def add(self, rows: Sequence[Row]) -> list[bool]:
        """Check and count rows; returns for each whether it holds an evaluation text."""
        texts = [text for row in rows for _, _, text in row.texts()]
        matches = iter(self.evaluation.matches(texts))
        leaks = []
        for row in rows:
            hits: dict[Owner, tuple[str, int]] = {}
            for _ in row.texts():
                for number, match in next(matches).items():
                    for owner in self.evaluation.owners[number]:
                        if match == EXACT or owner not in hits:
                            hits[owner] = (match, number)
            for (task, lang), (match, number) in sorted(hits.items()):
                self._counts[task, lang, match] += 1
                if len(self.examples) < SHOWN:
                    text = self.evaluation.texts[number]
                    example = {"row": row.id, "task": task, "lang": lang, "match": match}
                    self.examples.append(example | {"text": text})
            leaks.append(bool(hits))
        self.rows += len(rows)
        self.leaking += sum(leaks)
        return leaks

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "rows": self.rows,
            "leaking": self.leaking,
            "found": self.by_task,
            "checked": self.evaluation.checked,
            "texts": self.evaluation.counts,
            "unchecked": self.evaluation.unchecked,
            "rule": RULE,
            "threshold": SHARE[1][1],
            "ngram": RUN,
            "ignored_below_characters": EXACT_FROM,
            "examples": self.examples,
        }


def short_texts(texts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """How many texts were too short to be looked for, one line per task; `texts` is from a report."""
    return [
        f"{task}: {counts['not_compared']:,} of {counts['texts']:,} texts were too short to be looked for,"
        f" {counts['exact_only']:,} more were looked for only as whole texts"
        for task, counts in texts.items()
        if counts["not_compared"] or counts["exact_only"]
    ]


def rows_by_language(by_task: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """``xquad-r de 3, …``: how many rows hold text of a task and language; `by_task` is from a report."""
    return ", ".join(
        f"{task} {lang} {sum(counts.values())}"
        for task, langs in by_task.items()
        for lang, counts in langs.items()
    )


class LeakageFoundError(XlirError):
    """Training rows hold evaluation data, and `--leakage fail` ends the training for it."""

    exit_code = 1

    def __init__(self, report: LeakageReport) -> None:
        super().__init__(
            f"{report.leaking} of {report.rows} training rows hold evaluation text"
            f" ({rows_by_language(report.by_task)});"
            " --leakage drop leaves them out, `xlir-bench data leakage` lists them"
        )


def find_leaks(
    names: Iterable[str],
    tasks: Iterable[Task],
    root: Path | None,
    progress: Progress,
    offline: bool = False,
) -> LeakageReport:
    """Check all rows of these files, folders and data sets; faulty lines are skipped."""
    report = LeakageReport(EvaluationTexts.load(tasks, root, progress))
    for name in names:
        progress.start(f"check {name}", 0, "rows")
        rows = (row for row in read_rows(name, offline) if isinstance(row, Row))
        for chunk in chunked(rows):
            report.add(chunk)
            progress.advance(len(chunk))
        progress.finish()
    return report

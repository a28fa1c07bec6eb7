"""Evaluation texts among training rows: found exactly and nearly, in one pass.

Memory holds the evaluation texts and tables of their runs of letters, never the training rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xlir_bench.errors import XlirError
from xlir_bench.options.running import RunOptions
from xlir_bench.options.training import TrainingSource
from xlir_bench.places import data_cache
from xlir_bench.records import ROLES, Progress, Silent
from xlir_bench.sources import ON_DISK, data_state, load_collection
from xlir_bench.tasks import Task
from xlir_bench.train.ngrams import NEAR_FROM, RUN, SHARE, KnownTexts, Letters
from xlir_bench.train.reading import read_rows
from xlir_bench.train.rows import SIDES, Row, chunked

EXACT_FROM = 6
"""Letters of an evaluation text that is compared at all: shorter ones are everyday words and numbers."""
SHOWN = 10
EXACT, NEAR = "exact", "near"
RULE = (
    f"exact: the same letters and digits from {EXACT_FROM} on, whatever their case, width, accents, spaces and"
    f" punctuation; near: {SHARE[1][1]:.0%} of an evaluation text ({SHARE[1][0]:.0%} of one of {NEAR_FROM}"
    f" letters) stands in the row in runs of {RUN} letters (3 of Han or Hangul, 4 of kana), more of a short one"
    f" in a longer text"
)
"""What is found, for reports and cards."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One training row that holds an evaluation text."""

    row: str
    task: str
    lang: str
    """Of the evaluation text."""
    match: str
    """``exact`` or ``near``."""
    text: str
    """The evaluation text."""


@dataclass(slots=True)
class TextCounts:
    """How many texts a task has, each once, and how many of them are too short."""

    texts: int = 0
    exact_only: int = 0
    """Too short to be looked for inside other texts."""
    not_compared: int = 0
    """Too short to be looked for at all."""


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """What was found, of which tasks, and which could not be looked at."""

    rows: int
    """Training rows that were looked through."""
    leaking: int
    """Those that hold evaluation text."""
    found: Mapping[str, Mapping[str, Mapping[str, int]]]
    """By task, language of the evaluation text, then exact or near: training rows."""
    checked: Mapping[str, Sequence[str]]
    """Tasks whose data is on disk, and their languages that are."""
    texts: Mapping[str, TextCounts]
    """How many texts each of them has, and how many are short."""
    unchecked: Mapping[str, str]
    """Tasks that were not checked, and why."""
    examples: Sequence[Leak]

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "rows": self.rows,
            "leaking": self.leaking,
            "found": {t: {x: dict(n) for x, n in langs.items()} for t, langs in self.found.items()},
            "checked": {task: list(langs) for task, langs in self.checked.items()},
            "texts": {task: asdict(counts) for task, counts in self.texts.items()},
            "unchecked": dict(self.unchecked),
            "rule": RULE,
            "threshold": SHARE[1][1],
            "ngram": RUN,
            "ignored_below_characters": EXACT_FROM,
            "examples": [asdict(leak) for leak in self.examples],
        }


def short_texts(texts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What was too short to be looked for, a line a task; from the report as plain data."""
    return [
        f"{task}: {counts['not_compared']:,} of {counts['texts']:,} texts were too short to be looked for,"
        f" {counts['exact_only']:,} more were looked for as whole texts alone"
        for task, counts in texts.items()
        if counts["not_compared"] or counts["exact_only"]
    ]


class LeakageFoundError(XlirError):
    """Training rows hold evaluation data, and were not to."""

    exit_code = 1

    def __init__(self, report: LeakageReport) -> None:
        counts = ", ".join(
            f"{task} {lang} {sum(found.values())}"
            for task, langs in report.found.items()
            for lang, found in langs.items()
        )
        super().__init__(
            f"{report.leaking} of {report.rows} training rows hold evaluation text ({counts});"
            " --leakage drop leaves them out, `xlir-bench data leakage` lists them"
        )


@dataclass(frozen=True)
class EvaluationTexts:
    """The queries and passages of tasks, so indexed that a training text is looked up at once."""

    texts: Sequence[str]
    """As they stand, one of those that have the same letters."""
    owners: Sequence[frozenset[tuple[str, str]]]
    """The tasks and languages of each."""
    known: KnownTexts
    counts: Mapping[str, TextCounts]
    """By task."""
    checked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unchecked: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, tasks: Iterable[Task], root: Path | None, progress: Progress) -> EvaluationTexts:
        """Of all tasks whose data lies on disk; nothing is downloaded."""
        owners: dict[str, set[tuple[str, str]]] = {}
        checked: dict[str, list[str]] = {}
        unchecked: dict[str, str] = {}
        for task in tasks:
            in_memory = task.format not in ON_DISK
            state = data_state(task, root, data_cache(), passages=in_memory)
            reasons = [f"{', '.join(state.missing)} not in {state.folder}"] if state.missing else []
            if state.here and not in_memory:
                reasons.append("its passages, which are too many; its queries were")
            if reasons:
                unchecked[task.name] = "; ".join(reasons)
            if not state.here:
                continue
            options = RunOptions(data=root, langs=state.here, offline=True, allow_changed_data=True)
            try:
                collection = load_collection(task, options, progress, in_memory)
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
        owners: Mapping[str, Iterable[tuple[str, str]]],
        checked: Mapping[str, Sequence[str]] | None = None,
        unchecked: Mapping[str, str] | None = None,
    ) -> EvaluationTexts:
        """Of texts with the tasks and languages that have them."""
        texts: dict[str, str] = {}
        whose: dict[str, set[tuple[str, str]]] = {}
        counts = {task: TextCounts() for task in checked or {}}
        letters = Letters.of(list(owners))
        weights = letters.weight_of_texts().tolist()
        for place, (text, its) in enumerate(owners.items()):
            key = letters[place]
            texts.setdefault(key, text)
            before = {task for task, _ in whose.setdefault(key, set())}
            whose[key].update(its)
            for task in {task for task, _ in its} - before:
                count = counts.setdefault(task, TextCounts())
                count.texts += 1
                count.not_compared += len(key) < EXACT_FROM
                count.exact_only += len(key) >= EXACT_FROM and weights[place] < NEAR_FROM
        kept = [key for key in texts if len(key) >= EXACT_FROM]
        return cls(
            texts=[texts[key] for key in kept],
            owners=[frozenset(whose[key]) for key in kept],
            known=KnownTexts.of(Letters.of([texts[key] for key in kept])),
            counts=counts,
            checked=checked or {},
            unchecked=unchecked or {},
        )

    def matches(self, texts: Sequence[str]) -> list[dict[int, str]]:
        """For each text the evaluation texts that it is (exact) or holds nearly whole (near)."""
        found: list[dict[int, str]] = [{} for _ in texts]
        if not self.texts:
            return found
        letters = Letters.of(texts)
        for place, known in self.known.near(letters):
            found[place][known] = NEAR
        for place, known in self.known.equal(letters):
            found[place][known] = EXACT
        return found


@dataclass(slots=True)
class LeakFinder:
    """Looks training rows through, one after another, and keeps count."""

    texts: EvaluationTexts
    rows: int = 0
    leaking: int = 0
    found: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: list[Leak] = field(default_factory=list)

    def leaks(self, rows: Sequence[Row]) -> list[bool]:
        """Which rows hold an evaluation text; counted by task and language."""
        texts = [text for row in rows for side in SIDES for text in row.side(side).values()]
        matches = iter(self.texts.matches(texts))
        return [
            self._count(row, [next(matches) for side in SIDES for _ in row.side(side)])
            for row in rows
        ]

    def _count(self, row: Row, matches: Sequence[Mapping[int, str]]) -> bool:
        hits: dict[tuple[str, str], tuple[str, int]] = {}
        for its in matches:
            for place, match in its.items():
                for owner in self.texts.owners[place]:
                    if match == EXACT or owner not in hits:
                        hits[owner] = (match, place)
        for (task, lang), (match, place) in sorted(hits.items()):
            self.found[task, lang, match] += 1
            if len(self.examples) < SHOWN:
                self.examples.append(Leak(row.id, task, lang, match, self.texts.texts[place]))
        self.rows += 1
        self.leaking += bool(hits)
        return bool(hits)

    def report(self) -> LeakageReport:
        """What was found so far."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for (task, lang, match), count in sorted(self.found.items()):
            found.setdefault(task, {}).setdefault(lang, {EXACT: 0, NEAR: 0})[match] = count
        return LeakageReport(
            rows=self.rows,
            leaking=self.leaking,
            found=found,
            checked=self.texts.checked,
            texts=self.texts.counts,
            unchecked=self.texts.unchecked,
            examples=tuple(self.examples),
        )


def find_leaks(
    sources: Iterable[TrainingSource],
    tasks: Iterable[Task],
    root: Path | None,
    progress: Progress | None = None,
    offline: bool = False,
) -> LeakageReport:
    """Look all rows of all sources through; lines that are no rows are passed over."""
    progress = progress or Silent()
    finder = LeakFinder(EvaluationTexts.load(tasks, root, progress))
    for source in sources:
        progress.start(f"check {source.name}", 0, "rows")
        rows = (row for _, row in read_rows(source, offline) if isinstance(row, Row))
        for chunk in chunked(rows):
            finder.leaks(chunk)
            progress.advance(len(chunk))
        progress.finish()
    return finder.report()

"""Evaluation texts among training rows: found exactly and nearly, in one pass.

Memory holds the evaluation texts and tables of their n-grams, never the training rows.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlir_bench.errors import XlirError
from xlir_bench.places import data_cache
from xlir_bench.records import ROLES, Progress, Silent
from xlir_bench.sources import ON_DISK, DataRequest, data_state, load_collection
from xlir_bench.tasks import Task
from xlir_bench.train.ngrams import GRAM, THRESHOLD, GramIndex
from xlir_bench.train.reading import TrainingSource, read_rows
from xlir_bench.train.rows import SIDES, Row, chunked

MIN_CHARACTERS = 20
SHOWN = 10
EXACT, NEAR = "exact", "near"


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
    unchecked: Mapping[str, str]
    """Tasks that were not checked, and why."""
    examples: Sequence[Leak]
    threshold: float = THRESHOLD

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "rows": self.rows,
            "leaking": self.leaking,
            "found": {t: {x: dict(n) for x, n in langs.items()} for t, langs in self.found.items()},
            "checked": {task: list(langs) for task, langs in self.checked.items()},
            "unchecked": dict(self.unchecked),
            "threshold": self.threshold,
            "ngram": GRAM,
            "ignored_below_characters": MIN_CHARACTERS,
            "examples": [
                {"row": x.row, "task": x.task, "lang": x.lang, "match": x.match, "text": x.text}
                for x in self.examples
            ],
        }


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


def normalised(text: str) -> str:
    """NFKC, case folded, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True)
class EvaluationTexts:
    """The queries and passages of tasks, so indexed that a training text is looked up at once."""

    texts: Sequence[str]
    """Normalised, each once."""
    owners: Sequence[frozenset[tuple[str, str]]]
    """The tasks and languages of each."""
    exact: Mapping[str, int]
    grams: GramIndex
    checked: Mapping[str, Sequence[str]]
    unchecked: Mapping[str, str]

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
            request = DataRequest(
                root, data_cache(), state.here, passages=in_memory, offline=True, allow_changed=True
            )
            try:
                collection = load_collection(task, request, progress)
            except XlirError as error:
                unchecked[task.name] = str(error)
                continue
            checked[task.name] = list(state.here)
            for role in ROLES:
                for lang in collection.languages(role):
                    for text in collection.texts(role, lang):
                        owners.setdefault(normalised(text), set()).add((task.name, lang))
        wanted = {t: frozenset(o) for t, o in owners.items() if len(t) >= MIN_CHARACTERS}
        texts = list(wanted)
        return cls(
            texts=texts,
            owners=[wanted[text] for text in texts],
            exact={text: place for place, text in enumerate(texts)},
            grams=GramIndex.of(texts),
            checked=checked,
            unchecked=unchecked,
        )

    def matches(self, texts: Sequence[str]) -> list[dict[int, str]]:
        """For each text the evaluation texts that it is (exact) or holds nearly whole (near)."""
        texts = [normalised(text) for text in texts]
        found: list[dict[int, str]] = [{} for _ in texts]
        if not self.texts:
            return found
        for place, known in self.grams.near(texts):
            found[place][known] = NEAR
        for matches, text in zip(found, texts, strict=True):
            if text in self.exact:
                matches[self.exact[text]] = EXACT
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

"""Rows and the translations that they lack, window after window; a stopped run goes on where it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from xlir_bench.augment.journal import Journal
from xlir_bench.augment.output import line_of
from xlir_bench.augment.switching import SIDES_OF
from xlir_bench.augment.translator import Translation, Translator
from xlir_bench.encoders.digest import files_digest, package_versions
from xlir_bench.options.augmenting import Side
from xlir_bench.options.training import TrainingSource
from xlir_bench.reading import validated
from xlir_bench.records import Progress, Silent
from xlir_bench.train.reading import sound_rows, source_digest
from xlir_bench.train.rows import SIDES, Row, dataset_of, join_origins

WINDOW = 512
"""Rows whose texts are batched together, and held."""


@dataclass(frozen=True, slots=True)
class Job:
    """One text to be translated."""

    row: int
    """Its place in the window."""
    side: str
    source: str
    target: str
    text: str


@dataclass(slots=True)
class Report:
    """What was translated."""

    rows: int = 0
    gained: int = 0
    """Rows that got a translation."""
    texts: Counter[str] = field(default_factory=Counter)
    """Translations by language."""
    shortened: int = 0
    """Texts that were longer than the model was to read."""
    unfinished: int = 0
    """Translations that were longer than they were to be."""
    blank: int = 0
    """Translations without any text; they were left out."""

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Report:
        """The report that `as_json` wrote."""
        return validated(cls, dict(stated), "the journal", "that of a translation")

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return asdict(self) | {"texts": dict(sorted(self.texts.items()))}


@dataclass(frozen=True)
class Translating:
    """One run over rows."""

    translator: Translator
    sources: Sequence[TrainingSource]
    side: Side
    offline: bool = False

    def run(self, output: Path, progress: Progress) -> Report:
        """Write every row with the translations that it lacked; those that it has stay."""
        journal = Journal(output, self._stated())
        with journal.held():
            total = self._count(progress)
            report = Report.of(journal.report) if journal.report else Report()
            progress.start("translate", total, "texts")
            windows = enumerate(_windows(self._rows(Silent())))
            for number, rows in windows:
                if number < journal.window:
                    progress.advance(len(self._jobs(rows)))
                    continue
                lines = [line_of(row) for row in self._translated(rows, journal, report, progress)]
                journal.close_window(lines, report.as_json())
            progress.finish()
            journal.finish()
        return report

    def _count(self, progress: Progress) -> int:
        """How many texts there are to translate; faulty rows are refused here, before the work."""
        progress.start("look rows through", 0, "rows")
        total = sum(len(self._jobs([row])) for row in self._rows(progress))
        progress.finish()
        return total

    def _rows(self, progress: Progress) -> Iterator[Row]:
        for source in self.sources:
            for row in sound_rows(source, progress, self.offline):
                sides = {side: row.side(side) for side in SIDES}
                dataset = dataset_of(row, source.name)
                yield Row(row.id, dataset, **sides, origin=row.origin)

    def _jobs(self, rows: Sequence[Row]) -> list[Job]:
        """The translations that rows lack."""
        jobs = []
        for place, row in enumerate(rows):
            for side in SIDES_OF[self.side]:
                texts = row.side(side)
                source = self._source(texts)
                if source is None:
                    continue
                jobs += [
                    Job(place, side, source, target, texts[source])
                    for target in self.translator.options.to
                    if target not in texts
                ]
        return jobs

    def _source(self, texts: Mapping[str, str]) -> str | None:
        """The language to translate from: what is asked for, else English, else any that can be read."""
        wanted = self.translator.options.sources or ("en", *sorted(texts))
        return next((x for x in wanted if x in texts and self.translator.reads(x)), None)

    def _translated(
        self, rows: Sequence[Row], journal: Journal, report: Report, progress: Progress
    ) -> Iterator[Row]:
        jobs = self._jobs(rows)
        done: dict[tuple[str, str, str], Translation] = {}
        often = Counter((job.source, job.target, job.text) for job in jobs)
        for number, batch in enumerate(self._batches(jobs)):
            if number not in journal.batches:
                found = self._translate(batch)
                journal.note(number, [[t.text, t.shortened, t.unfinished] for t in found])
            found = [Translation(*stated) for stated in journal.batches[number]]
            keys = [(b.source, b.target, b.text) for b in batch]
            done |= dict(zip(keys, found, strict=True))
            progress.advance(sum(often[key] for key in keys))
        mine = {place: list(its) for place, its in groupby(jobs, key=lambda job: job.row)}
        for place, row in enumerate(rows):
            yield self._with(row, mine.get(place, []), done, report)

    def _translate(self, batch: Sequence[_Text]) -> list[Translation]:
        first = batch[0]
        return self.translator.translate([b.tokens for b in batch], first.source, first.target)

    def _batches(self, jobs: Sequence[Job]) -> Iterator[list[_Text]]:
        """Each text once, those of one pair of languages together, the longest first."""
        distinct = list(dict.fromkeys(job.text for job in jobs))
        tokens = dict(zip(distinct, self.translator.tokens(distinct), strict=True))
        texts = {_Text(j.source, j.target, j.text, tuple(tokens[j.text])) for j in jobs}
        room = self.translator.options.batch_tokens
        batch: list[_Text] = []
        for text in sorted(texts, key=lambda t: (t.source, t.target, -len(t.tokens), t.text)):
            other = batch and (batch[0].source, batch[0].target) != (text.source, text.target)
            if batch and (other or (len(batch) + 1) * self._width(batch[0]) > room):
                yield batch
                batch = []
            batch.append(text)
        if batch:
            yield batch

    def _width(self, text: _Text) -> int:
        return min(len(text.tokens) + 2, self.translator.options.max_length)

    def _with(
        self,
        row: Row,
        jobs: Sequence[Job],
        done: Mapping[tuple[str, str, str], Translation],
        report: Report,
    ) -> Row:
        sides = {side: dict(row.side(side)) for side in SIDES}
        gained = False
        for job in jobs:
            found = done[job.source, job.target, job.text]
            report.shortened += found.shortened
            report.unfinished += found.unfinished
            if not found.text:
                report.blank += 1
                continue
            sides[job.side][job.target] = found.text
            report.texts[job.target] += 1
            gained = True
        report.rows += 1
        report.gained += gained
        origin = f"translated by {self.translator.name}"
        return Row(
            row.id,
            row.dataset,
            **sides,
            origin=join_origins([row.origin, origin]) if gained else row.origin,
        )

    def _stated(self) -> dict[str, Any]:
        """What decides about the output."""
        options = self.translator.options
        files = sorted(p.name for p in options.model.iterdir() if p.is_file())
        told = asdict(options) | {"model": files_digest(options.model, files)}
        return told | {
            "rows": [[source.name, source_digest(source)] for source in self.sources],
            "side": self.side,
            "device": self.translator.device.partition(":")[0],
            "versions": package_versions(),
        }


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of a batch, in tokens."""

    source: str
    target: str
    text: str
    tokens: tuple[int, ...]


def _windows(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while window := list(islice(rows, WINDOW)):
        yield window

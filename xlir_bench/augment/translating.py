"""Adds the translations that rows lack; a run that was stopped continues where it was.

Every translated batch is noted in a journal beside the output. The same command plans the same batches: those that
the journal has are taken from it, the others are translated.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from pydantic import BaseModel

from xlir_bench.augment.switching import SIDES_OF
from xlir_bench.augment.translator import Translation, Translator
from xlir_bench.encoders.digest import files_digest, package_versions
from xlir_bench.errors import InputError
from xlir_bench.files import ELSEWHERE, explained, held
from xlir_bench.options.augmenting import Side
from xlir_bench.records import Progress, Silent
from xlir_bench.train.row_files import sound_rows, source_digest, write_rows
from xlir_bench.train.rows import SIDES, Fault, Row, chunked, dataset_of, join_origins, text_key
from xlir_bench.untrusted import sound_lines

T = TypeVar("T")
WINDOW = 512
"""Rows whose texts are batched together."""
SCHEMA = 2
"""The version of the journal's format."""


class SourceText(NamedTuple):
    """A text and the languages it is translated from and into."""

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
    """Texts whose end the model did not read."""
    unfinished: int = 0
    """Translations that were cut."""
    blank: int = 0
    """Translations without any text; they were left out."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return asdict(self) | {"texts": dict(sorted(self.texts.items()))}


@dataclass(frozen=True)
class Translating:
    """One run: a model, and the rows that it adds translations to."""

    translator: Translator
    names: Sequence[str]
    """The files or data sets that the rows come from."""
    side: Side
    offline: bool = False
    skipped: list[Fault] | None = None
    """The faulty rows that are left out; None refuses them."""

    def run(self, output: Path, progress: Progress) -> Report:
        """Write every row with the translations that it lacked; texts that are there stay as they are."""
        report = Report()
        with opened_journal(output, self._stated()) as journal:
            # Faulty rows are refused here, before the work.
            progress.start("check rows", 0, "rows")
            total = sum(len(self._lacking(row)) for row in self._rows(progress, self.skipped))
            progress.finish()
            progress.start("translate", total, "texts")
            write_rows(output, self._translated(journal, report, progress))
            progress.finish()
        return report

    def _stated(self) -> dict[str, Any]:
        """Everything that decides what is in the output."""
        options = self.translator.options
        files = sorted(p.name for p in options.model.iterdir() if p.is_file())
        return asdict(options) | {
            "model": files_digest(options.model, files),
            "rows": [[name, source_digest(name)] for name in self.names],
            "side": self.side,
            "device": self.translator.device.partition(":")[0],
            "versions": package_versions(),
        }

    def _rows(self, progress: Progress, skipped: list[Fault] | None) -> Iterator[Row]:
        for name in self.names:
            for row in sound_rows(name, progress, self.offline, skipped):
                yield replace(row, dataset=dataset_of(row, name))

    def _lacking(self, row: Row) -> list[tuple[str, SourceText]]:
        """For each translation that a row lacks, its side and the text to translate."""
        lacking = []
        for side in SIDES_OF[self.side]:
            texts = row.side(side)
            preferred = self.translator.options.sources or ("en", *sorted(texts))
            source = next((x for x in preferred if x in texts and self.translator.reads(x)), None)
            if source is not None:
                targets = (x for x in self.translator.options.to if x not in texts)
                lacking += [(side, SourceText(source, target, texts[source])) for target in targets]
        return lacking

    def _translated(self, journal: Journal, report: Report, progress: Progress) -> Iterator[Row]:
        rows = self._rows(Silent(), None if self.skipped is None else [])
        for window in chunked(rows, WINDOW):
            lacking = [self._lacking(row) for row in window]
            uses = Counter(text for of_row in lacking for _, text in of_row)
            distinct = list(dict.fromkeys(text.text for text in uses))
            tokens = dict(zip(distinct, self.translator.tokens(distinct), strict=True))
            translations: dict[SourceText, Translation] = {}
            for batch in self._batches(uses, tokens):
                translated = journal.next_batch(batch)
                if translated is None:
                    source, target, _ = batch[0]
                    ids = [tokens[text.text] for text in batch]
                    translated = self.translator.translate(ids, source, target)
                    journal.note(batch, translated)
                translations.update(zip(batch, translated, strict=True))
                progress.advance(sum(uses[text] for text in batch))
            for row, of_row in zip(window, lacking, strict=True):
                yield self._with_translations(row, of_row, translations, report)

    def _batches(
        self, texts: Mapping[SourceText, int], tokens: Mapping[str, Sequence[int]]
    ) -> Iterator[list[SourceText]]:
        """Texts of one pair of languages together, the longest first."""
        options = self.translator.options
        pair = attrgetter("source", "target")
        ordered = sorted(texts, key=lambda t: (*pair(t), -len(tokens[t.text]), t.text))
        for _, group in groupby(ordered, pair):
            left = list(group)
            while left:
                width = min(len(tokens[left[0].text]) + 2, options.max_length)
                count = max(1, options.batch_tokens // width)
                yield left[:count]
                left = left[count:]

    def _with_translations(
        self,
        row: Row,
        lacking: Sequence[tuple[str, SourceText]],
        translations: Mapping[SourceText, Translation],
        report: Report,
    ) -> Row:
        sides: dict[str, Any] = {side: dict(row.side(side)) for side in SIDES}
        gained = False
        for side, text in lacking:
            translation = translations[text]
            report.shortened += translation.shortened
            report.unfinished += translation.unfinished
            if not translation.text:
                report.blank += 1
                continue
            sides[side][text.target] = translation.text
            report.texts[text.target] += 1
            gained = True
        report.rows += 1
        report.gained += gained
        if not gained:
            return row
        origin = join_origins([row.origin, f"translated by {self.translator.name}"])
        return replace(row, origin=origin, **sides)


class _Batch(BaseModel):
    """A line of a journal after the first; lines are in the order of the batches."""

    texts: int
    """A key made from the texts: the translations are used for these texts only."""
    translations: list[Translation]


@dataclass(slots=True)
class Journal:
    """Translated batches on disk."""

    path: Path
    file: BinaryIO
    """Read from the start; what is written is appended."""
    header: dict[str, Any]

    def next_batch(self, texts: Sequence[SourceText]) -> list[Translation] | None:
        """The translations of a batch; None if the journal has no more, or goes on with another batch."""

        def parse(stated: Any) -> list[Translation]:
            batch = _Batch.model_validate(stated)
            if batch.texts != _key(texts) or len(batch.translations) != len(texts):
                raise ValueError
            return batch.translations

        return self.next_line(parse)

    def next_line(self, parse: Callable[[Any], T]) -> T | None:
        """What `parse` makes of the next line; if that fails, the line and all after it are removed."""
        start = self.file.tell()
        for parsed in sound_lines(self.path, parse, [self.file.readline()]):
            return parsed
        self.file.truncate(start)
        self.file.seek(start)
        return None

    def note(self, texts: Sequence[SourceText], translations: Sequence[Translation]) -> None:
        """Append a batch to the file."""
        lines: list[Any] = [{"texts": _key(texts), "translations": translations}]
        if not self.file.tell():
            lines.insert(0, self.header)
        for line in lines:
            self.file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self.file.flush()


def _flat(header: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": header["schema"], **header["stated"]}


def _key(texts: Sequence[SourceText]) -> int:
    return text_key(*(part for text in texts for part in text))


@contextmanager
def opened_journal(output: Path, stated: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal of an output, for one process at a time; it is removed if the block ends without an error.

    `stated` is everything that decides what is in the output: a run that states something else is refused.
    """
    path = output.with_name(f".{output.name}.journal")
    header = {"schema": SCHEMA, "stated": json.loads(json.dumps(stated))}
    with held(output.with_name(f".{output.name}.lock"), str(output)):
        with explained(output, ELSEWHERE):
            file = path.open("a+b")
        finished = False
        try:
            with file:
                file.seek(0)
                journal = Journal(path, file, header)
                now = _flat(header)
                before = journal.next_line(_flat) or now
                if changed := sorted(k for k in {*before, *now} if before.get(k) != now.get(k)):
                    raise InputError(
                        f"{output} was begun with something else ({', '.join(changed)} changed): run the"
                        f" same command, name another --output, or remove {path} to begin anew"
                    )
                yield journal
            finished = True
        finally:
            if finished or not path.stat().st_size:
                path.unlink()

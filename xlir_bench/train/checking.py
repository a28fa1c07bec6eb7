"""What a set of training rows holds, and what is wrong with it; one pass, nothing held but counts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xlir_bench.options.training import TrainingSource
from xlir_bench.records import Progress
from xlir_bench.train.reading import read_rows
from xlir_bench.train.rows import SIDES, Fault, Row, count_origin, item_key, text_key

SHOWN_FAULTS = 10
PERCENTILES = (5, 50, 95, 100)


@dataclass(frozen=True, slots=True)
class TrainingCheck:
    """What was found in training rows."""

    rows: int
    by_source: Mapping[str, int]
    origins: Mapping[str, int]
    """Rows by where they came from."""
    languages: Mapping[str, Mapping[str, int]]
    """Number of texts by language, then side."""
    pairs: Mapping[str, Mapping[str, int]]
    """Number of rows by question language, then answer language."""
    lengths: Mapping[str, Mapping[str, Sequence[int]]]
    """Characters at the percentiles 5, 50, 95 and 100, by side, then language."""
    duplicates: int
    """Rows whose questions and answers all repeat those of an earlier row."""
    repeated_ids: int
    """Rows whose data set and id an earlier row has."""
    same_text: Mapping[str, int]
    """Rows whose question and answer are the same text, by language: no monolingual batch has them."""
    faults: Sequence[Fault]
    """The first of them."""
    fault_count: int

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "rows": self.rows,
            "by_source": dict(self.by_source),
            "origins": dict(self.origins),
            "languages": {lang: dict(sides) for lang, sides in self.languages.items()},
            "pairs": {q: dict(row) for q, row in self.pairs.items()},
            "length_percentiles": list(PERCENTILES),
            "lengths": {
                side: {lang: list(values) for lang, values in langs.items()}
                for side, langs in self.lengths.items()
            },
            "duplicates": self.duplicates,
            "repeated_ids": self.repeated_ids,
            "same_text": dict(self.same_text),
            "fault_count": self.fault_count,
            "faults": [{"source": f.source, "line": f.line, "what": f.what} for f in self.faults],
        }


def check_training(
    sources: Iterable[TrainingSource], progress: Progress, offline: bool = False
) -> TrainingCheck:
    """Read every row of every source and count."""
    tally = _Tally()
    for source in sources:
        progress.start(f"check {source.name}", 0, "rows")
        tally.by_source[source.name] += 0
        for _, row in read_rows(source, offline):
            tally.add(source.name, row)
            progress.advance(1)
        progress.finish()
    return tally.result()


@dataclass(slots=True)
class _Tally:
    by_source: Counter[str] = field(default_factory=Counter)
    origins: dict[str, int] = field(default_factory=dict)
    texts: Counter[tuple[str, str]] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    lengths: dict[tuple[str, str], Counter[int]] = field(default_factory=dict)
    same: Counter[str] = field(default_factory=Counter)
    contents: array[int] = field(default_factory=lambda: array("Q"))
    ids: array[int] = field(default_factory=lambda: array("Q"))
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0

    def add(self, source: str, row: Row | Fault) -> None:
        if isinstance(row, Fault):
            self.fault_count += 1
            if len(self.faults) < SHOWN_FAULTS:
                self.faults.append(row)
            return
        self.by_source[source] += 1
        count_origin(self.origins, row)
        for side in SIDES:
            for lang, text in row.side(side).items():
                self.texts[lang, side] += 1
                self.lengths.setdefault((side, lang), Counter())[len(text)] += 1
        self.pairs.update((q, a) for q in row.question for a in row.answer)
        for lang, text in row.question.items():
            self.same[lang] += text.strip() == row.answer.get(lang, "").strip()
        stated = [x for side in SIDES[:2] for item in sorted(row.side(side).items()) for x in item]
        self.contents.append(text_key(*stated))
        self.ids.append(item_key(row, source))

    def result(self) -> TrainingCheck:
        langs = sorted({lang for lang, _ in self.texts})
        rows = sum(self.by_source.values())
        return TrainingCheck(
            rows=rows,
            by_source=dict(self.by_source),
            origins=dict(self.origins),
            languages={x: {side: self.texts[x, side] for side in SIDES} for x in langs},
            pairs={q: {a: self.pairs[q, a] for a in langs} for q in langs},
            lengths={
                side: {
                    lang: _percentiles(counts)
                    for (its, lang), counts in sorted(self.lengths.items())
                    if its == side
                }
                for side in SIDES
            },
            duplicates=rows - _distinct(self.contents),
            repeated_ids=rows - _distinct(self.ids),
            same_text={lang: count for lang, count in sorted(self.same.items()) if count},
            faults=tuple(self.faults),
            fault_count=self.fault_count,
        )


def _distinct(keys: array[int]) -> int:
    return len(np.unique(np.frombuffer(keys, np.uint64))) if keys else 0


def _percentiles(counts: Counter[int]) -> list[int]:
    """The smallest length that so many per cent of the texts do not exceed."""
    lengths = np.array(sorted(counts))
    reached = np.cumsum([counts[int(n)] for n in lengths])
    places = np.searchsorted(reached, np.array(PERCENTILES) / 100 * reached[-1])
    return [int(n) for n in lengths[places]]

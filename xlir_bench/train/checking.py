"""Counts what training rows hold, and what is wrong with them, in one pass."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xlir_bench.records import Progress
from xlir_bench.sources.own import is_code
from xlir_bench.train.row_files import read_rows
from xlir_bench.train.rows import SIDES, Fault, count_origin, item_key, text_key

SHOWN_FAULTS = 10
PERCENTILES = (5, 50, 95, 100)


@dataclass(frozen=True, slots=True)
class TrainingCheck:
    """What was found in training rows."""

    rows: int
    by_source: Mapping[str, int]
    origins: Mapping[str, int]
    """Number of rows by origin."""
    languages: Mapping[str, Mapping[str, int]]
    """Number of texts by language, then side."""
    pairs: Mapping[str, Mapping[str, int]]
    """Number of rows by question language, then answer language."""
    length_percentiles: Sequence[int]
    """The percentiles in `lengths`."""
    lengths: Mapping[str, Mapping[str, Sequence[int]]]
    """Lengths in characters at these percentiles, by side, then language."""
    duplicates: int
    """Rows with exactly the questions and answers of an earlier row."""
    repeated_ids: int
    """Rows with the data set and id of an earlier row."""
    same_text: Mapping[str, int]
    """Rows whose question and answer are the same text, by language: no monolingual batch has them."""
    unknown_languages: Sequence[str]
    """Codes that are not in ISO 639."""
    nulls: int
    """Texts that were null; they count as missing."""
    fault_count: int
    faults: Sequence[Fault]
    """The first faults."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return asdict(self)


def check_training(
    names: Iterable[str], progress: Progress, offline: bool = False
) -> TrainingCheck:
    """Read every row of every file, folder or data set, and count."""
    by_source: Counter[str] = Counter()
    origins: dict[str, int] = {}
    pairs: Counter[tuple[str, str]] = Counter()
    lengths: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    same_text: Counter[str] = Counter()
    contents, ids = array("Q"), array("Q")  # 8 bytes a row, not an object
    faults: list[Fault] = []
    fault_count = nulls = 0
    for name in names:
        progress.start(f"check {name}", 0, "rows")
        by_source[name] += 0
        for row in read_rows(name, offline):
            progress.advance(1)
            if isinstance(row, Fault):
                fault_count += 1
                if len(faults) < SHOWN_FAULTS:
                    faults.append(row)
                continue
            by_source[name] += 1
            nulls += row.nulls
            count_origin(origins, row)
            for side, lang, text in row.texts():
                lengths[side, lang][len(text)] += 1
            pairs.update((q, a) for q in row.question for a in row.answer)
            for lang, text in row.question.items():
                same_text[lang] += text.strip() == row.answer.get(lang, "").strip()
            both = (*sorted(row.question.items()), *sorted(row.answer.items()))
            contents.append(text_key(*(part for item in both for part in item)))
            ids.append(item_key(row, name))
        progress.finish()
    langs = sorted({lang for _, lang in lengths})
    return TrainingCheck(
        rows=len(ids),
        by_source=dict(by_source),
        origins=origins,
        languages={x: {side: lengths[side, x].total() for side in SIDES} for x in langs},
        pairs={q: {a: pairs[q, a] for a in langs} for q in langs},
        length_percentiles=PERCENTILES,
        lengths={
            side: {x: _percentiles(lengths[side, x]) for x in langs if lengths[side, x]}
            for side in SIDES
        },
        duplicates=len(contents) - len(np.unique(contents)),
        repeated_ids=len(ids) - len(np.unique(ids)),
        same_text={lang: count for lang, count in sorted(same_text.items()) if count},
        unknown_languages=[lang for lang in langs if not is_code(lang)],
        nulls=nulls,
        fault_count=fault_count,
        faults=tuple(faults),
    )


def _percentiles(counts: Counter[int]) -> list[int]:
    """For each percentile, the smallest length that this per cent of the texts do not exceed."""
    lengths, weights = zip(*counts.items(), strict=True)
    values = np.percentile(lengths, PERCENTILES, weights=weights, method="inverted_cdf")
    return [int(length) for length in values]

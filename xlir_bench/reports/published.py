"""What papers report, as package data: shown beside measured scores, never ranked with them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

from xlir_bench.records import Kind

MEAN = "mean"
"""In place of a query language: the mean over all of them."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where reported scores come from."""

    title: str
    url: str


SOURCES = {
    "arXiv:2408.10536": Source(
        "Elmahdy, Lin and Ahmad 2024, Synergistic Approach for Simultaneous Optimization of Monolingual,"
        " Cross-lingual, and Multilingual Information Retrieval (MRL 2024)",
        "https://arxiv.org/abs/2408.10536",
    ),
    "LAReQA README (google-research-datasets/lareqa@354d67d)": Source(
        "Roy et al. 2020, LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool; the baselines"
        " in the README of its repository at 354d67d",
        "https://github.com/google-research-datasets/lareqa",
    ),
}
"""By the name in the file's first column."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One score of a paper."""

    system: tuple[str, str, str]
    """The source, the encoder that training began with, and how the batches of training were put together."""
    kind: Kind
    query_lang: str
    """A language, or ``mean``."""
    measure: str
    value: float


@dataclass(frozen=True)
class ReportedTask:
    """The reported scores of one task, in the file's order."""

    name: str
    rows: tuple[Reported, ...]

    @cached_property
    def _values(self) -> dict[tuple[tuple[str, ...], Kind, str, str], float]:
        return {(r.system, r.kind, r.measure, r.query_lang): r.value for r in self.rows}

    @property
    def systems(self) -> list[tuple[str, str, str]]:
        """Every system, in the file's order."""
        return list(dict.fromkeys(row.system for row in self.rows))

    @property
    def langs(self) -> list[str]:
        """The query languages, by code."""
        return sorted({row.query_lang for row in self.rows} - {MEAN})

    @property
    def columns(self) -> list[tuple[Kind, str]]:
        """Every kind and measure that is reported, kinds in order."""
        columns = dict.fromkeys((row.kind, row.measure) for row in self.rows)
        return sorted(columns, key=lambda column: list(Kind).index(column[0]))

    def value(
        self, system: Sequence[str], kind: Kind, measure: str, lang: str = MEAN
    ) -> float | None:
        """One score, or None where the paper has none."""
        return self._values.get((tuple(system), kind, measure, lang))


@cache
def reported_tasks() -> tuple[ReportedTask, ...]:
    """The reported scores by task, in the file's order of tasks."""
    text = (files("xlir_bench.reports") / "published.csv").read_text(encoding="utf-8")
    tasks: dict[str, list[Reported]] = {}
    for row in csv.DictReader(text.splitlines()):
        reported = Reported(
            system=(row["source"], row["encoder"], row["training"]),
            kind=Kind(row["setting_kind"]),
            query_lang=row["query_lang"],
            measure=row["measure"],
            value=float(row["value"]),
        )
        tasks.setdefault(row["task"], []).append(reported)
    return tuple(ReportedTask(name, tuple(rows)) for name, rows in tasks.items())

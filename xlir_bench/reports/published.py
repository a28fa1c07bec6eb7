"""What papers report, as package data: set beside measured figures, never ranked with them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

from xlir_bench.records import Kind

MEAN = "mean"
"""Stands for the mean over query languages where a language would stand."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where reported figures come from."""

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
    """One figure of a paper."""

    source: str
    encoder: str
    """The model that training began with."""
    training: str
    """How its batches were put together."""
    task: str
    kind: Kind
    query_lang: str
    """A language, or ``mean`` over them."""
    measure: str
    value: float

    @property
    def system(self) -> tuple[str, str, str]:
        """What was trained how, and who says so."""
        return self.source, self.encoder, self.training


@cache
def read_published() -> tuple[Reported, ...]:
    """Every reported figure, in the file's order."""
    text = (files("xlir_bench.reports") / "published.csv").read_text(encoding="utf-8")
    return tuple(
        Reported(
            source=row["source"],
            encoder=row["encoder"],
            training=row["training"],
            task=row["task"],
            kind=Kind(row["setting_kind"]),
            query_lang=row["query_lang"],
            measure=row["measure"],
            value=float(row["value"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


@dataclass(frozen=True)
class ReportedTask:
    """The reported figures of one task."""

    name: str
    rows: tuple[Reported, ...]

    @cached_property
    def values(self) -> dict[tuple[tuple[str, ...], Kind, str, str], float]:
        """By system, kind, measure and query language."""
        return {(r.system, r.kind, r.measure, r.query_lang): r.value for r in self.rows}

    @property
    def systems(self) -> list[tuple[str, str, str]]:
        """Source, encoder and training of every system, in the file's order."""
        return list(dict.fromkeys(row.system for row in self.rows))

    @property
    def langs(self) -> list[str]:
        """The query languages, by code."""
        return sorted({row.query_lang for row in self.rows} - {MEAN})

    @property
    def columns(self) -> list[tuple[Kind, str]]:
        """Every kind and measure there is, kinds in order."""
        order = list(Kind)
        seen = dict.fromkeys((row.kind, row.measure) for row in self.rows)
        return sorted(seen, key=lambda column: order.index(column[0]))

    def value(
        self, system: Sequence[str], kind: Kind, measure: str, lang: str = MEAN
    ) -> float | None:
        """One figure, or None where the paper has none."""
        return self.values.get((tuple(system), kind, measure, lang))


def reported_tasks() -> list[ReportedTask]:
    """The reported figures by task, in the file's order of tasks."""
    rows = read_published()
    names = dict.fromkeys(row.task for row in rows)
    return [ReportedTask(name, tuple(r for r in rows if r.task == name)) for name in names]

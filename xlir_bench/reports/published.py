"""What papers report, as package data: shown beside measured scores, never ranked with them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
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


System = tuple[str, str, str]
"""The source, the encoder that training began with, and how the batches of training were put together."""


@dataclass(frozen=True, slots=True)
class ReportedTask:
    """The reported scores of one task, in the file's order."""

    name: str
    values: Mapping[tuple[System, Kind, str, str], float]
    """By system, kind of setting, measure and query language (or ``mean``)."""

    @property
    def systems(self) -> list[System]:
        """Every system, in the file's order."""
        return list(dict.fromkeys(system for system, *_ in self.values))

    @property
    def langs(self) -> list[str]:
        """The query languages, by code."""
        return sorted({lang for *_, lang in self.values} - {MEAN})

    @property
    def columns(self) -> list[tuple[Kind, str]]:
        """Every kind and measure that is reported, kinds in order."""
        columns = dict.fromkeys((kind, measure) for _, kind, measure, _ in self.values)
        return sorted(columns, key=lambda column: list(Kind).index(column[0]))

    def value(self, system: System, kind: Kind, measure: str, lang: str = MEAN) -> float | None:
        """One score, or None where the paper has none."""
        return self.values.get((system, kind, measure, lang))


@cache
def reported_tasks() -> tuple[ReportedTask, ...]:
    """The reported scores by task, in the file's order of tasks."""
    text = (files("xlir_bench.reports") / "published.csv").read_text(encoding="utf-8")
    tasks: dict[str, dict[tuple[System, Kind, str, str], float]] = {}
    for row in csv.DictReader(text.splitlines()):
        system = (row["source"], row["encoder"], row["training"])
        key = (system, Kind(row["setting_kind"]), row["measure"], row["query_lang"])
        tasks.setdefault(row["task"], {})[key] = float(row["value"])
    return tuple(ReportedTask(name, values) for name, values in tasks.items())

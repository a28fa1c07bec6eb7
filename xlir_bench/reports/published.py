"""What papers report, as package data: shown beside measured scores, never ranked with them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from xlir_bench.records import Kind

MEAN = "mean"
"""In place of a query language: the mean over all of them."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Where reported scores come from."""

    title: str
    url: str


SOURCES = {
    "arXiv:2408.10536": Paper(
        "Elmahdy, Lin and Ahmad 2024, Synergistic Approach for Simultaneous Optimization of Monolingual,"
        " Cross-lingual, and Multilingual Information Retrieval (MRL 2024)",
        "https://arxiv.org/abs/2408.10536",
    ),
    "LAReQA README (google-research-datasets/lareqa@354d67d)": Paper(
        "Roy et al. 2020, LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool; the baselines"
        " in the README of its repository at 354d67d",
        "https://github.com/google-research-datasets/lareqa",
    ),
}
"""By the name in the file's first column."""


System = tuple[str, str, str]
"""The source, the encoder that training began with, and how the batches of training were put together."""
Place = tuple[Kind, str, str]
"""Kind of setting, measure and query language (or ``mean``)."""


@dataclass(frozen=True, slots=True)
class ReportedTask:
    """The reported scores of one task, in the file's order."""

    values: Mapping[System, Mapping[Place, float]]

    @property
    def langs(self) -> list[str]:
        """The query languages, by code."""
        return sorted({lang for of in self.values.values() for *_, lang in of} - {MEAN})

    @property
    def columns(self) -> list[tuple[Kind, str]]:
        """Every kind and measure that is reported, kinds in order."""
        columns = dict.fromkeys(place[:2] for of in self.values.values() for place in of)
        return sorted(columns, key=lambda column: list(Kind).index(column[0]))

    def rows(self, places: Sequence[Place]) -> list[tuple[System, list[float | None]]]:
        """The scores in these places of every system that has one."""
        rows = [(system, [of.get(place) for place in places]) for system, of in self.values.items()]
        return [(system, scores) for system, scores in rows if {*scores} - {None}]


@cache
def reported_tasks() -> dict[str, ReportedTask]:
    """The reported scores by task, in the file's order."""
    text = (files("xlir_bench.reports") / "published.csv").read_text(encoding="utf-8")
    tasks: dict[str, dict[System, dict[Place, float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        system = (row["source"], row["encoder"], row["training"])
        place = (Kind(row["setting_kind"]), row["measure"], row["query_lang"])
        tasks.setdefault(row["task"], {}).setdefault(system, {})[place] = float(row["value"])
    return {name: ReportedTask(values) for name, values in tasks.items()}

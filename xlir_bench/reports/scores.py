"""The scores that encoders and trainings are compared by, measured here or reported by papers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from xlir_bench.records import Kind
from xlir_bench.rendering.numbers import Written, big, interval, number
from xlir_bench.results.schema import ResultRecord
from xlir_bench.results.values import RANK_DISTANCE

MEAN = "mean"
"""In place of a query language: the mean over all of them."""


class Score(NamedTuple):
    """A measure in the settings of one kind, or the rank distance (in the pool of all languages)."""

    kind: Kind
    measure: str

    @property
    def lower_is_better(self) -> bool:
        """True of the rank distance alone."""
        return self.measure == RANK_DISTANCE

    @property
    def name(self) -> str:
        """Its heading in a table."""
        name = name_of(self.measure)
        return name if self.lower_is_better else f"{self.kind.value} {name}"

    def value(self, record: ResultRecord) -> float | None:
        """The mean in a result, if it has one."""
        if self.lower_is_better:
            return record.rank_distance
        average = record.average(self.kind, self.measure)
        return None if average is None else average.mean

    def interval(self, record: ResultRecord) -> str:
        """The 95 % interval of the mean, as text; empty if there is none."""
        form = written(self.measure)
        if self.lower_is_better:
            distance = record.bias.get(RANK_DISTANCE)
            if distance is None or distance.low is None:
                return ""
            return interval(distance.low, distance.high, form)
        average = record.average(self.kind, self.measure)
        return "" if average is None else interval(average.low, average.high, form)

    def best(self, records: Iterable[ResultRecord]) -> float | None:
        """The best mean of several results."""
        means = [mean for record in records if (mean := self.value(record)) is not None]
        return (min if self.lower_is_better else max)(means, default=None)

    def chance(self, record: ResultRecord) -> float | None:
        """The expected value of a random ranking; only known for map and the rank distance."""
        if self.lower_is_better:
            bias = record.bias.get(RANK_DISTANCE)
            return bias.chance if bias is not None and isinstance(bias.chance, float) else None
        levels = [s.chance_map for s in record.scored(self.kind)]
        return sum(levels) / len(levels) if levels and self.measure == "map" else None

    def by_query_language(self, record: ResultRecord) -> dict[str, float]:
        """The means of each query language over its passage languages."""
        if self.lower_is_better:
            bias = record.bias.get(RANK_DISTANCE)
            by_lang = {} if bias is None else bias.by_query_lang
            return {lang: value for lang, value in by_lang.items() if isinstance(value, float)}
        of_lang: dict[str, list[float]] = {}
        for setting in record.settings:
            if setting.kind == self.kind and self.measure in setting.measures:
                of_lang.setdefault(setting.query_lang, []).append(setting.measures[self.measure])
        return {lang: sum(values) / len(values) for lang, values in sorted(of_lang.items())}

    def text(self, value: float | None) -> str:
        """A value as tables show it."""
        return "-" if value is None else written(self.measure)(value)


def name_of(measure: str) -> str:
    """The name of a measure, or of the rank distance, in tables and sentences."""
    return "rank distance" if measure == RANK_DISTANCE else measure


def written(measure: str) -> Written:
    """The function that writes values of a measure as text."""
    return big if measure == RANK_DISTANCE else number


DISTANCE = Score(Kind.MULTILINGUAL, RANK_DISTANCE)


def compared_by(measure: str, kinds: Iterable[Kind] = Kind) -> list[Score]:
    """What encoders are compared by: their main measure in these kinds of setting, and the rank distance."""
    return [*(Score(kind, measure) for kind in kinds), DISTANCE]


def recall_column(kind: Kind, measures: Sequence[str]) -> Score | None:
    """The recall that papers report: at 10 from the pool, at 1 elsewhere; else the first recall there is."""
    usual = "recall@10" if kind is Kind.MULTILINGUAL else "recall@1"
    recalls = [measure for measure in measures if measure.startswith("recall@")]
    if not recalls:
        return None
    return Score(kind, usual if usual in recalls else recalls[0])


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
"""The papers, by their names in the first column of published.csv."""


System = tuple[str, str, str]
"""The source, the encoder that training began with, and how the batches of training were put together."""
Place = tuple[Score, str]
"""A score and a query language, or ``mean`` for all of them."""


@dataclass(frozen=True, slots=True)
class ReportedTask:
    """The reported scores of one task, in the order of published.csv."""

    values: Mapping[System, Mapping[Place, float]]

    @property
    def langs(self) -> list[str]:
        """The query languages, by code."""
        return sorted({lang for scores in self.values.values() for *_, lang in scores} - {MEAN})

    @property
    def columns(self) -> list[Score]:
        """Every kind and measure that is reported, kinds in order."""
        columns = dict.fromkeys(column for scores in self.values.values() for column, _ in scores)
        return sorted(columns, key=lambda column: list(Kind).index(column.kind))

    def rows(self, places: Sequence[Place]) -> list[tuple[System, list[float | None]]]:
        """Every system that has a score in one of these places, with its scores there."""
        rows = [
            (system, [by_place.get(place) for place in places])
            for system, by_place in self.values.items()
        ]
        return [(system, scores) for system, scores in rows if {*scores} - {None}]


@cache
def reported_tasks() -> dict[str, ReportedTask]:
    """What papers report, by task, in the order of published.csv: shown beside measured scores, never ranked with them."""
    text = (files("xlir_bench.reports") / "published.csv").read_text(encoding="utf-8")
    tasks: dict[str, dict[System, dict[Place, float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        system = (row["source"], row["encoder"], row["training"])
        place = Score(Kind(row["setting_kind"]), row["measure"]), row["query_lang"]
        tasks.setdefault(row["task"], {}).setdefault(system, {})[place] = float(row["value"])
    return {name: ReportedTask(values) for name, values in tasks.items()}

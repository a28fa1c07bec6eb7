"""The figures that encoders and trainings are compared by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xlir_bench.records import Kind
from xlir_bench.rendering.numbers import big, number
from xlir_bench.results.schema import ResultRecord
from xlir_bench.results.values import RANK_DISTANCE


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
        return "rank distance" if self.lower_is_better else f"{self.kind.value} {self.measure}"

    def value(self, record: ResultRecord) -> float | None:
        """The mean in a result, if it has one."""
        if self.lower_is_better:
            return record.rank_distance
        average = record.average(self.kind, self.measure)
        return None if average is None else average.mean

    def best(self, records: Iterable[ResultRecord]) -> float | None:
        """The best mean of several results."""
        means = [mean for record in records if (mean := self.value(record)) is not None]
        return (min if self.lower_is_better else max)(means, default=None)

    def chance(self, record: ResultRecord) -> float | None:
        """What a random ranking would get: known of map and of the rank distance."""
        if self.lower_is_better:
            bias = record.bias.get(RANK_DISTANCE)
            return bias.chance if bias is not None and isinstance(bias.chance, float) else None
        levels = [s.chance_map for s in record.settings if s.kind == self.kind and s.queries]
        return sum(levels) / len(levels) if levels and self.measure == "map" else None

    def by_query_language(self, record: ResultRecord) -> dict[str, float]:
        """The means of each query language over its passage languages."""
        if self.lower_is_better:
            bias = record.bias.get(RANK_DISTANCE)
            by_lang = {} if bias is None else bias.by_query_lang
            return {lang: value for lang, value in by_lang.items() if isinstance(value, float)}
        found: dict[str, list[float]] = {}
        for setting in record.settings:
            if setting.kind == self.kind and self.measure in setting.measures:
                found.setdefault(setting.query_lang, []).append(setting.measures[self.measure])
        return {lang: sum(values) / len(values) for lang, values in sorted(found.items())}

    def text(self, value: float | None) -> str:
        """A value as tables show it."""
        return big(value) if self.lower_is_better and value is not None else number(value)


DISTANCE = Score(Kind.MULTILINGUAL, RANK_DISTANCE)


def recall_column(kind: Kind, measures: Sequence[str]) -> Score | None:
    """The recall that papers report: at 10 from the pool, at 1 elsewhere; else the first recall there is."""
    usual = "recall@10" if kind is Kind.MULTILINGUAL else "recall@1"
    recalls = [measure for measure in measures if measure.startswith("recall@")]
    if not recalls:
        return None
    return Score(kind, usual if usual in recalls else recalls[0])

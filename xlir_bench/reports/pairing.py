"""Two results side by side, query by query: what every comparison and the gate test.

A difference is always the second result minus the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.errors import NotComparableError
from xlir_bench.measures.bootstrap import Alternative, PairedDifferences
from xlir_bench.measures.significance import Difference, paired_tests
from xlir_bench.records import Floats, Ints, Kind, Setting
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

if TYPE_CHECKING:
    pass

SAME = 1e-9
"""Values nearer than this are the same: the last bits of a value depend on the machine."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two results' values of one measure where both have one, sorted by setting, then query."""

    measure: str
    settings: tuple[Setting, ...]
    query_ids: tuple[str, ...]
    clusters: int
    setting: Ints
    query: Ints
    cluster: Ints
    first: Floats
    second: Floats

    @property
    def change(self) -> Floats:
        """Second minus first, one a query and setting."""
        return self.second - self.first

    @property
    def sizes(self) -> Ints:
        """How many values each setting has."""
        return np.bincount(self.setting, minlength=len(self.settings))

    @property
    def unlike(self) -> frozenset[int]:
        """The settings in which any value differs."""
        return frozenset(self.setting[np.abs(self.change) > SAME].tolist())

    def where(self, wanted: Callable[[Setting], bool]) -> tuple[int, ...]:
        """The settings that a condition holds for; only those that have values."""
        there = np.flatnonzero(self.sizes)
        return tuple(int(i) for i in there if wanted(self.settings[i]))

    def of_kind(self, kind: Kind) -> tuple[int, ...]:
        """The settings of one kind."""
        return self.where(lambda s: s.kind == kind)

    def means(self, groups: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Both macro averages over each group: over queries in a setting, then over settings."""
        sizes = np.maximum(self.sizes, 1)
        first, second = (
            np.bincount(self.setting, values, len(sizes)) / sizes
            for values in (self.first, self.second)
        )
        chosen = [list(group) for group in groups]
        return [(float(first[group].mean()), float(second[group].mean())) for group in chosen]

    def test(
        self,
        groups: Sequence[Sequence[int]],
        alternative: Alternative = "two-sided",
        family: int = 1,
    ) -> list[Difference]:
        """One tested difference a group of settings; `family`: how many are corrected together."""
        shape = (self.clusters, len(self.settings))
        used = sorted({i for group in groups for i in group})
        column = {setting: i for i, setting in enumerate(used)}
        data = PairedDifferences.of(self.change, self.cluster, self.setting, shape)
        data = PairedDifferences(data.sums[:, used], data.sizes[:, used])
        chosen = [[column[i] for i in group] for group in groups]
        bounds = None if self.measure == RANK_DISTANCE else (-1.0, 1.0)
        return paired_tests(data, chosen, alternative, family=family, bounds=bounds)


def paired_difference(first: Result, second: Result, kind: Kind, measure: str) -> Difference:
    """Second minus first over the settings of a kind that both have, tested on both sides."""
    pairing = pair(first.values(measure), second.values(measure))
    group = pairing.of_kind(Kind(kind))
    if not group:
        raise NotComparableError(
            f"the two results share no {kind} setting with values of {measure}"
        )
    return pairing.test([group])[0]


def pair(first: QueryValues, second: QueryValues) -> Pairing:
    """The values of all queries and settings that both have, matched by name."""
    setting = _places(second.settings, first.settings)[second.setting]
    query = _places(second.query_ids, first.query_ids)[second.query]
    width = len(first.query_ids)
    keys = first.setting * width + first.query
    others = np.where((setting < 0) | (query < 0), -1, setting * width + query)
    if np.array_equal(keys, others):
        mine = theirs = np.arange(len(keys))
    else:
        _, mine, theirs = np.intersect1d(keys, others, assume_unique=False, return_indices=True)
    return Pairing(
        measure=first.measure,
        settings=first.settings,
        query_ids=first.query_ids,
        clusters=len(first.clusters),
        setting=first.setting[mine],
        query=first.query[mine],
        cluster=first.cluster[mine],
        first=first.value[mine],
        second=second.value[theirs],
    )


def _places(names: Sequence[Any], known: Sequence[Any]) -> Ints:
    """The index of each name among the known ones, -1 for one that is not."""
    place = {name: i for i, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in names], np.int64)

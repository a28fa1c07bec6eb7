"""Two results side by side, query by query: what comparisons and the gate test.

A difference is always the second result minus the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xlir_bench.measures.bootstrap import Alternative
from xlir_bench.measures.significance import Difference, paired_tests
from xlir_bench.records import Ints
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

SAME = 1e-9
"""Values that differ by less are the same: the last bits of a value depend on the machine."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The values of one measure that two results share: of the same queries in the same settings, in one order."""

    first: QueryValues
    second: QueryValues

    @property
    def change(self) -> QueryValues:
        """Second minus first, for each query and setting."""
        return replace(self.first, value=self.second.value - self.first.value)

    @property
    def unlike(self) -> frozenset[int]:
        """The settings in which some value differs."""
        change = self.change
        return frozenset(change.setting[np.abs(change.value) > SAME].tolist())

    def means(self, groups: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Both macro averages over each group: over queries in a setting, then over settings."""
        sizes = np.maximum(np.bincount(self.first.setting, minlength=len(self.first.settings)), 1)
        first, second = (
            np.bincount(side.setting, side.value, len(sizes)) / sizes
            for side in (self.first, self.second)
        )
        return [(float(first[g].mean()), float(second[g].mean())) for g in map(list, groups)]

    def test(
        self,
        groups: Sequence[Sequence[int]],
        alternative: Alternative = "two-sided",
        family: int = 1,
    ) -> list[Difference]:
        """A tested difference for each group of settings; `family`: how many are corrected together."""
        used = sorted({i for group in groups for i in group})
        column = {setting: i for i, setting in enumerate(used)}
        chosen = [[column[i] for i in group] for group in groups]
        bounds = None if self.first.measure == RANK_DISTANCE else (-1.0, 1.0)
        data = self.change.sums().of_settings(used)
        return paired_tests(data, chosen, alternative, family=family, bounds=bounds)


def pair(first: QueryValues, second: QueryValues) -> Pairing:
    """The values of the queries and settings that both have, matched by name."""
    setting = _places(second.settings, first.settings)[second.setting]
    query = _places(second.query_ids, first.query_ids)[second.query]
    width = len(first.query_ids)
    keys = first.setting * width + first.query
    other_keys = np.where((setting < 0) | (query < 0), -1, setting * width + query)
    rows = other_rows = np.arange(len(keys))
    if not np.array_equal(keys, other_keys):
        _, rows, other_rows = np.intersect1d(keys, other_keys, return_indices=True)
    both = replace(
        first,
        setting=first.setting[rows],
        query=first.query[rows],
        cluster=first.cluster[rows],
        value=first.value[rows],
    )
    return Pairing(both, replace(both, value=second.value[other_rows]))


def _places(names: Sequence[Any], known: Sequence[Any]) -> Ints:
    """The index of each name among the known ones; -1 for an unknown one."""
    place = {name: i for i, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in names], np.int64)

"""Which ranks an encoder may have, and which encoders do not differ significantly: every pair is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from xlir_bench.measures.bootstrap import ClusterSums
from xlir_bench.measures.significance import SIGNIFICANT, Difference, holm, paired_tests
from xlir_bench.records import Kind
from xlir_bench.reports.pairing import pair
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

PAIRS_AT_ONCE = 100
"""Bounds the memory of the tests."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The ranks that an encoder may have by one measure among those that were tested."""

    first: int
    """The best rank it may have: one more than the number of significantly better encoders."""
    last: int
    """The worst: the number of tested encoders, less the significantly worse ones."""
    letters: tuple[str, ...]
    """Encoders that share a letter do not differ significantly; ``a`` is the group of the best."""


def of_same_queries(first: QueryValues, second: QueryValues) -> bool:
    """Whether both are values of the same queries in the same settings, as a test of a pair needs."""
    return len(pair(first, second).first.value) == len(first.value) == len(second.value)


def standings(values: Sequence[QueryValues], kind: Kind) -> list[Standing]:
    """The standing of each encoder in the settings of a kind; all are values of the same queries.

    Two-sided tests by cluster, with Holm's correction over all pairs.
    """
    encoders = range(len(values))
    pairs = list(combinations(encoders, 2))
    tests = _tests(values, kind, pairs)
    p_values = holm([test.p for test in tests])
    is_better = np.zeros((len(values), len(values)), bool)  # row significantly better than column
    gain_on_first = np.zeros(len(values))
    for (one, two), test, p in zip(pairs, tests, p_values, strict=True):
        gain = -test.difference if values[0].measure == RANK_DISTANCE else test.difference
        is_better[(two, one) if gain > 0 else (one, two)] = p < SIGNIFICANT
        if one == 0:
            gain_on_first[two] = gain
    best_first = np.argsort(-gain_on_first, kind="stable").tolist()
    letters = _letters(is_better | is_better.T, best_first)
    better, worse = is_better.sum(axis=0), is_better.sum(axis=1)
    return [Standing(1 + int(better[i]), len(values) - int(worse[i]), letters[i]) for i in encoders]


def _tests(
    values: Sequence[QueryValues], kind: Kind, pairs: Sequence[tuple[int, int]]
) -> list[Difference]:
    """The second of each pair less the first; all are tested with the same resamples of clusters."""
    sums = []
    for each in values:
        alike = pair(values[0], each).second
        data = alike.sums().of_settings(alike.of_kinds([kind]))
        sums.append(data.sums)
        sizes = data.sizes  # alike for all encoders
    tests = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        batch = pairs[start : start + PAIRS_AT_ONCE]
        changes = np.hstack([sums[two] - sums[one] for one, two in batch])
        columns = np.arange(changes.shape[1]).reshape(len(batch), sizes.shape[1])
        data = ClusterSums(changes, np.tile(sizes, len(batch)))
        tests += paired_tests(data, columns.tolist(), family=len(pairs))
    return tests


def _letters(different: NDArray[np.bool_], best_first: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """A letter for each largest group in which no pair differs (Piepho 2004: split, then absorb)."""
    groups = [frozenset(best_first)]
    for differing in np.argwhere(np.triu(different)).tolist():
        parts = [group - {encoder} for group in groups for encoder in differing]
        groups = [g for g in dict.fromkeys(parts) if not any(g < other for other in parts)]
    rank = {encoder: i for i, encoder in enumerate(best_first)}
    groups.sort(key=lambda group: sorted(rank[i] for i in group))
    names = [ascii_letters[n] if n < len(ascii_letters) else f"({n})" for n in range(len(groups))]
    return {
        i: tuple(name for name, group in zip(names, groups, strict=True) if i in group)
        for i in best_first
    }

"""Which ranks an encoder may have, and which encoders cannot be told apart: every pair is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from xlir_bench.measures.bootstrap import ClusterSums
from xlir_bench.measures.significance import Difference, holm, paired_tests
from xlir_bench.records import Kind
from xlir_bench.reports.pairing import Pairing, pair
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

LEVEL = 0.05
AT_ONCE = 100
"""Pairs, to bound memory."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an encoder stands by one measure among those that were tested."""

    first: int
    """The best rank it may have: one more than the encoders that are significantly better."""
    last: int
    """The worst: the encoders that were tested, less those that are significantly worse."""
    letters: tuple[str, ...]
    """Encoders that share a letter cannot be told apart; ``a`` is the group of the best."""


def of_same_queries(first: QueryValues, second: QueryValues) -> bool:
    """Whether both are values of the same queries in the same settings, so that every pair can be tested."""
    return len(pair(first, second).first) == len(first.value) == len(second.value)


def standings(values: Sequence[QueryValues], kind: Kind) -> list[Standing]:
    """By the settings of a kind, one an encoder; all are values of the same queries.

    Two-sided, by cluster, Holm over all pairs.
    """
    everybody = range(len(values))
    pairs = list(combinations(everybody, 2))
    tests = _tests(values, kind, pairs)
    corrected = holm([test.p for test in tests])
    better = np.zeros((len(values), len(values)), bool)
    """Row: who is significantly better; column: than whom."""
    gains = np.zeros(len(values))
    for (one, two), test, p in zip(pairs, tests, corrected, strict=True):
        gain = -test.difference if values[0].measure == RANK_DISTANCE else test.difference
        better[(two, one) if gain > 0 else (one, two)] = p < LEVEL
        if one == 0:
            gains[two] = gain
    letters = _letters(better | better.T, np.argsort(-gains, kind="stable").tolist())
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [Standing(1 + int(above[i]), len(values) - int(below[i]), letters[i]) for i in everybody]


def _tests(
    values: Sequence[QueryValues], kind: Kind, pairs: Sequence[tuple[int, int]]
) -> list[Difference]:
    """The second of each pair less the first; all are tested with the same resamples of clusters."""
    by_encoder = [_by_cluster(pair(values[0], other), kind) for other in values] if pairs else []
    found = []
    for start in range(0, len(pairs), AT_ONCE):
        chosen = pairs[start : start + AT_ONCE]
        sizes = by_encoder[0].sizes
        changes = [by_encoder[two].sums - by_encoder[one].sums for one, two in chosen]
        data = ClusterSums(np.hstack(changes), np.tile(sizes, len(chosen)))
        columns = np.arange(data.sums.shape[1]).reshape(len(chosen), sizes.shape[1])
        found += paired_tests(data, columns.tolist(), family=len(pairs))
    return found


def _by_cluster(pairing: Pairing, kind: Kind) -> ClusterSums:
    """The second's values, summed by cluster and setting of a kind."""
    data = ClusterSums.of(
        pairing.second, pairing.cluster, pairing.setting, (pairing.clusters, len(pairing.settings))
    )
    wanted = list(pairing.of_kind(kind))
    return ClusterSums(data.sums[:, wanted], data.sizes[:, wanted])


def _letters(different: NDArray[np.bool_], best_first: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """A letter for each largest group without any pair that differs (Piepho 2004: split, then absorb)."""
    groups = [frozenset(best_first)]
    for pair_apart in np.argwhere(np.triu(different)).tolist():
        parts = [group - {encoder} for group in groups for encoder in pair_apart]
        groups = [g for g in dict.fromkeys(parts) if not any(g < other for other in parts)]
    place = {encoder: i for i, encoder in enumerate(best_first)}
    groups.sort(key=lambda group: sorted(place[i] for i in group))
    names = [ascii_letters[n] if n < len(ascii_letters) else f"({n})" for n in range(len(groups))]
    return {
        i: tuple(name for name, group in zip(names, groups, strict=True) if i in group)
        for i in best_first
    }

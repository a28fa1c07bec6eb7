"""Which ranks an encoder may have, and which encoders cannot be told apart: every pair is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from xlir_bench.measures.statistics import permutations, sign_flip_p
from xlir_bench.records import Floats, Kind
from xlir_bench.reports.pairing import RANK_DISTANCE, QueryValues, holm, pair

LEVEL = 0.05


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

    Holm over all pairs, which are tested with the same sign flips of clusters.
    """
    if len(values) < 2:
        return [Standing(1, 1, ("a",)) for _ in values]
    gains = np.stack([_gains(values[0], other, kind) for other in values], axis=1)
    pairs = list(combinations(range(len(values)), 2))
    one, two = np.array(pairs).T
    changes = gains[:, two] - gains[:, one]
    corrected = holm(sign_flip_p(changes, throws=permutations(len(pairs))))
    better = np.zeros((len(values), len(values)), bool)
    """Row: who is significantly better; column: than whom."""
    for (i, j), change, p in zip(pairs, changes.sum(axis=0), corrected, strict=True):
        better[(j, i) if change > 0 else (i, j)] = p < LEVEL
    letters = _letters(better | better.T, np.argsort(-gains.sum(axis=0), kind="stable").tolist())
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [
        Standing(1 + int(above[i]), len(values) - int(below[i]), letters[i])
        for i in range(len(values))
    ]


def _gains(first: QueryValues, other: QueryValues, kind: Kind) -> Floats:
    """What each cluster adds to the macro average of `other`; more is better."""
    pairing = pair(first, other)
    wanted = list(pairing.of_kind(kind))
    weights = np.zeros(len(pairing.settings))
    weights[wanted] = 1 / pairing.sizes[wanted] / len(wanted)
    gains = pairing.second * weights[pairing.setting]
    if other.measure == RANK_DISTANCE:
        gains = -gains
    return np.bincount(pairing.cluster, gains, pairing.clusters).astype(float)


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

"""What a measure would be if equal scores stood in another order: on average over all orders, at least and at most.

Ranks put equal scores in the order of the pool, but a passage that ties with others could as well stand at any of their
places. Ties between passages of one grade alone change no measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from xlir_bench.measures.retrieval import score
from xlir_bench.records import Floats, Ints, Kind, Ranking, Scores


@dataclass(frozen=True, slots=True)
class TieRange:
    """A macro average over the orders of equal scores."""

    expected: float
    """Its mean over all orders."""
    low: float
    high: float
    """Its least and its largest value, with each query in the order that is worst, or best, for it."""


def tie_ranges(
    rankings: Sequence[Ranking], scores: Sequence[Scores], measures: Sequence[str]
) -> dict[Kind, dict[str, TieRange]]:
    """By kind and measure, where the order of ties changes a mean; empty where rankings do not record ties."""
    shifts: dict[Kind, list[Mapping[str, Floats]]] = {}
    for ranking, scored in zip(rankings, scores, strict=True):
        if len(scored.query):
            shifts.setdefault(ranking.setting.kind, []).append(_shifts(ranking, scored, measures))
    ranges: dict[Kind, dict[str, TieRange]] = {}
    for kind, of_settings in shifts.items():
        chosen = [s for s in scores if s.setting.kind == kind and len(s.query)]
        for measure in measures:
            shift = np.mean([s.get(measure, np.zeros(3)) for s in of_settings], axis=0)
            if np.any(shift):
                mean = float(np.mean([s.values[measure].mean() for s in chosen]))
                ranges.setdefault(kind, {})[measure] = TieRange(*(mean + shift).tolist())
    return ranges


def _shifts(ranking: Ranking, scored: Scores, measures: Sequence[str]) -> Mapping[str, Floats]:
    """By measure, how far other orders move the setting's mean: on average, at least and at most."""
    ties = ranking.ties
    if ties is None or not ties.any():
        return {}
    groups = _Groups.of(ranking, ties)
    decided = np.unique(groups.query[groups.decides])
    if not len(decided):
        return {}
    rows = np.isin(ranking.query, decided)
    affected = replace(
        ranking, query=ranking.query[rows], passage=ranking.passage[rows],
        grade=ranking.grade[rows], rank=ranking.rank[rows], ties=None,
    )  # fmt: skip
    groups = _Groups.of(affected, ties[:, rows])
    place = np.searchsorted(scored.query, decided)
    worst, best = (
        score([replace(affected, rank=groups.ranks(affected, is_best))], measures)[0]
        for is_best in (False, True)
    )
    shifts = {}
    for measure in measures:
        as_ranked = scored.values[measure][place]
        reordered = (groups.expected(measure), worst.values[measure], best.values[measure])
        sums = [float((values - as_ranked).sum()) / len(scored.query) for values in reordered]
        # Sums in another order differ in their last bits.
        shifts[measure] = np.where(np.abs(sums) > 1e-12, sums, 0.0)
    return shifts


@dataclass(frozen=True, slots=True)
class _Groups:
    """The groups of equal scores that hold relevant passages, by query, the best first."""

    query: Ints
    start: Ints
    """How many passages stand before the group."""
    size: Ints
    relevant: Ints
    gain: Ints
    """The sum of the grades."""
    gain_burges: Floats | Ints
    """The sum of 2 ** grade - 1."""
    decides: Ints
    """Whether the order within the group changes a measure."""
    of_row: Ints
    """The group of each relevant passage."""
    grades: Sequence[Ints]
    """The grades of each query's relevant passages, the highest first."""

    @classmethod
    def of(cls, ranking: Ranking, ties: Ints) -> _Groups:
        before, after = ties.astype(np.int64)
        keys = np.stack([ranking.query, ranking.rank - 1 - before])
        (query, start), first, of_row, relevant = np.unique(
            keys, axis=1, return_index=True, return_inverse=True, return_counts=True
        )
        of_row = of_row.ravel()  # numpy 2.0 gives it a second axis
        size, grade = (before + after + 1)[first], ranking.grade
        gain = np.bincount(of_row, grade).astype(np.int64)
        uneven = np.bincount(of_row, grade != grade[first][of_row]) > 0
        starts = np.flatnonzero(np.r_[True, np.diff(ranking.query) > 0])
        grades = [np.sort(part)[::-1] for part in np.split(grade, starts[1:])]
        return cls(
            query, start, size, relevant, gain, np.bincount(of_row, 2.0**grade - 1),
            (size > relevant) | uneven, of_row, grades,
        )  # fmt: skip

    def ranks(self, ranking: Ranking, is_best: bool) -> Ints:
        """The ranks of the relevant passages in the order that is best, or worst, for each query."""
        order = np.lexsort((-ranking.grade if is_best else ranking.grade, self.of_row))
        sorted_group = self.of_row[order]
        nth = np.arange(len(order)) - np.searchsorted(sorted_group, sorted_group)
        first = self.start + (0 if is_best else self.size - self.relevant)
        rank = np.empty(len(order), np.int64)
        rank[order] = first[sorted_group] + 1 + nth
        return rank

    def expected(self, measure: str) -> Floats:
        """By query, the mean of a measure over all orders of equal scores.

        A group of g passages, r of them relevant, begins after s other passages. Each of its places holds a relevant
        passage with probability r/g, so each place counts with the group's mean gain. For average precision, a relevant
        passage at the group's j-th place has on average (j - 1)(r - 1)/(g - 1) relevant ones of the group before it. The
        first relevant passage is at place j with probability C(g - j, r - 1)/C(g, r). Example: one relevant passage ties
        with one other at ranks 1 and 2, so map is (1 + 1/2)/2 = .75.
        """
        name, _, parameter = measure.replace(".", "@").partition("@")
        queries, row = np.unique(self.query, return_inverse=True)
        total = np.bincount(row, self.relevant)
        deepest = int((self.start + self.size).max())
        cut = int(parameter) if parameter and name != "rbp" else deepest
        most = total[row].astype(np.int64) if name == "r-precision" else np.full(len(row), cut)
        inside = np.clip(most - self.start, 0, self.size)
        share = self.relevant / self.size
        if name in ("ndcg", "dcg", "ndcg_burges", "dcg_burges", "rbp"):
            place = np.arange(1, deepest + 1)
            keeps = float(f"0.{parameter}") if name == "rbp" else 0.0
            weight = (1 - keeps) * keeps ** (place - 1) if name == "rbp" else 1 / np.log2(place + 1)
            gains: Floats | Ints = self.gain_burges if "burges" in name else self.gain
            sums = np.r_[0.0, np.cumsum(weight)]
            parts = gains / self.size * (sums[self.start + inside] - sums[self.start])
            value: Floats = np.bincount(row, parts).astype(float)
            if name.startswith("ndcg"):
                weights = 1 / np.log2(np.arange(2, max(map(len, self.grades)) + 2))
                ideal = [
                    float(
                        (2.0 ** g[:cut] - 1 if "burges" in name else g[:cut])
                        @ weights[: len(g[:cut])]
                    )
                    for g in self.grades
                ]
                value = value / np.array(ideal)
            return value
        if name == "map":
            harmonic = np.r_[0.0, np.cumsum(1 / np.arange(1, deepest + 1))]
            part = harmonic[self.start + inside] - harmonic[self.start]
            earlier = np.cumsum(self.relevant) - self.relevant
            earlier = earlier - earlier[np.searchsorted(row, row)]
            others = (self.relevant - 1) / np.maximum(self.size - 1, 1)
            sums = (earlier + 1) * part + others * (inside - (self.start + 1) * part)
            return np.asarray(np.bincount(row, share * sums) / total)
        if name in ("mrr", "hit_rate"):
            chances = np.zeros(len(queries))
            first = np.searchsorted(row, np.arange(len(queries)))
            chance = _first_at if name == "mrr" else _any_within
            for n, group in enumerate(first.tolist()):
                chances[n] = chance(
                    *(int(x[group]) for x in (self.start, self.size, self.relevant, inside))
                )
            return chances
        hits = np.bincount(row, share * inside)
        sizes: dict[str, Ints | Floats | int] = {
            "recall": total,
            "precision": cut,
            "hits": 1,
            "f1": (cut + total) / 2,
            "r-precision": total,
        }
        return np.asarray(hits / sizes[name])


@cache
def _first_at(start: int, size: int, relevant: int, inside: int) -> float:
    """The mean reciprocal rank of a group's first relevant passage; only the group's `inside` first places count."""
    place = np.arange(1, min(inside, size - relevant + 1) + 1)
    return float((_ways(size - place, relevant - 1, size, relevant) / (start + place)).sum())


@cache
def _any_within(_start: int, size: int, relevant: int, inside: int) -> float:
    """The probability that a relevant passage is at one of the group's `inside` first places."""
    return float(1 - _ways(np.array([size - inside]), relevant, size, relevant)[0])


def _ways(count: Ints, taken: int, size: int, relevant: int) -> Floats:
    """C(count, taken) / C(size, relevant)."""
    from scipy.special import gammaln

    def log(n: Ints, k: int) -> Floats:
        return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))

    possible = count >= taken
    logs = log(np.where(possible, count, taken), taken) - log(np.array(size), relevant)
    return np.where(possible, np.exp(logs), 0.0)

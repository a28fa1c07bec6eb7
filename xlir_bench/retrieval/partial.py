"""What a search of a pool, or of a part of it, has found: plain data that add up to the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from xlir_bench.records import Floats, Ints, Ranking, Setting
from xlir_bench.retrieval.kernels import merge_best
from xlir_bench.retrieval.pool import Want


@dataclass(frozen=True, slots=True)
class Best:
    """The best passages of each query: score descending, then position; -inf and -1 where there are fewer."""

    scores: Floats
    positions: Ints
    """Positions in the pool."""

    @classmethod
    def of(cls, queries: int, depth: int) -> Best:
        """No passage yet."""
        return cls(np.full((queries, depth), -np.inf), np.full((queries, depth), -1, np.int64))

    def add(self, query: Ints, scores: Floats, positions: Ints) -> None:
        """Put these passages among the best of their queries."""
        merge_best(query, scores, positions, self.scores, self.positions)


@dataclass(frozen=True, slots=True)
class Partial:
    """For the queries of one language: counts before each relevant passage, and the best passages."""

    want: Want
    best: Mapping[Setting, Best]
    before: Mapping[bool, Ints]
    """How many stand before each relevant passage, in the whole pool (True) and in its language (False); -1 where
    an approximate search did not retrieve it."""
    ties: Mapping[bool, Ints] = field(default_factory=dict)
    """The same of those with an equal score, before it and after it; empty where nothing is known of them."""

    @classmethod
    def of(cls, want: Want, with_ties: bool = False) -> Partial:
        """Nothing found yet."""
        depths = {setting: want.depth(setting) for setting in want.settings}
        best = {s: Best.of(want.queries, depth) for s, depth in depths.items() if depth > 0}
        none = {pooled: np.zeros(len(want.relevant.query), np.int64) for pooled in want.scopes}
        shape = (2, len(want.relevant.query))
        ties = {pooled: np.zeros(shape, np.int32) for pooled in want.scopes if with_ties}
        return cls(want, best, none, ties)

    def merge(self, other: Partial) -> None:
        """Add what was found in another part of the pool."""
        for pooled, counts in other.before.items():
            self.before[pooled][:] += counts
        for pooled, counts in other.ties.items():
            self.ties[pooled][:] += counts
        for setting, best in other.best.items():
            query, place = np.nonzero(best.positions >= 0)
            self.best[setting].add(query, best.scores[query, place], best.positions[query, place])

    def rankings(self) -> list[Ranking]:
        """The rankings of all settings, once every part of the pool was added."""
        return [self._ranking(setting) for setting in self.want.settings]

    def _ranking(self, setting: Setting) -> Ranking:
        want, relevant = self.want, self.want.relevant
        start, items = want.pool.rows(setting).start, want.items(setting)
        query = relevant.query[items]
        best, top, top_scores = self.best.get(setting), None, None
        if best is not None:
            scored = np.unique(query) if want.answered is None else want.answered
            top_scores = best.scores[scored]
            top = np.where(best.positions[scored] < 0, -1, best.positions[scored] - start)
        ties = self.ties.get(setting.pooled)
        return Ranking(
            setting=setting,
            candidates=want.candidates(setting),
            query=query,
            passage=relevant.position[items] - start,
            grade=relevant.grade[items],
            rank=self.before[setting.pooled][items] + 1,
            top=top,
            top_scores=top_scores,
            answered=want.answered,
            ties=None if ties is None else _without_room(ties[:, items]),
        )


def _without_room(counts: Ints) -> Ints:
    """The same counts; where all are 0, as they mostly are, they take no memory."""
    return counts if counts.any() else np.broadcast_to(np.int32(0), counts.shape)

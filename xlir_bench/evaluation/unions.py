"""Do translations of a question score passages alike (MRC)?

Each of them scores every passage that any of them ranks among its best.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from xlir_bench.measures.fairness import (
    PerQuery,
    PoolRanking,
    expected_score_correlation,
    score_correlation,
)
from xlir_bench.records import Collection, Floats, Ints
from xlir_bench.results.tables import BEST, Codes, scores_table
from xlir_bench.retrieval.retriever import ScoringIndex

if TYPE_CHECKING:
    import pyarrow as pa

CORRELATED = (5, 10, 20)
"""The values of k in MRC@k: how many of each question's best passages are correlated."""
AT_ONCE = 5_000_000
"""About how many scores are in memory at a time; a result stores them only if all fit. XQuAD-R has 2 to 3 million."""
UNASKED = 25_000
"""With more questions than this, over all languages, MRC is computed only on request; XQuAD-R has 13,090."""


@dataclass(frozen=True, slots=True)
class Unions:
    """For each question and its translations: all passages that any of them ranks among its best."""

    pools: Sequence[PoolRanking]
    number: Sequence[Ints]
    """For each pool, by scored question: a number that translations of a question share."""
    key: Sequence[Ints]
    """For each pool, by scored question: its best passages, each as the question's number times `size`, plus the
    passage's position in the pool; -1 pads."""
    union: Ints
    """All keys once, ascending: the union of the question with the first number, then of the second, and so on."""
    size: int
    """How many passages the pool has."""
    ends: Ints
    """Where in `union` the keys of each number begin, and, last, where all keys end."""

    @classmethod
    def of(cls, pools: Sequence[PoolRanking]) -> Unions:
        """From pools whose rankings list the best passages."""
        names = Codes({p.lang: [p.query_ids[n] for n in p.ranking.scored] for p in pools})
        number = [names.of(p.lang, np.arange(len(p.ranking.scored))) for p in pools]
        size, keys = sum(pools[0].passage_counts.values()), []
        for p, numbers in zip(pools, number, strict=True):
            top = np.asarray(p.ranking.top)[:, :BEST].astype(np.int64)
            keys.append(np.where(top < 0, -1, top + numbers[:, None] * size))
        union = np.unique(np.concatenate([key.ravel() for key in keys]))
        union = union[union >= 0]
        ends = np.searchsorted(union, np.arange(len(names.names) + 1) * size)
        return cls(pools, number, keys, union, size, ends)

    def turns(self) -> list[Ints]:
        """Numbers in groups with about `AT_ONCE` scores each; questions without a translation are left out."""
        askers = np.bincount(np.concatenate(self.number), minlength=len(self.ends) - 1)
        sizes = np.diff(self.ends)
        shared = np.flatnonzero((askers > 1) & (sizes > 0))
        turn = np.cumsum((sizes * askers)[shared]) // AT_ONCE
        return np.split(shared, np.flatnonzero(np.diff(turn)) + 1) if len(shared) else []

    def scored(self, pool: int, numbers: Ints, index: ScoringIndex) -> Scored:
        """The questions with these numbers in a pool's language, with the scores of all passages in their unions."""
        ranking, number = self.pools[pool].ranking, self.number[pool]
        question = np.flatnonzero(np.isin(number, numbers))
        start = self.ends[number[question]]
        length = self.ends[number[question] + 1] - start
        row, shift = np.repeat(question, length), np.cumsum(length) - length - start
        position = self.union[np.arange(len(row)) - np.repeat(shift, length)] % self.size
        # Rounded as in the stored table, so that figures computed from the table are the same.
        score = index.scores(ranking.setting, ranking.scored[row], position).astype(np.float32)
        key = self.key[pool][question]
        place = np.where(key < 0, -1, np.searchsorted(self.union, key))
        return Scored(
            self.pools[pool], question, number[question], place, shift, row, position, score
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """Some questions of one language, with the scores of all passages in their unions."""

    pool: PoolRanking
    question: Ints
    """Their positions among the scored questions of the pool."""
    number: Ints
    place: Ints
    """The positions in `Unions.union` of each question's best passages; -1 pads."""
    shift: Ints
    """By question: added to one of its places, this gives the position of that passage's score in `score`."""
    row: Ints
    """For each score, its question: a position among the scored questions of the pool."""
    position: Ints
    """For each score, its passage: a position in the pool."""
    score: Floats

    def of(self, question: Ints, place: Ints) -> Floats:
        """The scores at these places, a row for each of these questions (positions in `question`); nan for padding."""
        position = np.where(place < 0, -1, place + self.shift[question][:, None])
        return np.append(self.score, np.nan).astype(float)[position]


def score_correlations(
    pools: Sequence[PoolRanking], index: ScoringIndex, collection: Collection, many: bool
) -> tuple[dict[str, dict[str, PerQuery]], pa.Table | None]:
    """MRC@k by k and query language, and a table of the scores it is computed from.

    For two languages: Spearman's correlation of the scores that a question and its translation give to the union of
    their best k passages. A question's value is the mean over its other languages. With more than `UNASKED` questions
    nothing is computed unless `many` is true.
    """
    pools = [p for p in pools if p.ranking.top is not None and len(p.ranking.scored)]
    questions = sum(len(p.ranking.scored) for p in pools)
    if len(pools) < 2 or (questions > UNASKED and not many):
        return {}, None
    unions = Unions.of(pools)
    if not (turns := unions.turns()):
        return {}, None
    sums = {p.lang: np.zeros((len(CORRELATED), 2, len(p.ranking.scored))) for p in pools}
    table = None
    for numbers in turns:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            scored = list(
                threads.map(partial(unions.scored, numbers=numbers, index=index), range(len(pools)))
            )
        if len(turns) == 1:
            table = scores_table(
                [(s.pool.ranking, s.row, s.position, s.score) for s in scored], collection
            )
        for first, second in combinations(scored, 2):
            _add(sums, first, second)
    values: dict[str, dict[str, PerQuery]] = {}
    for column, k in enumerate(CORRELATED):
        for p in pools:
            total, count = sums[p.lang][column]
            has_value = count > 0
            chance = expected_score_correlation(p.ranking.candidates, k)
            values.setdefault(f"mrc@{k}", {})[p.lang] = PerQuery(
                p.ranking.scored[has_value],
                total[has_value] / count[has_value],
                np.full(has_value.sum(), chance),
            )
    return values, table


def _add(sums: Mapping[str, Floats], first: Scored, second: Scored) -> None:
    """Correlate the scores of each question in two languages; add the correlation to the sums and counts of both."""
    _, one, two = np.intersect1d(first.number, second.number, True, return_indices=True)
    best = first.place[one], second.place[two]
    for column, k in enumerate(CORRELATED):
        left, right = (place[:, :k] for place in best)
        in_both = (right[:, :, None] == left[:, None, :]).any(axis=2)
        union = np.concatenate([left, np.where(in_both, -1, right)], axis=1)
        correlations = score_correlation(first.of(one, union), second.of(two, union))
        has_value = np.isfinite(correlations)
        for scored, row in ((first, one), (second, two)):
            of_lang, question = sums[scored.pool.lang], scored.question[row[has_value]]
            of_lang[column, 0, question] += correlations[has_value]
            of_lang[column, 1, question] += 1

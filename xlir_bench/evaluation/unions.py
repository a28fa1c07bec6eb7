"""Do translations of a question score passages alike? True scores of every passage that one of them ranks among its best."""

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
"""How many of the best passages scores are correlated over (MRC@k)."""
AT_ONCE = 5_000_000
"""So many scores at most are held at a time, and kept; XQuAD-R has 2 to 3 million."""
UNASKED = 25_000
"""So many questions at most, of all languages, are scored once more without being told to; XQuAD-R has 13,090."""


@dataclass(frozen=True, slots=True)
class Unions:
    """For each question and its translations: all passages that any of them ranks among its best. It needs no score."""

    pools: Sequence[PoolRanking]
    number: Sequence[Ints]
    """Of each pool, by scored question: the number that translations share."""
    key: Sequence[Ints]
    """Of each pool, by scored question: its best passages, each as its number times the size of the pool, plus its
    position; -1 pads."""
    union: Ints
    """All keys once, ascending: the union of the first number, then of the second, and so on."""
    size: int
    """Of the pool."""
    ends: Ints
    """Where the union of a number begins, and last where all end."""

    @classmethod
    def of(cls, pools: Sequence[PoolRanking]) -> Unions:
        """Of pools that have lists of their best passages."""
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
        """Numbers in groups, so that not too many scores are held at a time; a question without a translation is left out."""
        askers = np.bincount(np.concatenate(self.number), minlength=len(self.ends) - 1)
        sizes = np.diff(self.ends)
        shared = np.flatnonzero((askers > 1) & (sizes > 0))
        turn = np.cumsum((sizes * askers)[shared]) // AT_ONCE
        return np.split(shared, np.flatnonzero(np.diff(turn)) + 1) if len(shared) else []

    def scored(self, pool: int, numbers: Ints, index: ScoringIndex) -> Scored:
        """The questions with these numbers as one language asks them, with the scores of all passages in their unions."""
        ranking, number = self.pools[pool].ranking, self.number[pool]
        question = np.flatnonzero(np.isin(number, numbers))
        start = self.ends[number[question]]
        length = self.ends[number[question] + 1] - start
        row, shift = np.repeat(question, length), np.cumsum(length) - length - start
        position = self.union[np.arange(len(row)) - np.repeat(shift, length)] % self.size
        # Rounded as the table keeps them: figures made of the table later are the same.
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
    """Rows of its scored questions."""
    number: Ints
    place: Ints
    """Where the best passages of each question stand in `Unions.union`; -1 pads."""
    shift: Ints
    """By question, what to add to such a place to find its score in `score`."""
    row: Ints
    """The scored question of each score."""
    position: Ints
    """The passage of each score."""
    score: Floats

    def of(self, question: Ints, place: Ints) -> Floats:
        """The scores of these places, a line for each of these questions; nan where there is none."""
        there = np.where(place < 0, -1, place + self.shift[question][:, None])
        return np.append(self.score, np.nan).astype(float)[there]


def score_correlations(
    pools: Sequence[PoolRanking], index: ScoringIndex, collection: Collection, many: bool
) -> tuple[dict[str, dict[str, PerQuery]], pa.Table | None]:
    """MRC@k by k and query language, and the scores that it follows from as a table.

    For two languages: Spearman's correlation of the scores of a question and its translation over the union of their
    best k; its mean over the other languages of a question. With more than `UNASKED` questions nothing is
    computed, unless `many` are wanted.
    """
    pools = [p for p in pools if p.ranking.top is not None and len(p.ranking.scored)]
    questions = sum(len(p.ranking.scored) for p in pools)
    if len(pools) < 2 or (questions > UNASKED and not many):
        return {}, None
    everything = Unions.of(pools)
    if not (turns := everything.turns()):
        return {}, None
    sums = {p.lang: np.zeros((len(CORRELATED), 2, len(p.ranking.scored))) for p in pools}
    table = None
    for numbers in turns:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            scored = list(
                threads.map(
                    partial(everything.scored, numbers=numbers, index=index), range(len(pools))
                )
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
            known = count > 0
            chance = expected_score_correlation(p.ranking.candidates, k)
            values.setdefault(f"mrc@{k}", {})[p.lang] = PerQuery(
                p.ranking.scored[known], total[known] / count[known], np.full(known.sum(), chance)
            )
    return values, table


def _add(sums: Mapping[str, Floats], first: Scored, second: Scored) -> None:
    """Correlate the scores of each question in two languages, and add that to the sums and counts of both."""
    _, one, two = np.intersect1d(first.number, second.number, True, return_indices=True)
    best = first.place[one], second.place[two]
    for column, k in enumerate(CORRELATED):
        left, right = (place[:, :k] for place in best)
        again = (right[:, :, None] == left[:, None, :]).any(axis=2)
        union = np.concatenate([left, np.where(again, -1, right)], axis=1)
        correlations = score_correlation(first.of(one, union), second.of(two, union))
        known = np.isfinite(correlations)
        for scored, row in ((first, one), (second, two)):
            of_lang, question = sums[scored.pool.lang], scored.question[row[known]]
            of_lang[column, 0, question] += correlations[known]
            of_lang[column, 1, question] += 1

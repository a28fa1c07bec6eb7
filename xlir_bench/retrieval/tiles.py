"""The scores of some queries and passages, counted on the device that computes them.

An engine computes the scores, counts them, and lists the pairs that are too near to tell: numba does so on the CPU, torch
on another device (`on_device`). The search settles these pairs by their true scores, so all engines find the same ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlir_bench.options.running import CPU
from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.kernels import count_above, count_exact, list_best
from xlir_bench.retrieval.similarity import Similarity
from xlir_bench.retrieval.vectors import Rows

LISTED = 1 << 18
"""Pairs that are settled together; there have to be more of them than passages in a block."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The scores of some queries (by row) and passages (by column), in the memory of the CPU."""

    similarity: Similarity
    queries: Rows
    passages: Rows
    scores: Any
    error: Floats | None
    """By row, the greatest error of a score; None: the scores are the true ones."""

    def leave_out(self, row: Ints, column: Ints) -> None:
        """Give these pairs, which are not candidates, a score below any other."""
        self.scores[row, column] = -np.inf

    def count(
        self,
        row: Ints,
        own: Floats,
        column: Ints,
        start: Ints,
        stop: Ints,
        before: Ints,
        ties: Ints,
    ) -> Iterator[tuple[Ints, Ints]]:
        """For each item, add to `before` how many columns [start, stop) of its row score higher.

        An item is a passage with the true score `own` at a `column`, which may be outside the tile. If scores are true ones,
        columns with an equal score are added to `ties`: to its first row if they are before the item, to its second if
        after. Otherwise, columns that are too near to tell are not counted. They are yielded as pairs of an item and a
        column, many at a time, and the item's own column may be among them. The arrays are filled again: use them before
        the next ones are yielded.
        """
        if self.error is None:
            count_exact(self.scores, row, own, column, start, stop, before, ties)
            return
        low, high = around(own, self.error[row])
        near_item, near_column = np.empty(LISTED, np.int64), np.empty(LISTED, np.int64)
        done = 0
        while done < len(row):
            items = row, low, high, column, start, stop
            done, near = count_above(self.scores, *items, done, before, near_item, near_column)
            yield near_item[:near], near_column[:near]

    def best(self, start: int, stop: int, bars: Floats, depth: int) -> Iterator[tuple[Ints, Ints]]:
        """The columns [start, stop) that may truly be among the `depth` best of their row, and score its bar or more.

        They are yielded as pairs of a row and a column; some others may be among them. The arrays are filled again: use them
        before the next ones are yielded.
        """
        error = np.zeros(len(bars)) if self.error is None else self.error
        low, slack = (bars - error).astype(np.float32), error.astype(np.float32)
        row, column = np.empty(LISTED, np.int64), np.empty(LISTED, np.int64)
        done = 0
        while done < len(bars):
            done, count = list_best(self.scores, start, stop, low, slack, depth, done, row, column)
            yield row[:count], column[:count]

    def exact(self, row: Ints, column: Ints) -> Floats:
        """The true score of each of these pairs."""
        if self.error is None:
            return np.asarray(self.scores[row, column], np.float64)
        return self.similarity.exact(self.queries, row, self.passages, column)


@dataclass(frozen=True, slots=True)
class Engine:
    """Computes tiles; this class does so on the CPU."""

    share: int | None = None
    """How many queries a tile has; None: each thread gets an equal share, up to a limit."""
    name: str = CPU
    """The device, as `--search-device` names it."""

    def placed(self, rows: Rows) -> Rows:
        """Prepared rows, in the memory of the device that compares them."""
        return rows

    def tile(self, similarity: Similarity, queries: Rows, passages: Rows) -> Tile:
        """The scores of these rows, which have to be placed."""
        scores, error = similarity.scores(queries, passages)
        return Tile(similarity, queries, passages, scores, error)


NUMBA = Engine()


def around(own: Floats, error: Floats) -> tuple[Floats, Floats]:
    """The lowest and the highest computed score whose true score may be `own`."""
    return (own - error).astype(np.float32), (own + error).astype(np.float32)

"""The scores of some queries and passages, counted where they are computed.

An engine makes them and says what may be near: numba here, torch on a device (`on_device`). The search takes what it
is told and settles near pairs by their true scores, so that all engines find the same ranks.
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
"""Pairs that are settled together; more than a block has passages."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The scores of some queries (by row) and passages (by column), in this machine's memory."""

    similarity: Similarity
    queries: Rows
    passages: Rows
    scores: Any
    error: Floats | None
    """By row, how far scores may be from the true ones; None: they are the true ones."""

    def leave_out(self, row: Ints, column: Ints) -> None:
        """These pairs are no candidates: they score less than any other."""
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

        Those that score the same are added to `ties`: in its first row those that stand before the item, in its second
        those that stand after it. An item is a passage of true score `own` at a `column`, which may be outside the tile. Columns that are
        too near to tell are not counted but given as (item, column), many pairs at a time; each time they have to
        be used before the next. The item itself may be among them.
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
        """The columns [start, stop) that may truly be among the `depth` best of their row, and reach its bar.

        As (row, column), and maybe some more; each time they have to be used before the next.
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
    """Makes tiles: here with this machine's processors."""

    share: int | None = None
    """How many queries a tile best has; None: as many as there are for each thread, and not too many."""
    name: str = CPU
    """The device, as `--search-device` has it."""

    def placed(self, rows: Rows) -> Rows:
        """Prepared rows, in the place where they are compared."""
        return rows

    def tile(self, similarity: Similarity, queries: Rows, passages: Rows) -> Tile:
        """The scores of rows that were placed."""
        scores, error = similarity.scores(queries, passages)
        return Tile(similarity, queries, passages, scores, error)


NUMBA = Engine()


def around(own: Floats, error: Floats) -> tuple[Floats, Floats]:
    """From where to where a score may truly be `own`."""
    return (own - error).astype(np.float32), (own + error).astype(np.float32)

"""Compares the queries of one language with a block of passages, and adds to their counts and lists of best passages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Floats, Setting
from xlir_bench.retrieval.kernels import settle
from xlir_bench.retrieval.pool import Partial
from xlir_bench.retrieval.similarity import Similarity
from xlir_bench.retrieval.tiles import Engine, Tile
from xlir_bench.retrieval.vectors import Rows


@dataclass(frozen=True, slots=True)
class PoolBlock:
    """Passages that follow each other in the pool."""

    first: int
    """The position of its first passage in the pool."""
    passages: Rows
    """Prepared for the similarity, and placed where the engine compares them."""

    def overlap(self, rows: slice) -> slice:
        """The rows of the block that are in this slice of the pool."""
        return inside(rows, slice(self.first, self.first + self.passages.shape[0]))


@dataclass(frozen=True, slots=True)
class Search:
    """The queries of one language, and what the search of their settings has found so far."""

    similarity: Similarity
    engine: Engine
    partial: Partial
    queries: Rows
    """Prepared for the similarity, and placed where the engine compares them."""
    own: Floats
    """The true score of each relevant passage."""

    def see(self, rows: slice, block: PoolBlock) -> None:
        """Compare these queries with a block of passages, and add to `partial`."""
        want = self.partial.want
        searched = [want.pool.bounds[lang] for lang in want.pool.langs if lang in want.langs]
        for span in joined(block.overlap(positions) for positions in searched):
            seen = PoolBlock(block.first + span.start, block.passages[span])
            tile = self.engine.tile(self.similarity, self.queries[rows], seen.passages)
            if want.own is not None:
                column = want.own[rows] - seen.first
                row = np.flatnonzero((column >= 0) & (column < seen.passages.shape[0]))
                tile.leave_out(row, column[row])
            for pooled in want.scopes:
                self._count(pooled, tile, rows, seen)
            for setting in self.partial.best:
                self._keep(setting, tile, rows, seen)

    def _count(self, pooled: bool, tile: Tile, rows: slice, seen: PoolBlock) -> None:
        """For each relevant passage of these queries, count the tile's passages that stand before it, and its ties."""
        relevant, pool = self.partial.want.relevant, self.partial.want.pool
        first, last = np.searchsorted(relevant.query, [rows.start, rows.stop])
        # Unless the setting is pooled, a relevant passage is compared with its own language alone.
        spans = [
            seen.overlap(slice(0, pool.size) if pooled else pool.bounds[lang])
            for lang in pool.langs
        ]
        start, stop = (np.array([getattr(s, end) for s in spans]) for end in ("start", "stop"))
        lang = relevant.lang[first:last]
        items = first + np.flatnonzero(stop[lang] > start[lang])
        row, lang = relevant.query[items] - rows.start, relevant.lang[items]
        own, position = self.own[items], relevant.position[items]
        before, ties = np.zeros(len(items), np.int64), np.zeros((2, len(items)), np.int64)
        for i, column in tile.count(
            row, own, position - seen.first, start[lang], stop[lang], before, ties
        ):
            true = tile.exact(row[i], column)
            settle(i, true, seen.first + column, own, position, before, ties)
        before += ties[0]
        self.partial.before[pooled][items] += before
        self.partial.ties[pooled][:, items] += ties.astype(np.int32)

    def _keep(self, setting: Setting, tile: Tile, rows: slice, seen: PoolBlock) -> None:
        """Add the tile's best passages to the best passages of these queries."""
        best = self.partial.best[setting]
        span = seen.overlap(self.partial.want.pool.rows(setting))
        if span.stop == span.start:
            return
        # A passage that scores less than the last one kept is not among the best.
        bars, depth = best.scores[rows, -1], best.scores.shape[1]
        for row, column in tile.best(span.start, span.stop, bars, depth):
            best.add(row + rows.start, tile.exact(row, column), seen.first + column)


def inside(wanted: slice, held: slice) -> slice:
    """The part of `held` that is in `wanted`, counted from the first position of `held`."""
    size = held.stop - held.start
    start, stop = (min(max(x - held.start, 0), size) for x in (wanted.start, wanted.stop))
    return slice(start, stop)


def joined(spans: Iterable[slice]) -> list[slice]:
    """These spans; those that touch are joined, and empty ones are left out."""
    whole: list[slice] = []
    for span in spans:
        if whole and whole[-1].stop == span.start:
            whole[-1] = slice(whole[-1].start, span.stop)
        elif span.stop > span.start:
            whole.append(span)
    return whole

"""Late interaction: each token of a question counts with the token of the passage that is most like it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xlir_bench.encoders.multivector import TokenVectors
from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.kernels import true_maxsims
from xlir_bench.retrieval.similarity import TINY, UNIT, lengths_of, require_short

TOKENS = 2048
"""Tokens of questions, and of passages, that are compared at a time: the products are 16 MB."""
NOTHING = -1e9
"""What a passage without any token scores, as in sentence-transformers: less than any other."""


@dataclass(frozen=True, slots=True)
class MaxSim:
    """The sum over the tokens of a question of the largest inner product with a token of the passage."""

    def prepared(self, rows: TokenVectors) -> TokenVectors:
        """Float32, token by token in memory."""
        require_short(rows.vectors)
        return TokenVectors(np.ascontiguousarray(rows.vectors, np.float32), rows.ends)

    def scores(self, queries: TokenVectors, passages: TokenVectors) -> tuple[Floats, Floats]:
        """Matrix products of some tokens with some others, one after another."""
        sums = np.zeros((queries.shape[0], passages.shape[0]))
        for of_passages in _pieces(passages.ends):
            some, filled = passages[of_passages], passages.lengths[of_passages] > 0
            for of_queries in _pieces(queries.ends):
                asked = queries[of_queries]
                products = asked.vectors @ some.vectors.T
                tile = sums[of_queries, of_passages]
                if products.size:
                    largest = np.maximum.reduceat(products, some.ends[:-1][filled], axis=1)
                    asks = asked.lengths > 0
                    summed = np.add.reduceat(largest, asked.ends[:-1][asks], axis=0, dtype=float)
                    tile[np.ix_(asks, filled)] = summed
                tile[:, ~filled] = NOTHING
        token = np.repeat(np.arange(queries.shape[0]), queries.lengths)
        together = np.bincount(token, lengths_of(queries.vectors), queries.shape[0])
        longest = lengths_of(passages.vectors).max(initial=0.0)
        # As for one product (see `Dense`), of which the largest can be no further off than any; then added up.
        dimension = queries.shape[1]
        error = together * (longest * (dimension + 16) * UNIT * 1.01)
        return sums.astype(np.float32), error + queries.lengths * (dimension * TINY)

    def exact(
        self, queries: TokenVectors, query: Ints, passages: TokenVectors, passage: Ints
    ) -> Floats:
        """The same in float64, in an order that every machine keeps."""
        scores = np.full(len(query), NOTHING)
        true_maxsims(
            queries.vectors, queries.ends, query, passages.vectors, passages.ends, passage, scores
        )
        return scores

    def table(self, queries: TokenVectors, passages: TokenVectors) -> Floats:
        """The same of all pairs."""
        shape = queries.shape[0], passages.shape[0]
        query, passage = np.indices(shape).reshape(2, -1)
        return self.exact(queries, query, passages, passage).reshape(shape)


def _pieces(ends: Ints) -> Iterator[slice]:
    """Texts that follow each other, some `TOKENS` at a time."""
    start, count = 0, len(ends) - 1
    while start < count:
        stop = int(np.searchsorted(ends, ends[start] + TOKENS, "right")) - 1
        stop = min(max(stop, start + 1), count)
        yield slice(start, stop)
        start = stop

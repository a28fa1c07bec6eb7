"""How alike two texts are: fast scores with a known error, and true ones to settle what is too close to call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from xlir_bench.arrays import slices
from xlir_bench.encoders.multivector import TokenVectors
from xlir_bench.errors import BadVectorsError
from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.kernels import (
    sparse_products,
    sparse_scores,
    true_maxsims,
    true_products,
    true_table,
    unit_rows,
)
from xlir_bench.retrieval.vectors import Rows

UNIT = 2.0**-24
"""Half the distance from 1 to the next number in float32."""
TINY = 2.0**-126
"""The smallest number that float32 holds with full precision."""
TERMS = 384
"""The most terms that a matrix product adds up: short sums have smaller errors, so fewer pairs have to be settled."""
COLUMNS = 500
"""Passages whose scores are added to at a time: these scores stay in the processor's cache."""
LONGEST = 1e17
"""The most that a vector's length may be: an inner product, and a sum of thousands, then stays finite in float32."""
TOKENS = 2048
"""How many tokens of questions are compared with how many tokens of passages at a time: the products take 16 MB."""
NOTHING = -1e9
"""The score of a passage without tokens, as in sentence-transformers: below any other."""


Form: TypeAlias = Literal["dense", "sparse", "tokens"]
"""How a text is represented: by a vector, by weights of words, or by a vector for each token."""


class Similarity(Protocol):
    """How an exact search compares texts."""

    form: ClassVar[Form]

    def prepared(self, rows: Rows, into: Floats | None = None) -> Rows:
        """Rows in the form that is compared; dense ones are written to `into` if it is given."""

    def scores(self, queries: Rows, passages: Rows) -> tuple[Floats, Floats | None]:
        """A float32 score for each query and passage, and for each query the greatest error of its scores.

        If the scores are the true ones, the errors are None.
        """

    def exact(self, queries: Rows, query: Ints, passages: Rows, passage: Ints) -> Floats:
        """The true score of each pair of rows in float64: the same bits whatever else is computed, on every machine."""

    def table(self, queries: Rows, passages: Rows) -> Floats:
        """The true scores of all queries, by row, and all passages, by column."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Cosine, or the inner product of vectors as they are."""

    form: ClassVar[Form] = "dense"
    cosine: bool = True

    def prepared(self, rows: Floats, into: Floats | None = None) -> Floats:
        """Float32 rows, C-contiguous; of unit length for cosine."""
        if self.cosine:
            return normalised(rows, into)
        require_short(rows)
        if into is None:
            return np.ascontiguousarray(rows, np.float32)
        into[:] = rows
        return into

    def scores(self, queries: Floats, passages: Floats) -> tuple[Floats, Floats]:
        """A matrix product or, for many dimensions, the sum of several."""
        dimension = queries.shape[1]
        first, *others = slices(dimension, -(-dimension // max(1, -(-dimension // TERMS))))
        scores = queries[:, first] @ passages[:, first].T
        for rows in slices(len(passages), COLUMNS) if others else ():
            for part in others:
                scores[:, rows] += queries[:, part] @ passages[rows, part].T
        return scores, self.error(queries, passages, first.stop + len(others))

    def error(self, queries: Floats, passages: Floats, terms: int) -> Floats:
        """By query, the greatest error of float32 scores in which no product goes through more than `terms` additions."""
        # This holds for any order of additions. The 4 is for the rounding of products, unit lengths and compared scores.
        error = (min(terms, queries.shape[1]) + 4) * UNIT * 1.01
        if self.cosine:
            return np.full(len(queries), error)
        longest = lengths_of(passages).max(initial=0.0)
        # Products too small for float32 are lost.
        lost = queries.shape[1] * TINY
        return np.asarray(lengths_of(queries) * (longest * error) + lost)

    def exact(self, queries: Floats, query: Ints, passages: Floats, passage: Ints) -> Floats:
        """Inner products, summed in an order that every machine keeps."""
        scores, ordered = np.empty((2, len(query)))
        # With the pairs of a passage next to each other, it is fetched once: many pairs take half the time. Numpy sorts
        # integers of 16 bits fastest.
        order = np.argsort(passage.astype(np.uint16), kind="stable")
        true_products(queries, query[order], passages, passage[order], ordered)
        scores[order] = ordered
        return scores

    def table(self, queries: Floats, passages: Floats) -> Floats:
        """The same bits as `exact`, without a list of pairs."""
        scores = np.empty((len(queries), len(passages)))
        true_table(queries, passages, scores)
        return scores


COSINE = Dense()


@dataclass(frozen=True, slots=True)
class Sparse:
    """The inner product of rows in which nearly all numbers are zero: words and their weights.

    The fast scores are already exact, so nothing has to be settled.
    """

    form: ClassVar[Form] = "sparse"

    def prepared(self, rows: csr_array, into: Floats | None = None) -> csr_array:
        """Rows with their columns in ascending order, in which products are added."""
        rows.sort_indices()
        return rows

    def scores(self, queries: csr_array, passages: csr_array) -> tuple[Floats, None]:
        """The true scores, in float32."""
        by_column, count = passages.tocsc(), passages.shape[0]
        return sparse_scores(*_arrays(queries), *_arrays(by_column), count), None

    def exact(self, queries: csr_array, query: Ints, passages: csr_array, passage: Ints) -> Floats:
        """The same bits as `scores`, for a list of pairs."""
        return np.asarray(
            sparse_products(query, *_arrays(queries), passage, *_arrays(passages)), np.float64
        )

    def table(self, queries: csr_array, passages: csr_array) -> Floats:
        """The same numbers as `scores`, in float64."""
        return self.scores(queries, passages)[0].astype(np.float64)


def _arrays(matrix: csr_array) -> tuple[Ints, Ints, Floats]:
    return matrix.indptr, matrix.indices, matrix.data


@dataclass(frozen=True, slots=True)
class MaxSim:
    """Late interaction: the sum over the tokens of a question of the largest inner product with a token of the passage."""

    form: ClassVar[Form] = "tokens"

    def prepared(self, rows: TokenVectors, into: Floats | None = None) -> TokenVectors:
        """Float32 vectors, C-contiguous."""
        require_short(rows.vectors)
        return TokenVectors(np.ascontiguousarray(rows.vectors, np.float32), rows.ends)

    def scores(self, queries: TokenVectors, passages: TokenVectors) -> tuple[Floats, Floats]:
        """Matrix products of the tokens of some queries and some passages, one after another."""
        sums = np.zeros((queries.shape[0], passages.shape[0]))
        for columns in _pieces(passages.ends):
            passage, filled = passages[columns], passages.lengths[columns] > 0
            for rows in _pieces(queries.ends):
                query = queries[rows]
                asking, products = query.lengths > 0, query.vectors @ passage.vectors.T
                tile = sums[rows, columns]
                if products.size:
                    largest = np.maximum.reduceat(products, passage.ends[:-1][filled], axis=1)
                    starts = query.ends[:-1][asking]
                    summed = np.add.reduceat(largest, starts, axis=0, dtype=float)
                    tile[np.ix_(asking, filled)] = summed
                tile[:, ~filled] = NOTHING
        query_of_token = np.repeat(np.arange(queries.shape[0]), queries.lengths)
        summed_lengths = np.bincount(query_of_token, lengths_of(queries.vectors), queries.shape[0])
        longest = lengths_of(passages.vectors).max(initial=0.0)
        # The largest product has the error of one product at most (see `Dense`); the errors of a query's tokens add up.
        dimension = queries.shape[1]
        error = summed_lengths * (longest * (dimension + 16) * UNIT * 1.01)
        return sums.astype(np.float32), error + queries.lengths * (dimension * TINY)

    def exact(
        self, queries: TokenVectors, query: Ints, passages: TokenVectors, passage: Ints
    ) -> Floats:
        """The true scores, summed in an order that every machine keeps."""
        scores = np.full(len(query), NOTHING)
        true_maxsims(
            queries.vectors, queries.ends, query, passages.vectors, passages.ends, passage, scores
        )
        return scores

    def table(self, queries: TokenVectors, passages: TokenVectors) -> Floats:
        """The same bits as `exact`, for all pairs."""
        shape = queries.shape[0], passages.shape[0]
        query, passage = np.indices(shape).reshape(2, -1)
        return self.exact(queries, query, passages, passage).reshape(shape)


def _pieces(ends: Ints) -> Iterator[slice]:
    """Slices of the texts; each has at most `TOKENS` tokens, or a single text that has more."""
    start, count = 0, len(ends) - 1
    while start < count:
        stop = int(np.searchsorted(ends, ends[start] + TOKENS, "right")) - 1
        stop = min(max(stop, start + 1), count)
        yield slice(start, stop)
        start = stop


def normalised(vectors: Floats, into: Floats | None = None) -> Floats:
    """Rows of unit length in float32, C-contiguous; a zero row stays zero. `into` may be the vectors themselves."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    unit = np.empty(rows.shape, np.float32) if into is None else into
    unit_rows(rows, unit)
    return unit


def rounded(vectors: Rows, dtype: str, similarity: Similarity = COSINE) -> Rows:
    """Vectors in the type in which they are stored.

    If only directions are compared (cosine), each row is scaled before it is rounded; else float16 keeps lengths, too.
    """
    if dtype == "float32":
        return vectors
    if isinstance(vectors, TokenVectors):
        return TokenVectors(_half(vectors.vectors), vectors.ends)
    if similarity != COSINE:
        return _half(vectors)
    unit = normalised(vectors)
    if dtype == "float16":
        return unit.astype(np.float16)
    largest = np.abs(unit).max(axis=1, keepdims=True, initial=0)
    scaled = unit * (127 / np.where(largest > 0, largest, 1))
    return np.rint(scaled).astype(np.int8)


def _half(vectors: Floats) -> Floats:
    """The same numbers in 16 bits."""
    with np.errstate(over="ignore"):
        kept = vectors.astype(np.float16)
    if not np.isfinite(kept).all():
        raise BadVectorsError(
            f"--vectors float16 holds numbers up to 65,504, but a vector has {np.abs(vectors).max():.6g}"
        )
    return kept


def require_short(rows: Floats) -> None:
    """Refuse vectors so long that their inner products may not be finite in float32."""
    longest = lengths_of(rows).max(initial=0.0)
    if longest > LONGEST:
        raise BadVectorsError(
            f"a vector has length {longest:.3g}, but inner products in float32 need lengths up to {LONGEST:g}"
        )


def lengths_of(rows: Floats) -> Floats:
    """The length of each vector, in float64."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))

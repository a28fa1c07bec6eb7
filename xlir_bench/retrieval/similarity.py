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
"""The smallest number that float32 holds as well as any other."""
TERMS = 384
"""Products that a matrix product adds up at most: sums of few are less far off, and leave fewer pairs to settle."""
COLUMNS = 500
"""Passages whose sums are added up at a time: they stay in the processor's cache."""
LONGEST = 1e17
"""The product of two vectors of this length, and the sum of thousands, is a number in float32."""
TOKENS = 2048
"""Tokens of questions, and of passages, that are compared at a time: the products are 16 MB."""
NOTHING = -1e9
"""What a passage without any token scores, as in sentence-transformers: less than any other."""


Form: TypeAlias = Literal["dense", "sparse", "tokens"]
"""What stands for a text: a vector, the weights of words, or a vector a token."""


class Similarity(Protocol):
    """What an exact search asks of a measure of likeness."""

    form: ClassVar[Form]

    def prepared(self, rows: Rows, into: Floats | None = None) -> Rows:
        """The representations in the form that is compared; `into` is where dense ones are put."""

    def scores(self, queries: Rows, passages: Rows) -> tuple[Floats, Floats | None]:
        """A float32 score a query and passage, and for each query how far its scores may be from the true ones.

        None: they are the true ones.
        """

    def exact(self, queries: Rows, query: Ints, passages: Rows, passage: Ints) -> Floats:
        """The true score of each pair of rows in float64: the same bits whatever else is computed, on every machine."""

    def table(self, queries: Rows, passages: Rows) -> Floats:
        """The same of every query, by row, and every passage."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Cosine, or the inner product of vectors as they are."""

    form: ClassVar[Form] = "dense"
    cosine: bool = True

    def prepared(self, rows: Floats, into: Floats | None = None) -> Floats:
        """Of unit length for cosine; float32 and row by row in memory."""
        if self.cosine:
            return normalised(rows, into)
        require_short(rows)
        if into is None:
            return np.ascontiguousarray(rows, np.float32)
        into[:] = rows
        return into

    def scores(self, queries: Floats, passages: Floats) -> tuple[Floats, Floats]:
        """A matrix product; of many dimensions several, added up."""
        dimension = queries.shape[1]
        first, *others = slices(dimension, -(-dimension // max(1, -(-dimension // TERMS))))
        scores = queries[:, first] @ passages[:, first].T
        for some in slices(len(passages), COLUMNS) if others else ():
            for part in others:
                scores[:, some] += queries[:, part] @ passages[some, part].T
        return scores, self.error(queries, passages, first.stop + len(others))

    def error(self, queries: Floats, passages: Floats, terms: int) -> Floats:
        """By query, how far float32 sums may be from the true scores: no number goes through more than `terms` additions."""
        # The bound of any order of summation. The rest is for rounding a product, a length of 1 and what is compared.
        error = (min(terms, queries.shape[1]) + 4) * UNIT * 1.01
        if self.cosine:
            return np.full(len(queries), error)
        longest = lengths_of(passages).max(initial=0.0)
        # The last term: what is too small for float32 is lost.
        lost = queries.shape[1] * TINY
        return np.asarray(lengths_of(queries) * (longest * error) + lost)

    def exact(self, queries: Floats, query: Ints, passages: Floats, passage: Ints) -> Floats:
        """Inner products, summed in an order that every machine keeps."""
        scores, ordered = np.empty((2, len(query)))
        # Pairs of one passage follow each other, and it is fetched once: half the time where there are many.
        order = np.argsort(passage.astype(np.uint16), kind="stable")
        true_products(queries, query[order], passages, passage[order], ordered)
        scores[order] = ordered
        return scores

    def table(self, queries: Floats, passages: Floats) -> Floats:
        """The same, without a list of pairs."""
        scores = np.empty((len(queries), len(passages)))
        true_table(queries, passages, scores)
        return scores


COSINE = Dense()


@dataclass(frozen=True, slots=True)
class Sparse:
    """The inner product of rows in which nearly all numbers are zero: words and their weights.

    What is fast to compute is exact already, so nothing has to be settled.
    """

    form: ClassVar[Form] = "sparse"

    def prepared(self, rows: csr_array, into: Floats | None = None) -> csr_array:
        """Columns in ascending order: it decides in which order products are added."""
        rows.sort_indices()
        return rows

    def scores(self, queries: csr_array, passages: csr_array) -> tuple[Floats, None]:
        """The true scores, in float32."""
        of, count = passages.tocsc(), passages.shape[0]
        return sparse_scores(*_csr(queries), *_csr(of), count), None

    def exact(self, queries: csr_array, query: Ints, passages: csr_array, passage: Ints) -> Floats:
        """The same of these pairs."""
        return np.asarray(
            sparse_products(query, *_csr(queries), passage, *_csr(passages)), np.float64
        )

    def table(self, queries: csr_array, passages: csr_array) -> Floats:
        """The same of all pairs."""
        return self.scores(queries, passages)[0].astype(np.float64)


def _csr(matrix: csr_array) -> tuple[Ints, Ints, Floats]:
    return matrix.indptr, matrix.indices, matrix.data


@dataclass(frozen=True, slots=True)
class MaxSim:
    """Late interaction: the sum over the tokens of a question of the largest inner product with a token of the passage."""

    form: ClassVar[Form] = "tokens"

    def prepared(self, rows: TokenVectors, into: Floats | None = None) -> TokenVectors:
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


def normalised(vectors: Floats, into: Floats | None = None) -> Floats:
    """Rows of unit length in float32, C-contiguous; a zero row stays zero. `into` may be the vectors themselves."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    unit = np.empty(rows.shape, np.float32) if into is None else into
    unit_rows(rows, unit)
    return unit


def rounded(vectors: Rows, dtype: str, similarity: Similarity = COSINE) -> Rows:
    """Vectors as they are kept in fewer bits.

    Where their directions count alone, each row has the scale that loses least; else float16 keeps them as they are.
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
            f"--vectors float16 holds numbers up to 65,504, and a vector has {np.abs(vectors).max():.6g}"
        )
    return kept


def require_short(rows: Floats) -> None:
    """Refuse vectors whose products are no numbers in float32."""
    longest = lengths_of(rows).max(initial=0.0)
    if longest > LONGEST:
        raise BadVectorsError(
            f"a vector has length {longest:.3g}, and inner products are taken of vectors up to {LONGEST:g}"
        )


def lengths_of(rows: Floats) -> Floats:
    """How long each vector is."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))

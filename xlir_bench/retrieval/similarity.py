"""How alike two vectors are: fast scores with a known error, and true ones to settle what is too close to call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.encoders.multivector import TokenVectors
from xlir_bench.errors import BadVectorsError
from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.kernels import true_products, true_table, unit_rows
from xlir_bench.retrieval.vectors import Rows

UNIT = 2.0**-24
"""Half the distance from 1 to the next number in float32."""
TINY = 2.0**-126
"""The smallest number that float32 holds as well as any other."""
TERMS = 128
"""Products that a matrix product adds up: sums of few are less far off, and leave fewer pairs to settle."""
COLUMNS = 512
"""Passages whose sums are added up at a time: they stay in the processor's cache."""
LONGEST = 1e17
"""The product of two vectors of this length, and the sum of thousands, is a number in float32."""


class Similarity(Protocol):
    """What an exact search asks of a measure of likeness."""

    def prepared(self, rows: Rows) -> Rows:
        """The representations in the form that is compared."""

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

    cosine: bool = True

    def prepared(self, rows: Floats) -> Floats:
        """Of unit length for cosine; float32 and row by row in memory."""
        if self.cosine:
            return normalised(rows)
        require_short(rows)
        return np.ascontiguousarray(rows, np.float32)

    def scores(self, queries: Floats, passages: Floats) -> tuple[Floats, Floats]:
        """Matrix products of some dimensions at a time, added up."""
        scores = np.empty((len(queries), len(passages)), np.float32)
        first, *others = slices(queries.shape[1], TERMS)
        for some in slices(len(passages), COLUMNS):
            sums = queries[:, first] @ passages[some, first].T
            for part in others:
                sums += queries[:, part] @ passages[some, part].T
            scores[:, some] = sums
        return scores, self.error(queries, passages, TERMS + len(others))

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
        scores, found = np.empty((2, len(query)))
        # Pairs of one passage follow each other, and it is fetched once: half the time where there are many.
        order = np.argsort(passage.astype(np.uint16), kind="stable")
        true_products(queries, query[order], passages, passage[order], found)
        scores[order] = found
        return scores

    def table(self, queries: Floats, passages: Floats) -> Floats:
        """The same, without a list of pairs."""
        scores = np.empty((len(queries), len(passages)))
        true_table(queries, passages, scores)
        return scores


COSINE = Dense()


def normalised(vectors: Floats) -> Floats:
    """Rows of unit length in float32, C-contiguous; a zero row stays zero."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    unit = np.empty(rows.shape, np.float32)
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

"""How alike two vectors are: fast scores with a known error, and true ones to settle what is too close to call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.kernels import true_products, unit_rows

UNIT = 2.0**-24
"""Half the distance from 1 to the next number in float32."""


Rows: TypeAlias = Any
"""The representations of some texts, a row each: an array, or what else a similarity compares. It has a shape and can
be indexed as an array is."""


class Similarity(Protocol):
    """What an exact search asks of a measure of likeness."""

    def prepared(self, rows: Rows) -> Rows:
        """The representations in the form that is compared."""

    def stacked(self, parts: Sequence[Rows]) -> Rows:
        """The rows of all parts."""

    def scores(self, queries: Rows, passages: Rows) -> tuple[Floats, Floats | None]:
        """A float32 score a query and passage, and for each query how far its scores may be from the true ones.

        None: they are the true ones.
        """

    def exact(self, queries: Rows, query: Ints, passages: Rows, passage: Ints) -> Floats:
        """The true score of each pair of rows in float64: the same bits whatever else is computed, on every machine."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Cosine, or the inner product of vectors as they are."""

    cosine: bool = True

    def prepared(self, rows: Floats) -> Floats:
        """Of unit length for cosine; float32 and row by row in memory."""
        return normalised(rows) if self.cosine else np.ascontiguousarray(rows, np.float32)

    def stacked(self, parts: Sequence[Floats]) -> Floats:
        """The rows of all parts."""
        return np.concatenate(parts)

    def scores(self, queries: Floats, passages: Floats) -> tuple[Floats, Floats]:
        """One matrix product."""
        return queries @ passages.T, self.error(queries, passages)

    def error(self, queries: Floats, passages: Floats) -> Floats:
        """By query, how far a float32 matrix product may be from the true scores, wherever it is computed."""
        # The bound of any order of summation; the rest is for the products' own rounding.
        error = (queries.shape[1] + 16) * UNIT * 1.01
        if self.cosine:
            return np.full(len(queries), error)
        longest = _lengths(passages).max(initial=0.0)
        return np.asarray(_lengths(queries) * (longest * error))

    def exact(self, queries: Floats, query: Ints, passages: Floats, passage: Ints) -> Floats:
        """Inner products, summed in an order that every machine keeps."""
        found = np.empty(len(query))
        true_products(queries, query, passages, passage, found)
        return found


COSINE = Dense()


def normalised(vectors: Floats) -> Floats:
    """Rows of unit length in float32, C-contiguous; a zero row stays zero."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    unit = np.empty(rows.shape, np.float32)
    unit_rows(rows, unit)
    return unit


def rounded(vectors: Floats, dtype: str) -> NDArray[Any]:
    """Vectors as they are kept in fewer bits. Their directions count, so each row has the scale that loses least."""
    if dtype == "float32":
        return vectors
    unit = normalised(vectors)
    if dtype == "float16":
        return unit.astype(np.float16)
    largest = np.abs(unit).max(axis=1, keepdims=True, initial=0)
    scaled = unit * (127 / np.where(largest > 0, largest, 1))
    return np.rint(scaled).astype(np.int8)


def _lengths(rows: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))

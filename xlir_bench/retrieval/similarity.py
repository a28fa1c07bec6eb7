"""How alike two vectors are: fast scores with a known error, and true ones to settle what is too close to call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from xlir_bench.encoders import Encoder, EncoderCard, describe
from xlir_bench.encoders.sparse import SparseEncoder
from xlir_bench.errors import BadVectorsError, InputError
from xlir_bench.options.encoding import SimilarityName
from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.kernels import true_products, unit_rows
from xlir_bench.retrieval.rows import Rows
from xlir_bench.retrieval.sparse import Sparse
from xlir_bench.untrusted import shortened

UNIT = 2.0**-24
"""Half the distance from 1 to the next number in float32."""
TINY = 2.0**-126
"""The smallest number that float32 holds as well as any other."""
LONGEST = 1e18
"""The product of two vectors of this length is a number in float32."""


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


@dataclass(frozen=True, slots=True)
class Dense:
    """Cosine, or the inner product of vectors as they are."""

    cosine: bool = True

    def prepared(self, rows: Floats) -> Floats:
        """Of unit length for cosine; float32 and row by row in memory."""
        if self.cosine:
            return normalised(rows)
        longest = _lengths(rows).max(initial=0.0)
        if longest > LONGEST:
            raise BadVectorsError(
                f"a vector has length {longest:.3g}, and inner products are taken of vectors up to {LONGEST:g}"
            )
        return np.ascontiguousarray(rows, np.float32)

    def scores(self, queries: Floats, passages: Floats) -> tuple[Floats, Floats]:
        """One matrix product."""
        # The bound of any order of summation; the rest is for the products' own rounding.
        error = (queries.shape[1] + 16) * UNIT * 1.01
        if self.cosine:
            return queries @ passages.T, np.full(len(queries), error)
        longest = _lengths(passages).max(initial=0.0)
        # The last term: what is too small for float32 is lost.
        lost = queries.shape[1] * TINY
        return queries @ passages.T, _lengths(queries) * (longest * error) + lost

    def exact(self, queries: Floats, query: Ints, passages: Floats, passage: Ints) -> Floats:
        """Inner products, summed in an order that every machine keeps."""
        found = np.empty(len(query))
        true_products(queries, query, passages, passage, found)
        return found


COSINE = Dense()


def similarity_of(asked: SimilarityName, encoder: Encoder) -> Similarity:
    """What `--similarity` asks for; an encoder that registers none is compared by cosine.

    Sparse vectors are compared in their own way.
    """
    if isinstance(encoder, SparseEncoder):
        return Sparse()
    name = (describe(encoder).similarity or "cosine") if asked == "model" else asked
    if name not in ("cosine", "dot"):
        raise InputError(
            f"--similarity model: {encoder.name} registers {shortened(repr(name))}, and there are only cosine and dot"
        )
    return Dense(cosine=name == "cosine")


def compared(card: EncoderCard, similarity: Similarity) -> EncoderCard:
    """What a result records of an encoder whose vectors are compared so."""
    name = "cosine" if similarity == COSINE else "dot"
    slug, notes = card.slug, list(card.notes)
    if similarity == Dense(cosine=False):
        slug += "~dot"
        notes.append(
            "a score is the inner product of two vectors as they are (dot); alignment is measured by cosine"
        )
    elif card.similarity not in (None, name):
        remedy = " (--similarity model)" if card.similarity == "dot" else ""
        notes.append(
            f"a score is by {name}; the model registers {shortened(card.similarity)}{remedy}"
        )
    return replace(card, slug=slug, notes=tuple(notes))


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
    if similarity != COSINE:
        with np.errstate(over="ignore"):
            kept = vectors.astype(np.float16)
        if not np.isfinite(kept).all():
            raise BadVectorsError(
                f"--vectors float16 holds numbers up to 65,504, and a vector has {np.abs(vectors).max():.6g}"
            )
        return kept
    unit = normalised(vectors)
    if dtype == "float16":
        return unit.astype(np.float16)
    largest = np.abs(unit).max(axis=1, keepdims=True, initial=0)
    scaled = unit * (127 / np.where(largest > 0, largest, 1))
    return np.rint(scaled).astype(np.int8)


def _lengths(rows: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))

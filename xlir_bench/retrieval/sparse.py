"""Texts as rows in which nearly all numbers are zero: words and their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.kernels import sparse_products, sparse_scores


@dataclass(frozen=True, slots=True)
class Sparse:
    """The inner product of such rows. What is fast to compute is exact already, so nothing has to be settled."""

    def prepared(self, rows: csr_array) -> csr_array:
        """Columns in ascending order: it decides in which order products are added."""
        rows.sort_indices()
        return rows

    def scores(self, queries: csr_array, passages: csr_array) -> tuple[Floats, None]:
        """The true scores, in float32."""
        of, count = passages.tocsc(), passages.shape[0]
        return sparse_scores(*_arrays(queries), *_arrays(of), count), None

    def exact(self, queries: csr_array, query: Ints, passages: csr_array, passage: Ints) -> Floats:
        """The same of these pairs."""
        return np.asarray(
            sparse_products(query, *_arrays(queries), passage, *_arrays(passages)), np.float64
        )

    def table(self, queries: csr_array, passages: csr_array) -> Floats:
        """The same of all pairs."""
        return self.scores(queries, passages)[0].astype(np.float64)


def _arrays(matrix: csr_array) -> tuple[Ints, Ints, Floats]:
    return matrix.indptr, matrix.indices, matrix.data

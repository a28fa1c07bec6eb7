"""Retrieval: where each relevant passage stands in the pool of each setting, exactly or by a FAISS index."""

from xlir_bench.retrieval.approximate import FaissIndex, recall_of_exact
from xlir_bench.retrieval.exact import VectorIndex
from xlir_bench.retrieval.partial import Partial
from xlir_bench.retrieval.pool import Pool, Want
from xlir_bench.retrieval.similarity import Dense, Similarity, normalised
from xlir_bench.retrieval.vectors import Vectors

__all__ = [
    "Dense",
    "FaissIndex",
    "Partial",
    "Pool",
    "Similarity",
    "VectorIndex",
    "Vectors",
    "Want",
    "normalised",
    "recall_of_exact",
]

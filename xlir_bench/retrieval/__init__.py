"""Retrieval: every text represented once, and where each relevant passage stands in the pool of each setting."""

from xlir_bench.retrieval.approximate import FaissIndex, recall_of_exact
from xlir_bench.retrieval.cache import CacheEntry, Pruned, cache_entries, prune
from xlir_bench.retrieval.embedding import Embedded, EmbedRequest, embed, zero_vectors
from xlir_bench.retrieval.exact import VectorIndex
from xlir_bench.retrieval.partial import Partial
from xlir_bench.retrieval.pool import Pool, Want
from xlir_bench.retrieval.similarity import Dense, Similarity, normalised
from xlir_bench.retrieval.vectors import Vectors

__all__ = [
    "CacheEntry",
    "Dense",
    "EmbedRequest",
    "Embedded",
    "FaissIndex",
    "Partial",
    "Pool",
    "Pruned",
    "Similarity",
    "VectorIndex",
    "Vectors",
    "Want",
    "cache_entries",
    "embed",
    "normalised",
    "prune",
    "recall_of_exact",
    "zero_vectors",
]

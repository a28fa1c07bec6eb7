"""Retrieval: every text represented once, and where each relevant passage stands in the pool of each setting."""

from xlir_bench.retrieval.cache import cache_entries, prune
from xlir_bench.retrieval.embedding import embed
from xlir_bench.retrieval.encoding import EmbedRequest
from xlir_bench.retrieval.faiss_index import FaissIndex, recall_of_exact
from xlir_bench.retrieval.fusion import FusedRetriever
from xlir_bench.retrieval.lexical import BM25Retriever
from xlir_bench.retrieval.pool import Partial, Pool, Want
from xlir_bench.retrieval.reranking import RerankedRetriever
from xlir_bench.retrieval.retriever import Index, Represented, Retriever
from xlir_bench.retrieval.similarity import Dense, Similarity, normalised
from xlir_bench.retrieval.transform import TransformedRetriever
from xlir_bench.retrieval.vector_index import VectorIndex
from xlir_bench.retrieval.vector_retrievers import StoredRetriever, VectorRetriever, similarity_of
from xlir_bench.retrieval.vectors import Vectors

__all__ = [
    "BM25Retriever",
    "Dense",
    "EmbedRequest",
    "FaissIndex",
    "FusedRetriever",
    "Index",
    "Partial",
    "Pool",
    "Represented",
    "RerankedRetriever",
    "Retriever",
    "Similarity",
    "StoredRetriever",
    "TransformedRetriever",
    "VectorIndex",
    "VectorRetriever",
    "Vectors",
    "Want",
    "cache_entries",
    "embed",
    "normalised",
    "prune",
    "recall_of_exact",
    "similarity_of",
]

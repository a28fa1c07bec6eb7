"""What is computed from ranks: retrieval measures, language bias, intervals, tests. No torch, no faiss."""

from xlir_bench.measures.bias import language_bias
from xlir_bench.measures.fairness import PoolRanking
from xlir_bench.measures.retrieval import check_fit, check_measures, score

__all__ = ["PoolRanking", "check_fit", "check_measures", "language_bias", "score"]

"""What is computed from ranks: retrieval measures, language bias, intervals. No torch, no faiss."""

from xlir_bench.measures.answers import DEPTH as ANSWER_DEPTH
from xlir_bench.measures.answers import score_answers, tokens_of
from xlir_bench.measures.bias import BiasView, LanguageShares, PoolRanking, language_bias
from xlir_bench.measures.bootstrap import UNIT, ClusteredValues, Interval, macro_intervals
from xlir_bench.measures.retrieval import check_fit, check_measures, score

__all__ = [
    "ANSWER_DEPTH",
    "UNIT",
    "BiasView",
    "ClusteredValues",
    "Interval",
    "LanguageShares",
    "PoolRanking",
    "check_fit",
    "check_measures",
    "language_bias",
    "macro_intervals",
    "score",
    "score_answers",
    "tokens_of",
]

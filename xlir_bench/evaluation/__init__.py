"""Evaluation: the one floor where task, data, encoder, search, measures and results meet."""

from xlir_bench.evaluation.cost import load_models, measure_cost
from xlir_bench.evaluation.retrievers import as_retriever
from xlir_bench.evaluation.run import encode_shard, evaluate, settings_asked
from xlir_bench.options.profiling import CostOptions
from xlir_bench.options.running import RunOptions

__all__ = [
    "CostOptions",
    "RunOptions",
    "as_retriever",
    "encode_shard",
    "evaluate",
    "load_models",
    "measure_cost",
    "settings_asked",
]

"""Evaluation: the one floor where task, data, encoder, search, measures and results meet."""

from xlir_bench.evaluation.run import RunOptions, evaluate, settings_asked

__all__ = ["RunOptions", "evaluate", "settings_asked"]

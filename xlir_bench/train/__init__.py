"""Train: parallel rows, batches of one language or across languages, and the trainer."""

from xlir_bench.options.static import StaticOptions
from xlir_bench.options.training import (
    BatchOptions,
    Strategy,
    TrainingSource,
    TrainOptions,
    parse_source,
)
from xlir_bench.records import Evaluate
from xlir_bench.train.trainer import Trained, checked_rows, save_untrained, train

__all__ = [
    "BatchOptions",
    "Evaluate",
    "StaticOptions",
    "Strategy",
    "TrainOptions",
    "Trained",
    "TrainingSource",
    "checked_rows",
    "parse_source",
    "save_untrained",
    "train",
]

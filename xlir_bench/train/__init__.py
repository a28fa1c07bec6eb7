"""Train: parallel rows, batches of one language or across languages, and the trainer."""

from xlir_bench.train.batches import BatchOptions, Strategy
from xlir_bench.train.options import Evaluate, TrainOptions
from xlir_bench.train.reading import TrainingSource, parse_source
from xlir_bench.train.static.options import StaticOptions
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

"""Retrieval benchmark for multilingual encoders.

>>> import xlir_bench as xb

`evaluate` runs an encoder on a task and gives a `Result`; `Result.load` reads one back, `compare` tests two against
each other, and `SentenceTransformerEvaluator` makes a task the evaluator of a training loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xlir_bench.version import __version__ as __version__

if TYPE_CHECKING:
    from xlir_bench.adapters import SentenceTransformerEvaluator
    from xlir_bench.encoders import Encoder, EncoderOptions, load_encoder
    from xlir_bench.errors import XlirError
    from xlir_bench.evaluation import RunOptions, evaluate
    from xlir_bench.options.training import TrainOptions
    from xlir_bench.records import Collection, Kind, Setting
    from xlir_bench.reports.compare import compare
    from xlir_bench.results import Result, load_results
    from xlir_bench.tasks import Task, catalogue
    from xlir_bench.train.trainer import train as train_hybrid


__all__ = [
    "Collection",
    "Encoder",
    "EncoderOptions",
    "Kind",
    "Result",
    "RunOptions",
    "SentenceTransformerEvaluator",
    "Setting",
    "Task",
    "TrainOptions",
    "XlirError",
    "catalogue",
    "compare",
    "evaluate",
    "load_encoder",
    "load_results",
    "train_hybrid",
]

# Imported when first asked for: `import xlir_bench` stays light, and so does `xlir-bench --help`.
_HOMES = {
    "Collection": "records",
    "Encoder": "encoders",
    "EncoderOptions": "encoders",
    "Kind": "records",
    "Result": "results",
    "RunOptions": "evaluation",
    "SentenceTransformerEvaluator": "adapters",
    "Setting": "records",
    "Task": "tasks",
    "TrainOptions": "options.training",
    "XlirError": "errors",
    "catalogue": "tasks",
    "compare": "reports.compare",
    "evaluate": "evaluation",
    "load_encoder": "encoders",
    "load_results": "results",
    "train_hybrid": "train.trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "train_hybrid":
        import_module(f"{__name__}.extras").require("train", name)
    # `xlir_bench.train` is the subpackage, so its function has a longer name here.
    attribute = {"train_hybrid": "train"}.get(name, name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

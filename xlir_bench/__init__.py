"""Retrieval benchmark for multilingual encoders.

>>> import xlir_bench as xb

`evaluate` runs an encoder on a task and gives a `Result`; `Result.load` reads one back.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlir_bench.encoders import Encoder, EncoderOptions, load_encoder
    from xlir_bench.errors import XlirError
    from xlir_bench.evaluation import RunOptions, evaluate
    from xlir_bench.records import Collection, Kind, Setting
    from xlir_bench.results import Result, load_results
    from xlir_bench.tasks import Task

__version__ = "0.1.0"
__all__ = [
    "Collection",
    "Encoder",
    "EncoderOptions",
    "Kind",
    "Result",
    "RunOptions",
    "Setting",
    "Task",
    "XlirError",
    "evaluate",
    "load_encoder",
    "load_results",
]

# Imported when first asked for: `import xlir_bench` stays light, and so does `xlir-bench --help`.
_HOMES = {
    "Collection": "records",
    "Encoder": "encoders",
    "EncoderOptions": "encoders",
    "Kind": "records",
    "Result": "results",
    "RunOptions": "evaluation",
    "Setting": "records",
    "Task": "tasks",
    "XlirError": "errors",
    "evaluate": "evaluation",
    "load_encoder": "encoders",
    "load_results": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

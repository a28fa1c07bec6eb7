"""Results of runs: result.json and the tables beside it."""

from xlir_bench.results.schema import RESULT_SCHEMA, ResultRecord
from xlir_bench.results.store import Result, load_in_order, load_results, result_folder

__all__ = [
    "RESULT_SCHEMA",
    "Result",
    "ResultRecord",
    "load_in_order",
    "load_results",
    "result_folder",
]

"""The block of a model card that the Hugging Face hub reads scores from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xlir_bench.reports.export.parts import named, part_of, version
from xlir_bench.results import Result

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


def model_card(results: Sequence[Result]) -> str:
    """A card with the `model-index` of one encoder's results, to be merged into its README.md."""
    from huggingface_hub import ModelCardData

    name = results[0].record.encoder.name
    scores = [score for result in results for score in _scores(result)]
    data = ModelCardData(model_name=name, eval_results=scores)
    return f"---\n{data.to_yaml()}\n---\n"


def _scores(result: Result) -> Iterator[EvalResult]:
    """One entry a kind and measure: the macro average over the settings of the kind."""
    from huggingface_hub import EvalResult

    record = result.record
    cut = f"; {part_of(record)}" if part_of(record) else ""
    for kind, by_measure in record.summary.items():
        for measure, part in by_measure.items():
            interval = (
                "" if part.low is None else f", 95 % interval {part.low:.4f} to {part.high:.4f}"
            )
            yield EvalResult(
                task_type="text-retrieval",
                task_name="Retrieval",
                dataset_type=named(record),
                dataset_name=f"{record.task.title} ({kind.value}{cut})",
                dataset_config=kind.value,
                dataset_split="test",
                dataset_revision=record.task.digest,
                metric_type=measure,
                metric_name=f"{measure} (xlir-bench {version(record)}{interval})",
                metric_value=part.mean,
                verified=None,
            )

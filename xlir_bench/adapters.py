"""Tasks as evaluators inside any sentence-transformers training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xlir_bench.errors import InputError, UnknownNameError, require_type
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.extras import require
from xlir_bench.options.stating import options_of
from xlir_bench.tasks import Task, catalogue

require("models", "SentenceTransformerEvaluator")
from sentence_transformers.base.evaluation import BaseEvaluator  # noqa: E402

BRIEF = RunOptions(measures=("map",), unions=False, cache=None)
"""For a model in training: map alone, and no vectors kept, since its weights change."""


class SentenceTransformerEvaluator(BaseEvaluator):  # type: ignore[misc]
    """A task as the evaluator of any sentence-transformers training loop.

    >>> import xlir_bench as xb
    >>> evaluator = xb.SentenceTransformerEvaluator("mini", langs=["de", "en"])
    >>> evaluator.primary_metric
    'mini.mean'

    Pass it as ``evaluator=`` to a `SentenceTransformerTrainer`; ``metric_for_best_model`` is then
    ``eval_mini.mean``, the mean map over the kinds of setting. Every option of `RunOptions` may be given by its name.
    """

    def __init__(self, task: str | Task, options: RunOptions = BRIEF, **changes: Any) -> None:
        super().__init__()
        require_type(
            task, str | Task, "SentenceTransformerEvaluator wants the name of a task, or a Task"
        )
        require_type(options, RunOptions, "SentenceTransformerEvaluator: options are RunOptions")
        known = [option.name for option in options_of(RunOptions)]
        if unknown := [name for name in changes if not hasattr(options, name)]:
            raise UnknownNameError("option of SentenceTransformerEvaluator", unknown, known)
        self.task = catalogue().get([task])[0] if isinstance(task, str) else task
        self.options = replace(options, **changes)
        self.primary_metric = f"{self.task.name}.mean"

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Map by kind, their mean, and the rank distance; the model is left as it was."""
        if not hasattr(model, "training"):
            raise InputError(
                f"{type(model).__name__} is no SentenceTransformer: give the model in training"
            )
        training = model.training
        model.eval()
        try:
            figures = look([self.task], model, self.options)
        finally:
            model.train(training)
        maps = [value for name, value in figures.items() if name.endswith(".map")]
        return figures | {self.primary_metric: sum(maps) / len(maps)}

    @property
    def description(self) -> str:
        """The name of this evaluator in a model card."""
        return f"xlir-bench {self.task.name}"


def look(tasks: Sequence[Task], model: Any, options: RunOptions = BRIEF) -> dict[str, float]:
    """The figures of a model in memory, ``<task>.<kind>.map`` and ``<task>.rank_distance``."""
    figures: dict[str, float] = {}
    for task in tasks:
        wanted = options
        if options.langs is not None:
            wanted = replace(options, langs=tuple(x for x in options.langs if x in task.languages))
        result = evaluate(task, model, wanted)
        name = result.record.task.name
        for kind, measures in result.summary.items():
            figures[f"{name}.{kind.value}.map"] = measures["map"].mean
        if (distance := result.record.rank_distance) is not None:
            figures[f"{name}.rank_distance"] = distance
    return figures

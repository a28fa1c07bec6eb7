"""What goes on while the trainer runs: progress, the log, evaluations, checkpoints that may be left out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sentence_transformers.base.evaluation import BaseEvaluator
from transformers import TrainerCallback

from xlir_bench import files
from xlir_bench.errors import UnknownNameError
from xlir_bench.options.training import LAST, MEAN
from xlir_bench.records import Evaluate, Noting, Progress
from xlir_bench.untrusted import read_json, sound_lines

SELECTION = "selection"
PREFIX = "eval_"
"""What the trainer writes before the names of an evaluator's figures."""
LOWER_IS_BETTER = ("rank_distance",)
SOONEST = 300.0
"""Seconds from one checkpoint to the next, where --save-steps does not ask for more."""


class HarnessEvaluator(BaseEvaluator):  # type: ignore[misc]
    """The figures of `evaluate`, and the one that the best step is chosen by."""

    def __init__(self, evaluate: Evaluate, select_by: str) -> None:
        super().__init__()
        self.primary_metric = SELECTION
        self._evaluate = evaluate
        self._select_by = select_by

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Figures of the model as it is now."""
        training = model.training
        model.eval()
        try:
            figures = dict(self._evaluate(model))
        finally:
            model.train(training)
        return figures | {SELECTION: selection(figures, self._select_by)}


def selection(figures: Mapping[str, float], select_by: str) -> float:
    """The figure to choose by; higher is better."""
    if select_by in (MEAN, LAST):
        maps = [value for name, value in figures.items() if name.endswith(".map")]
        return sum(maps) / len(maps) if maps else math.nan
    if select_by not in figures:
        raise UnknownNameError("figure to select by", [select_by], [MEAN, LAST, *figures])
    lower = select_by.rpartition(".")[2] in LOWER_IS_BETTER
    return -figures[select_by] if lower else figures[select_by]


class _Line(BaseModel):
    model_config = ConfigDict(extra="allow")
    step: int


@dataclass(slots=True)
class TrainingLog:
    """A file with a line of JSON for every few steps and every evaluation."""

    path: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    def cut(self, step: int) -> None:
        """Forget what came after a step, since the run goes on from there."""
        if not self.path.is_file():
            return
        lines = (line.model_dump() for line in sound_lines(self.path, _Line.model_validate))
        self.lines = [line for line in lines if line["step"] <= step]
        files.write(self.path, "".join(map(_as_text, self.lines)))

    def add(self, line: dict[str, Any]) -> None:
        """Append a line."""
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_as_text(line))

    def evaluations(self) -> list[dict[str, Any]]:
        """The step and the figures of every evaluation."""
        return [
            {"step": line["step"], "figures": line["evaluation"]}
            for line in self.lines
            if "evaluation" in line
        ]


def _as_text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Shows progress and writes the log; evaluates and logs at the very end of the run.

    `spares`: a checkpoint that comes soon after the last is left out, unless it is the best so far.
    `seconds_file` keeps the seconds of the run so far, for the run that resumes it to add to.
    """

    def __init__(
        self,
        progress: Progress,
        log: TrainingLog,
        seconds_file: Path,
        evaluates: bool,
        spares: bool,
    ) -> None:
        self.step = 0
        self._progress = progress
        self._log = log
        self._evaluates = evaluates
        self._spares = spares
        self._left_out = False
        """Whether the checkpoint of the step that is being evaluated was left out."""
        self._seconds_file = seconds_file
        self._seconds_before = 0.0
        if seconds_file.is_file():
            what = "the seconds of a training"
            self._seconds_before = read_json(seconds_file, float, what, "remove it")
        self._began = self._trained_from = self._saved = time.perf_counter()
        self._first_step = 0

    def note_seconds(self) -> float:
        """The seconds of the run so far, which are written down."""
        seconds = self._seconds_before + time.perf_counter() - self._began
        files.write(self._seconds_file, json.dumps(seconds))
        return seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the steps that were done before."""
        self._trained_from = self._saved = time.perf_counter()
        self.step = self._first_step = state.global_step
        self._progress.start("train", state.max_steps, "steps")
        self._progress.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Decide what follows the step: a line of the log, an evaluation, a checkpoint."""
        self.step = state.global_step
        self._progress.advance(1)
        if state.global_step >= state.max_steps:
            control.should_log = True  # a run shorter than --log-steps has a log, too
            control.should_evaluate = control.should_evaluate or self._evaluates
        elif self._spares and time.perf_counter() - self._saved < SOONEST:
            self._left_out, control.should_save = control.should_save, False
        # A line is the mean since the line before; a run that goes on from a checkpoint begins a new one.
        control.should_log = control.should_log or control.should_save

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The next checkpoint may wait."""
        self._saved = time.perf_counter()
        self.note_seconds()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Log loss and learning rate."""
        if not logs or "loss" not in logs:
            return
        seconds = max(1e-9, time.perf_counter() - self._trained_from)
        line = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4)}
        line |= {key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs}
        pace = round((state.global_step - self._first_step) / seconds, 3)
        self._log.add(line | {"steps_per_second": pace})
        self.note_seconds()
        if isinstance(self._progress, Noting):
            self._progress.note(f"loss {float(logs['loss']):.3f}")

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        """Log the figures; the best step so far has to have its checkpoint."""
        metrics = metrics or {}
        best = -math.inf if state.best_metric is None else state.best_metric
        if self._left_out and metrics.get(PREFIX + SELECTION, math.nan) > best:
            control.should_save = args.load_best_model_at_end
        self._left_out = False
        names = [name.removeprefix(PREFIX) for name in metrics if name.startswith(PREFIX)]
        # The trainer adds others, such as eval_runtime: the harness's own have a dot.
        ours = [name for name in names if "." in name or name == SELECTION]
        if ours:
            figures = {name: float(metrics[PREFIX + name]) for name in ours}
            self._log.add({"step": state.global_step, "evaluation": figures})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the progress."""
        self._progress.finish()

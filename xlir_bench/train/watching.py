"""What goes on while the trainer runs: progress, the log, the harness as evaluator."""

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
from xlir_bench.untrusted import sound_lines

SELECTION = "selection"
PREFIX = "eval_"
LOWER_IS_BETTER = ("rank_distance",)
SOONEST = 300.0
"""Seconds from one checkpoint to the next, where --save-steps does not ask for more."""


class HarnessEvaluator(BaseEvaluator):  # type: ignore[misc]
    """Asks the function that was handed in, and adds the figure that the best step is chosen by."""

    def __init__(self, evaluate: Evaluate, select_by: str) -> None:
        super().__init__()
        self.primary_metric = SELECTION
        self._evaluate = evaluate
        self._select_by = select_by

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Figures of the model as it stands."""
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
    """A line of JSON for every few steps and every evaluation."""

    path: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    def cut(self, step: int) -> None:
        """Forget what came after a step: the run goes on from there."""
        if not self.path.is_file():
            return
        self.lines = []
        for line in sound_lines(self.path, _Line.model_validate):
            if line.step <= step:
                self.lines.append(line.model_dump())
        files.write(self.path, "".join(map(_line, self.lines)))

    def add(self, line: dict[str, Any]) -> None:
        """Append a line."""
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(line))

    def evaluations(self) -> list[tuple[int, dict[str, float]]]:
        """Every evaluation with its step."""
        return [(x["step"], x["evaluation"]) for x in self.lines if "evaluation" in x]


def _line(stated: Mapping[str, Any]) -> str:
    return json.dumps(stated, ensure_ascii=False) + "\n"


@dataclass(slots=True)
class TimeSpent:
    """Seconds of training over all legs of a run; of one that was killed, up to its last line or checkpoint."""

    path: Path
    before: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if self.path.is_file():
            self.before = float(json.loads(self.path.read_text(encoding="utf-8")))

    def note(self) -> float:
        """Write them down."""
        spent = self.before + time.perf_counter() - self.began
        files.write(self.path, json.dumps(spent))
        return spent


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Moves the progress, writes the log; logs and evaluates at the very end.

    `spares`: a checkpoint that comes soon after the last is left out, unless it is the best so far.
    """

    def __init__(self, progress: Progress, log: TrainingLog, evaluates: bool, spares: bool) -> None:
        self._progress = progress
        self._log = log
        self._evaluates = evaluates
        self._spares = spares
        self._spared = False
        self._saved = 0.0
        self._began = (0.0, 0)
        self.step = 0
        self.spent: TimeSpent | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the progress where the run begins."""
        self._saved = time.perf_counter()
        self._began = (self._saved, state.global_step)
        self.step = state.global_step
        self._progress.start("train", state.max_steps, "steps")
        self._progress.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step more."""
        self.step = state.global_step
        self._progress.advance(1)
        if state.global_step >= state.max_steps:
            control.should_log = True  # a run shorter than --log-steps has a log, too
            control.should_evaluate = control.should_evaluate or self._evaluates
        elif self._spares and time.perf_counter() - self._saved < SOONEST:
            self._spared, control.should_save = control.should_save, False
        # A line is a mean since the line before; whoever goes on from here begins a new one.
        control.should_log = control.should_log or control.should_save

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The next checkpoint may wait."""
        self._saved = time.perf_counter()
        self._note_time()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Loss and rate of learning since the last time."""
        if not logs or "loss" not in logs:
            return
        began, first = self._began
        pace = (state.global_step - first) / max(1e-9, time.perf_counter() - began)
        line = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4)}
        line |= {key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs}
        self._log.add(line | {"steps_per_second": round(pace, 3)})
        self._note_time()
        self._note(f"loss {float(logs['loss']):.3f}")

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        """Figures of the harness; the best step so far has to have its checkpoint."""
        best = -math.inf if state.best_metric is None else state.best_metric
        if self._spared and (metrics or {}).get(PREFIX + SELECTION, math.nan) > best:
            control.should_save = args.load_best_model_at_end
        self._spared = False
        figures = figures_of(metrics or {})
        if figures:
            self._log.add({"step": state.global_step, "evaluation": figures})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the progress."""
        self._progress.finish()

    def _note_time(self) -> None:
        if self.spent is not None:
            self.spent.note()

    def _note(self, text: str) -> None:
        if isinstance(self._progress, Noting):
            self._progress.note(text)


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The harness's figures among what the trainer reports."""
    names = [name for name in metrics if name.startswith(PREFIX)]
    found = {name.removeprefix(PREFIX): metrics[name] for name in names}
    return {name: float(x) for name, x in found.items() if "." in name or name == SELECTION}

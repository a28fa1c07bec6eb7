"""What happens between steps: progress, the log, evaluations, and the choice of checkpoints to write."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentence_transformers.base.evaluation import BaseEvaluator
from transformers import TrainerCallback

from xlir_bench import files
from xlir_bench.errors import UnknownNameError
from xlir_bench.options.training import LAST, MEAN
from xlir_bench.records import Evaluate, Noting, Progress
from xlir_bench.train.processes import shared
from xlir_bench.untrusted import read_json, sound_lines

SELECTION = "selection"
PREFIX = "eval_"
"""The prefix that the trainer puts before the names of an evaluator's figures."""
LOGGED = (
    "loss", "learning_rate", "grad_norm", "alignment", "uniformity", "negatives_variance", "infonce_alone",
)  # fmt: skip
"""The figures in a line of the log; from the fourth on, figures of the batches."""
LOWER_IS_BETTER = ("rank_distance",)
CHECKPOINT_PAUSE = 300.0
"""The least seconds between two checkpoints, unless --save-steps is given."""


def selection(figures: Mapping[str, float], select_by: str) -> float:
    """The figure by which the best step is chosen; higher is better."""
    if select_by in (MEAN, LAST):
        maps = [value for name, value in figures.items() if name.endswith(".map")]
        return sum(maps) / len(maps) if maps else math.nan
    if select_by not in figures:
        raise UnknownNameError("figure to select by", [select_by], [MEAN, LAST, *figures])
    lower = select_by.rpartition(".")[2] in LOWER_IS_BETTER
    return -figures[select_by] if lower else figures[select_by]


@dataclass(slots=True)
class TrainingLog:
    """A file with a line of JSON for every `--log-steps` steps and every evaluation."""

    path: Path | None
    """None in a process that does not write."""
    lines: list[dict[str, Any]] = field(default_factory=list)

    def cut(self, step: int) -> None:
        """Remove the lines after a step: the run continues from this step."""
        if self.path is None or not self.path.is_file():
            return
        lines = sound_lines(self.path, lambda line: {**line, "step": int(line["step"])})
        self.lines = [line for line in lines if line["step"] <= step]
        files.write(self.path, "".join(map(_as_text, self.lines)))

    def add(self, line: dict[str, Any]) -> None:
        """Append a line."""
        self.lines.append(line)
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_as_text(line))

    def evaluations(self) -> list[dict[str, Any]]:
        """The step and the figures of every evaluation."""
        lines = (line for line in self.lines if "evaluation" in line)
        return [{"step": line["step"], "figures": line["evaluation"]} for line in lines]


def _as_text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


class HarnessEvaluator(BaseEvaluator):  # type: ignore[misc]
    """Adapts `evaluate` to the trainer: logs the figures, and adds the one by which the best step is chosen."""

    def __init__(self, evaluate: Evaluate, select_by: str, log: TrainingLog) -> None:
        super().__init__()
        self._evaluate = evaluate
        self._select_by = select_by
        self._log = log

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """The figures of the model as it is now."""
        training = model.training
        # The first of several processes encodes alone, as before and after the training.
        model._distributed_inference = None
        model.eval()
        try:
            figures = {name: float(value) for name, value in self._evaluate(model).items()}
        finally:
            model.train(training)
        figures[SELECTION] = selection(figures, self._select_by)
        self._log.add({"step": steps, "evaluation": figures})
        return dict(figures)  # the trainer renames the keys of this copy


@dataclass(eq=False)
class Watcher(TrainerCallback):  # type: ignore[misc]
    """Shows progress and writes the log; evaluates and logs at the very end of the run."""

    progress: Progress
    log: TrainingLog
    seconds_file: Path | None
    """The file with the seconds of the run so far, to which a resumed run adds; None: it is not written."""
    evaluates: bool
    spares: bool
    """Whether a checkpoint soon after the last one is left out, unless it is the best so far."""
    step: int = 0
    _left_out: bool = False
    """Whether the checkpoint of the step that is being evaluated was left out."""
    _seconds_before: float = 0.0
    _first_step: int = 0

    def __post_init__(self) -> None:
        """Continue from the seconds that the interrupted run noted."""
        if self.seconds_file is not None and self.seconds_file.is_file():
            what = "the seconds of a training"
            self._seconds_before = read_json(self.seconds_file, float, what, "remove it")
        self._began = self._trained_from = self._saved = time.perf_counter()

    def note_seconds(self) -> float:
        """Return the seconds of the run so far, and write them to `seconds_file`."""
        seconds = self._seconds_before + time.perf_counter() - self._began
        if self.seconds_file is not None:
            files.write(self.seconds_file, json.dumps(seconds))
        return seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the steps that the interrupted run has done."""
        self._trained_from = self._saved = time.perf_counter()
        self.step = self._first_step = state.global_step
        self.progress.start("train", state.max_steps, "steps")
        self.progress.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Decide what follows the step: a line of the log, an evaluation, a checkpoint."""
        self.step = state.global_step
        self.progress.advance(1)
        if state.global_step >= state.max_steps:
            control.should_log = True  # so that a run shorter than --log-steps has a log
            control.should_evaluate = control.should_evaluate or self.evaluates
        elif self.spares and control.should_save:
            # The clocks of several processes differ: the first one's decides.
            control.should_save = shared(time.perf_counter() - self._saved >= CHECKPOINT_PAUSE)
            self._left_out = not control.should_save
        # A line has means since the line before; a run that continues from a checkpoint begins a new line there.
        control.should_log = control.should_log or control.should_save

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the time, on which the next checkpoint depends."""
        self._saved = time.perf_counter()
        self.note_seconds()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
        """Write a line of the log with the figures in `LOGGED`."""
        if "loss" not in logs:
            return
        seconds = max(1e-9, time.perf_counter() - self._trained_from)
        line = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4)}
        line |= {key: logs[key] for key in LOGGED if key in logs}
        pace = round((state.global_step - self._first_step) / seconds, 3)
        self.log.add(line | {"steps_per_second": pace})
        self.note_seconds()
        if isinstance(self.progress, Noting):
            self.progress.note(f"loss {float(logs['loss']):.3f}")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
        """Write the checkpoint that was left out, if this step is the best so far."""
        best = -math.inf if state.best_metric is None else state.best_metric
        if self._left_out and metrics[PREFIX + SELECTION] > best:
            control.should_save = args.load_best_model_at_end
        self._left_out = False

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the progress."""
        self.progress.finish()

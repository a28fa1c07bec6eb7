"""The training loop itself: `SentenceTransformerTrainer`, told everything through its own arguments.

But for one thing: what a static model's gradients are clipped by, since they are sparse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from transformers import EarlyStoppingCallback
from transformers.trainer_callback import PrinterCallback

from xlir_bench.encoders.devices import default_device
from xlir_bench.errors import InputError
from xlir_bench.options.training import LAST, TrainOptions
from xlir_bench.records import Evaluate, Progress
from xlir_bench.train.bases import Base
from xlir_bench.train.feeding import BatchCollator, RememberedTokens, Tokenize
from xlir_bench.train.folder import LOG, RunFolder, step_of
from xlir_bench.train.losses import build_loss
from xlir_bench.train.plan import STARTS, BatchTexts, Plan, PlannedBatches
from xlir_bench.train.static import is_static
from xlir_bench.train.static.touched import RowAdam, TouchedRows, clip_gradients
from xlir_bench.train.watching import (
    PREFIX,
    SELECTION,
    HarnessEvaluator,
    TimeSpent,
    TrainingLog,
    Watcher,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the loop ended."""

    steps: int
    """Steps that were done."""
    chosen_step: int
    """The step whose weights the model now has."""
    seconds: float
    """Of all legs."""
    resumed_from: int | None
    log: TrainingLog
    device: str


class Loop:
    """One run of the trainer."""

    def __init__(
        self,
        options: TrainOptions,
        folder: RunFolder,
        evaluate: Evaluate | None,
        progress: Progress,
        say: Callable[[str], object],
    ) -> None:
        self._options = options
        self._folder = folder
        self._evaluate = evaluate if intervals(options, evaluate, 1)[0] else None
        self._log = TrainingLog(folder.path / LOG)
        self._say = say
        spares = options.save_steps is None
        self.watcher = Watcher(progress, self._log, self._evaluate is not None, spares)

    def run(self, base: Base, plan: Plan, texts: BatchTexts, steps: int, rate: float) -> Outcome:
        """Train the model of `base` in place; from the last checkpoint, if there is one."""
        checkpoint = self._folder.last_checkpoint()
        self._log.cut(0 if checkpoint is None else step_of(checkpoint))
        trainer = self._trainer(base, plan, texts, steps, rate)
        spent = self.watcher.spent = TimeSpent(self._folder.checkpoints / "seconds.json")
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        finally:
            seconds = spent.note()
        best = trainer.state.best_model_checkpoint
        chosen = trainer.state.global_step
        if trainer.args.load_best_model_at_end and best:
            chosen = step_of(Path(best))
        return Outcome(
            steps=trainer.state.global_step,
            chosen_step=chosen,
            seconds=seconds,
            resumed_from=None if checkpoint is None else step_of(checkpoint),
            log=self._log,
            device=str(trainer.args.device),
        )

    def _trainer(self, base: Base, plan: Plan, texts: BatchTexts, steps: int, rate: float) -> Any:
        options, model = self._options, base.model
        if is_static(model):
            model[0].embedding = TouchedRows.of(model[0].embedding)
        callbacks: list[Any] = [self.watcher]
        if options.patience is not None:
            callbacks.append(EarlyStoppingCallback(early_stopping_patience=options.patience))
        trainer = SentenceTransformerTrainer(
            model=model,
            args=self._arguments(base, plan, steps, rate),
            train_dataset=plan.dataset(texts),
            loss=build_loss(options.loss, model, options.temperature, options.mini_batch),
            evaluator=None
            if self._evaluate is None
            else HarnessEvaluator(self._evaluate, options.select_by),
            data_collator=BatchCollator(_tokenize(model), base.column_prompts),
            callbacks=callbacks,
            optimizers=(_optimizer(base, rate), None),
        )
        trainer.remove_callback(PrinterCallback)
        if is_static(model):
            trainer.accelerator.clip_grad_norm_ = partial(_clip, trainer.accelerator)
        return trainer

    def _arguments(self, base: Base, plan: Plan, steps: int, rate: float) -> Any:
        options, static = self._options, is_static(base.model)
        device = training_device(options, static)
        size = checkpoint_bytes(base.model)
        evaluate_every, save_every = intervals(options, self._evaluate, steps, size)
        self._tell_cost(save_every, steps, size)
        selecting = bool(evaluate_every) and options.select_by != LAST
        stated: dict[str, Any] = {
            "output_dir": str(self._folder.checkpoints),
            "per_device_train_batch_size": options.batches.batch_size,
            "max_steps": steps,
            "learning_rate": rate,
            "weight_decay": options.weight_decay,
            "warmup_steps": round(options.warmup * steps),
            "lr_scheduler_type": _SCHEDULES[options.schedule],
            "max_grad_norm": 0.0 if static else 1.0,  # Adam does not see the scale of a gradient
            "seed": options.batches.seed,
            "bf16": options.precision == "bf16",
            "fp16": options.precision == "fp16",
            "use_cpu": device == "cpu",
            "batch_sampler": PlannedBatches(plan.folder / STARTS),
            "eval_strategy": "steps" if evaluate_every else "no",
            "eval_steps": evaluate_every or None,
            "save_strategy": "steps",
            "save_steps": save_every,
            "save_total_limit": None if options.keep_checkpoints else 2,
            "logging_steps": options.log_steps,
            "logging_nan_inf_filter": False,
            "load_best_model_at_end": selecting,
            "metric_for_best_model": PREFIX + SELECTION if evaluate_every else None,
            "greater_is_better": True,
            "restore_callback_states_from_checkpoint": options.patience is not None,
            "dataloader_pin_memory": device != "cpu",
            "disable_tqdm": True,
            "report_to": "none",
        }
        try:
            return SentenceTransformerTrainingArguments(**stated | dict(options.arguments))
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"the trainer refuses its arguments: {reason}") from error

    def _tell_cost(self, every: int, steps: int, size: int) -> None:
        """Say what was asked for, if it is much."""
        asked = "--save-steps" if self._options.save_steps else "--eval-steps"
        count = -(-steps // every)
        if every < size / A_STEP and count > 1:
            kept = count if self._options.keep_checkpoints else min(count, 3)
            self._say(
                f"{asked} {every}: up to {count:,} checkpoints of about {size / 1e9:.1f} GB,"
                f" {count * size / 1e9:,.0f} GB written in all, {kept * size / 1e9:.1f} GB kept at a time"
            )


_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
A_TENTH = 0.1
"""Of the cost of a run: what evaluations on its way may cost where nobody asks for more."""
A_STEP = 100e6
"""Bytes of checkpoints that are written a step, on average, where nobody asks for more."""


def checkpoint_bytes(model: Any) -> int:
    """About what a checkpoint takes: the weights, and two of Adam's numbers for each that is trained."""
    return sum(
        p.numel() * p.element_size() * (3 if p.requires_grad else 1) for p in model.parameters()
    )


def intervals(
    options: TrainOptions, evaluate: Evaluate | None, steps: int, size: int = 0
) -> tuple[int, int]:
    """Steps between evaluations (0 for never) and between checkpoints, which have `size` bytes."""
    often = max(1, steps // 10, math.ceil(size / A_STEP))
    if evaluate is not None:
        # A text that is trained on costs about three that are represented: forward, and twice that backward.
        a_step = 3 * 2 * options.batches.batch_size * options.batches_a_step
        often = max(often, math.ceil(options.eval_texts / (A_TENTH * a_step)))
    every = 0 if evaluate is None else often if options.eval_steps is None else options.eval_steps
    every = min(every, steps)
    if not every and options.patience is not None:
        raise InputError(
            f"--patience {options.patience} counts evaluations, and this run has none on its way: leave out"
            " --no-eval, and let --eval-steps be above 0"
        )
    if not every:
        return 0, options.save_steps or min(often, steps)
    save = options.save_steps or every
    if options.select_by != LAST and save % every:
        raise InputError(
            f"--save-steps {save} wants to be a multiple of --eval-steps {every}, since the best"
            " step is kept; or say --select-by last"
        )
    return every, save


def training_device(options: TrainOptions, static: bool) -> str:
    """Where the run takes place: a static model trains best on the CPU."""
    import torch

    device = options.device or ("cpu" if static else default_device())
    if device not in ("cpu", "cuda", "mps"):
        raise InputError(
            f"--device {device}: cpu, cuda or mps; choose among GPUs with CUDA_VISIBLE_DEVICES"
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("this torch cannot use a GPU here: say --device cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError("this torch cannot use Metal here: say --device cpu")
    if options.precision == "fp16" and device == "cpu":
        raise InputError("--precision fp16 wants a GPU; a CPU has bf16 and fp32")
    if options.precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError("this GPU has no bf16: say --precision fp16 or fp32")
    return device


def _tokenize(model: Any) -> Tokenize:
    return RememberedTokens(model[0].tokenizer) if is_static(model) else model.preprocess


def _clip(accelerator: Any, parameters: Iterable[Any], longest: float, _norm: float = 2) -> Any:
    """In the place of the accelerator's own."""
    accelerator.unscale_gradients()
    return clip_gradients(parameters, longest)


def _optimizer(base: Base, rate: float) -> Any:
    """None where the trainer's own AdamW is right."""
    import torch

    if not is_static(base.model):
        return None
    table = base.model[0].embedding
    size = table.num_embeddings
    rates = torch.ones(size) if base.rates is None else torch.from_numpy(base.rates)
    return RowAdam(table.parameters(), rates, lr=rate)

"""The training loop: sentence-transformers' own trainer, set up through its arguments.

There is one exception: the gradients of static models are sparse, so a function of our own clips them (if asked for).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback
from transformers.trainer_callback import PrinterCallback

from xlir_bench.encoders.devices import default_device, require_device
from xlir_bench.errors import InputError, XlirError, is_out_of_memory
from xlir_bench.options.training import LAST, TrainOptions
from xlir_bench.records import Evaluate, Progress
from xlir_bench.train.bases import Base
from xlir_bench.train.folder import LOG, RunFolder, step_of
from xlir_bench.train.losses import BatchLoss, LossNotFiniteError
from xlir_bench.train.plan import BatchCollator, Plan
from xlir_bench.train.processes import launched, rank, shared
from xlir_bench.train.static import RememberedTokens, RowAdam, SparseTable, clip_gradients
from xlir_bench.train.watching import PREFIX, SELECTION, HarnessEvaluator, TrainingLog, Watcher

EVALUATION_SHARE = 0.1
"""The share of a run's time that evaluations may take by default."""
BYTES_A_STEP = 100e6
"""The bytes of checkpoints that may be written per step, on average, by default."""


class PlanTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """The library's trainer, but every process reads the same batches, and the log has figures of the batches."""

    def get_train_dataloader(self) -> Any:
        """The plan's entries in order, each a batch. The library would shuffle them, and give each process only a part."""
        return DataLoader(
            self.train_dataset,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )

    def log(self, logs: Mapping[str, float], start_time: float | None = None) -> None:
        """Write a line of the log, with the means of the batch figures since the line before."""
        if "loss" in logs:
            logs = {**logs, **self.loss.take_figures()}
        super().log(logs, start_time)


@dataclass(frozen=True)
class Loop:
    """One run of the trainer, with everything that it is set up from."""

    options: TrainOptions
    folder: RunFolder
    base: Base
    plan: Plan
    evaluate: Evaluate | None
    """Evaluates the model between steps; None: no evaluations."""
    progress: Progress
    say: Callable[[str], object]

    @property
    def steps(self) -> int:
        """How many steps the plan has batches for."""
        return self.plan.batches // self.options.batches_a_step

    def run(self) -> tuple[dict[str, Any], TrainingLog]:
        """Train the model of the base in place, from the last checkpoint if there is one.

        Returns the outcome, in the form of the run's record, and the log.
        """
        writes = rank() == 0
        checkpoint = shared(self.folder.last_checkpoint() if writes else None)
        resumed_from = None if checkpoint is None else step_of(checkpoint)
        log = TrainingLog(self.folder.path / LOG if writes else None)
        log.cut(resumed_from or 0)
        watcher = Watcher(
            self.progress,
            log,
            self.folder.checkpoints / "seconds.json" if writes else None,
            evaluates=self.evaluate is not None,
            spares=self.options.save_steps is None,
        )

        def where() -> tuple[int, str]:
            step = min(watcher.step, self.steps - 1)
            return step + 1, self.plan.describe(step * self.options.batches_a_step)

        with explained(self.options, self.folder, where):
            trainer = self._trainer(watcher)
            try:
                trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            finally:
                seconds = watcher.note_seconds()
        best = trainer.state.best_model_checkpoint
        chosen = trainer.state.global_step
        if trainer.args.load_best_model_at_end and best:
            chosen = step_of(Path(best))
        outcome = {
            "steps": trainer.state.global_step,
            "chosen_step": chosen,
            "seconds": seconds,
            "resumed_from": resumed_from,
            "device": str(trainer.args.device),
        }
        return outcome, log

    def _trainer(self, watcher: Watcher) -> Any:
        options, model, static = self.options, self.base.model, self.base.is_static
        evaluator = None
        if self.evaluate is not None:
            evaluator = HarnessEvaluator(self.evaluate, options.select_by, watcher.log)
        callbacks: list[Any] = [watcher]
        if options.patience is not None:
            callbacks.append(EarlyStoppingCallback(early_stopping_patience=options.patience))
        optimizer = None  # the trainer's AdamW
        if static:
            table = model[0].embedding = SparseTable.of(model[0].embedding)
            weights = self.base.token_weights
            ones = torch.ones(table.num_embeddings)
            rates = ones if weights is None else torch.from_numpy(weights)
            optimizer = RowAdam(table.parameters(), rates, lr=options.rate)
        trainer = PlanTrainer(
            model=model,
            args=self._arguments(),
            train_dataset=self.plan.dataset(),
            loss=BatchLoss(model, options),
            evaluator=evaluator,
            data_collator=BatchCollator(
                self.plan,
                options,
                RememberedTokens(model[0].tokenizer) if static else model.preprocess,
                self.base.prompts,
            ),
            callbacks=callbacks,
            optimizers=(optimizer, None),
        )
        trainer.remove_callback(PrinterCallback)
        if static:

            def clip(parameters: Iterable[Any], longest: float, _norm: float = 2) -> Any:
                trainer.accelerator.unscale_gradients()
                return clip_gradients(parameters, longest)

            trainer.accelerator.clip_grad_norm_ = clip
        return trainer

    def _arguments(self) -> Any:
        options, static = self.options, self.base.is_static
        device = training_device(options, static)
        # A checkpoint has the weights, and two numbers of Adam for each weight that is trained.
        size = sum(
            p.numel() * p.element_size() * (3 if p.requires_grad else 1)
            for p in self.base.model.parameters()
        )
        evaluate_every, save_every = intervals(options, self.evaluate, self.steps, size)
        self._tell_cost(save_every, size)
        selecting = bool(evaluate_every) and options.select_by != LAST
        stated: dict[str, Any] = {
            "output_dir": str(self.folder.checkpoints),
            "per_device_train_batch_size": options.batches.batch_size,
            "max_steps": self.steps,
            "learning_rate": options.rate,
            "weight_decay": options.weight_decay,
            "warmup_steps": round(options.warmup * self.steps),
            "lr_scheduler_type": options.schedule
            + ("_with_warmup" if options.schedule == "constant" else ""),
            # A static model is not clipped by default: Adam's steps do not depend on a gradient's scale.
            "max_grad_norm": 0.0 if static else 1.0,
            "seed": options.batches.seed,
            "bf16": options.precision == "bf16",
            "fp16": options.precision == "fp16",
            "use_cpu": device == "cpu",
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
            # Processes may need different numbers of mini-batches: no forward pass may wait for other processes.
            "ddp_broadcast_buffers": False,
            "disable_tqdm": True,
            "report_to": "none",
        }
        try:
            return SentenceTransformerTrainingArguments(**stated | dict(options.arguments))
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"the trainer refuses its arguments: {reason}") from error

    def _tell_cost(self, every: int, size: int) -> None:
        """Warn if the checkpoints take much disk space."""
        count = -(-self.steps // every)
        if every < size / BYTES_A_STEP and count > 1:
            flag = "--save-steps" if self.options.save_steps else "--eval-steps"
            kept = count if self.options.keep_checkpoints else min(count, 3)
            self.say(
                f"{flag} {every}: up to {count:,} checkpoints of about {size / 1e9:.1f} GB,"
                f" {count * size / 1e9:,.0f} GB written in all, {kept * size / 1e9:.1f} GB kept at a time"
            )


@contextmanager
def explained(
    options: TrainOptions, folder: RunFolder, where: Callable[[], tuple[int, str]]
) -> Iterator[None]:
    """Turn an infinite or undefined loss, or lack of memory, into an error with advice; `where` names step and batch."""
    try:
        yield
    except LossNotFiniteError as error:
        kept = folder.last_finite_checkpoint() if rank() == 0 else None
        step, batch = where()
        raise XlirError(
            f"the loss is {error} at step {step} ({batch}); "
            + (f"the last good checkpoint is {kept}" if kept else "there is no checkpoint yet")
            + "; try a lower --lr or --precision fp32"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        step, batch = where()
        smaller = options.batches.batch_size // 2
        advice = f"a smaller --batch-size (such as {smaller}) or a shorter --max-length"
        if options.caches_gradients:
            advice = f"a smaller --mini-batch-size than {options.mini_batch}, or {advice}"
        else:
            cached = "--loss cached" if options.loss == "infonce" else "--cached"
            advice = f"{cached}, which keeps the size of the batch, or {advice}"
        raise XlirError(f"out of memory at step {step} ({batch}); try {advice}") from error


def intervals(
    options: TrainOptions, evaluate: Evaluate | None, steps: int, size: int = 0
) -> tuple[int, int]:
    """The number of steps between evaluations (0: none) and between checkpoints of `size` bytes."""
    default = max(1, steps // 10, math.ceil(size / BYTES_A_STEP))
    if evaluate is not None:
        # Training on a text costs about as much as encoding three: one forward, and twice that backward.
        a_step = 3 * 2 * options.batches.batch_size * options.batches_a_step
        default = max(default, math.ceil(options.eval_texts / (EVALUATION_SHARE * a_step)))
    every = default if options.eval_steps is None else options.eval_steps
    every = 0 if evaluate is None else min(every, steps)
    if not every and options.patience is not None:
        raise InputError(
            f"--patience {options.patience} counts evaluations: leave out --no-eval, and give --eval-steps above 0"
        )
    if not every:
        return 0, options.save_steps or min(default, steps)
    save = options.save_steps or every
    if options.select_by != LAST and save % every:
        raise InputError(
            f"--save-steps {save} has to be a multiple of --eval-steps {every} (or say --select-by last)"
        )
    return every, save


def training_device(options: TrainOptions, static: bool) -> str:
    """The device of the run; the default for a static model is the CPU, where it trains fastest."""
    device = options.device or ("cpu" if static else default_device())
    if device not in ("cpu", "cuda", "mps"):
        raise InputError(f"--device {device}: cpu, cuda or mps; CUDA_VISIBLE_DEVICES picks a GPU")
    require_device(device)
    if launched() and static:
        raise InputError(
            "several processes train only transformers: train a static model in one process"
        )
    if options.precision == "fp16" and device == "cpu":
        raise InputError("--precision fp16 needs a GPU; a CPU has bf16 and fp32")
    if options.precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError("this GPU has no bf16: say --precision fp16 or fp32")
    return device

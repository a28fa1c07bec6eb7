"""What a training run is told, as one record; built once from the command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.train.batches import BatchOptions
from xlir_bench.train.freezing import frozen_layers
from xlir_bench.train.reading import TrainingSource
from xlir_bench.train.static.options import PREFIX, StaticOptions, is_static_spec

Evaluate = Callable[[Any], Mapping[str, float]]
"""From a model in the middle of training to figures by name; handed in by whoever starts the training."""
LOSSES = ("infonce", "symmetric", "cached", "one-to-k")
PRECISIONS = ("fp32", "bf16", "fp16")
SCHEDULES = ("linear", "cosine", "constant")
LEAKAGE = ("drop", "fail", "allow")
MEAN, LAST = "mean", "last"
OWNED = {
    "output_dir", "per_device_train_batch_size", "max_steps", "num_train_epochs", "batch_sampler",
    "multi_dataset_batch_sampler", "seed", "data_seed", "prompts", "resume_from_checkpoint", "bf16", "fp16",
    "learning_rate", "weight_decay", "warmup_steps", "warmup_ratio", "lr_scheduler_type", "eval_strategy",
    "eval_steps", "save_strategy", "save_steps", "save_total_limit", "logging_steps", "logging_strategy",
    "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "use_cpu",
    "dataloader_drop_last", "push_to_hub", "hub_token", "do_train", "do_eval", "router_mapping",
}  # fmt: skip
"""Training arguments that have an option of their own, or that the batches depend on."""


@runtime_checkable
class Noting(Protocol):
    """A `Progress` that can show a remark beside it, such as the loss."""

    def note(self, text: str) -> None:
        """Show this until the next one."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training run."""

    model: str
    """A folder, a hub id, or ``builtin:static:<dim>``."""
    sources: tuple[TrainingSource, ...]
    output: Path
    batches: BatchOptions = field(default_factory=BatchOptions)
    steps: int | None = None
    epochs: float | None = None
    """Instead of steps; 1 if neither is said."""
    lr: float | None = None
    """3e-5, or 0.01 for a static model."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of the steps."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    temperature: float = 0.05
    loss: Literal["infonce", "symmetric", "cached", "one-to-k"] = "infonce"
    mini_batch: int = 32
    """Texts that the cached loss holds at a time."""
    max_length: int | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    pooling: Literal["mean", "cls"] = "mean"
    """What is added to a plain transformer."""
    query_prompt: str | None = None
    passage_prompt: str | None = None
    """None: what the model registers, else what its family is known to need."""
    freeze: str | None = None
    """``embeddings`` or ``layers:N``: what of a transformer is not trained."""
    eval_steps: int | None = None
    """Evaluate so often; 0 for never. If it is not said: each tenth of the run, or what costs a tenth of it."""
    eval_texts: int = 0
    """How many texts an evaluation represents; 0 if that is not known."""
    select_by: str = MEAN
    """A figure of the evaluation, ``mean`` of its maps, or ``last`` for the last step."""
    patience: int | None = None
    """Stop after so many evaluations without a better one."""
    save_steps: int | None = None
    """Checkpoints without evaluation; with it they are made when it is."""
    log_steps: int = 10
    keep_checkpoints: bool = False
    static: StaticOptions = field(default_factory=StaticOptions)
    """What a static model is made like."""
    prune_vocabulary: tuple[str, ...] | None = None
    """Keep the pieces of the tokenizer that the rows and these texts use: tasks and files."""
    leakage: Literal["drop", "fail", "allow"] = "drop"
    device: str | None = None
    offline: bool = False
    trust_remote_code: bool = False
    resume: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Anything else of the trainer's arguments."""

    @property
    def from_nothing(self) -> bool:
        """Whether a static model is made, and none loaded."""
        return is_static_spec(self.model)

    @property
    def batches_a_step(self) -> int:
        """Batches whose gradients are added up before the weights move."""
        stated = self.arguments.get("gradient_accumulation_steps", 1)
        if type(stated) is not int or stated < 1:
            raise InputError(
                f"--training-args: gradient_accumulation_steps = {stated!r} wants a whole number above 0"
            )
        return stated

    def check(self) -> None:
        """Refuse what cannot run before anything is read."""
        self.batches.check()
        if not self.sources:
            raise InputError("no training rows: name files with --train")
        if self.model.startswith("builtin:") and not self.from_nothing:
            raise InputError(f"{self.model} cannot be trained; {PREFIX}:256 can")
        self.static.check(self.model)
        if self.from_nothing and self.prune_vocabulary is not None:
            raise InputError(
                f"--prune-vocabulary is for transformers: {self.model} learns its sub-words from the rows,"
                " and --vocabulary says how many"
            )
        if self.from_nothing and self.loss == "cached":
            raise InputError(
                "--loss cached is for transformers: a static model needs little memory as it is"
            )
        if self.freeze is not None:
            frozen_layers(self.freeze)
            if self.from_nothing:
                raise InputError(
                    "--freeze is for transformers: a static model has nothing else to train"
                )
        if self.steps is not None and self.epochs is not None:
            raise InputError("--steps and --epochs exclude each other")
        self._check_numbers()
        _ = self.batches_a_step
        for what, value, known in (
            ("loss", self.loss, LOSSES),
            ("precision", self.precision, PRECISIONS),
            ("schedule", self.schedule, SCHEDULES),
            ("--leakage", self.leakage, LEAKAGE),
        ):
            if value not in known:
                raise UnknownNameError(what, [value], known)
        owned = sorted(OWNED & set(self.arguments))
        if owned:
            raise InputError(
                f"--training-args sets {', '.join(owned)}: the options of this command decide that"
            )

    def _check_numbers(self) -> None:
        positive = {
            "steps": self.steps, "epochs": self.epochs, "lr": self.lr, "temperature": self.temperature,
            "mini-batch-size": self.mini_batch, "max-length": self.max_length, "patience": self.patience,
            "save-steps": self.save_steps, "log-steps": self.log_steps,
        }  # fmt: skip
        for name, value in positive.items():
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"--{name} {value} wants a number above 0")
        if not 0 <= self.warmup < 1:
            raise InputError(f"--warmup {self.warmup}: a share of the steps, from 0 to below 1")
        if self.weight_decay < 0 or (self.eval_steps or 0) < 0:
            raise InputError("--weight-decay and --eval-steps are not below 0")

    def stated(self) -> dict[str, Any]:
        """Everything that decides about the weights and the record, as plain data."""
        stated = asdict(self) | {"sources": [str(source) for source in self.sources]}
        static = stated.pop("static")
        if self.from_nothing:  # a stored model has a vocabulary of its own
            stated |= static
        for name in ("output", "resume", "offline", "keep_checkpoints"):
            del stated[name]
        return stated | {"arguments": dict(self.arguments)}

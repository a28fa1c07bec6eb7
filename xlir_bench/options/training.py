"""The options of a training: its rows, its batches, how it learns, and what is kept."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, cast, get_args

from xlir_bench.errors import InputError, UnknownNameError, require_type
from xlir_bench.options.static import PREFIX, StaticOptions, is_static_spec
from xlir_bench.options.stating import (
    check_bounds,
    hold_parsed,
    offline_option,
    option,
    options_of,
    remote_code_option,
)
from xlir_bench.places import as_path

MEAN, LAST = "mean", "last"
STATIC_RATE, RATE = 0.01, 3e-5
OWNED = {
    "output_dir", "per_device_train_batch_size", "max_steps", "num_train_epochs", "batch_sampler",
    "multi_dataset_batch_sampler", "seed", "data_seed", "prompts", "resume_from_checkpoint", "bf16", "fp16",
    "learning_rate", "weight_decay", "warmup_steps", "warmup_ratio", "lr_scheduler_type", "eval_strategy",
    "eval_steps", "save_strategy", "save_steps", "save_total_limit", "logging_steps", "logging_strategy",
    "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "use_cpu",
    "dataloader_drop_last", "push_to_hub", "hub_token", "do_train", "do_eval", "router_mapping",
}  # fmt: skip
"""Training arguments that have an option of their own, or that the batches depend on."""
ROWS, BATCHES, LEARNING = "Model and rows", "Batches", "Training"
EVALUATION = "Evaluation while training"
Loss = Literal["infonce", "symmetric", "cached", "one-to-k", "lakda", "distil"]
Use = Literal["all", "monolingual", "cross-lingual"]


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """One file, folder or data set of rows, with its weight and the batches it is for."""

    name: str
    weight: float = 1.0
    """How many times each of its rows is used in an epoch."""
    use: Use = "all"
    """``monolingual`` or ``cross-lingual``: its rows go into batches of that kind alone."""

    def __str__(self) -> str:
        weight = "" if self.weight == 1 else f"@{self.weight:g}"
        return self.name + weight + ("" if self.use == "all" else f":{self.use}")


def parse_source(stated: str | Path) -> TrainingSource:
    """Parse ``NAME[@WEIGHT][:monolingual|:cross-lingual]``."""
    spec = str(stated)
    if spec and Path(spec).exists():
        return TrainingSource(spec)
    match = re.fullmatch(r"(.+?)(?:@(-?[\d.]+))?(?::(monolingual|cross-lingual))?", spec, re.DOTALL)
    if match is None:
        raise InputError("--train is empty: give a file, a folder or a name of `datasets`")
    name, weight, use = match.groups()
    file, colon, word = name.rpartition(":")
    file = re.sub(r"@-?[\d.]+$", "", file)
    if colon and Path(file).is_file():
        raise UnknownNameError(f"kind of batches of --train {file}", [word], get_args(Use)[1:])
    try:
        number = float(weight or 1)
    except ValueError as error:
        raise InputError(f"--train {spec}: {weight!r} is not a weight") from error
    if not (math.isfinite(number) and number > 0):
        raise InputError(
            f"--train {spec}: a weight must be above 0 (1 uses each row once an epoch)"
        )
    return TrainingSource(name, number, cast(Use, use or "all"))


def _training_arguments(path: Path) -> dict[str, Any]:
    from xlir_bench.untrusted import read_toml

    return read_toml(Path(path))


class Strategy(StrEnum):
    """How batches are made."""

    MONOLINGUAL = "monolingual"
    MIXED = "mixed"
    CROSS_LINGUAL = "cross-lingual"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How training batches are made."""

    strategy: Strategy = option("How batches are made.", Strategy.HYBRID, group=BATCHES)
    alpha: float = option(
        "Share of monolingual batches in a hybrid run.", 0.5, group=BATCHES, metavar="SHARE", least=0, most=1
    )  # fmt: skip
    alpha_end: float | None = option(
        "Share of monolingual batches at the end of training, reached linearly.",
        None, group=BATCHES, metavar="SHARE", least=0, most=1,
    )  # fmt: skip
    language_sampling: Literal["uniform", "proportional"] = option(
        "How often each language is drawn.", "uniform", group=BATCHES, in_recipes="training"
    )
    pairs_per_batch: Literal["one", "many"] = option(
        "How many language pairs a cross-lingual batch has.",
        "many", group=BATCHES, in_recipes="training",
    )  # fmt: skip
    langs: tuple[str, ...] | None = option(
        "Train on these languages only.", None, group=BATCHES, in_recipes="training"
    )
    batch_size: int = option(
        "Rows in a batch; fewer where any other row would be a false negative.",
        100, group=BATCHES, metavar="ROWS", least=2,
    )  # fmt: skip
    seed: int = option("Random seed.", 0, group=BATCHES, least=0)
    whole_answers: bool = False
    """Whether a batch has the answers of a row in all languages (one-to-k), and not in one only."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training run."""

    model: str = option(
        "What to train: a folder, a hub id, package:multilingual-e5-small, or builtin:static:DIM (from nothing,"
        " on a CPU).",
        "builtin:static:256", group=ROWS, metavar="BASE",
    )  # fmt: skip
    sources: tuple[TrainingSource, ...] = option(
        "Training rows: FILE[@WEIGHT][:monolingual|:cross-lingual]; may be given again. `mini-train` comes with"
        " the package.",
        group=ROWS, flag="train", metavar="ROWS", many=True, parse=parse_source,
    )  # fmt: skip
    output: Path = option("Where the model goes.", group=ROWS, metavar="DIR", recorded="never")
    batches: BatchOptions = field(default_factory=BatchOptions)
    steps: int | None = option(
        "Training steps.  [default: one epoch]", None, group=LEARNING, metavar="N", above=0
    )
    epochs: float | None = option(
        "Instead of --steps: how many times all rows are used.", None, group=LEARNING, metavar="N", above=0
    )  # fmt: skip
    lr: float | None = option(
        "Learning rate.  [default: 3e-5; 0.01 for builtin:static]",
        None, group=LEARNING, metavar="RATE", above=0, in_recipes="training",
    )  # fmt: skip
    weight_decay: float = option(
        "Weight decay of AdamW, for transformers.",
        0.01, group=LEARNING, least=0, in_recipes="training",
    )  # fmt: skip
    warmup: float = option(
        "Share of the steps in which the learning rate rises.",
        0.1, group=LEARNING, metavar="SHARE", least=0, below=1, in_recipes="training",
    )  # fmt: skip
    schedule: Literal["linear", "cosine", "constant"] = option(
        "What the learning rate does after the warm-up.",
        "linear", group=LEARNING, in_recipes="training",
    )  # fmt: skip
    loss: Loss = option(
        "Training loss; cached: infonce with --cached. XLCO is infonce with --strategy cross-lingual.",
        "infonce", group=LEARNING,
    )  # fmt: skip
    cached: bool = option(
        "Gradient caching: large batches in little memory, with any loss; each text is encoded twice.",
        False, group=LEARNING, in_recipes="training", recorded="given",
    )  # fmt: skip
    temperature: float = option(
        "The loss divides cosines by this.", 0.05, group=LEARNING, above=0, in_recipes="training"
    )
    mini_batch: int = option(
        "Texts that gradient caching holds at a time.",
        32, group=LEARNING, flag="mini-batch-size", metavar="TEXTS", above=0, in_recipes="training",
    )  # fmt: skip
    lakda_weight: float = option(
        "Share of the divergence in --loss lakda; InfoNCE has the rest.",
        0.5, group=LEARNING, metavar="SHARE", least=0, most=1, loss="lakda", in_recipes="training",
    )  # fmt: skip
    vrn_weight: float = option(
        "Add VRN with this weight, to any loss but one-to-k: the scores of negatives vary less.",
        0.0, group=LEARNING, metavar="W", least=0, in_recipes="training", recorded="given",
    )  # fmt: skip
    teacher: str | None = option(
        "For --loss distil: a model, as `run --model` takes it, or a parquet file of `text` and `vector`.",
        None, group=LEARNING, metavar="SPEC|FILE", loss="distil", in_recipes="training",
    )  # fmt: skip
    teacher_lang: str = option(
        "The language of the texts that the teacher encodes.",
        "en", group=LEARNING, metavar="LANG", loss="distil", in_recipes="training",
    )  # fmt: skip
    infonce_weight: float = option(
        "Share of InfoNCE in --loss distil: 0 is MIMO's first stage, 0.2 its second.",
        0.0, group=LEARNING, metavar="SHARE", least=0, most=1, loss="distil", in_recipes="training",
    )  # fmt: skip
    max_length: int | None = option(
        "Cut texts to this length.  [default: the model's own]",
        None, group=LEARNING, metavar="TOKENS", above=0, in_recipes="training",
    )  # fmt: skip
    freeze: str | None = option(
        "Do not train `embeddings` (the vectors of the vocabulary) or `layers:N` (them and the first N layers):"
        " less memory, less time a step.  [default: all is trained]",
        None, group=LEARNING, metavar="WHAT", in_recipes="training",
    )  # fmt: skip
    prune_vocabulary: tuple[str, ...] | None = option(
        "Make a transformer smaller: keep only the tokens of its vocabulary that the rows use, and any tasks on disk"
        " or files (one text per line) named here. The model's card says what other texts lose.",
        None, group=LEARNING, metavar="rows[,TASK|FILE,...]", in_recipes="training",
    )  # fmt: skip
    pooling: Literal["mean", "cls"] = option(
        "Pooling added to a plain transformer.", "mean", group=LEARNING, in_recipes="training"
    )
    query_prompt: str | None = option(
        "Text put before every question.  [default: the model's own]", None, group=LEARNING, in_recipes="training"
    )  # fmt: skip
    passage_prompt: str | None = option(
        "Text put before every answer.  [default: the model's own]", None, group=LEARNING, in_recipes="training"
    )  # fmt: skip
    precision: Literal["fp32", "bf16", "fp16"] = option(
        "Arithmetic of training, if the device has it; weights stay float32.", "fp32", group=LEARNING, in_recipes="training"
    )  # fmt: skip
    device: str | None = option(
        "Where to train.  [default: the best there is; cpu for builtin:static]",
        None, group=LEARNING, metavar="cpu|cuda|mps",
    )  # fmt: skip
    eval_steps: int | None = option(
        "Evaluate every N steps; 0: before and after only.  [default: ten times a run; less often if that would"
        " take more than a tenth of its time, or write over 100 MB of checkpoints a step]",
        None, group=EVALUATION, metavar="N", least=0,
    )  # fmt: skip
    eval_texts: int = 0
    """How many texts one evaluation encodes; 0 if not known."""
    select_by: str = option(
        "The figure that selects the step to keep: mean (of the maps), TASK.KIND.map or TASK.rank_distance; last: the"
        " last step.",
        MEAN, group=EVALUATION, metavar="FIGURE",
    )  # fmt: skip
    patience: int | None = option(
        "Stop after N evaluations without a better one.", None, group=EVALUATION, metavar="N", above=0
    )  # fmt: skip
    save_steps: int | None = option(
        "Save a checkpoint every N steps.  [default: at evaluations: the best step, and others at most every five"
        " minutes]",
        None, group=EVALUATION, metavar="N", above=0,
    )  # fmt: skip
    log_steps: int = option(
        "Write a line to DIR/log.jsonl every N steps.", 10, group=EVALUATION, metavar="N", above=0
    )
    keep_checkpoints: bool = option(
        "Keep DIR/checkpoints after the run.", False, group=EVALUATION, recorded="never"
    )
    static: StaticOptions = field(default_factory=StaticOptions)
    leakage: Literal["drop", "fail", "allow"] = option(
        "What to do with rows that hold evaluation text.", "drop", group=ROWS
    )
    skip_faults: bool = option(
        "Leave faulty rows out, and list them. Without this, they are listed and nothing is trained.",
        False, group=ROWS, recorded="given",
    )  # fmt: skip
    resume: bool = option(
        "Go on with a run that was stopped, from its last checkpoint.", False, recorded="never"
    )
    trust_remote_code: bool = remote_code_option()
    offline: bool = offline_option()
    arguments: Mapping[str, Any] = option(
        "A TOML file with any other of sentence-transformers' training arguments.",
        flag="training-args", metavar="FILE", factory=dict,
        parse=_training_arguments,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Take paths as text and one value for a list; the loss decides whether a batch holds every answer of a row."""
        require_type(self.batches, BatchOptions, "TrainOptions: batches are BatchOptions")
        require_type(self.static, StaticOptions, "TrainOptions: static is of StaticOptions")
        hold_parsed(self)
        hold_parsed(self.batches)
        object.__setattr__(self, "output", as_path(self.output))
        if self.loss == "one-to-k":
            object.__setattr__(self, "batches", replace(self.batches, whole_answers=True))

    @property
    def from_nothing(self) -> bool:
        """Whether a new static model is made, instead of loading a model."""
        return is_static_spec(self.model)

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.lr or (STATIC_RATE if self.from_nothing else RATE)

    @property
    def caches_gradients(self) -> bool:
        """Whether texts are first encoded without gradients, to save memory."""
        return self.cached or self.loss == "cached"

    @property
    def batches_a_step(self) -> int:
        """How many batches of gradients are added up for one update of the weights."""
        stated = self.arguments.get("gradient_accumulation_steps", 1)
        if type(stated) is not int or stated < 1:
            raise InputError(
                f"--training-args: gradient_accumulation_steps = {stated!r} wants a whole number above 0"
            )
        return stated

    @property
    def frozen_layers(self) -> int | None:
        """How many layers are not trained, 0 for the vectors of the vocabulary alone; None: all is trained."""
        if self.freeze in (None, "embeddings"):
            return None if self.freeze is None else 0
        match = re.fullmatch(r"layers:([1-9][0-9]*)", self.freeze or "")
        if match is None:
            raise InputError(
                f"--freeze {self.freeze}: say `embeddings`, or `layers:N` (all before the layers, and the first N of them)"
            )
        return int(match[1])

    def check(self) -> None:
        """Refuse what cannot run before anything is read."""
        check_bounds(self)
        if self.model.startswith("builtin:") and not self.from_nothing:
            raise InputError(f"{self.model} cannot be trained; {PREFIX}:256 can")
        self.static.check(self.model)
        if self.from_nothing and self.prune_vocabulary is not None:
            raise InputError(
                f"--prune-vocabulary is for transformers: for {self.model}, --vocabulary limits the sub-words"
            )
        if self.from_nothing:
            self.refuse_static()
        for each in options_of(TrainOptions):
            is_for_it = each.loss in (None, self.loss)
            if not is_for_it and getattr(self, each.name) != each.default:
                raise InputError(
                    f"--{each.flag} is for --loss {each.loss}: leave it out, in --config too"
                )
        if self.loss == "distil" and self.teacher is None:
            raise InputError("--loss distil wants a --teacher: a model, or a file of its vectors")
        if self.loss == "one-to-k" and self.vrn_weight:
            raise InputError("--vrn-weight needs one answer for each row, and one-to-k has several")
        if self.frozen_layers is not None and self.from_nothing:
            raise InputError("--freeze is for transformers, and this is a static model")
        if self.steps is not None and self.epochs is not None:
            raise InputError("--steps and --epochs exclude each other")
        _ = self.batches_a_step
        owned = sorted(OWNED & set(self.arguments))
        if owned:
            raise InputError(
                f"--training-args sets {', '.join(owned)}, which train-hybrid sets itself: leave that out"
            )

    def refuse_static(self) -> None:
        """Refuse options that a static model cannot be trained with."""
        if self.caches_gradients:
            what = "--loss cached" if self.loss == "cached" else "--cached"
            raise InputError(f"{what} is for transformers: a static model needs little memory")
        if self.loss == "distil":
            raise InputError("--loss distil is for transformers: a static model has no projection")

    def stated(self) -> dict[str, Any]:
        """The options that the record of a training states, as plain data."""
        stated = asdict(self) | {"sources": [str(source) for source in self.sources]}
        static = stated.pop("static")
        if self.from_nothing:  # a stored model has a vocabulary of its own
            stated |= static
        for each in options_of(TrainOptions):
            is_default = each.recorded == "given" and stated[each.name] == each.default
            if is_default or each.recorded == "never" or each.loss not in (None, self.loss):
                del stated[each.name]
        return stated | {"arguments": dict(self.arguments)}

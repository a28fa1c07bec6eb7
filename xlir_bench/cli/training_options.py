"""The options of `xlir-bench train-hybrid`, by what they are about."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from xlir_bench.cli.options import (
    FOLDER,
    Names,
    data_option,
    read_config,
    tasks_dir_option,
    verbose_option,
)

PAPER = "paper"


def _read_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """As `--config` everywhere; ``paper`` is the file that comes with the package."""
    if value == Path(PAPER) and not value.exists():
        value = Path(str(files("xlir_bench.train") / "paper.toml"))
    read_config(ctx, param, value)


_MODEL_AND_ROWS = (
    click.option(
        "--model",
        "model",
        default="builtin:static:256",
        show_default=True,
        metavar="BASE",
        help="What to train: a folder, a hub id, or builtin:static:DIM (from nothing, on a CPU).",
    ),
    click.option(
        "--train",
        "train",
        multiple=True,
        required=True,
        metavar="ROWS",
        help="Training rows: FILE[@WEIGHT][:monolingual|:cross-lingual]; may be given again. `mini-train`"
        " comes with the package.",
    ),
    click.option(
        "--output", type=FOLDER, required=True, metavar="DIR", help="Where the model goes."
    ),
    click.option(
        "--config",
        type=FOLDER,
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        metavar="FILE",
        help="A TOML file with any of these options, or `paper` for the settings of arXiv 2408.10536.",
    ),
)
_BATCHES = (
    click.option(
        "--strategy",
        type=click.Choice(("monolingual", "mixed", "cross-lingual", "hybrid")),
        default="hybrid",
        show_default=True,
        help="How batches are made.",
    ),
    click.option(
        "--alpha",
        type=float,
        default=0.5,
        show_default=True,
        metavar="SHARE",
        help="Share of monolingual batches in a hybrid run.",
    ),
    click.option(
        "--alpha-end", type=float, metavar="SHARE", help="Where that share ends; it moves linearly."
    ),
    click.option(
        "--language-sampling",
        type=click.Choice(("uniform", "proportional")),
        default="uniform",
        show_default=True,
        help="How often each language comes.",
    ),
    click.option(
        "--pairs-per-batch",
        type=click.Choice(("one", "many")),
        default="many",
        show_default=True,
        help="Language pairs in a cross-lingual batch.",
    ),
    click.option("--langs", type=Names(), help="Only these languages."),
    click.option(
        "--batch-size",
        type=int,
        default=100,
        show_default=True,
        metavar="ROWS",
        help="Rows in a batch; fewer where no more fit without being false negatives.",
    ),
)
_OPTIMISATION = (
    click.option("--steps", type=int, metavar="N", help="How long.  [default: one epoch]"),
    click.option(
        "--epochs", type=float, metavar="N", help="The same in epochs: rows by batch size."
    ),
    click.option(
        "--lr", type=float, metavar="RATE", help="[default: 3e-5; 0.01 for builtin:static]"
    ),
    click.option(
        "--weight-decay",
        type=float,
        default=0.01,
        show_default=True,
        help="AdamW's, of transformers.",
    ),
    click.option(
        "--warmup",
        type=float,
        default=0.1,
        show_default=True,
        metavar="SHARE",
        help="Of the steps.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(("linear", "cosine", "constant")),
        default="linear",
        show_default=True,
        help="What the learning rate does after the warm-up.",
    ),
    click.option(
        "--loss",
        type=click.Choice(("infonce", "symmetric", "cached", "one-to-k")),
        default="infonce",
        show_default=True,
        help="cached: large batches in little memory.",
    ),
    click.option(
        "--temperature", type=float, default=0.05, show_default=True, help="Divides the cosines."
    ),
    click.option(
        "--mini-batch-size",
        "mini_batch",
        type=int,
        default=32,
        show_default=True,
        metavar="TEXTS",
        help="What the cached loss holds at a time.",
    ),
    click.option(
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="Cut texts here.  [default: the model's own]",
    ),
    click.option(
        "--pooling",
        type=click.Choice(("mean", "cls")),
        default="mean",
        show_default=True,
        help="What is added to a plain transformer.",
    ),
    click.option(
        "--freeze",
        metavar="WHAT",
        help="Do not train `embeddings` (the vectors of the vocabulary) or `layers:N` (them and the first N"
        " layers): less memory, less time a step.  [default: all is trained]",
    ),
    click.option("--query-prompt", help="Put before every question.  [default: the model's own]"),
    click.option("--passage-prompt", help="Put before every answer.  [default: the model's own]"),
    click.option(
        "--precision",
        type=click.Choice(("fp32", "bf16", "fp16")),
        default="fp32",
        show_default=True,
        help="Of the arithmetic, where the device has it; weights stay float32.",
    ),
    click.option(
        "--device",
        metavar="cpu|cuda|mps",
        help="[default: the best there is; cpu for builtin:static]",
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Of batches and of all chance."
    ),
    click.option(
        "--training-args",
        type=FOLDER,
        metavar="FILE",
        help="A TOML file with any other of sentence-transformers' training arguments.",
    ),
)
_EVALUATION = (
    click.option(
        "--eval-task",
        "eval_tasks",
        multiple=True,
        metavar="NAME",
        help="A task to look at while training; may be given again.  [default: mini]",
    ),
    click.option(
        "--eval-steps",
        type=int,
        metavar="N",
        help="Look so often, 0 for before and after only.  [default: each tenth of the run, more rarely"
        " where looking would cost more than a tenth of it, or checkpoints exceed 100 MB a step]",
    ),
    click.option("--eval-langs", type=Names(), help="Only these languages of the tasks."),
    click.option(
        "--eval-limit", type=int, metavar="N", help="Only the first N queries of each language."
    ),
    click.option("--no-eval", is_flag=True, help="Do not evaluate at all."),
    click.option(
        "--select-by",
        default="mean",
        show_default=True,
        metavar="FIGURE",
        help="Keep the best step by this: mean (of the maps), TASK.KIND.map, TASK.rank_distance; or last.",
    ),
    click.option(
        "--patience", type=int, metavar="N", help="Stop after N looks without a better one."
    ),
    click.option(
        "--save-steps",
        type=int,
        metavar="N",
        help="Checkpoints so often.  [default: as --eval-steps; the best step, and at most one in five"
        " minutes else]",
    ),
    click.option(
        "--log-steps",
        type=int,
        default=10,
        show_default=True,
        metavar="N",
        help="A line in DIR/log.jsonl so often.",
    ),
    click.option(
        "--keep-checkpoints", is_flag=True, help="Keep DIR/checkpoints when the run is over."
    ),
)
_STATIC_MODELS = (
    click.option(
        "--vocabulary",
        type=int,
        default=32_000,
        show_default=True,
        metavar="N",
        help="Sub-words of builtin:static, learnt from the rows.",
    ),
    click.option(
        "--smoothing",
        type=float,
        default=1e-3,
        show_default=True,
        metavar="A",
        help="A sub-word of frequency p weighs A / (A + p) in builtin:static; less of it: rare ones count"
        " for more.",
    ),
    click.option(
        "--romanise",
        is_flag=True,
        help="builtin:static reads Greek, Cyrillic and Devanagari in Latin letters: names meet across"
        " scripts.",
    ),
    click.option(
        "--identity",
        type=int,
        default=0,
        show_default=True,
        metavar="N",
        help="Give builtin:static N random dimensions, each sub-word's own, beside its trained ones: finds"
        " more within a language, a little less across languages.",
    ),
    click.option(
        "--identity-weight",
        type=float,
        default=0.4,
        show_default=True,
        metavar="W",
        help="How much the dimensions of --identity count beside the trained ones.",
    ),
    click.option("--int8", is_flag=True, help="Store a static model as int8."),
)
_PRUNING = (
    click.option(
        "--prune-vocabulary",
        type=Names(),
        metavar="rows[,TASK|FILE,...]",
        help="Keep only the pieces of a transformer's tokenizer that the rows use, and tasks on disk or files"
        " (a text a line) if named: their vectors stay, the model is smaller; the card says what other text"
        " loses.",
    ),
)
_REST = (
    click.option(
        "--leakage",
        type=click.Choice(("drop", "fail", "allow")),
        default="drop",
        show_default=True,
        help="What to do with rows that hold evaluation text.",
    ),
    data_option,
    tasks_dir_option,
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with a run that was stopped, from its last checkpoint.",
    ),
    click.option(
        "--trust-remote-code", is_flag=True, help="Let a model run code from its own repository."
    ),
    click.option("--offline", is_flag=True, help="Download nothing."),
    click.option(
        "--json", "as_json", is_flag=True, help="The record on stdout as JSON, and nothing else."
    ),
    click.option("--quiet", is_flag=True, help="No progress and no tables."),
    verbose_option,
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them to a command, in this order."""
    options = (
        *_MODEL_AND_ROWS,
        *_BATCHES,
        *_OPTIMISATION,
        *_EVALUATION,
        *_STATIC_MODELS,
        *_PRUNING,
        *_REST,
    )
    for option in reversed(options):
        command = option(command)
    return command

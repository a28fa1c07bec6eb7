"""`xlir-bench train-hybrid`: batches of one language and across languages, in any share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.options import (
    FOLDER,
    Names,
    canonical_command,
    data_option,
    read_config,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.progress import Bars
from xlir_bench.cli.static_options import static_options

if TYPE_CHECKING:
    from xlir_bench.tasks import Task
    from xlir_bench.train import Trained, TrainOptions

PAPER = "paper"


@dataclass(slots=True)
class TrainingBars(Bars):
    """Progress bars that show the loss beside the pace."""

    def note(self, text: str) -> None:
        """Show this behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)


def _read_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """As `--config` everywhere; ``paper`` is the file that comes with the package."""
    if value == Path(PAPER) and not value.exists():
        value = Path(str(files("xlir_bench.train") / "paper.toml"))
    read_config(ctx, param, value)


def _choice(*names: str) -> click.Choice[str]:
    return click.Choice(names)


@click.command("train-hybrid")
@click.option(
    "--model",
    "model",
    default="builtin:static:256",
    show_default=True,
    metavar="BASE",
    help="What to train: a folder, a hub id, or builtin:static:DIM (from nothing, on a CPU).",
)
@click.option(
    "--train",
    "train",
    multiple=True,
    required=True,
    metavar="ROWS",
    help="Training rows: FILE[@WEIGHT][:monolingual|:cross-lingual]; may be given again. `mini-train`"
    " comes with the package.",
)
@click.option("--output", type=FOLDER, required=True, metavar="DIR", help="Where the model goes.")
@click.option(
    "--config",
    type=FOLDER,
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    metavar="FILE",
    help="A TOML file with any of these options, or `paper` for the settings of arXiv 2408.10536.",
)
@click.option(
    "--strategy",
    type=_choice("monolingual", "mixed", "cross-lingual", "hybrid"),
    default="hybrid",
    show_default=True,
    help="How batches are made.",
)
@click.option(
    "--alpha",
    type=float,
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="Share of monolingual batches in a hybrid run.",
)
@click.option(
    "--alpha-end", type=float, metavar="SHARE", help="Where that share ends; it moves linearly."
)
@click.option(
    "--language-sampling",
    type=_choice("uniform", "proportional"),
    default="uniform",
    show_default=True,
    help="How often each language comes.",
)
@click.option(
    "--pairs-per-batch",
    type=_choice("one", "many"),
    default="many",
    show_default=True,
    help="Language pairs in a cross-lingual batch.",
)
@click.option("--langs", type=Names(), help="Only these languages.")
@click.option(
    "--batch-size",
    type=int,
    default=100,
    show_default=True,
    metavar="ROWS",
    help="Rows in a batch; fewer where no more fit without being false negatives.",
)
@click.option("--steps", type=int, metavar="N", help="How long.  [default: one epoch]")
@click.option("--epochs", type=float, metavar="N", help="The same in epochs: rows by batch size.")
@click.option("--lr", type=float, metavar="RATE", help="[default: 3e-5; 0.01 for builtin:static]")
@click.option(
    "--weight-decay", type=float, default=0.01, show_default=True, help="AdamW's, of transformers."
)
@click.option(
    "--warmup", type=float, default=0.1, show_default=True, metavar="SHARE", help="Of the steps."
)
@click.option(
    "--schedule",
    type=_choice("linear", "cosine", "constant"),
    default="linear",
    show_default=True,
    help="What the learning rate does after the warm-up.",
)
@click.option(
    "--loss",
    type=_choice("infonce", "symmetric", "cached", "one-to-k"),
    default="infonce",
    show_default=True,
    help="cached: large batches in little memory.",
)
@click.option(
    "--temperature", type=float, default=0.05, show_default=True, help="Divides the cosines."
)
@click.option(
    "--mini-batch-size",
    "mini_batch",
    type=int,
    default=32,
    show_default=True,
    metavar="TEXTS",
    help="What the cached loss holds at a time.",
)
@click.option(
    "--max-length", type=int, metavar="TOKENS", help="Cut texts here.  [default: the model's own]"
)
@click.option(
    "--pooling",
    type=_choice("mean", "cls"),
    default="mean",
    show_default=True,
    help="What is added to a plain transformer.",
)
@click.option("--query-prompt", help="Put before every question.  [default: the model's own]")
@click.option("--passage-prompt", help="Put before every answer.  [default: the model's own]")
@click.option(
    "--precision",
    type=_choice("fp32", "bf16", "fp16"),
    default="fp32",
    show_default=True,
    help="Of the arithmetic, where the device has it; weights stay float32.",
)
@click.option(
    "--device", metavar="cpu|cuda|mps", help="[default: the best there is; cpu for builtin:static]"
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of batches and of all chance."
)
@click.option(
    "--training-args",
    type=FOLDER,
    metavar="FILE",
    help="A TOML file with any other of sentence-transformers' training arguments.",
)
@click.option(
    "--eval-task",
    "eval_tasks",
    multiple=True,
    metavar="NAME",
    help="A task to look at while training; may be given again.  [default: mini]",
)
@click.option(
    "--eval-steps",
    type=int,
    metavar="N",
    help="Look so often, 0 for before and after only.  [default: a tenth of the run]",
)
@click.option("--eval-langs", type=Names(), help="Only these languages of the tasks.")
@click.option(
    "--eval-limit", type=int, metavar="N", help="Only the first N queries of each language."
)
@click.option("--no-eval", is_flag=True, help="Do not evaluate at all.")
@click.option(
    "--select-by",
    default="mean",
    show_default=True,
    metavar="FIGURE",
    help="Keep the best step by this: mean (of the maps), TASK.KIND.map, TASK.rank_distance; or last.",
)
@click.option("--patience", type=int, metavar="N", help="Stop after N looks without a better one.")
@click.option(
    "--save-steps", type=int, metavar="N", help="Checkpoints so often.  [default: as --eval-steps]"
)
@click.option(
    "--log-steps",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="A line in DIR/log.jsonl so often.",
)
@click.option("--keep-checkpoints", is_flag=True, help="Keep DIR/checkpoints when the run is over.")
@static_options
@click.option(
    "--leakage",
    type=_choice("drop", "fail", "allow"),
    default="drop",
    show_default=True,
    help="What to do with rows that hold evaluation text.",
)
@data_option
@tasks_dir_option
@click.option(
    "--resume", is_flag=True, help="Go on with a run that was stopped, from its last checkpoint."
)
@click.option(
    "--trust-remote-code", is_flag=True, help="Let a model run code from its own repository."
)
@click.option("--offline", is_flag=True, help="Download nothing.")
@click.option(
    "--json", "as_json", is_flag=True, help="The record on stdout as JSON, and nothing else."
)
@click.option("--quiet", is_flag=True, help="No progress and no tables.")
@verbose_option
def train_hybrid(**stated: Any) -> None:
    """Train an encoder for retrieval within and across languages (arXiv 2408.10536).

    \b
    A batch is
      monolingual    questions and answers all in one language
      cross-lingual  each question in one language, its answer in another
      mixed          each pair in one language, several languages in a batch
      hybrid         monolingual or cross-lingual, by --alpha

    \b
    Examples:
      xlir-bench train-hybrid --train mini-train --output out
      xlir-bench train-hybrid --model intfloat/multilingual-e5-small --train rows.jsonl.gz \\
        --output out --batch-size 64 --steps 2000 --eval-task xquad-r --data ~/data
      xlir-bench train-hybrid --config paper --model xlm-roberta-base --train a.parquet@2 \\
        --train b.csv --output out --loss cached --batch-size 1024
      xlir-bench run --model out --task xquad-r

    The rows are compared with every task whose data is on disk; what holds evaluation text, equal or
    80 % of its 8-grams of letters, is left out (--leakage). `data leakage` shows it beforehand.
    """
    from xlir_bench.places import data_root
    from xlir_bench.tasks import catalogue
    from xlir_bench.train import train

    known = catalogue(*stated["tasks_dirs"])
    root = data_root(stated["data"])
    options = train_options(stated)
    options.check()
    tasks = {
        **known.tasks
    }  # that no row may hold text of; data of the user's own is in no catalogue
    evaluate = None
    if not stated["no_eval"]:
        chosen = known.get(stated["eval_tasks"] or ["mini"])
        tasks |= {task.name: task for task in chosen}
        evaluate = _evaluation(chosen, root, stated)
    quiet = stated["quiet"] or stated["as_json"]
    try:
        with TrainingBars(quiet) as bars:
            done = train(
                options,
                evaluate=evaluate,
                tasks=list(tasks.values()),
                data=root,
                progress=bars,
                command=canonical_command(),
            )
    except KeyboardInterrupt:
        click.echo(f"\nstopped: --resume goes on in {options.output}", err=True)
        raise
    _show(done, stated["as_json"], quiet)


def train_options(stated: Mapping[str, Any]) -> TrainOptions:
    """The options of the training, from the command line's."""
    from xlir_bench.train import BatchOptions, StaticOptions, Strategy, TrainOptions, parse_source

    batches = {f.name: stated[f.name] for f in fields(BatchOptions) if f.name in stated}
    batches |= {
        "strategy": Strategy(stated["strategy"]),
        "whole_answers": stated["loss"] == "one-to-k",
    }
    named = {f.name: stated[f.name] for f in fields(TrainOptions) if f.name in stated}
    return TrainOptions(
        **named,
        sources=tuple(parse_source(spec) for spec in stated["train"]),
        batches=BatchOptions(**batches),
        static=StaticOptions(**{f.name: stated[f.name] for f in fields(StaticOptions)}),
        arguments=_arguments(stated["training_args"]),
    )


def _arguments(path: Path | None) -> dict[str, Any]:
    import tomllib

    from xlir_bench.errors import InputError

    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--training-args {path} cannot be read as TOML: {error}") from error


def _evaluation(
    tasks: Sequence[Task], root: Path | None, stated: Mapping[str, Any]
) -> Callable[[Any], Mapping[str, float]]:
    """What the trainer asks of a model in the middle of training; refuses what it could not answer."""
    from dataclasses import replace

    from xlir_bench.errors import OutOfReachError, UnknownNameError
    from xlir_bench.evaluation import RunOptions
    from xlir_bench.places import data_cache
    from xlir_bench.sources import data_state

    langs = stated["eval_langs"]
    for task in tasks:
        unknown = sorted(set(langs or ()) - set(task.languages))
        if unknown:
            raise UnknownNameError(f"language of {task.name}", unknown, task.languages)
        state = data_state(task, root, data_cache())
        lacking = [x for x in state.missing if langs is None or x in langs]
        if lacking:
            raise OutOfReachError(
                f"--eval-task {task.name}: {', '.join(lacking)} not in {state.folder}; training downloads no"
                f" evaluation data: `xlir-bench data fetch {task.name}` does, or name a root with --data"
            )
    brief = RunOptions(
        measures=("map",),
        cache=None,
        data=root,
        offline=True,
        langs=langs,
        limit=stated["eval_limit"],
    )

    def evaluate(model: Any) -> Mapping[str, float]:
        from xlir_bench.adapters import look

        return look(tasks, model, replace(brief))

    return evaluate


def _show(done: Trained, as_json: bool, quiet: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(done.record, ensure_ascii=False))
    elif not quiet:
        from xlir_bench.cli.training_text import trained_text

        click.echo(trained_text(done.record))
        click.echo(
            f"\nwritten to {done.folder}; evaluate it with: xlir-bench run --model {done.folder}"
        )

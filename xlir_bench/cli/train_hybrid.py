"""`xlir-bench train-hybrid`: batches of one language and across languages, in any share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.options import (
    FOLDER,
    GroupedCommand,
    Names,
    canonical_command,
    data_option,
    flags_of,
    grouped,
    read_config,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.progress import Bars
from xlir_bench.cli.terminal import say, say_json
from xlir_bench.extras import require
from xlir_bench.options.stating import build
from xlir_bench.options.training import LOOKING, OUTPUT, REST, ROWS, TrainOptions

if TYPE_CHECKING:
    from xlir_bench.tasks import Task
    from xlir_bench.train import Trained


@dataclass(slots=True)
class TrainingBars(Bars):
    """Progress bars that show the loss beside the pace."""

    def note(self, text: str) -> None:
        """Show this behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)


def _read_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """As `--config` everywhere; ``paper`` is the file that comes with the package."""
    if value == Path("paper") and not value.exists():
        value = Path(str(files("xlir_bench.train") / "paper.toml"))
    read_config(ctx, param, value)


@click.command("train-hybrid", cls=GroupedCommand)
@grouped(ROWS, "--config", type=FOLDER, is_eager=True, expose_value=False, callback=_read_config, metavar="FILE",
    help="A TOML file with any of these options, or `paper` for the settings of arXiv 2408.10536.",
)  # fmt: skip
@flags_of(TrainOptions)
@grouped(LOOKING, "--eval-task", "eval_tasks", multiple=True, metavar="NAME",
    help="A task to look at while training; may be given again.  [default: mini]",
)  # fmt: skip
@grouped(LOOKING, "--eval-langs", type=Names(), help="Only these languages of the tasks.")
@grouped(
    LOOKING,
    "--eval-limit",
    type=int,
    metavar="N",
    help="Only the first N queries of each language.",
)
@grouped(LOOKING, "--no-eval", is_flag=True, help="Do not evaluate at all.")
@grouped(REST, "--training-args", type=FOLDER, metavar="FILE",
    help="A TOML file with any other of sentence-transformers' training arguments.",
)  # fmt: skip
@data_option
@tasks_dir_option
@grouped(
    OUTPUT,
    "--json",
    "as_json",
    is_flag=True,
    help="The record on stdout as JSON, and nothing else.",
)
@grouped(OUTPUT, "--quiet", is_flag=True, help="No progress and no tables.")
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

    The rows are compared with every task whose data is on disk; what holds evaluation text, the same
    letters or nearly, is left out (--leakage). `data leakage` shows it beforehand.
    """
    require("train", "train-hybrid")
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
        options = replace(options, eval_texts=_texts(chosen, stated))
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
                say=lambda line: say(line, err=True),
            )
    except KeyboardInterrupt:
        say(f"\n{_interrupted(options.output)}", err=True)
        raise click.exceptions.Exit(130) from None
    _show(done, stated["as_json"], quiet)


def _interrupted(output: Path) -> str:
    """What is kept of a run that was stopped by hand, and how to go on."""
    from xlir_bench.train.folder import RECORD, RunFolder, step_of

    folder = RunFolder(output)
    if folder.finished:
        return f"interrupted, but the model is finished and whole in {output} ({RECORD} says so)"
    if not folder.checkpoints.is_dir():
        return "interrupted before anything was written; the same command begins again"
    last = folder.last_checkpoint()
    if last is None:
        return f"interrupted before the first checkpoint: --resume begins again in {output}"
    return f"interrupted: the checkpoint of step {step_of(last):,} is kept; --resume goes on from there in {output}"


def train_options(stated: Mapping[str, Any]) -> TrainOptions:
    """The options of the training, from the command line's."""
    more = {
        "whole_answers": stated["loss"] == "one-to-k",
        "arguments": _arguments(stated["training_args"]),
    }
    return build(TrainOptions, {**stated, **more})


def _arguments(path: Path | None) -> dict[str, Any]:
    from xlir_bench.untrusted import read_toml

    return {} if path is None else read_toml(path)


def _evaluation(
    tasks: Sequence[Task], root: Path | None, stated: Mapping[str, Any]
) -> Callable[[Any], Mapping[str, float]]:
    """What the trainer asks of a model in the middle of training; refuses what it could not answer."""
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


def _texts(tasks: Sequence[Task], stated: Mapping[str, Any]) -> int:
    """How many texts a look represents, of tasks that say how many they have."""
    langs, limit = stated["eval_langs"], stated["eval_limit"] or math.inf
    return sum(
        int(min(count, limit)) if what == "queries" else count
        for task in tasks
        for what in ("queries", "candidates")
        for lang, count in task.counts(what).items()
        if langs is None or lang in langs
    )


def _show(done: Trained, as_json: bool, quiet: bool) -> None:

    if as_json:
        say_json(done.record)
    elif not quiet:
        from xlir_bench.cli.training_text import trained_text

        say(trained_text(done.record))
        say(f"\nwritten to {done.folder}; evaluate it with: xlir-bench run --model {done.folder}")

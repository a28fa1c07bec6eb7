"""`xlir-bench train-hybrid`: train on monolingual and cross-lingual batches, in any share."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.command import JSON, QUIET, canonical_command, command
from xlir_bench.cli.data import origin_lines
from xlir_bench.cli.terminal import Bars, say, say_blocks, say_json, teller, warn, warn_of_faults
from xlir_bench.errors import OutOfReachError, UnknownNameError, plural
from xlir_bench.extras import require
from xlir_bench.options.running import DataOptions, RunOptions
from xlir_bench.options.stating import option
from xlir_bench.options.training import (
    EVALUATION,
    LAST,
    MEAN,
    BatchOptions,
    Strategy,
    TrainOptions,
)
from xlir_bench.rendering.document import Block, Lines

if TYPE_CHECKING:
    from xlir_bench.tasks import Task


def _config_file(path: Path) -> Path:
    """The path of ``--config``; ``paper`` names a file of the package."""
    is_bundled = path == Path("paper") and not path.exists()
    return Path(str(files("xlir_bench.train") / "paper.toml")) if is_bundled else path


@command(config=_config_file)
def train_hybrid(
    *,
    options: TrainOptions,
    eval_tasks: tuple[str, ...] = option(
        "A task to evaluate on while training; may be given again.  [default: mini]",
        (), group=EVALUATION, flag="eval-task", metavar="NAME", many=True,
    ),
    eval_langs: tuple[str, ...] | None = option(
        "Evaluate these languages of the tasks only.", None, group=EVALUATION
    ),
    eval_limit: int | None = option(
        "Evaluate the first N queries of each language only.", None, group=EVALUATION, metavar="N", least=1
    ),
    no_eval: bool = option("Do not evaluate at all.", False, group=EVALUATION),
    data: DataOptions,
    as_json: bool = JSON,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
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
      xlir-bench train-hybrid --model intfloat/multilingual-e5-small \\
        --train rows.jsonl.gz --output out --batch-size 64 --steps 2000 \\
        --eval-task xquad-r --data ~/data
      xlir-bench train-hybrid --config paper --model xlm-roberta-base \\
        --train a.parquet@2 --train b.csv --output out --loss cached \\
        --batch-size 1024
      xlir-bench run --model out --task xquad-r

    The rows are compared with every task whose data is on disk. Rows that contain evaluation text, exactly
    or nearly, are left out (--leakage); `data leakage` lists them beforehand.

    `torchrun --nproc-per-node N -m xlir_bench train-hybrid …` trains on several GPUs or CPUs. The batches are the same
    as in one process; each process encodes a part of every batch.

    `--config paper` has the settings of the paper; the command line wins over it.
    """
    require("train", "train-hybrid")
    from xlir_bench.train.folder import LOCK, RunFolder
    from xlir_bench.train.processes import launched

    follows = launched() and os.environ["RANK"] != "0"  # only the first of several processes prints
    known = data.catalogue()
    warn_of_faults(known)
    options.check()
    if options.output.is_dir() and not follows and not (options.output / LOCK).exists():
        # Refused before torch is loaded; a folder that is in use is refused later, with its holder.
        RunFolder(options.output).require_fresh(options.resume)
    batches = options.batches
    tell = str if follows else warn
    if batches.strategy != Strategy.HYBRID and (
        batches.alpha != BatchOptions().alpha or batches.alpha_end is not None
    ):
        tell(
            f"--alpha applies to the strategy hybrid, and this is {batches.strategy}: --alpha is left out"
        )
    guarded, evaluate = dict(known.tasks), None
    if no_eval:
        flags = {
            "eval-task": eval_tasks, "eval-langs": eval_langs, "eval-limit": eval_limit,
            "select-by": options.select_by not in (MEAN, LAST),
        }  # fmt: skip
        if stray := [f"--{flag}" for flag, is_given in flags.items() if is_given]:
            tell(f"--no-eval evaluates nothing; left out: {', '.join(stray)}")
    else:
        tasks = known.get(eval_tasks or ["mini"])
        guarded |= {
            task.name: task for task in tasks
        }  # a task of the user's own data is in no catalogue
        eval_options = RunOptions(
            measures=("map",), unions=False, cache=None, data=data.root, offline=True, langs=eval_langs,
            limit=eval_limit,
        )  # fmt: skip
        _require_data(tasks, eval_options)
        from xlir_bench.adapters import look

        evaluate = partial(look, tasks, options=eval_options)
        options = replace(options, eval_texts=_texts(tasks, eval_options))
    from xlir_bench.train.trainer import train

    try:
        with Bars(quiet or as_json or follows) as bars:
            done = train(
                options,
                evaluate=evaluate,
                tasks=list(guarded.values()),
                data=data.root,
                progress=bars,
                command=canonical_command(),
                say=str if follows else teller(),
            )
    except KeyboardInterrupt:
        if not follows:
            say(f"\n{_interrupted(options.output)}", err=True)
        raise click.exceptions.Exit(130) from None
    if follows:
        return
    if as_json:
        say_json(done.record)
    elif not quiet:
        say_blocks(_trained_blocks(done.record))
        say(
            f"\nwritten to {done.folder}; evaluate it with: xlir-bench run --model {shlex.quote(str(done.folder))}"
        )


def _interrupted(output: Path) -> str:
    """The message after Ctrl-C: what is kept, and how to continue."""
    from xlir_bench.train.folder import RECORD, RunFolder, step_of

    folder = RunFolder(output)
    if folder.finished:
        return f"interrupted, but the model is finished and whole in {output} ({RECORD} says so)"
    if not folder.checkpoints.is_dir():
        return "interrupted before anything was written; run the same command to begin again"
    last = folder.last_checkpoint()
    if last is None:
        return f"interrupted before the first checkpoint: --resume begins again in {output}"
    return f"interrupted: the checkpoint of step {step_of(last):,} is kept; --resume continues from there in {output}"


def _require_data(tasks: Sequence[Task], options: RunOptions) -> None:
    """Refuse languages to evaluate that a task or the disk lacks, before training and not in the middle of it."""
    from xlir_bench.sources import data_state

    for task in tasks:
        if unknown := sorted(set(options.langs or ()) - set(task.languages)):
            raise UnknownNameError(f"language of {task.name}", unknown, task.languages)
        state = data_state(task, options.data)
        lacking = [x for x in state.missing if options.langs is None or x in options.langs]
        if lacking:
            raise OutOfReachError(
                f"--eval-task {task.name}: {', '.join(lacking)} not in {state.folder}; training downloads no"
                f" evaluation data: `xlir-bench data fetch {task.name}` does, or name a root with --data"
            )


def _texts(tasks: Sequence[Task], options: RunOptions) -> int:
    """How many texts one evaluation encodes, as far as the tasks state their sizes."""
    return sum(
        int(min(count, options.limit or math.inf)) if what == "queries" else count
        for task in tasks
        for what in ("queries", "candidates")
        for lang, count in task.counts(what).items()
        if options.langs is None or lang in options.langs
    )


def _trained_blocks(record: Mapping[str, Any]) -> list[Block]:
    """The summary of a training run, and the scores before and after it."""
    from xlir_bench.train.card import scores_table
    from xlir_bench.train.leakage import short_texts

    data, outcome, leakage = record["data"], record["outcome"], record["leakage"]
    lines = [
        f"{plural(data['rows'], 'row')}, {len(data['texts_by_language'])} languages;"
        f" {outcome['steps']:,} steps in {outcome['seconds']:,.0f} s on {outcome['device']}"
    ]
    lines += origin_lines(data.get("origins", {}), data["rows"])
    if pruning := record.get("pruning"):
        (whole, left), (large, small) = pruning["pieces"], pruning["megabytes"]
        lines.append(
            f"vocabulary: {left:,} of {whole:,} pieces, {small:,.0f} of {large:,.0f} MB; the model card says how much other texts lose"
        )
    if outcome["chosen_step"] != outcome["steps"]:
        lines.append(f"kept: step {outcome['chosen_step']:,}, the best")
    lines += [
        f"no {kind} batch has {', '.join(langs)}: fewer than two rows could stand in one"
        for kind, langs in record["batches"]["left_out"].items()
    ]
    lines.append(_leaked(leakage))
    if leakage["unchecked"]:
        lines.append(f"not checked for leakage: {', '.join(leakage['unchecked'])}")
    lines += [f"leakage: {line}" for line in short_texts(leakage.get("texts", {}))]
    summary = Lines(*lines)
    return [summary, scores_table(record)] if record["after"] else [summary]


def _leaked(leakage: Mapping[str, Any]) -> str:
    from xlir_bench.train.leakage import rows_by_language

    checked = ", ".join(leakage["checked"]) or "nothing: no task's data is on disk"
    if not leakage["leaking"]:
        return f"no evaluation text among the rows (checked: {checked})"
    where = rows_by_language(leakage["found"])
    done = "dropped" if leakage["action"] == "drop" else "kept"
    return f"{plural(leakage['leaking'], 'row')} with evaluation text {done}: {where} (checked: {checked})"

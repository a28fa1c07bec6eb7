"""`xlir-bench run`: encoders on tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.options import (
    DEFAULT_MODEL,
    FOLDER,
    GroupedCommand,
    canonical_command,
    config_option,
    data_option,
    flags_of,
    grouped,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.terminal import say, say_blocks, say_error, say_json
from xlir_bench.escaping import visible
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import OUTPUT, RunOptions
from xlir_bench.options.stating import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlir_bench.encoders import Encoder
    from xlir_bench.records import Progress
    from xlir_bench.results import Result
    from xlir_bench.tasks import Task


WHAT = "Models and tasks"


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go and what is printed."""

    folder: Path
    trec: bool
    as_json: bool
    quiet: bool


@click.command(cls=GroupedCommand)
@click.argument("more_models", nargs=-1, metavar="[MODEL]...")
@grouped(
    WHAT,
    "--model",
    "models",
    multiple=True,
    metavar="SPEC",
    help=f"What to evaluate; may be given again.  [default: {DEFAULT_MODEL}]",
)
@grouped(
    WHAT,
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    help="A task, or data of your own: beir:FOLDER, parallel:FILE; may be given again.  [default: mini]",
)
@grouped(
    OUTPUT,
    "--output",
    type=FOLDER,
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Where results go: DIR/<encoder>/<task>.",
)
@data_option
@tasks_dir_option
@config_option
@flags_of(RunOptions, without=("data",))
@flags_of(EncoderOptions, without=("offline",))
@grouped(OUTPUT, "--trec", is_flag=True, help="With --save-run: TREC run and qrels files too.")
@grouped(
    OUTPUT,
    "--json",
    "as_json",
    is_flag=True,
    help="The result on stdout as JSON, and nothing else.",
)
@grouped(OUTPUT, "--quiet", is_flag=True, help="No progress and no tables.")
@verbose_option
def run(more_models: tuple[str, ...], models: tuple[str, ...], **stated: Any) -> int:
    """Evaluate encoders on every setting of tasks.

    \b
    SPEC is one of
      PATH or hub id        a sentence-transformers model
      builtin:NAME          multilingual (trained, 11 languages), ngram (lexical baseline), random (the floor)
      py:FILE:NAME          a function encode(texts, role) or a class of yours
      npy:FOLDER            vectors that exist: query.<lang>.npy, passage.<lang>.npy
      http:URL#MODEL        an OpenAI-compatible embeddings server

    \b
    Examples:
      xlir-bench run
      xlir-bench run --model out/final --task xquad-r --data ~/data
      xlir-bench run --model out/checkpoint-* --task mlqa-r     one table, in order
      xlir-bench run --task xquad-r --langs en,de,ar --limit 200
      xlir-bench run --task xquad-r --index IVF64,Flat
      xlir-bench run --model http:http://127.0.0.1:8000/v1#bge-m3

    Every text is encoded once and its vector is cached: a run that was stopped goes on where it was.
    A model that fails does not hold up the others; the exit code is that of the first failure.
    """
    specs = in_order([*models, *more_models]) or [DEFAULT_MODEL]
    output = Output(stated["output"], stated["trec"], stated["as_json"], stated["quiet"])
    done = _run_all(specs, stated, output)
    results = done.results
    if output.as_json:
        texts = [result.to_json() for result in results]
        say_json(texts[0] if done.alone else "[" + ",".join(texts) + "]")
    elif len(results) > 1 and not output.quiet:
        from xlir_bench.reports.tables import comparison_rows

        say()
        say_blocks([comparison_rows([result.record for result in results])])
    return done.exit_code


@dataclass(slots=True)
class _Done:
    """What came of all that was asked for."""

    alone: bool
    """Whether one model on one task was asked for."""
    results: list[Result] = field(default_factory=list)
    exit_code: int = 0
    """Of the first failure; the others ran all the same."""


def _run_all(specs: Sequence[str], stated: dict[str, Any], output: Output) -> _Done:
    """Every result, saved and printed as it comes: what is done stays done."""
    from xlir_bench.cli.progress import Bars
    from xlir_bench.errors import XlirError
    from xlir_bench.escaping import redacted
    from xlir_bench.tasks import catalogue

    tasks = catalogue(*stated["tasks_dirs"]).get(stated["tasks"] or ["mini"], stated["langs"])
    options, how = run_options(stated), build(EncoderOptions, stated)
    check(tasks, options)
    encoders = resolved(specs, how)
    for encoder in encoders:
        for task in tasks:
            _folder(encoder, task, options, output)
    done = _Done(alone=len(specs) * len(tasks) == 1)
    with Bars(quiet=output.quiet) as bars:
        while encoders:
            encoder = encoders.pop(0)  # what it loads is let go before the next one
            for task in tasks:
                try:
                    found = _evaluated(encoder, how, task, options, output, bars)
                except Exception as error:
                    if done.alone:
                        raise
                    code = error.exit_code if isinstance(error, XlirError) else 4
                    done.exit_code = done.exit_code or code
                    told = str(error) if isinstance(error, XlirError) else repr(error)
                    say_error(redacted(f"error: {encoder.name} on {task.name}: {told}"))
                    continue
                _show(found, output, done.alone)
                done.results.append(found)
    return done


def resolved(specs: Sequence[str], options: EncoderOptions) -> list[Encoder]:
    """The encoders of all specs; every one that cannot be had is told, before any work."""
    from xlir_bench.encoders import describe, load_encoder
    from xlir_bench.errors import XlirError

    found, faults = [], []
    for spec in specs:
        try:
            encoder = load_encoder(spec, options)
            describe(encoder)
            found.append(encoder)
        except XlirError as error:
            faults.append(error)
    if len(faults) > 1:
        together = XlirError("; ".join(dict.fromkeys(map(str, faults))))
        together.exit_code = faults[0].exit_code
        raise together from faults[0]
    if faults:
        raise faults[0]
    return found


def _folder(encoder: Encoder, task: Task, options: RunOptions, output: Output) -> Path:
    """Where a result goes; it can be written there."""
    from xlir_bench.encoders import describe
    from xlir_bench.files import require_writable
    from xlir_bench.results import result_folder
    from xlir_bench.results.store import REMEDY

    folder = result_folder(output.folder, describe(encoder).slug, task.name, options.part(task))
    require_writable(folder, REMEDY)
    return folder


def _evaluated(
    encoder: Encoder,
    how: EncoderOptions,
    task: Task,
    options: RunOptions,
    output: Output,
    progress: Progress,
) -> Result:
    """One encoder on one task, saved."""
    from xlir_bench.evaluation import evaluate
    from xlir_bench.results.store import folder_of_data

    _announce(visible(f"{encoder.name} on {task.name}"), output)
    result = evaluate(
        task,
        encoder,
        options,
        encoder_options=how,
        progress=progress,
        command=canonical_command(),
    )
    usual = _folder(encoder, task, options, output)
    folder = folder_of_data(usual, result.record)
    if folder != usual:
        _announce(f"{usual} holds a result of other data, which stays", output)
    saved = result.save(folder)
    if output.trec:
        from xlir_bench.results.trec import write_trec

        write_trec(saved, folder / "trec")
    return saved


def check(tasks: Sequence[Task], options: RunOptions) -> None:
    """Refuse what cannot run before anything is loaded."""
    from xlir_bench.evaluation import settings_asked
    from xlir_bench.measures.retrieval import check_measures

    if options.measures is not None:
        check_measures(options.measures)
    for task in tasks:
        settings_asked(task, options)


def run_options(stated: dict[str, Any]) -> RunOptions:
    """The options of the evaluation, from the command line's."""
    from xlir_bench.errors import InputError, UnknownNameError
    from xlir_bench.places import data_root
    from xlir_bench.records import Kind

    kinds = stated["kinds"]
    unknown = [k for k in kinds or () if k not in list(Kind)]
    if unknown:
        raise UnknownNameError("kind", unknown, [k.value for k in Kind])
    if stated["trec"] and not stated["save_run"]:
        raise InputError("--trec writes what --save-run K keeps; add, say, --save-run 1000")
    return build(RunOptions, stated | {"data": data_root(stated["data"])})


def in_order(specs: Sequence[str]) -> list[str]:
    """Each once, in the order given; checkpoints of one folder by their number, as they were trained.

    A shell puts checkpoint-1000 before checkpoint-200.
    """
    specs = list(dict.fromkeys(specs))
    stems = {re.sub(r"\d+/?$", "", spec) for spec in specs}
    numbers = [re.search(r"(\d+)/?$", spec) for spec in specs]
    if len(stems) == 1 and all(numbers):
        return sorted(specs, key=lambda spec: int(re.findall(r"\d+", spec)[-1]))
    return specs


def _announce(text: str, output: Output) -> None:
    if not output.quiet:
        say(text, err=True)


def _show(result: Result, output: Output, alone: bool) -> None:
    if output.as_json or output.quiet:
        return
    from xlir_bench.reports.tables import cost_line, heading, report, summary_table

    if alone:
        say_blocks(report(result.record))
    else:
        say_blocks([heading(result.record), summary_table(result.record), cost_line(result.record)])
    say(f"\nwritten to {result.folder}\n")

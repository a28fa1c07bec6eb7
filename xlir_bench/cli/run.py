"""`xlir-bench run`: evaluate encoders on tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from xlir_bench.cli.command import (
    DEFAULT_MODEL,
    JSON,
    OUTPUT_DIR,
    QUIET,
    argument,
    canonical_command,
    command,
)
from xlir_bench.cli.terminal import Bars, say, say_blocks, say_error, say_results, teller, warn
from xlir_bench.errors import WARNING, InputError, XlirError, plural
from xlir_bench.escaping import redacted, visible
from xlir_bench.executor import LOCAL, opened
from xlir_bench.files import removing_empty
from xlir_bench.options.encoding import EncoderOptions, Transform
from xlir_bench.options.running import MACHINES, DataOptions, RunOptions, Shard, WorkOptions
from xlir_bench.options.stating import OPTION, OUTPUT, SEARCH, WHAT, option, same_option

if TYPE_CHECKING:
    from xlir_bench.results import Result
    from xlir_bench.tasks import Task


@command(config=Path)
def run(
    *,
    more_models: tuple[str, ...] = argument("[MODEL]...", ()),
    models: tuple[str, ...] = option(
        f"What to evaluate; may be given again.  [default: {DEFAULT_MODEL}]",
        (), group=WHAT, flag="model", metavar="SPEC", many=True,
    ),
    tasks: tuple[str, ...] = option(
        "A task, or data of your own: beir:FOLDER, mlir:FOLDER, mteb:FOLDER or mteb:REPO, parallel:FILE; may be given"
        " again.  [default: mini]",
        (), group=WHAT, flag="task", metavar="NAME", many=True,
    ),
    names: tuple[str, ...] = option(
        "The model's name in tables; may be given again, for the next model.",
        (), group=WHAT, flag="name", metavar="NAME", many=True,
    ),
    output: Path = OUTPUT_DIR,
    data: Annotated[DataOptions, ("tasks_dirs",)],
    options: RunOptions,
    transform: tuple[Transform, ...] = option(
        f"{same_option(EncoderOptions, 'transform').metadata[OPTION].help} Given again, each transform is"
        " evaluated by itself.",
        (), group=SEARCH, many=True,
    ),
    encoder_options: EncoderOptions,
    work: WorkOptions,
    shard: Shard | None = option(
        "Encode part I of N into the cache and stop, for example as a task of a Slurm array; once all parts are"
        " encoded, run the same command without --shard.",
        None, group=MACHINES, metavar="I/N", parse=Shard.read,
    ),
    trec: bool = option("With --save-run: write TREC run and qrels files, too.", False, group=OUTPUT),
    as_json: bool = JSON,
    quiet: bool = QUIET,
) -> int:  # fmt: skip
    """Evaluate encoders on every setting of tasks.

    MODEL is a SPEC without its flag, so that a pattern of the shell may name many models. Several languages,
    kinds or measures are joined by commas, without spaces.

    \b
    SPEC is one of
      PATH or hub id        a sentence-transformers model
      sparse:PATH           a SPLADE encoder, if its folder does not say so
      colbert:PATH          a ColBERT model, if its folder does not say so
      builtin:NAME          multilingual (trained, 11 languages), bm25 (words),
                            ngram (runs of letters), random (the floor)
      py:FILE:NAME          a function encode(texts, role), a class or a
                            retriever of yours
      npy:FOLDER            vectors: query.<lang>.npy, passage.<lang>.npy
      http:URL#MODEL        an OpenAI-compatible embeddings server

    \b
    Examples:
      xlir-bench run
      xlir-bench run --model out/final --task xquad-r --data ~/data
      xlir-bench run --model out/checkpoints/* --task mlqa-r   one table
      xlir-bench run --model out/final --name "ours, 2,000 steps"
      xlir-bench run --task xquad-r --langs en,de,ar --limit 200
      xlir-bench run --task xquad-r --index IVF64,Flat
      xlir-bench run --model out/final --fuse builtin:bm25     both together
      xlir-bench run --model out/final --rerank out/reranker   reorder the best
      xlir-bench run --model http:http://127.0.0.1:8000/v1#bge-m3
      xlir-bench run --model out/final --task miracl --on ray  on a cluster

    Every text is encoded once and its vector is cached: after an interruption, the same command continues.
    If a model fails, the others still run; the exit code is that of the first failure.
    """
    from xlir_bench.evaluation import encode_shard, settings_asked
    from xlir_bench.evaluation.saving import Asked, Evaluations, resolved
    from xlir_bench.measures.retrieval import check_measures
    from xlir_bench.retrieval.kernels import are_compiled

    # Whatever cannot run is refused before anything is loaded or encoded.
    specs = in_order([*models, *more_models]) or [DEFAULT_MODEL]
    if trec and not options.save_run:
        raise InputError("--trec writes what --save-run K keeps; add, say, --save-run 1000")
    known = data.catalogue()
    chosen = known.get(tasks or ["mini"], options.langs, options.offline)
    _refuse_stray(more_models, chosen, [*known.tasks], options)
    if names and len(names) != len(specs):
        raise InputError(
            f"--name is given {plural(len(names), 'time')} for {plural(len(specs), 'model')}"
        )
    named = dict(zip(dict.fromkeys([*models, *more_models] or specs), names, strict=bool(names)))
    if options.measures is not None:
        check_measures(options.measures)
    for task in chosen:
        settings_asked(task, options)
    if shard is not None and (work.on != "local" or not options.keep_vectors):
        other = "--on" if options.keep_vectors else "--no-keep-vectors"
        raise InputError(f"--shard encodes on this machine, into the cache: leave {other} out")

    # All transforms are of the same vectors; the first leaves them in the cache.
    transformed = [replace(encoder_options, transform=x) for x in dict.fromkeys(transform)]
    hows = transformed or [encoder_options]
    count = len(specs) * len(hows) * len(chosen)
    alone, code = count == 1, 0
    results: dict[str, Result | None] = {}
    tell = teller(quiet)
    folders: list[Path] = [output] if not output.exists() else []
    with (
        removing_empty(folders),
        opened(work.on, work.workers, work.gpus_per_worker, tell) as executor,
        Bars(quiet) as bars,
    ):
        retrievers = [r for how in hows for r in resolved(specs, how, options, executor)]
        job = Evaluations(options, output, canonical_command(), bars, tell, executor, trec)
        for retriever in retrievers:
            for task in chosen:
                usual = job.folder(retriever.card.slug, task)
                folders[:0] = [usual, usual.parent]
        # With enough evaluations, each is done by one worker; else the workers share every evaluation.
        apart = executor.remote and count >= max(2, executor.workers)
        if apart:
            job = Evaluations(options, output.absolute(), job.command, trec=trec)
        if shard is not None:
            while retrievers:
                retriever = retrievers.pop(0)  # its model is freed before the next one loads
                for task in chosen:
                    encoded = encode_shard(task, retriever, options, shard, bars)
                    name = visible(f"{retriever.card.name} on {task.name}")
                    tell(
                        f"{name}: {encoded:,} texts were encoded, part {shard.number} of {shard.of}"
                    )
            return 0
        if not (apart or are_compiled()):
            tell("the first run on this machine compiles its loops: a quarter of a minute, once")

        def pairs() -> Iterator[tuple[str, Asked]]:
            for how, spec in product(hows, specs):
                retriever = retrievers.pop(0)  # its model is freed before the next one loads
                called = named.get(spec)
                if called and len(hows) > 1:
                    called += f" | {how.transform}"
                for task in chosen:
                    name = f"{called or retriever.card.name} on {task.name}"
                    tell(visible(name))
                    name = name if name not in results else f"{name} ({spec})"
                    results[name] = None  # the order of tables, whichever is done first
                    yield name, Asked(spec if apart else retriever, task, how, called)

        if apart:  # an evaluation by a worker shows nothing until it is over
            bars.start("evaluate", count, "results")
        for done in (executor if apart else LOCAL).run(job, pairs()):
            if apart:
                bars.advance(1)
            try:
                result = done.result()
                if result.folder is not None and not result.folder.is_dir():
                    raise InputError(
                        f"{result.folder}, written by a worker, cannot be seen here: all nodes have to share --output"
                    )
            except Exception as error:
                if alone:
                    raise
                code = code or (error.exit_code if isinstance(error, XlirError) else 4)
                reason = str(error) if isinstance(error, XlirError) else repr(error)
                say_error(redacted(f"error: {done.name}: {reason}"))
                continue
            results[done.name] = result
            if not (quiet or as_json):
                _show(result, alone)
            if quiet or as_json or not alone:
                for note in result.record.notes:
                    if note.startswith(WARNING):
                        warn(f"{done.name}: {note.removeprefix(WARNING)}")
    in_turn = [result for result in results.values() if result is not None]
    if as_json:
        say_results(in_turn, alone)
    elif len(in_turn) > 1 and not quiet:
        from xlir_bench.reports.tables import results_table

        say()
        say_blocks([results_table([result.record for result in in_turn])])
    return code


def _refuse_stray(
    words: Sequence[str], tasks: Sequence[Task], names: Sequence[str], options: RunOptions
) -> None:
    """Refuse a MODEL that is plainly a language, a kind or a task."""
    from xlir_bench.records import Kind

    langs = {lang for task in tasks for lang in (*task.languages, *(task.passage_languages or ()))}
    strays = {
        "language": ("--langs", langs, options.langs or ()),
        "kind": ("--kinds", {kind.value for kind in Kind}, options.kinds or ()),
        "task": ("--task", {*names}, ()),
    }
    for what, (flag, known, given) in strays.items():
        stray = [word for word in words if word in known and not Path(word).exists()]
        if stray:
            meant = stray[0] if what == "task" else ",".join([*given, *stray])
            raise InputError(
                f"{stray[0]!r} is read as a model, and is a {what}: say {flag} {meant}"
                f" (for a model of that name, --model {stray[0]})"
            )


def in_order(specs: Sequence[str]) -> list[str]:
    """Each spec once, in the order given; checkpoints of one folder by their number.

    A shell puts checkpoint-1000 before checkpoint-200.
    """
    specs = list(dict.fromkeys(specs))
    stems = {re.sub(r"\d+/?$", "", spec) for spec in specs}
    numbers = [re.search(r"(\d+)/?$", spec) for spec in specs]
    if len(stems) == 1 and all(numbers):
        return sorted(specs, key=lambda spec: int(re.findall(r"\d+", spec)[-1]))
    return specs


def _show(result: Result, alone: bool) -> None:
    from xlir_bench.reports.tables import cost_line, heading, report, shortened, summary_table

    record = result.record
    say_blocks(
        shortened(record, report(record))
        if alone
        else [heading(record), summary_table(record), cost_line(record)]
    )
    say(f"\nwritten to {result.folder}\n")

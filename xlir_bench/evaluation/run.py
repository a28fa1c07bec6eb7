"""One run: a task, an encoder, and the stages that lead to a result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from xlir_bench.augment.query_forms import with_query_form
from xlir_bench.errors import InputError, UnknownNameError, require_type
from xlir_bench.evaluation.between_languages import alignment_part
from xlir_bench.evaluation.measuring import clusters_of, pool_rankings, scores_of, summary_of
from xlir_bench.evaluation.record import (
    alignment_notes,
    encoder_part,
    environment_part,
    index_part,
    machine_notes,
    misleading_notes,
    options_part,
    peak_memory,
    setting_part,
    task_part,
    texts_part,
    unscored_notes,
)
from xlir_bench.evaluation.retrievers import as_retriever
from xlir_bench.evaluation.searching import POOL_DEPTH, search
from xlir_bench.evaluation.unions import score_correlations
from xlir_bench.executor import LOCAL, Executor
from xlir_bench.extras import require
from xlir_bench.measures import PoolRanking, check_fit, check_measures, language_bias
from xlir_bench.measures.fairness import PerQuery
from xlir_bench.measures.ties import tie_ranges
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import EXACT, RunOptions, Shard
from xlir_bench.options.stating import changed, options_of
from xlir_bench.records import Collection, Kind, Progress, Ranking, Scores, Setting, Silent
from xlir_bench.results import Result, ResultRecord
from xlir_bench.results.schema import AlignmentPart, ProfilePart
from xlir_bench.results.tables import best_table, ranks_table, run_table
from xlir_bench.results.values import values_of_scores, values_table
from xlir_bench.retrieval import Index, Retriever
from xlir_bench.retrieval.faiss_index import DEPTH, require_factory
from xlir_bench.sources import load_collection
from xlir_bench.tasks import Task, catalogue

if TYPE_CHECKING:
    import pyarrow as pa


def evaluate(
    task: str | Task,
    encoder: object,
    options: RunOptions | None = None,
    *,
    encoder_options: EncoderOptions | None = None,
    progress: Progress | None = None,
    command: str = "",
    executor: Executor = LOCAL,
    **given: Any,
) -> Result:
    """Run one encoder on every setting of one task.

    `task` is a name (``xlir-bench tasks``), a spec such as ``beir:FOLDER``, or a `Task`. `encoder` is a spec (see
    ``xlir-bench run --help``), a `SentenceTransformer`, an `Encoder`, a `Retriever`, or a function ``encode(texts)`` or
    ``encode(texts, role)``. Every option of `RunOptions` and `EncoderOptions` may be given by its name: it replaces
    the value in `options` or `encoder_options`. `executor` does the work (`xlir_bench.executor.opened`).

    >>> import xlir_bench as xb
    >>> result = xb.evaluate("mini", "builtin:ngram", langs=["en", "de"], kinds="monolingual", cache=None)
    >>> result
    <Result of builtin:ngram on mini (languages de en; kinds monolingual): map monolingual 0.4681>
    >>> [(s.query_lang, s.queries) for s in result.record.settings]
    [('de', 72), ('en', 72)]
    """
    if not isinstance(task, str | Task):
        raise InputError(
            f"evaluate takes one task by its name, or a Task, not {type(task).__name__}"
        )
    require_type(options, RunOptions | None, "evaluate: options are RunOptions")
    require_type(
        encoder_options, EncoderOptions | None, "evaluate: encoder_options are EncoderOptions"
    )
    require_type(
        progress, Progress | None, "evaluate: progress is what is told of stages (Progress)"
    )
    require_type(executor, Executor, "evaluate: executor is of xlir_bench.executor.opened")
    require_type(command, str, "evaluate: command is text")
    known = {o.name for record in (RunOptions, EncoderOptions) for o in options_of(record)}
    if unknown := [name for name in given if name not in known | {"cache"}]:
        raise UnknownNameError("option of evaluate", unknown, known)
    options = changed(options or RunOptions(), given)
    how_encoded = changed(encoder_options or EncoderOptions(), given)
    # An encoder in memory was not loaded with these options: they are recorded only if some were given.
    is_recorded = (
        isinstance(encoder, str) or encoder_options is not None or how_encoded != EncoderOptions()
    )
    if isinstance(task, str):
        task = catalogue().get([task], options.langs, options.offline)[0]
    return evaluate_retriever(
        task,
        as_retriever(encoder, how_encoded, options, executor),
        options,
        encoder_options=how_encoded if is_recorded else None,
        progress=progress or Silent(),
        command=command,
        executor=executor,
    )


def evaluate_retriever(
    task: Task,
    retriever: Retriever,
    options: RunOptions,
    *,
    encoder_options: EncoderOptions | None,
    progress: Progress,
    command: str,
    executor: Executor,
) -> Result:
    """The stages of a run, from its options to its result.

    `retriever` was made with these options, and `executor` does its work. `encoder_options` and `command` are only
    recorded.
    """
    settings = settings_asked(task, options)
    measures = check_measures(options.measures or task.measures)
    if task.format == "xor":
        require("xor", f"task {task.name}")
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - began, 3)

    with stage("read"):
        collection = _read(task, options, progress)
        check_fit(measures, by_answers=bool(collection.answers))
    with stage("encode"):
        represented = retriever.represent(collection, progress)
    with stage("search"):
        index, approximation, keep = represented.index, None, options.save_run
        if options.index == EXACT:
            rankings = search(index, collection, settings, keep, progress)
        else:
            depth, keep = index.faiss_depth(DEPTH), max(keep, POOL_DEPTH)
            by_faiss = index.by_faiss(options.index, depth)
            if by_faiss is None:
                raise InputError(
                    f"--index {options.index!r} needs vectors, and {retriever.card.name} has none: leave it out"
                )
            exact = search(index, collection, settings, keep, progress)
            rankings = search(by_faiss, collection, settings, keep, progress)
            index, approximation = by_faiss, index_part(options.index, exact, rankings, depth)
    with stage("measure"):
        scores = scores_of(rankings, collection, measures, progress)
        clusters, query_clusters = clusters_of(collection)
        summary = summary_of(scores, query_clusters, clusters, measures, options.seed)
        ties = {} if collection.answers else tie_ranges(rankings, scores, measures)
        pools = pool_rankings(rankings, collection, query_clusters)
        correlations, union_scores = _correlations(pools, represented.index, collection, options)
        bias = language_bias(pools, collection.parallel, options.seed, correlations)
        tables = _tables(rankings, scores, collection, options)
        if union_scores is not None:
            tables["scores"] = union_scores
    alignment = AlignmentPart()
    if options.alignment and represented.vectors is not None:
        with stage("align"):
            alignment = alignment_part(collection, represented, rankings, progress)
    card = retriever.card
    texts = texts_part(collection, represented, card)
    record = ResultRecord(
        task=task_part(task, collection, clusters),
        encoder=encoder_part(card, represented.dimension, retriever.device, encoder_options),
        settings=[setting_part(s, r) for s, r in zip(scores, rankings, strict=True)],
        summary=summary,
        ties=ties,
        bias=bias,
        options=options_part(options, task, collection, measures),
        texts=texts,
        alignment=alignment,
        profile=ProfilePart(
            seconds=seconds,
            encoded_texts=represented.encoded,
            cached_texts=represented.cached,
            peak_memory_bytes=peak_memory(),
            search_device=represented.index.search_device,
            index=approximation,
        ),
        environment=environment_part(executor.kinds),
        notes=[
            *misleading_notes(texts, collection, represented.vectors),
            *card.notes,
            *represented.notes,
            *index.notes,
            *collection.notes,
            *unscored_notes(rankings, collection),
            *(alignment_notes(represented, card) if options.alignment else ()),
            *machine_notes(executor.kinds),
        ],
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Result(record, tables)


def _read(task: Task, options: RunOptions, progress: Progress) -> Collection:
    """The texts of a task, with questions changed as `--query-form` says."""
    collection = load_collection(task, options, progress)
    if options.query_form is None:
        return collection
    return with_query_form(collection, options.query_form, options.word_lists)


def _correlations(
    pools: Sequence[PoolRanking], index: Index, collection: Collection, options: RunOptions
) -> tuple[Mapping[str, Mapping[str, PerQuery]], pa.Table | None]:
    """MRC and the scores it is computed from, for parallel texts; where this takes minutes, only with `--alignment`."""
    scoring = index.scoring
    if not collection.parallel or scoring is None:
        return {}, None
    is_quick = options.unions and options.keep_vectors and scoring.scores_fast
    if not (options.alignment or is_quick):
        return {}, None
    return score_correlations(pools, scoring, collection, options.alignment)


def _tables(
    rankings: Sequence[Ranking],
    scores: Sequence[Scores],
    collection: Collection,
    options: RunOptions,
) -> dict[str, pa.Table]:
    """The tables of single queries and their passages that a result keeps."""
    tables = {"ranks": ranks_table(rankings, collection)}
    if collection.answers:
        of_measures = (values_of_scores(scores, m, collection.queries) for m in scores[0].values)
        tables["queries"] = values_table(list(of_measures))
    if any(r.setting.kind == Kind.MULTILINGUAL and len(r.query) for r in rankings):
        tables["best"] = best_table(rankings, collection)
    if options.save_run:
        tables["run"] = run_table(rankings, collection, options.save_run)
    return tables


def encode_shard(
    task: Task, retriever: Retriever, options: RunOptions, shard: Shard, progress: Progress
) -> int:
    """Encode one part of a task's texts into the cache.

    Returns how many were encoded: none by a retriever without vectors.
    """
    collection = _read(task, options, progress)
    return retriever.encode_shard(collection, shard, progress)


def settings_asked(task: Task, options: RunOptions) -> list[Setting]:
    """The settings of a run; languages, kinds and candidate texts that the task lacks are refused."""
    unknown = sorted(set(options.langs or ()) - set(task.languages))
    if unknown:
        raise UnknownNameError(f"language of {task.name}", unknown, task.languages)
    if options.candidate is not None and options.candidate not in task.candidates:
        raise UnknownNameError(
            f"candidate text of {task.name}", [options.candidate], task.candidates
        )
    if not options.keep_vectors and (options.alignment or options.index != EXACT):
        what = "--alignment" if options.alignment else f"--index {options.index}"
        raise InputError(f"{what} reads vectors more than once: leave --no-keep-vectors out")
    if options.index != EXACT:
        require_factory(options.index)
    if options.lexicon is not None and options.query_form != "code-switched":
        raise InputError(
            "--lexicon is only for --query-form code-switched: leave it out, or give that too"
        )
    settings = task.settings(
        options.langs, None if options.kinds is None else [Kind(k) for k in options.kinds]
    )
    if not settings:
        raise InputError(
            f"{task.name} has no setting of the kinds and languages asked for"
            " (cross-lingual and multilingual need two languages or more)"
        )
    return settings

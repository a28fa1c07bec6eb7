"""One run: a task, an encoder, and the stages that lead to a result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from xlir_bench.arrays import Shared, equal_pairs
from xlir_bench.augment.query_forms import with_query_form
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.evaluation.between_languages import alignment_part
from xlir_bench.evaluation.record import (
    encoder_part,
    environment_part,
    index_part,
    misleading_notes,
    peak_memory,
    setting_part,
    texts_part,
    unscored_notes,
)
from xlir_bench.evaluation.retrievers import as_retriever
from xlir_bench.evaluation.searching import POOL_DEPTH, search
from xlir_bench.evaluation.unions import score_correlations
from xlir_bench.executor import LOCAL, Executor
from xlir_bench.extras import require
from xlir_bench.measures import PoolRanking, check_fit, check_measures, language_bias, score
from xlir_bench.measures.bootstrap import UNIT, ClusterSums, Interval, estimates
from xlir_bench.measures.fairness import PerQuery
from xlir_bench.measures.retrieval import score_answers, tokens_of
from xlir_bench.measures.ties import tie_ranges
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import EXACT, RunOptions, Shard
from xlir_bench.options.stating import changed, check_bounds, options_of
from xlir_bench.records import Collection, Ints, Kind, Progress, Ranking, Scores, Setting, Silent
from xlir_bench.results import Result, ResultRecord
from xlir_bench.results.schema import (
    AlignmentPart,
    OptionsPart,
    ProfilePart,
    TaskPart,
    data_digest,
)
from xlir_bench.results.tables import best_table, ranks_table, run_table
from xlir_bench.results.values import values_of_scores, values_table
from xlir_bench.retrieval import Retriever
from xlir_bench.retrieval.faiss_index import DEPTH, require_factory
from xlir_bench.sources import load_collection
from xlir_bench.tasks import Task, catalogue

OF_ANY_RETRIEVER = {o.name for o in options_of(RunOptions)} - {
    "vectors", "search_device", "keep_vectors", "batch_tokens",
}  # fmt: skip
"""The options that hold for whatever retrieves; all others decide how it is made."""


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

    `task` is a name (``xlir-bench tasks``), such as ``beir:FOLDER``, or a `Task`. `encoder` is a spec (see
    ``xlir-bench run --help``), a `SentenceTransformer`, an `Encoder`, or a function ``encode(texts)`` or
    ``encode(texts, role)``. Every option of `RunOptions` and `EncoderOptions` may be given by its name; `options` and
    `encoder_options` are what is changed by them. `executor` does the work (`xlir_bench.executor.opened`).

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
    known = {o.name for record in (RunOptions, EncoderOptions) for o in options_of(record)}
    if unknown := [name for name in given if name not in known | {"cache"}]:
        raise UnknownNameError("option of evaluate", unknown, known)
    if isinstance(encoder, Retriever) and (
        late := [name for name in given if name in known - OF_ANY_RETRIEVER]
    ):
        raise InputError(
            f"{', '.join(late)}: what retrieves is made already, and these options would come too late; give"
            " `evaluate` the encoder or its spec"
        )
    options, progress = changed(options or RunOptions(), given), progress or Silent()
    of_encoder = changed(encoder_options or EncoderOptions(), given)
    if encoder_options is not None or isinstance(encoder, str) or of_encoder != EncoderOptions():
        encoder_options = of_encoder
    task = (
        catalogue().get([task], options.langs, options.offline)[0]
        if isinstance(task, str)
        else task
    )
    retriever = as_retriever(encoder, encoder_options or EncoderOptions(), options, executor)
    settings = settings_asked(task, options)
    measures = check_measures(options.measures or task.measures)
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - began, 3)

    if task.format == "xor":
        require("xor", f"--task {task.name}")
    with stage("read"):
        collection = _asked(task, options, progress)
        check_fit(measures, by_answers=bool(collection.answers))
    with stage("encode"):
        represented = retriever.represent(collection, progress)
    with stage("search"):
        index = searched = represented.index
        keep, index_quality = options.save_run, None
        if options.index != EXACT:
            depth, keep = index.faiss_depth(DEPTH), max(keep, POOL_DEPTH)
            by_faiss = index.by_faiss(options.index, depth)
            if by_faiss is None:
                raise InputError(
                    f"--index {options.index!r} wants vectors, and {retriever.card.name} has none:"
                    f" only --index {EXACT} ranks by it"
                )
            searched, exact = by_faiss, search(index, collection, settings, keep, progress)
        rankings = search(searched, collection, settings, keep, progress)
        if searched is not index:
            index_quality = index_part(options.index, exact, rankings, depth)
    with stage("measure"):
        scores = _scores(rankings, collection, measures, progress)
        clusters, of_query = _clusters(collection)
        summary = _summary(scores, of_query, clusters, measures, options.seed)
        ties = {} if collection.answers else tie_ranges(rankings, scores, measures)
        pools = _pool_rankings(rankings, collection, of_query)
        tables = {"ranks": ranks_table(rankings, collection)}
        by_scores: Mapping[str, Mapping[str, PerQuery]] = {}
        scoring = index.scoring
        # Where it takes minutes it has to be asked for.
        if (
            collection.parallel
            and scoring is not None
            and (
                options.alignment
                or (options.unions and options.keep_vectors and scoring.scores_fast)
            )
        ):
            by_scores, of_unions = score_correlations(pools, scoring, collection, options.alignment)
            if of_unions is not None:
                tables["scores"] = of_unions
        bias = language_bias(pools, collection.parallel, options.seed, by_scores)
        if collection.answers:
            tables["queries"] = values_table(
                [values_of_scores(scores, m, collection.queries) for m in measures]
            )
        if pools:
            tables["best"] = best_table(rankings, collection)
        if options.save_run:
            tables["run"] = run_table(rankings, collection, options.save_run)
    alignment = AlignmentPart()
    if options.alignment and represented.vectors is not None:
        with stage("align"):
            alignment = alignment_part(collection, represented, rankings, progress)
    card = retriever.card
    texts = texts_part(collection, represented, card)
    notes = list(misleading_notes(texts, collection, represented.vectors))
    notes += [*card.notes, *represented.notes, *searched.notes, *collection.notes]
    notes += unscored_notes(rankings, collection)
    if options.alignment and represented.vectors is None:
        notes.append("alignment is measured of vectors, and this retriever has none")
    elif options.alignment and card.similarity == "dot":
        notes.append("alignment is measured by cosine, and the correlation of scores (MRC) by dot")
    if len(executor.kinds) > 1:
        notes.append(
            f"workers of {len(executor.kinds)} kinds of machine did the work: the last bits of vectors may depend"
            " on which"
        )
    record = ResultRecord(
        task=TaskPart(
            name=task.name,
            title=task.title,
            version=task.version,
            digest=task.digest,
            domain=task.domain,
            licence=task.licence,
            cluster=collection.cluster,
            clusters=clusters,
            files=dict(collection.digests),
            data=data_digest(collection.digests) if collection.digests else None,
        ),
        encoder=encoder_part(card, represented.dimension, retriever.device, encoder_options),
        settings=[setting_part(s, r) for s, r in zip(scores, rankings, strict=True)],
        summary=summary,
        ties=ties,
        bias=bias,
        options=_options_part(options, task, collection, measures),
        texts=texts,
        alignment=alignment,
        profile=ProfilePart(
            seconds=seconds,
            encoded_texts=represented.encoded,
            cached_texts=represented.cached,
            peak_memory_bytes=peak_memory(),
            search_device=index.search_device,
            index=index_quality,
        ),
        environment=environment_part(executor.kinds),
        notes=notes,
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Result(record, tables)


def _asked(task: Task, options: RunOptions, progress: Progress) -> Collection:
    """The texts of a task, with its questions in the form in which they are asked."""
    collection = load_collection(task, options, progress)
    if options.query_form is None:
        return collection
    return with_query_form(collection, options.query_form, options.word_lists)


def encode_shard(
    task: Task, retriever: Retriever, options: RunOptions, shard: Shard, progress: Progress
) -> int:
    """Encode one part of a task's texts into the cache; how many were encoded. What has no vectors has nothing to do."""
    collection = _asked(task, options, progress)
    return retriever.encode_shard(collection, shard, progress)


def settings_asked(task: Task, options: RunOptions) -> list[Setting]:
    """The settings of a run; languages, kinds and candidate texts that the task lacks are refused."""
    check_bounds(options)
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
            "--lexicon is what --query-form code-switched changes questions by, and they are not: leave it out"
        )
    settings = task.settings(
        options.langs, None if options.kinds is None else [Kind(k) for k in options.kinds]
    )
    if not settings:
        raise InputError(
            f"{task.name} has no setting of the kinds and languages asked for"
            " (cross-lingual and multilingual want two languages or more)"
        )
    return settings


def _scores(
    rankings: Sequence[Ranking], collection: Collection, measures: Sequence[str], progress: Progress
) -> list[Scores]:
    """By the passages that were judged, or by the answers that passages hold."""
    if not collection.answers:
        return score(rankings, measures)
    tokens = {lang: tokens_of(collection.bodies(lang)) for lang in collection.passages}
    scores = []
    progress.start("answers", len(rankings), "settings")
    for r in rankings:
        answers = collection.answers[r.setting.query_lang]
        scores.append(score_answers(r, answers, tokens[r.setting.passage_lang], measures))
        progress.advance(1)
    progress.finish()
    return scores


def _clusters(collection: Collection) -> tuple[int, dict[str, Ints]]:
    """How many clusters there are, and by language the number of the cluster of each query."""
    names = sorted({name for queries in collection.queries.values() for name in queries.clusters})
    number = {name: place for place, name in enumerate(names)}
    return len(names), {
        lang: np.array([number[name] for name in queries.clusters], np.int64)
        for lang, queries in collection.queries.items()
    }


def _summary(
    scores: Sequence[Scores],
    of_query: Mapping[str, Ints],
    clusters: int,
    measures: Sequence[str],
    seed: int,
) -> dict[Kind, dict[str, Interval]]:
    """Macro averages with intervals, by kind and measure."""
    summary: dict[Kind, dict[str, Interval]] = {}
    for kind in Kind:
        chosen = [s for s in scores if s.setting.kind == kind and len(s.query)]
        if not chosen:
            continue
        shared = Shared()
        rows = [shared.of(of_query[s.setting.query_lang][s.query]) for s in chosen]
        # One after the other: sums of 41,412 settings are large.
        figures = (ClusterSums.of((s.values[m] for s in chosen), rows, clusters) for m in measures)
        averages = zip(measures, estimates(figures, seed), strict=True)
        summary[kind] = {measure: average.interval(UNIT) for measure, average in averages}
    return summary


def _pool_rankings(
    rankings: Sequence[Ranking], collection: Collection, of_query: Mapping[str, Ints]
) -> list[PoolRanking]:
    """The rankings of the pool of all languages, beside those of each of its languages where they were searched."""
    by_setting = {r.setting: r for r in rankings}
    pools = []
    for r in rankings:
        if r.setting.kind != Kind.MULTILINGUAL or not len(r.query):
            continue
        lang, langs = r.setting.query_lang, r.setting.passage_langs
        counts = {x: len(collection.passages[x].ids) for x in langs}
        pool = PoolRanking(r, collection.queries[lang].ids, counts, of_query[lang])
        of_lang = [by_setting[s] for x in langs if (s := Setting(lang, (x,))) in by_setting]
        if len(of_lang) == len(langs):
            pool = replace(pool, in_language=_ranks_in_language(pool, of_lang))
        pools.append(pool)
    return pools


def _ranks_in_language(pool: PoolRanking, of_lang: Sequence[Ranking]) -> Ints:
    """The rank of each relevant passage of the pool in the ranking of its own language."""
    starts = np.cumsum([0, *pool.passage_counts.values()])
    size = starts[-1]
    code = np.concatenate(
        [r.query * size + r.passage + start for r, start in zip(of_lang, starts[:-1], strict=True)]
    )
    wanted = pool.ranking.query * size + pool.ranking.passage
    _, place = equal_pairs(wanted, code)
    return np.concatenate([r.rank for r in of_lang])[place]


def _options_part(
    options: RunOptions, task: Task, collection: Collection, measures: Sequence[str]
) -> OptionsPart:
    part = options.part(task)
    asked = {o.name: getattr(options, o.name) for o in options_of(RunOptions) if o.decides}
    stated = {
        "langs": part.get("langs", []),
        "kinds": part.get("kinds", []),
        "candidate": options.candidate or task.candidate,
        "usual_candidate": task.candidate,
        "word_lists": options.word_lists_digest,
        "changed_data": list(collection.changed),
        "measures": list(measures),
    }
    return OptionsPart(**asked | stated)

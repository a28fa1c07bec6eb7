"""One run: a task, an encoder, and the stages that lead to a result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from xlir_bench.encoders import as_encoder
from xlir_bench.encoders.bm25 import BM25
from xlir_bench.encoders.vectors import StoredVectors
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.evaluation.alignment import alignment_part, in_sample
from xlir_bench.evaluation.clusters import Clusters
from xlir_bench.evaluation.maps import map_by_kind
from xlir_bench.evaluation.ranked import POOL_DEPTH, Searching
from xlir_bench.evaluation.record import (
    bias_part,
    encoder_part,
    environment,
    index_part,
    left_out,
    peak_memory,
    setting_part,
    task_part,
    texts_part,
)
from xlir_bench.measures import (
    UNIT,
    ClusteredValues,
    PoolRanking,
    check_fit,
    check_measures,
    language_bias,
    macro_intervals,
    score,
    score_answers,
    tokens_of,
)
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import EXACT, RunOptions
from xlir_bench.options.stating import check_bounds
from xlir_bench.records import (
    Collection,
    Floats,
    Kind,
    Progress,
    Ranking,
    Role,
    Scores,
    Setting,
    Silent,
)
from xlir_bench.results import Result, ResultRecord
from xlir_bench.results.schema import (
    AlignmentPart,
    IntervalPart,
    OptionsPart,
    ProfilePart,
)
from xlir_bench.results.tables import ranks_table, run_table
from xlir_bench.results.values import values_of_scores, values_table
from xlir_bench.retrieval import (
    BM25Retriever,
    EmbedRequest,
    FaissIndex,
    Represented,
    Retriever,
    StoredRetriever,
    VectorIndex,
    VectorRetriever,
    Vectors,
)
from xlir_bench.sources import load_collection
from xlir_bench.tasks import Task, catalogue


def evaluate(
    task: str | Task,
    encoder: object,
    options: RunOptions | None = None,
    *,
    encoder_options: EncoderOptions | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Result:
    """Run one encoder on every setting of one task.

    `encoder` is a spec (see ``xlir-bench run --help``), a `SentenceTransformer`, an `Encoder`, or a
    function ``encode(texts, role)``. `encoder_options` say how it is loaded, or how it was.

    >>> import xlir_bench as xb
    >>> options = xb.RunOptions(langs=("en", "de"), kinds=("monolingual",), cache=None)
    >>> result = xb.evaluate("mini", "builtin:ngram", options)
    >>> [(s.query_lang, s.queries) for s in result.record.settings]
    [('de', 72), ('en', 72)]
    """
    options = options or RunOptions()
    if encoder_options is None and isinstance(encoder, str):
        encoder_options = EncoderOptions()
    task = catalogue().get([task], options.langs)[0] if isinstance(task, str) else task
    return _Run(
        task=task,
        retriever=as_retriever(encoder, encoder_options or EncoderOptions(), options),
        encoder_options=encoder_options,
        options=options,
        settings=settings_asked(task, options),
        measures=check_measures(options.measures or task.measures),
        progress=progress or Silent(),
        command=command,
    ).result()


def as_retriever(
    encoder: object, encoder_options: EncoderOptions, options: RunOptions
) -> Retriever:
    """Whatever a user gives as one."""
    found = as_encoder(encoder, encoder_options)
    if isinstance(found, BM25 | StoredVectors) and options.vectors != "float32":
        raise InputError(
            f"--vectors {options.vectors} is for texts that are encoded; {found.name} has nothing to round"
        )
    if isinstance(found, BM25):
        return BM25Retriever(found)
    if isinstance(found, StoredVectors):
        return StoredRetriever(found, limited=options.limit is not None)
    request = EmbedRequest(options.cache, options.batch_tokens, options.vectors)
    return VectorRetriever(found, request)


def settings_asked(task: Task, options: RunOptions) -> list[Setting]:
    """The settings of a run; languages, kinds and candidate texts that the task lacks are refused."""
    unknown = sorted(set(options.langs or ()) - set(task.languages))
    if unknown:
        raise UnknownNameError(f"language of {task.name}", unknown, task.languages)
    if options.candidate is not None and options.candidate not in task.candidates:
        raise UnknownNameError(
            f"candidate text of {task.name}", [options.candidate], task.candidates
        )
    check_bounds(options)
    strange = [str(kind) for kind in options.kinds or () if kind not in list(Kind)]
    if strange:
        raise UnknownNameError("kind", strange, [kind.value for kind in Kind])
    kinds = None if options.kinds is None else [Kind(kind) for kind in options.kinds]
    settings = task.settings(options.langs, kinds)
    if not settings:
        raise InputError(
            f"{task.name} has no setting of the kinds and languages asked for"
            " (cross-lingual and multilingual want two languages or more)"
        )
    return settings


@dataclass(slots=True)
class _Run:
    """One task, one encoder, and the stages that lead to a result."""

    task: Task
    retriever: Retriever
    encoder_options: EncoderOptions | None
    options: RunOptions
    settings: list[Setting]
    measures: tuple[str, ...]
    progress: Progress
    command: str
    seconds: dict[str, float] = field(default_factory=dict)

    def result(self) -> Result:
        with self._stage("read"):
            collection = load_collection(self.task, self.options, self.progress)
            check_fit(self.measures, by_answers=bool(collection.answers))
        with self._stage("encode"):
            represented = self.retriever.represent(collection, self.progress)
        searching = Searching(collection, self.settings, self.options.save_run, self.progress)
        with self._stage("search"):
            index, factory = None, self.options.index
            rankings = searching.rankings(represented.index, 0 if factory == EXACT else POOL_DEPTH)
            if factory != EXACT:
                exact = rankings
                rankings = searching.rankings(self._approximate(represented), POOL_DEPTH)
                index = index_part(factory, exact, rankings, POOL_DEPTH)
        with self._stage("measure"):
            scores = self._scores(rankings, collection)
            clusters = Clusters.of(collection)
            summary = self._summary(scores, clusters)
            bias = language_bias(_pool_rankings(rankings, collection), collection.parallel)
            tables = {"ranks": ranks_table(rankings, collection)}
            if collection.answers:
                found = [values_of_scores(scores, m, collection.queries) for m in self.measures]
                tables["queries"] = values_table(found)
            if self.options.save_run:
                tables["run"] = run_table(rankings, collection, self.options.save_run)
        aligned = self._alignment(searching, represented, rankings)
        card = self.retriever.card
        record = ResultRecord(
            task=task_part(self.task, collection, clusters),
            encoder=encoder_part(card, represented, self.retriever.device, self.encoder_options),
            settings=[setting_part(s, r) for s, r in zip(scores, rankings, strict=True)],
            summary=summary,
            bias={name: bias_part(view) for name, view in bias.items()},
            options=self._options_part(collection),
            texts=texts_part(collection, represented, card.max_tokens),
            alignment=aligned,
            profile=ProfilePart(
                seconds={stage: round(s, 3) for stage, s in self.seconds.items()},
                encoded_texts=represented.encoded,
                cached_texts=represented.cached,
                peak_memory_bytes=peak_memory(),
                index=index,
            ),
            environment=environment(),
            notes=[
                *card.notes,
                *represented.notes,
                *collection.notes,
                *left_out(rankings, collection),
            ],
            command=self.command,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return Result(record, tables)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began

    def _approximate(self, represented: Represented) -> FaissIndex:
        if not isinstance(represented.index, VectorIndex):
            raise InputError(
                f"--index {self.options.index!r} wants vectors, and {self.retriever.card.name} has none:"
                f" only --index {EXACT} ranks by it"
            )
        return FaissIndex(represented.index, self.options.index)

    def _scores(self, rankings: Sequence[Ranking], collection: Collection) -> list[Scores]:
        """By what was judged, or by the answers that passages hold."""
        if not collection.answers:
            return score(rankings, self.measures)
        cut = {lang: tokens_of(collection.bodies(lang)) for lang in collection.passages}
        found = []
        self.progress.start("answers", len(rankings), "settings")
        for r in rankings:
            answers = collection.answers[r.setting.query_lang]
            tokens = cut[r.setting.passage_lang]
            found.append(score_answers(r, answers, tokens, self.measures))
            self.progress.advance(1)
        self.progress.finish()
        return found

    def _summary(
        self, scores: Sequence[Scores], clusters: Clusters
    ) -> dict[Kind, dict[str, IntervalPart]]:
        summary: dict[Kind, dict[str, IntervalPart]] = {}
        for kind in Kind:
            mine = [s for s in scores if s.setting.kind == kind and len(s.query)]
            if not mine:
                continue
            values = [
                [
                    ClusteredValues(
                        s.values[measure], clusters.codes[s.setting.query_lang][s.query]
                    )
                    for s in mine
                ]
                for measure in self.measures
            ]
            found = macro_intervals(values, len(clusters.names), self.options.seed, bounds=UNIT)
            summary[kind] = {
                measure: IntervalPart(mean=interval.mean, low=interval.low, high=interval.high)
                for measure, interval in zip(self.measures, found, strict=True)
            }
        return summary

    def _alignment(
        self, searching: Searching, represented: Represented, rankings: Sequence[Ranking]
    ) -> AlignmentPart:
        if not self.options.alignment or represented.vectors is None:
            return AlignmentPart()

        def map_of(vectors: Mapping[tuple[Role, str], Floats]) -> dict[Kind, float]:
            changed = VectorIndex.of({key: Vectors.of(rows) for key, rows in vectors.items()})
            return map_by_kind(searching, changed)

        with self._stage("align"):
            sample = in_sample(searching.collection, represented.vectors)
            return alignment_part(
                sample.collection, sample.vectors, rankings, map_of if sample.whole else None
            )

    def _options_part(self, collection: Collection) -> OptionsPart:
        part = self.options.part(self.task)
        return OptionsPart(
            langs=part.get("langs", []),
            kinds=[Kind(k) for k in part.get("kinds", [])],
            limit=self.options.limit,
            corpus_limit=self.options.corpus_limit,
            candidate=self.options.candidate or self.task.candidate,
            index=self.options.index,
            vectors=self.options.vectors,
            seed=self.options.seed,
            changed_data=list(collection.changed),
            measures=list(self.measures),
        )


def _pool_rankings(rankings: Sequence[Ranking], collection: Collection) -> list[PoolRanking]:
    return [
        PoolRanking(
            ranking=r,
            query_ids=collection.queries[r.setting.query_lang].ids,
            passage_counts={x: len(collection.passages[x].ids) for x in r.setting.passage_langs},
        )
        for r in rankings
        if r.setting.kind == Kind.MULTILINGUAL and len(r.query)
    ]

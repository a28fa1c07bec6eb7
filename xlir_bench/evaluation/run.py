"""One run: a task, an encoder, and the stages that lead to a result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from xlir_bench.encoders import as_encoder, checked, describe
from xlir_bench.encoders.vectors import StoredVectors
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.evaluation.alignment import alignment_part, in_sample
from xlir_bench.evaluation.clusters import Clusters
from xlir_bench.evaluation.maps import map_of_vectors
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
    ROLES,
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
from xlir_bench.results.tables import queries_table, ranks_table, run_table
from xlir_bench.retrieval import Embedded, EmbedRequest, Vectors, embed, zero_vectors
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
        encoder=as_encoder(encoder, encoder_options or EncoderOptions()),
        encoder_options=encoder_options,
        options=options,
        settings=settings_asked(task, options),
        measures=check_measures(options.measures or task.measures),
        progress=progress or Silent(),
        command=command,
    ).result()


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
    encoder: Any
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
            embedded = self._embed(collection)
        searching = Searching(collection, self.settings, self.options.save_run, self.progress)
        with self._stage("search"):
            index, factory = None, self.options.index
            rankings = searching.exact(embedded.vectors, 0 if factory == EXACT else POOL_DEPTH)
            if factory != EXACT:
                found = searching.by_index(embedded.vectors, factory)
                index = index_part(factory, rankings, found, POOL_DEPTH)
                rankings = found
        with self._stage("measure"):
            scores = self._scores(rankings, collection)
            clusters = Clusters.of(collection)
            summary = self._summary(scores, clusters)
            bias = language_bias(_pool_rankings(rankings, collection), collection.parallel)
            tables = {
                "ranks": ranks_table(rankings, collection),
                "queries": queries_table(scores, collection),
            }
            if self.options.save_run:
                tables["run"] = run_table(rankings, collection, self.options.save_run)
        aligned = self._alignment(searching, embedded, rankings)
        card = describe(self.encoder)
        record = ResultRecord(
            task=task_part(self.task, collection, clusters),
            encoder=encoder_part(
                card, embedded, getattr(self.encoder, "device", None), self.encoder_options
            ),
            settings=[setting_part(s, r) for s, r in zip(scores, rankings, strict=True)],
            summary=summary,
            bias={name: bias_part(view) for name, view in bias.items()},
            options=self._options_part(collection),
            texts=texts_part(collection, embedded, card.max_tokens),
            alignment=aligned,
            profile=ProfilePart(
                seconds={stage: round(s, 3) for stage, s in self.seconds.items()},
                encoded_texts=embedded.encoded,
                cached_texts=embedded.cached,
                peak_memory_bytes=peak_memory(),
                index=index,
            ),
            environment=environment(),
            notes=[
                *card.notes,
                *embedded.notes,
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

    def _embed(self, collection: Collection) -> Embedded:
        if isinstance(self.encoder, StoredVectors):
            return stored(collection, self.encoder, self.options.limit is not None)
        request = EmbedRequest(self.options.cache, self.options.batch_tokens)
        return embed(collection, self.encoder, request, self.progress)

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
        self, searching: Searching, embedded: Embedded, rankings: Sequence[Ranking]
    ) -> AlignmentPart:
        if not self.options.alignment:
            return AlignmentPart()

        def map_of(vectors: Mapping[tuple[Role, str], Floats]) -> dict[Kind, float]:
            return map_of_vectors(searching, {k: Vectors.of(rows) for k, rows in vectors.items()})

        with self._stage("align"):
            sample = in_sample(searching.collection, embedded.vectors)
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
            seed=self.options.seed,
            changed_data=list(collection.changed),
            measures=list(self.measures),
        )


def stored(collection: Collection, encoder: StoredVectors, limited: bool) -> Embedded:
    """Vectors that a user has already; of a limited run, those of the first queries."""
    vectors, notes = {}, []
    for role in ROLES:
        for lang in collection.languages(role):
            texts = collection.texts(role, lang)
            # A NaN is never lower than anything: unseen, it would stand at rank 1.
            rows = encoder.vectors(role, lang, len(texts), limited and role == "query")
            vectors[role, lang] = Vectors.of(checked(rows, texts))
            notes += zero_vectors(role, texts.__getitem__, np.flatnonzero(~rows.any(axis=1)))
    return Embedded(vectors, tokens=None, notes=tuple(notes))


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

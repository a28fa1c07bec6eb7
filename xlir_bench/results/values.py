"""The values of single queries, made of a result's ranks: what every comparison and test begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.measures import score
from xlir_bench.measures.bias import rank_distances
from xlir_bench.records import Floats, Ints, Kind, Queries, Ranking, Scores, Setting

if TYPE_CHECKING:
    import pyarrow as pa

    from xlir_bench.results.schema import ResultRecord

RANK_DISTANCE = "rank_distance"
"""Stands where a measure's name would: highest minus lowest rank of a query's answers in the pool."""


@dataclass(frozen=True, slots=True)
class QueryValues:
    """One measure of every scored query in every setting of a result, sorted by setting, then query."""

    measure: str
    settings: tuple[Setting, ...]
    query_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    setting: Ints
    """Index into `settings`, one a value, as are the following."""
    query: Ints
    cluster: Ints
    value: Floats


@dataclass(frozen=True, slots=True)
class RankedQueries:
    """The ranks of a result as numbers, a ranking a setting."""

    query_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    rankings: tuple[Ranking, ...]
    cluster: tuple[Ints, ...]
    """By setting, of each relevant passage's query."""

    @classmethod
    def of(cls, ranks: pa.Table, record: ResultRecord) -> RankedQueries:
        """From the table beside a result."""
        kinds, langs, passages = (
            Names.of(ranks, name) for name in ("kind", "query_lang", "passage_lang")
        )
        queries, clusters, texts = (
            Names.of(ranks, name) for name in ("query_id", "cluster", "passage_id")
        )
        settings = settings_of(record)
        place = {(s.query_lang, s.passage_lang): i for i, s in enumerate(settings)}
        # In a pool passages of all languages belong to one setting.
        codes = np.array(
            [
                [place.get((lang, passage), -1) for passage in (*passages.names, "*")]
                for lang in langs.names
            ],
            np.int64,
        ).reshape(len(langs.names), len(passages.names) + 1)
        pooled = np.array([name == Kind.MULTILINGUAL for name in kinds.names], bool)[kinds.codes]
        setting = codes[langs.codes, np.where(pooled, len(passages.names), passages.codes)]
        if len(setting) and setting.min() < 0:
            raise ValueError("a row is of no setting")
        order = np.lexsort((texts.codes, queries.codes, setting))
        bounds = np.searchsorted(setting[order], np.arange(len(settings) + 1))
        grade, rank = (ranks[name].to_numpy().astype(np.int64) for name in ("grade", "rank"))
        rows = [order[a:b] for a, b in pairwise(bounds.tolist())]
        rankings = tuple(
            Ranking(s, part.candidates, queries.codes[at], texts.codes[at], grade[at], rank[at])
            for s, part, at in zip(settings, record.settings, rows, strict=True)
        )
        return cls(
            queries.names, clusters.names, rankings, tuple(clusters.codes[at] for at in rows)
        )

    def values(self, measure: str) -> QueryValues:
        """One measure of every query."""
        if measure == RANK_DISTANCE:
            found = [rank_distances(r) for r in self.rankings]
        else:
            found = [(s.query, s.values[measure]) for s in score(self.rankings, [measure])]
        cluster = [
            its[np.searchsorted(r.query, query)]
            for (query, _), r, its in zip(found, self.rankings, self.cluster, strict=True)
        ]
        return QueryValues(
            measure=measure,
            settings=tuple(r.setting for r in self.rankings),
            query_ids=self.query_ids,
            clusters=self.clusters,
            setting=np.repeat(np.arange(len(found)), [len(query) for query, _ in found]),
            query=_joined([query for query, _ in found]),
            cluster=_joined(cluster),
            value=_joined([value for _, value in found]).astype(float),
        )


def values_of_scores(
    scores: Sequence[Scores], measure: str, asked: Mapping[str, Queries]
) -> QueryValues:
    """The values of a run whose measures no rank gives; `asked`: all queries, by language."""
    names, clusters = (
        list(dict.fromkeys(x for queries in asked.values() for x in getattr(queries, column)))
        for column in ("ids", "clusters")
    )
    place, number = ({name: n for n, name in enumerate(its)} for its in (names, clusters))
    rows = [(asked[s.setting.query_lang], row) for s in scores for row in s.query.tolist()]
    return QueryValues(
        measure=measure,
        settings=tuple(s.setting for s in scores),
        query_ids=tuple(names),
        clusters=tuple(clusters),
        setting=np.repeat(np.arange(len(scores)), [len(s.query) for s in scores]),
        query=np.array([place[queries.ids[row]] for queries, row in rows], np.int64),
        cluster=np.array([number[queries.clusters[row]] for queries, row in rows], np.int64),
        value=_joined([s.values[measure] for s in scores]).astype(float),
    )


def values_of_table(
    rows: pa.Table, measure: str, record: ResultRecord, ranks: pa.Table | None
) -> QueryValues:
    """One measure of a stored table of values; clusters stand in the ranks of before."""
    measures = Names.of(rows, "measure")
    wanted = measures.names.index(measure) if measure in measures.names else -1
    chosen = rows.filter(measures.codes == wanted)
    langs, passages, queries = (
        Names.of(chosen, name) for name in ("query_lang", "passage_lang", "query_id")
    )
    settings = settings_of(record)
    place = {(s.query_lang, s.passage_lang): i for i, s in enumerate(settings)}
    pairs = [[place.get((a, b), -1) for b in passages.names] for a in langs.names]
    codes = np.array(pairs, np.int64).reshape(len(langs.names), len(passages.names))
    clusters, cluster = _clusters(chosen if ranks is None else ranks, langs, queries)
    setting = codes[langs.codes, passages.codes]
    if len(setting) and min(setting.min(), cluster.min()) < 0:
        raise ValueError("a row is of no setting, or of no query with a cluster")
    order = np.lexsort((queries.codes, setting))
    return QueryValues(
        measure, settings, queries.names, clusters, setting[order], queries.codes[order],
        cluster[order], chosen["value"].to_numpy()[order],
    )  # fmt: skip


def values_table(found: Sequence[QueryValues]) -> pa.Table:
    """As rows of text and numbers: kind, query_lang, passage_lang, query_id, cluster, measure, value."""
    import pyarrow as pa

    def column(names: Sequence[Sequence[str]], codes: Sequence[Ints]) -> pa.Array:
        distinct = list(dict.fromkeys(name for its in names for name in its))
        place = {name: n for n, name in enumerate(distinct)}
        coded = [
            np.array([place[name] for name in its], np.int32)[of]
            if len(of)
            else of.astype(np.int32)
            for its, of in zip(names, codes, strict=True)
        ]
        return pa.DictionaryArray.from_arrays(
            pa.array(_joined(coded).astype(np.int32)), pa.array(distinct, pa.string())
        )

    setting = [v.setting for v in found]
    return pa.table({
        "kind": column([[s.kind.value for s in v.settings] for v in found], setting),
        "query_lang": column([[s.query_lang for s in v.settings] for v in found], setting),
        "passage_lang": column([[s.passage_lang for s in v.settings] for v in found], setting),
        "query_id": column([v.query_ids for v in found], [v.query for v in found]),
        "cluster": column([v.clusters for v in found], [v.cluster for v in found]),
        "measure": column([[v.measure] for v in found], [np.zeros(len(v.value), np.int64) for v in found]),
        "value": pa.array(_joined([v.value for v in found]).astype(float)),
    })  # fmt: skip


def settings_of(record: ResultRecord) -> tuple[Setting, ...]:
    """The settings of a result, in its order."""
    return tuple(Setting(s.query_lang, tuple(s.passage_langs)) for s in record.settings)


@dataclass(frozen=True, slots=True)
class Names:
    """A column of text: its distinct names, and a code a row."""

    names: tuple[str, ...]
    codes: Ints

    @classmethod
    def of(cls, table: pa.Table, name: str) -> Names:
        """The column of this name."""
        import pyarrow as pa

        column = table[name]
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        joined = column.unify_dictionaries().combine_chunks()
        if isinstance(joined, pa.ChunkedArray):
            joined = joined.chunk(0) if joined.num_chunks else pa.array([], column.type)
        codes = joined.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(tuple(map(str, joined.dictionary.to_pylist())), codes)


def _clusters(table: pa.Table, langs: Names, queries: Names) -> tuple[tuple[str, ...], Ints]:
    """The names of clusters, and the cluster of each row's query; -1 for one that has none."""
    if "cluster" not in table.column_names:
        raise InputError("the tables name no clusters; run the evaluation again")
    theirs, ids, clusters = (
        Names.of(table, name) for name in ("query_lang", "query_id", "cluster")
    )
    width = max(1, len(ids.names))
    keys, first = np.unique(theirs.codes * width + ids.codes, return_index=True)
    place = {
        (theirs.names[key // width], ids.names[key % width]): int(clusters.codes[row])
        for key, row in zip(keys.tolist(), first.tolist(), strict=True)
    }
    width = max(1, len(queries.names))
    asked, inverse = np.unique(langs.codes * width + queries.codes, return_inverse=True)
    found = [
        place.get((langs.names[k // width], queries.names[k % width]), -1) for k in asked.tolist()
    ]
    return clusters.names, np.array(found, np.int64)[inverse]


def _joined(parts: Sequence[Ints] | Sequence[Floats]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])

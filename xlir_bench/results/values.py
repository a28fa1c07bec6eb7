"""The values of single queries, computed from a result's ranks: all comparisons and tests start from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.measures import score
from xlir_bench.measures.bias import rank_distances
from xlir_bench.measures.bootstrap import ClusterSums
from xlir_bench.records import POOL, Floats, Ints, Kind, Queries, Ranking, Scores, Setting
from xlir_bench.results.tables import Codes, coded

if TYPE_CHECKING:
    import pyarrow as pa

    from xlir_bench.results.schema import ResultRecord

RANK_DISTANCE = "rank_distance"
"""Used like the name of a measure: highest minus lowest rank of a query's relevant passages in the pool."""


@dataclass(frozen=True, slots=True)
class QueryValues:
    """One measure of every scored query in every setting of a result, sorted by setting, then query."""

    measure: str
    settings: tuple[Setting, ...]
    query_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    setting: Ints
    """For each value, the index of its setting in `settings`; `query` and `cluster` are indices likewise."""
    query: Ints
    cluster: Ints
    value: Floats

    def sums(self, settings: Sequence[int] | None = None) -> ClusterSums:
        """The values summed by cluster (rows) and setting (columns); if `settings` is given, these settings alone."""
        wanted = range(len(self.settings)) if settings is None else settings
        ends = np.searchsorted(self.setting, np.arange(len(self.settings) + 1))
        rows = [slice(ends[i], ends[i + 1]) for i in wanted]
        clusters = [self.cluster[of_setting] for of_setting in rows]
        values = (self.value[of_setting] for of_setting in rows)
        return ClusterSums.of(values, clusters, len(self.clusters))

    def of_kinds(self, kinds: Iterable[Kind] = Kind) -> list[int]:
        """The settings of these kinds that have values."""
        wanted = set(kinds)
        return [i for i in np.unique(self.setting).tolist() if self.settings[i].kind in wanted]

    def by_question(self, kinds: Iterable[Kind] = Kind) -> dict[tuple[str, str], tuple[float, int]]:
        """By language and id of a question, its mean over the settings of these kinds, and how many settings these are."""
        rows = np.isin(self.setting, self.of_kinds(kinds))
        langs = sorted({s.query_lang for s in self.settings})
        lang = np.array([langs.index(s.query_lang) for s in self.settings])[self.setting[rows]]
        pairs, place, count = np.unique(
            [lang, self.query[rows]], axis=1, return_inverse=True, return_counts=True
        )
        mean = np.bincount(place.ravel(), self.value[rows]) / count
        questions = [(langs[lang], self.query_ids[query]) for lang, query in pairs.T.tolist()]
        return dict(zip(questions, zip(mean.tolist(), count.tolist(), strict=True), strict=True))

    @classmethod
    def of(
        cls,
        measure: str,
        settings: Iterable[Setting],
        query_ids: Iterable[str],
        clusters: Iterable[str],
        by_setting: Sequence[tuple[Ints, Ints, Floats]],
    ) -> QueryValues:
        """From the query codes, cluster codes and values of each setting."""
        query, cluster, value = (_joined([part[i] for part in by_setting]) for i in range(3))
        setting = np.repeat(np.arange(len(by_setting)), [len(part[0]) for part in by_setting])
        names = tuple(settings), tuple(query_ids), tuple(clusters)
        return cls(measure, *names, setting, query, cluster, value.astype(float))


class StoredRankings:
    """The stored ranks of a result as numbers, with a ranking for each setting."""

    def __init__(self, ranks: pa.Table, record: ResultRecord) -> None:
        kind, query, cluster, passage = (
            TextColumn(ranks, name) for name in ("kind", "query_id", "cluster", "passage_id")
        )
        settings = _settings(record)
        # In a pool passages of all languages belong to one setting.
        pooled = np.array([name == Kind.MULTILINGUAL for name in kind.names], bool)[kind.codes]
        setting = _setting_codes(ranks, settings, pooled)
        order = np.lexsort((passage.codes, query.codes, setting))
        bounds = np.searchsorted(setting[order], np.arange(len(settings) + 1)).tolist()
        grade, rank = (ranks[name].to_numpy().astype(np.int64) for name in ("grade", "rank"))
        rows = [order[bounds[i] : bounds[i + 1]] for i in range(len(settings))]
        self.rankings = tuple(
            Ranking(s, part.candidates, query.codes[at], passage.codes[at], grade[at], rank[at])
            for s, part, at in zip(settings, record.settings, rows, strict=True)
        )
        self._clusters = [cluster.codes[at] for at in rows]  # of each relevant passage's query
        self._names = query.names, cluster.names

    def values(self, measure: str) -> QueryValues:
        """One measure of every query."""
        if measure == RANK_DISTANCE:
            scored = [rank_distances(r) for r in self.rankings]
        else:
            scored = [(s.query, s.values[measure]) for s in score(self.rankings, [measure])]
        by_setting = [
            (query, cluster[np.searchsorted(r.query, query)], value)
            for (query, value), r, cluster in zip(
                scored, self.rankings, self._clusters, strict=True
            )
        ]
        return QueryValues.of(measure, [r.setting for r in self.rankings], *self._names, by_setting)


def values_of_scores(
    scores: Sequence[Scores], measure: str, queries: Mapping[str, Queries]
) -> QueryValues:
    """The values of a run whose measures do not follow from ranks; `queries`: all queries, by language."""
    ids, clusters = (
        Codes({lang: getattr(of_lang, column) for lang, of_lang in queries.items()})
        for column in ("ids", "clusters")
    )
    by_setting = []
    for s in scores:
        lang, rows = s.setting.query_lang, s.query
        by_setting.append((ids.of(lang, rows), clusters.of(lang, rows), s.values[measure]))
    return QueryValues.of(
        measure, [s.setting for s in scores], ids.names, clusters.names, by_setting
    )


def values_of_table(
    table: pa.Table, measure: str, record: ResultRecord, ranks: pa.Table | None
) -> QueryValues:
    """One measure of a stored table of values. `ranks`: the table that has the clusters, if not this one."""
    measures = TextColumn(table, "measure")
    wanted = measures.names.index(measure) if measure in measures.names else -1
    rows = table.filter(measures.codes == wanted)
    settings = _settings(record)
    setting = _setting_codes(rows, settings)
    query = TextColumn(rows, "query_id")
    with_clusters = rows if ranks is None else ranks
    if "cluster" not in with_clusters.column_names:
        raise InputError("the tables name no clusters; run the evaluation again")
    clusters = TextColumn(with_clusters, "cluster")
    known = dict(zip(_queries(with_clusters), clusters.codes.tolist(), strict=True))
    cluster = np.array([known.get(pair, -1) for pair in _queries(rows)], np.int64)
    if len(cluster) and cluster.min() < 0:
        raise ValueError("a row names a query without a cluster")
    order = np.lexsort((query.codes, setting))
    return QueryValues(
        measure=measure,
        settings=settings,
        query_ids=query.names,
        clusters=clusters.names,
        setting=setting[order],
        query=query.codes[order],
        cluster=cluster[order],
        value=rows["value"].to_numpy()[order],
    )


def values_table(values: Sequence[QueryValues]) -> pa.Table:
    """The values as rows of text and numbers: kind, query_lang, passage_lang, query_id, cluster, measure, value."""
    import pyarrow as pa

    def column(names: Sequence[Sequence[str]], rows: Sequence[Ints]) -> pa.Array:
        codes = Codes(dict(enumerate(names)))
        return coded(codes.names, _joined([codes.of(i, of_part) for i, of_part in enumerate(rows)]))

    setting = [v.setting for v in values]
    return pa.table({
        "kind": column([[s.kind.value for s in v.settings] for v in values], setting),
        "query_lang": column([[s.query_lang for s in v.settings] for v in values], setting),
        "passage_lang": column([[s.passage_lang for s in v.settings] for v in values], setting),
        "query_id": column([v.query_ids for v in values], [v.query for v in values]),
        "cluster": column([v.clusters for v in values], [v.cluster for v in values]),
        "measure": column([[v.measure] for v in values], [np.zeros(len(v.value), np.int64) for v in values]),
        "value": pa.array(_joined([v.value for v in values]).astype(float)),
    })  # fmt: skip


class TextColumn:
    """A column of text: its distinct names, and a code for each row."""

    def __init__(self, table: pa.Table, name: str) -> None:
        import pyarrow as pa

        column = table[name]
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        joined = column.unify_dictionaries().combine_chunks()
        self.names = tuple(map(str, joined.dictionary.to_pylist()))
        self.codes: Ints = joined.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _settings(record: ResultRecord) -> tuple[Setting, ...]:
    return tuple(Setting(s.query_lang, tuple(s.passage_langs)) for s in record.settings)


def _setting_codes(table: pa.Table, settings: Sequence[Setting], pooled: Any = False) -> Ints:
    """The number of each row's setting; `pooled`: the rows that are of a pool, whatever their passage's language."""
    query_lang, passage_lang = (TextColumn(table, name) for name in ("query_lang", "passage_lang"))
    number = {(s.query_lang, s.passage_lang): i for i, s in enumerate(settings)}
    langs = (*passage_lang.names, POOL)
    numbers = np.array(
        [[number.get((a, b), -1) for b in langs] for a in query_lang.names], np.int64
    )
    columns = np.where(pooled, len(langs) - 1, passage_lang.codes)
    setting = numbers.reshape(-1, len(langs))[query_lang.codes, columns]
    if len(setting) and setting.min() < 0:
        raise ValueError("a row names an unknown setting")
    return np.asarray(setting)


def _queries(table: pa.Table) -> Iterator[tuple[str, str]]:
    """The language and id of each row's query."""
    columns = (TextColumn(table, name) for name in ("query_lang", "query_id"))
    langs, ids = (np.array(column.names, object)[column.codes] for column in columns)
    return zip(langs, ids, strict=True)


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate([np.empty(0, np.int64), *parts])

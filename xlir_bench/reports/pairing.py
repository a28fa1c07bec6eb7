"""Two results side by side, query by query: what every comparison and the gate test.

A difference is always the second result minus the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.measures.bootstrap import Alternative, PairedDifferences
from xlir_bench.measures.significance import Difference, holm, paired_tests
from xlir_bench.records import Floats, Ints, Kind, Setting
from xlir_bench.results import Result

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "RANK_DISTANCE", "Difference", "Pairing", "QueryValues", "holm", "pair", "paired_difference",
    "query_values",
]  # fmt: skip

RANK_DISTANCE = "rank_distance"
"""Stands where a measure's name would: highest minus lowest rank of a query's answers in the pool."""

SAME = 1e-9
"""Values nearer than this are the same: the last bits of a value depend on the machine."""


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
class Pairing:
    """Two results' values of one measure where both have one, sorted by setting, then query."""

    measure: str
    settings: tuple[Setting, ...]
    query_ids: tuple[str, ...]
    clusters: int
    setting: Ints
    query: Ints
    cluster: Ints
    first: Floats
    second: Floats

    @property
    def change(self) -> Floats:
        """Second minus first, one a query and setting."""
        return self.second - self.first

    @property
    def sizes(self) -> Ints:
        """How many values each setting has."""
        return np.bincount(self.setting, minlength=len(self.settings))

    @property
    def unlike(self) -> frozenset[int]:
        """The settings in which any value differs."""
        return frozenset(self.setting[np.abs(self.change) > SAME].tolist())

    def where(self, wanted: Callable[[Setting], bool]) -> tuple[int, ...]:
        """The settings that a condition holds for; only those that have values."""
        there = np.flatnonzero(self.sizes)
        return tuple(int(i) for i in there if wanted(self.settings[i]))

    def of_kind(self, kind: Kind) -> tuple[int, ...]:
        """The settings of one kind."""
        return self.where(lambda s: s.kind == kind)

    def means(self, groups: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Both macro averages over each group: over queries in a setting, then over settings."""
        sizes = np.maximum(self.sizes, 1)
        first, second = (
            np.bincount(self.setting, values, len(sizes)) / sizes
            for values in (self.first, self.second)
        )
        chosen = [list(group) for group in groups]
        return [(float(first[group].mean()), float(second[group].mean())) for group in chosen]

    def test(
        self,
        groups: Sequence[Sequence[int]],
        alternative: Alternative = "two-sided",
        family: int = 1,
    ) -> list[Difference]:
        """One tested difference a group of settings; `family`: how many are corrected together."""
        shape = (self.clusters, len(self.settings))
        used = sorted({i for group in groups for i in group})
        column = {setting: i for i, setting in enumerate(used)}
        data = PairedDifferences.of(self.change, self.cluster, self.setting, shape)
        data = PairedDifferences(data.sums[:, used], data.sizes[:, used])
        chosen = [[column[i] for i in group] for group in groups]
        bounds = None if self.measure == RANK_DISTANCE else (-1.0, 1.0)
        return paired_tests(data, chosen, alternative, family=family, bounds=bounds)


def paired_difference(first: Result, second: Result, kind: Kind, measure: str) -> Difference:
    """Second minus first over the settings of a kind that both have, tested on both sides."""
    pairing = pair(query_values(first, measure), query_values(second, measure))
    group = pairing.of_kind(Kind(kind))
    if not group:
        raise NotComparableError(
            f"the two results share no {kind} setting with values of {measure}"
        )
    return pairing.test([group])[0]


def pair(first: QueryValues, second: QueryValues) -> Pairing:
    """The values of all queries and settings that both have, matched by name."""
    setting = _places(second.settings, first.settings)[second.setting]
    query = _places(second.query_ids, first.query_ids)[second.query]
    width = len(first.query_ids)
    keys = first.setting * width + first.query
    others = np.where((setting < 0) | (query < 0), -1, setting * width + query)
    if np.array_equal(keys, others):
        mine = theirs = np.arange(len(keys))
    else:
        _, mine, theirs = np.intersect1d(keys, others, assume_unique=False, return_indices=True)
    return Pairing(
        measure=first.measure,
        settings=first.settings,
        query_ids=first.query_ids,
        clusters=len(first.clusters),
        setting=first.setting[mine],
        query=first.query[mine],
        cluster=first.cluster[mine],
        first=first.value[mine],
        second=second.value[theirs],
    )


def _places(names: Sequence[Any], known: Sequence[Any]) -> Ints:
    """The index of each name among the known ones, -1 for one that is not."""
    place = {name: i for i, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in names], np.int64)


def query_values(result: Result, measure: str) -> QueryValues:
    """One measure of every query, from the tables beside result.json."""
    settings = [Setting(s.query_lang, tuple(s.passage_langs)) for s in result.record.settings]
    ranks = result.table("ranks")
    if measure == RANK_DISTANCE:
        return _rank_distances(result, ranks, settings)
    rows = result.query_table(measure)
    measures = _Column.of(rows, "measure")
    if measure not in measures.names:
        raise UnknownNameError(f"measure of {result.where}", [measure], measures.names)
    chosen = np.flatnonzero(measures.codes == measures.names.index(measure))
    queries, langs, passages = (
        _Column.of(rows, name) for name in ("query_id", "query_lang", "passage_lang")
    )
    setting = _setting_of(settings, langs, passages)[langs.codes[chosen], passages.codes[chosen]]
    value = rows["value"].to_numpy()[chosen]
    # Where answers decide, no passage has a rank.
    clustered = ranks if ranks.num_rows else rows
    if "cluster" not in clustered.column_names:
        raise InputError(f"the tables of {result.where} name no clusters; run it again")
    clusters = _Clusters.of(clustered)
    found = QueryValues(
        measure=measure,
        settings=tuple(settings),
        query_ids=queries.names,
        clusters=clusters.names,
        setting=setting,
        query=queries.codes[chosen],
        cluster=clusters.look_up(langs, queries, chosen),
        value=value,
    )
    return _sorted(found, result)


def _rank_distances(result: Result, ranks: pa.Table, settings: list[Setting]) -> QueryValues:
    """Of each query that has two or more answers in a pool; one not retrieved counts as the last."""
    kinds = _Column.of(ranks, "kind")
    pooled = Kind.MULTILINGUAL.value
    chosen = np.flatnonzero(
        kinds.codes == (kinds.names.index(pooled) if pooled in kinds.names else -1)
    )
    langs, queries = _Column.of(ranks, "query_lang"), _Column.of(ranks, "query_id")
    pool = {s.query_lang: i for i, s in enumerate(settings) if s.kind == Kind.MULTILINGUAL}
    size = np.array([s.candidates for s in result.record.settings], np.int64)
    setting = np.array([pool.get(lang, -1) for lang in langs.names], np.int64)[langs.codes[chosen]]
    rank = ranks["rank"].to_numpy()[chosen].astype(np.int64)
    rank = np.where(rank > 0, rank, size[setting])
    order = np.lexsort((queries.codes[chosen], setting))
    key = (setting * max(1, len(queries.names)) + queries.codes[chosen])[order]
    _, start, count = np.unique(key, return_index=True, return_counts=True)
    empty = np.empty(0, np.int64)
    high = np.maximum.reduceat(rank[order], start) if len(start) else empty
    low = np.minimum.reduceat(rank[order], start) if len(start) else empty
    rows = chosen[order][start][count > 1]
    clusters = _Clusters.of(ranks)
    found = QueryValues(
        measure=RANK_DISTANCE,
        settings=tuple(settings),
        query_ids=queries.names,
        clusters=clusters.names,
        setting=setting[order][start][count > 1],
        query=queries.codes[rows],
        cluster=clusters.look_up(langs, queries, rows),
        value=(high - low)[count > 1].astype(float),
    )
    return _sorted(found, result)


def _sorted(found: QueryValues, result: Result) -> QueryValues:
    """In order of setting and query; rows that belong to no setting of the record are a damaged file."""
    if len(found.setting) and min(found.setting.min(), found.cluster.min()) < 0:
        raise InputError(
            f"the tables of {result.where} do not belong to its result.json; run the evaluation again"
        )
    order = np.lexsort((found.query, found.setting))
    return QueryValues(
        found.measure, found.settings, found.query_ids, found.clusters,
        found.setting[order], found.query[order], found.cluster[order], found.value[order],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Column:
    """A dictionary column: its distinct names, and a code a row."""

    names: tuple[str, ...]
    codes: Ints

    @classmethod
    def of(cls, table: pa.Table, name: str) -> _Column:
        import pyarrow as pa

        column = table[name]
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        joined = column.unify_dictionaries().combine_chunks()
        if isinstance(joined, pa.ChunkedArray):
            joined = joined.chunk(0) if joined.num_chunks else pa.array([], column.type)
        codes = joined.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(tuple(map(str, joined.dictionary.to_pylist())), codes)


@dataclass(frozen=True, slots=True)
class _Clusters:
    """Which cluster a question of a language belongs to."""

    names: tuple[str, ...]
    place: dict[tuple[str, str], int]

    @classmethod
    def of(cls, ranks: pa.Table) -> _Clusters:
        langs, queries, clusters = (
            _Column.of(ranks, name) for name in ("query_lang", "query_id", "cluster")
        )
        key = langs.codes * max(1, len(queries.names)) + queries.codes
        _, first = np.unique(key, return_index=True)
        place = {
            (langs.names[langs.codes[i]], queries.names[queries.codes[i]]): int(clusters.codes[i])
            for i in first
        }
        return cls(clusters.names, place)

    def look_up(self, langs: _Column, queries: _Column, rows: Ints) -> Ints:
        """The cluster of each of these rows, -1 for a question that has none."""
        key = langs.codes[rows] * max(1, len(queries.names)) + queries.codes[rows]
        distinct, inverse = np.unique(key, return_inverse=True)
        width = max(1, len(queries.names))
        found = [
            self.place.get((langs.names[k // width], queries.names[k % width]), -1)
            for k in distinct.tolist()
        ]
        return np.array(found, np.int64)[inverse]


def _setting_of(settings: Sequence[Setting], langs: _Column, passages: _Column) -> Ints:
    """Index of the setting by codes of query and passage language, -1 where there is none."""
    place = {(s.query_lang, s.passage_lang): i for i, s in enumerate(settings)}
    rows = [[place.get((q, p), -1) for p in passages.names] for q in langs.names]
    return np.array(rows, np.int64).reshape(len(langs.names), len(passages.names))

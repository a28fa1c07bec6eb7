"""Per-query values as Arrow tables: what statistics, comparisons and other tools are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.measures import score
from xlir_bench.records import (
    Collection,
    Floats,
    Ints,
    Kind,
    Ranking,
    Scores,
    Setting,
    Stored,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from xlir_bench.results.schema import ResultRecord


QUERY_COLUMNS = (
    "kind", "query_lang", "passage_lang", "query_id", "cluster", "measure", "value",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TopScores:
    """The best passages of each scored query of one setting, with their scores."""

    ranking: Ranking
    scores: Floats
    """A row for each scored query, as `Ranking.top`."""


class Labels:
    """Names of a collection's rows as dictionary columns: a string is stored once, not per row."""

    def __init__(self, collection: Collection) -> None:
        self.langs = sorted({*collection.queries, *collection.passages})
        self.kinds = [kind.value for kind in Kind]
        self._queries = _Ids({lang: collection.queries[lang].ids for lang in collection.queries})
        self._clusters = _Ids(
            {lang: collection.queries[lang].clusters for lang in collection.queries}
        )
        self._passages = _Ids({lang: collection.passages[lang].ids for lang in collection.passages})
        self._sizes = {lang: len(p.ids) for lang, p in collection.passages.items()}

    def query(self, lang: str, rows: Ints) -> Ints:
        """Codes of query ids."""
        return self._queries.of(lang, rows)

    def cluster(self, lang: str, rows: Ints) -> Ints:
        """Codes of clusters."""
        return self._clusters.of(lang, rows)

    def passage(self, setting: Setting, positions: Ints) -> tuple[Ints, Ints]:
        """Codes of passage ids and of their languages, for positions in the pool of a setting."""
        langs = sorted(setting.passage_langs)
        ends = np.cumsum([self._sizes[lang] for lang in langs])
        place = np.searchsorted(ends, positions, side="right")
        codes = np.empty(len(positions), np.int64)
        for number, lang in enumerate(langs):
            mine = place == number
            first = ends[number] - self._sizes[lang]
            codes[mine] = self._passages.of(lang, positions[mine] - first)
        return codes, np.array([self.langs.index(lang) for lang in langs])[place]

    def column(self, codes: Iterable[Ints], names: Sequence[str]) -> pa.Array:
        """A dictionary column of these codes, laid end to end."""
        import pyarrow as pa

        parts = list(codes)
        joined = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return pa.DictionaryArray.from_arrays(pa.array(joined.astype(np.int32)), pa.array(names))

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        """The names behind the codes, by column."""
        return {
            "kind": self.kinds,
            "query_lang": self.langs,
            "passage_lang": [*self.langs, "*"],
            "query_id": self._queries.names,
            "cluster": self._clusters.names,
            "passage_id": self._passages.names,
        }

    def setting(self, setting: Setting, count: int) -> dict[str, Ints]:
        """The columns that name a setting, `count` rows of them."""
        passage = (
            len(self.langs)
            if len(setting.passage_langs) > 1
            else self.langs.index(setting.passage_lang)
        )
        return {
            "kind": np.full(count, self.kinds.index(setting.kind.value)),
            "query_lang": np.full(count, self.langs.index(setting.query_lang)),
            "passage_lang": np.full(count, passage),
        }


class _Ids:
    """The distinct names of all languages, and their codes."""

    def __init__(self, by_lang: Mapping[str, Sequence[str]]) -> None:
        self._by_lang = by_lang
        self._place: dict[str, int] = {}
        # Names that lie on disk are read when they are asked for: there may be millions.
        self._codes = {
            lang: self._coded(names)
            for lang, names in by_lang.items()
            if not isinstance(names, Stored)
        }

    def of(self, lang: str, rows: Ints) -> Ints:
        """The codes of these rows of a language."""
        if lang in self._codes:
            return self._codes[lang][rows]
        distinct, inverse = np.unique(rows, return_inverse=True)
        names = self._by_lang[lang]
        return self._coded([names[row] for row in distinct.tolist()])[inverse]

    def _coded(self, names: Iterable[str]) -> Ints:
        place = self._place
        return np.array([place.setdefault(name, len(place)) for name in names], np.int64)

    @property
    def names(self) -> list[str]:
        """In the order of their codes, as far as they were asked for."""
        return list(self._place)


def ranks_table(rankings: Sequence[Ranking], collection: Collection) -> pa.Table:
    """The exact rank of every relevant passage in every setting; 0 where an index missed it."""
    labels = Labels(collection)
    parts = []
    for r in rankings:
        passage, lang = labels.passage(r.setting, r.passage)
        parts.append(
            labels.setting(r.setting, len(r.query))
            | {
                "query_id": labels.query(r.setting.query_lang, r.query),
                "cluster": labels.cluster(r.setting.query_lang, r.query),
                "passage_id": passage,
                "passage_lang": lang,
                "grade": r.grade,
                "rank": r.rank,
            }
        )
    order = (
        "kind",
        "query_lang",
        "query_id",
        "cluster",
        "passage_id",
        "passage_lang",
        "grade",
        "rank",
    )
    return _table(parts, order, labels)


def queries_table(scores: Sequence[Scores], collection: Collection) -> pa.Table:
    """Every measure of every scored query in every setting."""
    labels = Labels(collection)
    measures = list(dict.fromkeys(m for s in scores for m in s.values))
    parts = [
        labels.setting(s.setting, len(s.query))
        | {
            "query_id": labels.query(s.setting.query_lang, s.query),
            "cluster": labels.cluster(s.setting.query_lang, s.query),
            "measure": np.full(len(s.query), measures.index(measure)),
            "value": values,
        }
        for s in scores
        for measure, values in s.values.items()
    ]
    return _table(parts, QUERY_COLUMNS, labels, {"measure": measures})


def values_of_ranks(ranks: pa.Table, record: ResultRecord, measure: str) -> pa.Table:
    """The rows of ``queries`` of one measure, made again from ``ranks``."""
    import pandas as pd
    import pyarrow as pa

    frame = ranks.to_pandas()
    for name in ("kind", "query_lang", "query_id", "cluster", "passage_id", "passage_lang"):
        frame[name] = frame[name].astype("category")
    of_setting = frame.groupby(["kind", "query_lang"], observed=True).indices
    rankings, keys = [], []
    for part in record.settings:
        setting = Setting(part.query_lang, tuple(part.passage_langs))
        mine = frame.iloc[of_setting.get((setting.kind.value, setting.query_lang), [])]
        if setting.kind != Kind.MULTILINGUAL:
            mine = mine[mine["passage_lang"] == setting.passage_lang]
        query, passage = (mine[name].cat.codes.to_numpy() for name in ("query_id", "passage_id"))
        grade, rank = (mine[name].to_numpy() for name in ("grade", "rank"))
        rankings.append(Ranking(setting, part.candidates, query, passage, grade, rank))
        rows = mine.iloc[np.unique(query, return_index=True)[1]]
        keys.append(rows.assign(passage_lang=setting.passage_lang).astype({"passage_lang": object}))
    values = [s.values[measure] for s in score(rankings, [measure])]
    found = pd.concat(keys) if keys else frame.iloc[:0]
    found = found.assign(measure=measure, value=np.concatenate(values) if values else 0.0)
    return pa.table({
        name: pa.array(found[name]) if name == "value" else pa.array(found[name]).dictionary_encode()
        for name in QUERY_COLUMNS
    })  # fmt: skip


def run_table(tops: Sequence[TopScores], collection: Collection) -> pa.Table:
    """The best passages of every scored query in every setting, best first."""
    labels = Labels(collection)
    parts = []
    for top in tops:
        found = top.ranking.top
        if found is None:
            continue
        query, place = np.nonzero(found >= 0)
        positions = found[query, place]
        parts.append(
            labels.setting(top.ranking.setting, len(query))
            | {
                "query_id": labels.query(top.ranking.setting.query_lang, top.ranking.scored[query]),
                "rank": place + 1,
                "passage_id": labels.passage(top.ranking.setting, positions)[0],
                "score": top.scores[query, place],
            }
        )
    order = ("kind", "query_lang", "passage_lang", "query_id", "rank", "passage_id", "score")
    return _table(parts, order, labels)


def _table(
    parts: Sequence[Mapping[str, Any]],
    order: Sequence[str],
    labels: Labels,
    more_names: Mapping[str, Sequence[str]] | None = None,
) -> pa.Table:
    import pyarrow as pa

    names = {**labels.names, **(more_names or {})}
    columns = {}
    for name in order:
        if name in names:
            columns[name] = labels.column((part[name] for part in parts), names[name])
        else:
            dtype = {"rank": np.int32, "grade": np.int32, "score": np.float32}.get(name, np.float64)
            values = [np.asarray(part[name]) for part in parts]
            joined = np.concatenate(values) if values else np.empty(0)
            columns[name] = pa.array(joined.astype(dtype))
    return pa.table(columns)

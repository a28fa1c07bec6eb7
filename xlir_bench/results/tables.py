"""Per-query values as Arrow tables: what statistics, comparisons and other tools are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.records import (
    Collection,
    Ints,
    Kind,
    Ranking,
    Setting,
    Stored,
)
from xlir_bench.untrusted import Columns, columns

if TYPE_CHECKING:
    import pyarrow as pa


COLUMNS: Mapping[str, Columns] = {
    "ranks": columns(
        "kind query_lang query_id cluster passage_id passage_lang", whole="grade rank"
    ),
    "queries": columns("kind query_lang passage_lang query_id cluster measure", number="value"),
    "run": columns(
        "kind query_lang passage_lang query_id passage_id", whole="rank", number="score"
    ),
}
"""What the tables of a result hold, by name, in the order in which they are written."""
OPTIONAL = {"queries": ("cluster",)}
"""What tables of before had not: clusters stand in the ranks too."""


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
    return _table(parts, COLUMNS["ranks"], labels)


def run_table(rankings: Sequence[Ranking], collection: Collection, depth: int) -> pa.Table:
    """The best passages of every scored query in every setting, best first."""
    labels = Labels(collection)
    parts = []
    for r in rankings:
        if r.top is None or r.top_scores is None:
            continue
        query, place = np.nonzero(r.top[:, :depth] >= 0)
        parts.append(
            labels.setting(r.setting, len(query))
            | {
                "query_id": labels.query(r.setting.query_lang, r.scored[query]),
                "rank": place + 1,
                "passage_id": labels.passage(r.setting, r.top[query, place])[0],
                "score": r.top_scores[query, place],
            }
        )
    return _table(parts, COLUMNS["run"], labels)


def _table(
    parts: Sequence[Mapping[str, Any]],
    order: Iterable[str],
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

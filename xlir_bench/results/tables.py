"""Ranks and the best passages as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.records import POOL, Collection, Ints, Kind, Ranking, TextsOnDisk
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
    "best": columns("query_lang query_id passage_id passage_lang", whole="rank"),
}
"""What the tables of a result hold, by name, in the order in which they are written."""
BEST = 20
"""How many of the best passages of the pool of all languages every run keeps, by query: `diagnose` looks at them."""
OPTIONAL = {"queries": ("cluster",)}
"""Columns that older tables lack: clusters are in the ranks too."""


def ranks_table(rankings: Sequence[Ranking], collection: Collection) -> pa.Table:
    """The exact rank of every relevant passage in every setting; 0 where an index missed it."""
    coder = _Coder(collection)
    parts = [
        coder.codes(r, r.query, r.passage) | {"grade": r.grade, "rank": r.rank} for r in rankings
    ]
    return coder.table(COLUMNS["ranks"], parts)


def run_table(rankings: Sequence[Ranking], collection: Collection, depth: int) -> pa.Table:
    """The best passages of every scored query in every setting, best first."""
    coder = _Coder(collection)
    langs = [*coder.langs, POOL]
    parts = []
    for r in rankings:
        if r.top is None or r.top_scores is None:
            continue
        row, place = np.nonzero(r.top[:, :depth] >= 0)
        codes = coder.codes(r, r.scored[row], r.top[row, place])
        # Here the passage language is that of the setting, not of the passage.
        codes["passage_lang"] = np.full(len(row), langs.index(r.setting.passage_lang))
        parts.append(codes | {"rank": place + 1, "score": r.top_scores[row, place]})
    return coder.table(COLUMNS["run"], parts)


def best_table(rankings: Sequence[Ranking], collection: Collection) -> pa.Table:
    """The best passages of every scored query in the pool of all languages, each with its own language."""
    coder = _Coder(collection)
    parts = []
    for r in rankings:
        if r.setting.kind == Kind.MULTILINGUAL and r.top is not None:
            row, place = np.nonzero(r.top[:, :BEST] >= 0)
            parts.append(coder.codes(r, r.scored[row], r.top[row, place]) | {"rank": place + 1})
    return coder.table(COLUMNS["best"], parts)


class _Coder:
    """Codes for the names of a collection, so that a table stores each name once and not in every row."""

    def __init__(self, collection: Collection) -> None:
        queries, passages = collection.queries, collection.passages
        self.kinds = [kind.value for kind in Kind]
        self.langs = sorted({*queries, *passages})
        self._queries = Codes({lang: of_lang.ids for lang, of_lang in queries.items()})
        self._clusters = Codes({lang: of_lang.clusters for lang, of_lang in queries.items()})
        self._passages = Codes({lang: of_lang.ids for lang, of_lang in passages.items()})
        self._sizes = {lang: len(of_lang.ids) for lang, of_lang in passages.items()}

    def codes(self, ranking: Ranking, query: Ints, position: Ints) -> dict[str, Any]:
        """By column, for pairs of a query and a position in the pool of the ranking's setting."""
        lang, langs = ranking.setting.query_lang, sorted(ranking.setting.passage_langs)
        ends = np.cumsum([self._sizes[passage_lang] for passage_lang in langs])
        place = np.searchsorted(ends, position, side="right")
        passage = np.empty(len(position), np.int64)
        for number, passage_lang in enumerate(langs):
            inside = place == number
            start = ends[number] - self._sizes[passage_lang]
            passage[inside] = self._passages.of(passage_lang, position[inside] - start)
        return {
            "kind": np.full(len(query), self.kinds.index(ranking.setting.kind.value)),
            "query_lang": np.full(len(query), self.langs.index(lang)),
            "query_id": self._queries.of(lang, query),
            "cluster": self._clusters.of(lang, query),
            "passage_id": passage,
            "passage_lang": np.searchsorted(self.langs, langs)[place],
        }

    def table(self, columns: Iterable[str], parts: Sequence[Mapping[str, Any]]) -> pa.Table:
        """These columns of all parts, one part after another."""
        import pyarrow as pa

        names = {
            "kind": self.kinds,
            "query_lang": self.langs,
            "passage_lang": [*self.langs, POOL],
            "query_id": self._queries.names,
            "cluster": self._clusters.names,
            "passage_id": self._passages.names,
        }
        arrays = {}
        for column in columns:
            dtype = np.float32 if column == "score" else np.int32
            joined = np.concatenate([np.empty(0, dtype), *(part[column] for part in parts)])
            values: Any = joined.astype(dtype)
            arrays[column] = coded(names[column], values) if column in names else pa.array(values)
        return pa.table(arrays)


class Codes:
    """A number for each distinct name, the same in every list of names (of a language, mostly)."""

    def __init__(self, names: Mapping[Any, Sequence[str]]) -> None:
        self._names = names
        self._code: dict[str, int] = {}
        # Names that lie on disk are read when they are asked for: there may be millions.
        self._codes = {
            key: self._coded(of_key)
            for key, of_key in names.items()
            if not isinstance(of_key, TextsOnDisk)
        }

    def of(self, key: Any, rows: Ints) -> Ints:
        """The codes of the names in these rows of a list."""
        if key in self._codes:
            return self._codes[key][rows]
        distinct, inverse = np.unique(rows, return_inverse=True)
        names = self._names[key]
        return self._coded([names[row] for row in distinct.tolist()])[inverse]

    def _coded(self, names: Iterable[str]) -> Ints:
        return np.array([self._code.setdefault(name, len(self._code)) for name in names], np.int64)

    @property
    def names(self) -> list[str]:
        """In the order of their codes."""
        return list(self._code)


def coded(names: Sequence[str], codes: Ints) -> pa.DictionaryArray:
    """A column of text that stores each of these names once."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32)), pa.array(names, pa.string())
    )

"""Ranks and the best passages as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.arrays import Shared
from xlir_bench.records import (
    POOL,
    Collection,
    Floats,
    Ints,
    Kind,
    Ranking,
    Setting,
    TextsOnDisk,
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
    "best": columns("query_lang query_id passage_id passage_lang", whole="rank"),
    "scores": columns("query_lang query_id passage_id passage_lang", number="score"),
}
"""What the tables of a result hold, by name, in the order in which they are written."""
BEST = 20
"""How many of the best passages in the pool of all languages every run keeps for each query; `diagnose` reads them."""
OPTIONAL = {"queries": ("cluster",)}
"""Columns that older tables lack: clusters are in the ranks too."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a table that are of one setting."""

    setting: Setting
    query: Ints
    passage: Ints
    """Position in the pool of the setting."""
    others: Mapping[str, Any]
    """The columns that do not follow from the fields above, by name."""


def ranks_table(rankings: Sequence[Ranking], collection: Collection) -> pa.Table:
    """The exact rank of every relevant passage in every setting; 0 where an index missed it."""
    rows = [
        _Rows(r.setting, r.query, r.passage, {"grade": r.grade, "rank": r.rank}) for r in rankings
    ]
    return _Coder(collection).table(COLUMNS["ranks"], rows)


def run_table(rankings: Sequence[Ranking], collection: Collection, depth: int) -> pa.Table:
    """The best passages of every scored query in every setting, best first."""
    coder = _Coder(collection)
    langs = [*coder.langs, POOL]
    rows = []
    for r in rankings:
        if r.top is None or r.top_scores is None:
            continue
        row, place = np.nonzero(r.top[:, :depth] >= 0)
        others: dict[str, Ints | Floats | int] = {
            "rank": place + 1,
            "score": r.top_scores[row, place],
            # Here the passage language is that of the setting, not of the passage.
            "passage_lang": langs.index(r.setting.passage_lang),
        }
        rows.append(_Rows(r.setting, r.scored[row], r.top[row, place], others))
    return coder.table(COLUMNS["run"], rows)


def best_table(rankings: Sequence[Ranking], collection: Collection) -> pa.Table:
    """The best passages of every scored query in the pool of all languages, each with its own language."""
    rows = []
    for r in rankings:
        if r.setting.kind == Kind.MULTILINGUAL and r.top is not None:
            row, place = np.nonzero(r.top[:, :BEST] >= 0)
            rows.append(_Rows(r.setting, r.scored[row], r.top[row, place], {"rank": place + 1}))
    return _Coder(collection).table(COLUMNS["best"], rows)


def scores_table(
    scored: Sequence[tuple[Ranking, Ints, Ints, Floats]], collection: Collection
) -> pa.Table:
    """Scores of passages in the pool of all languages.

    `scored`: for each ranking, the numbers of queries among its scored ones, the positions of passages, and scores.
    """
    rows = [
        _Rows(ranking.setting, ranking.scored[row], position, {"score": score})
        for ranking, row, position, score in scored
    ]
    return _Coder(collection).table(COLUMNS["scores"], rows)


class _Coder:
    """Codes for the names of a collection, so that a table stores each name once and not in every row."""

    def __init__(self, collection: Collection) -> None:
        queries, passages = collection.queries, collection.passages
        self.kinds = [kind.value for kind in Kind]
        self.langs = sorted({*queries, *passages})
        self._codes = {
            "query_id": Codes({lang: of_lang.ids for lang, of_lang in queries.items()}),
            "cluster": Codes({lang: of_lang.clusters for lang, of_lang in queries.items()}),
            "passage_id": Codes({lang: of_lang.ids for lang, of_lang in passages.items()}),
        }
        self._sizes = {lang: len(of_lang.ids) for lang, of_lang in passages.items()}

    def table(self, columns: Iterable[str], rows: Sequence[_Rows]) -> pa.Table:
        """The table of these columns, with the rows of all settings, one setting after another."""
        import pyarrow as pa

        names = {
            "kind": self.kinds,
            "query_lang": self.langs,
            "passage_lang": [*self.langs, POOL],
        }
        ends = np.cumsum([0, *(len(of_setting.query) for of_setting in rows)]).tolist()
        arrays, shared = {}, Shared()
        for column in columns:
            # Each column is filled in place, one after another: memory has no room for 42 million rows twice.
            values: Any = np.empty(ends[-1], np.float32 if column == "score" else np.int32)
            for of_setting, start, stop in zip(rows, ends, ends[1:], strict=False):
                values[start:stop] = self._column(column, of_setting)
            values = shared.of(values)  # equal where each question is a cluster of its own
            if column in self._codes:  # all rows are coded now, so it knows all names
                names[column] = self._codes[column].names
            arrays[column] = coded(names[column], values) if column in names else pa.array(values)
        return pa.table(arrays)

    def _column(self, name: str, rows: _Rows) -> Any:
        """One column of the rows of a setting, or the one number that all its rows have."""
        lang = rows.setting.query_lang
        if name in rows.others:
            return rows.others[name]
        if name == "kind":
            return self.kinds.index(rows.setting.kind.value)
        if name == "query_lang":
            return self.langs.index(lang)
        if name in ("query_id", "cluster"):
            return self._codes[name].of(lang, rows.query)
        langs = sorted(rows.setting.passage_langs)
        ends = np.cumsum([self._sizes[passage_lang] for passage_lang in langs])
        place = np.searchsorted(ends, rows.passage, side="right")
        if name == "passage_lang":
            return np.searchsorted(self.langs, langs)[place]
        passage = np.empty(len(place), np.int32)
        by_lang = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
        for passage_lang, end, inside in zip(langs, ends, by_lang, strict=False):
            start = end - self._sizes[passage_lang]
            passage[inside] = self._codes[name].of(passage_lang, rows.passage[inside] - start)
        return passage


class Codes:
    """A number for each distinct name, the same in all lists of names; mostly there is a list for each language."""

    def __init__(self, names: Mapping[Any, Sequence[str]]) -> None:
        self._names = names
        self._code: dict[str, int] = {}
        # Names on disk are read when they are needed: there may be millions.
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
        """All names that were coded, in the order of their codes."""
        return list(self._code)


def coded(names: Sequence[str], codes: Ints) -> pa.DictionaryArray:
    """A column of text that stores each of these names once."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32, copy=False)), pa.array(names, pa.string())
    )

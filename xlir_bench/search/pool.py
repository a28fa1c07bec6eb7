"""The candidates of all languages laid end to end, and the relevant ones of each query among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Collection, Floats, Ints, Ranking, Setting


@dataclass(frozen=True, slots=True)
class Pool:
    """Passages of all languages in pool order: languages by code, then row."""

    langs: tuple[str, ...]
    vectors: Floats
    """Of unit length (or zero), float32, one row a passage."""
    bounds: Mapping[str, slice]
    """Which rows are whose."""

    @classmethod
    def of(cls, passages: Mapping[str, Floats]) -> Pool:
        """The pool of these languages' vectors, normalised."""
        langs = tuple(sorted(passages))
        ends = np.cumsum([0] + [len(passages[lang]) for lang in langs]).tolist()
        bounds = {lang: slice(ends[i], ends[i + 1]) for i, lang in enumerate(langs)}
        vectors = np.concatenate([normalised(passages[lang]) for lang in langs])
        return cls(langs, vectors, bounds)

    def rows(self, setting: Setting) -> slice:
        """The rows of a setting's candidates: one language, or all."""
        if len(setting.passage_langs) == 1:
            return self.bounds[setting.passage_langs[0]]
        if setting.passage_langs != self.langs:
            raise ValueError(f"setting {setting} wants a pool of {setting.passage_langs}")
        return slice(0, len(self.vectors))


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The settings of one query language: what one pass over the pool serves."""

    query_lang: str
    queries: Floats
    """Raw vectors, one row a query of the language."""
    settings: Sequence[Setting]
    pair_depth: int = 0
    """How many of the best passages to keep in settings of one passage language."""
    pool_depth: int = 100
    """The same for the pool of all languages."""

    def depth(self, setting: Setting) -> int:
        """How many of the best passages to keep in this setting."""
        return self.pair_depth if len(setting.passage_langs) == 1 else self.pool_depth


@dataclass(frozen=True, slots=True)
class RelevantRows:
    """Every (query, relevant passage) of one query language as pool positions, sorted by both."""

    query: Ints
    position: Ints
    grade: Ints
    lang: Ints
    """Index of the passage's language in `Pool.langs`."""
    own: Ints | None = None
    """Where the queries are candidates themselves: the position of each, which is none of its candidates."""


def normalised(vectors: Floats) -> Floats:
    """Rows of unit length in float32, C-contiguous; a zero row stays zero."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    # Lengths are taken in float64: squares of large float16-born values overflow float32.
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    norms[norms == 0] = 1.0
    return np.asarray((rows / norms[:, None]).astype(np.float32))


def relevant_rows(collection: Collection, query_lang: str, pool: Pool) -> RelevantRows:
    """The relevant passages of a language's queries, of all languages that are in the pool."""
    parts = [
        (relevance.query, relevance.passage + pool.bounds[lang].start, relevance.grade, index)
        for index, lang in enumerate(pool.langs)
        if (relevance := collection.relevance.get((query_lang, lang))) is not None
    ]
    own = collection.own.get(query_lang) if query_lang in pool.bounds else None
    if own is not None:
        own = own + pool.bounds[query_lang].start
    if not parts:
        none = np.empty(0, np.int64)
        return RelevantRows(none, none, none, none, own)
    query = np.concatenate([p[0] for p in parts]).astype(np.int64)
    position = np.concatenate([p[1] for p in parts]).astype(np.int64)
    grade = np.concatenate([p[2] for p in parts]).astype(np.int64)
    lang = np.repeat([p[3] for p in parts], [len(p[0]) for p in parts])
    order = np.lexsort((position, query))
    return RelevantRows(query[order], position[order], grade[order], lang[order], own)


def ranking(
    setting: Setting, pool: Pool, relevant: RelevantRows, ranks: Ints, top: Ints | None
) -> Ranking:
    """The `Ranking` of a setting, from ranks for each of `relevant` and top rows for each query.

    Positions are counted from the start of the setting's own candidates.
    """
    rows = pool.rows(setting)
    inside = (relevant.position >= rows.start) & (relevant.position < rows.stop)
    query = relevant.query[inside]
    return Ranking(
        setting=setting,
        candidates=candidates(setting, pool, relevant),
        query=query,
        passage=relevant.position[inside] - rows.start,
        grade=relevant.grade[inside],
        rank=ranks[inside],
        top=None if top is None else top[np.unique(query)],
    )


def candidates(setting: Setting, pool: Pool, relevant: RelevantRows) -> int:
    """How many passages each query of a setting is asked of."""
    rows = pool.rows(setting)
    own = relevant.own is not None and setting.query_lang in setting.passage_langs
    return int(rows.stop - rows.start) - own

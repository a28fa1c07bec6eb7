"""The candidates of all languages laid end to end, and the relevant ones of each query among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Collection, Floats, Ints, Ranking, Setting, Shards, Vectors
from xlir_bench.search.counting import unit_rows


@dataclass(frozen=True, slots=True)
class Layout:
    """Which rows of the pool are whose: languages by code, then row."""

    langs: tuple[str, ...]
    bounds: Mapping[str, slice]

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Layout:
        """The layout of so many passages of each language."""
        langs = tuple(sorted(sizes))
        ends = np.cumsum([0] + [sizes[lang] for lang in langs]).tolist()
        return cls(langs, {lang: slice(ends[i], ends[i + 1]) for i, lang in enumerate(langs)})

    @property
    def size(self) -> int:
        """How many passages there are."""
        return int(self.bounds[self.langs[-1]].stop) if self.langs else 0

    def rows(self, setting: Setting) -> slice:
        """The rows of a setting's candidates: one language, or all."""
        if len(setting.passage_langs) == 1:
            return self.bounds[setting.passage_langs[0]]
        if setting.passage_langs != self.langs:
            raise ValueError(f"setting {setting} wants a pool of {setting.passage_langs}")
        return slice(0, self.size)


@dataclass(frozen=True, slots=True)
class Pool:
    """Passages of all languages in memory, in pool order."""

    layout: Layout
    vectors: Floats
    """Of unit length (or zero), float32, one row a passage."""

    @classmethod
    def of(cls, passages: Mapping[str, Floats]) -> Pool:
        """The pool of these languages' vectors, normalised."""
        layout = Layout.of({lang: len(rows) for lang, rows in passages.items()})
        vectors = np.concatenate([normalised(passages[lang]) for lang in layout.langs])
        return cls(layout, vectors)

    def take(self, positions: Ints) -> Floats:
        """The vectors at these positions."""
        return np.asarray(self.vectors[positions])

    def blocks(self, setting: Setting, size: int) -> Iterator[Floats]:
        """The vectors of a setting's candidates, at most so many at a time."""
        vectors = self.vectors[self.layout.rows(setting)]
        return (vectors[start : start + size] for start in range(0, len(vectors), size))


@dataclass(frozen=True, slots=True)
class ShardedPool:
    """Passages of all languages on disk, in pool order."""

    layout: Layout
    shards: Mapping[str, Shards]
    """As encoded, by language."""

    @classmethod
    def of(cls, passages: Mapping[str, Vectors]) -> ShardedPool:
        """The pool of these languages' vectors."""
        shards = {
            lang: its if isinstance(its, Shards) else Shards.of(its)
            for lang, its in passages.items()
        }
        return cls(Layout.of({lang: len(its) for lang, its in shards.items()}), shards)

    def take(self, positions: Ints) -> Floats:
        """The vectors at these positions, normalised."""
        found = np.empty((len(positions), self._dimension), np.float32)
        for lang, rows in self.layout.bounds.items():
            mine = (positions >= rows.start) & (positions < rows.stop)
            found[mine] = normalised(self.shards[lang].rows(positions[mine] - rows.start))
        return found

    def blocks(self, setting: Setting, size: int) -> Iterator[Floats]:
        """The vectors of a setting's candidates, normalised, at most so many at a time."""
        for lang in setting.passage_langs:
            for _, rows in self.shards[lang].blocks(size):
                yield normalised(rows)

    @property
    def _dimension(self) -> int:
        return max(its.dimension for its in self.shards.values())


def pool_of(passages: Mapping[str, Vectors]) -> Pool | ShardedPool:
    """The pool of these languages' vectors: in memory, unless those of any language lie on disk."""
    in_memory = {lang: its for lang, its in passages.items() if not isinstance(its, Shards)}
    return Pool.of(in_memory) if len(in_memory) == len(passages) else ShardedPool.of(passages)


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
    """Index of the passage's language in `Layout.langs`."""
    own: Ints | None = None
    """Where the queries are candidates themselves: the position of each, which is none of its candidates."""
    answered: Ints | None = None
    """Where answers decide: the queries that have any."""


def normalised(vectors: Floats) -> Floats:
    """Rows of unit length in float32, C-contiguous; a zero row stays zero."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    unit = np.empty(rows.shape, np.float32)
    unit_rows(rows, unit)
    return unit


def relevant_rows(collection: Collection, query_lang: str, layout: Layout) -> RelevantRows:
    """The relevant passages of a language's queries, of all languages that are in the pool."""
    parts = [
        (relevance.query, relevance.passage + layout.bounds[lang].start, relevance.grade, index)
        for index, lang in enumerate(layout.langs)
        if (relevance := collection.relevance.get((query_lang, lang))) is not None
    ]
    own = collection.own.get(query_lang) if query_lang in layout.bounds else None
    if own is not None:
        own = own + layout.bounds[query_lang].start
    answers = collection.answers.get(query_lang)
    answered = None if answers is None else np.flatnonzero([len(a) > 0 for a in answers])
    if not parts:
        none = np.empty(0, np.int64)
        return RelevantRows(none, none, none, none, own, answered)
    query = np.concatenate([p[0] for p in parts]).astype(np.int64)
    position = np.concatenate([p[1] for p in parts]).astype(np.int64)
    grade = np.concatenate([p[2] for p in parts]).astype(np.int64)
    lang = np.repeat([p[3] for p in parts], [len(p[0]) for p in parts])
    order = np.lexsort((position, query))
    return RelevantRows(query[order], position[order], grade[order], lang[order], own, answered)


def ranking(
    setting: Setting, layout: Layout, relevant: RelevantRows, ranks: Ints, top: Ints | None
) -> Ranking:
    """The `Ranking` of a setting, from ranks for each of `relevant` and top rows for each query.

    Positions are counted from the start of the setting's own candidates.
    """
    rows = layout.rows(setting)
    inside = (relevant.position >= rows.start) & (relevant.position < rows.stop)
    query = relevant.query[inside]
    scored = np.unique(query) if relevant.answered is None else relevant.answered
    return Ranking(
        setting=setting,
        candidates=candidates(setting, layout, relevant),
        query=query,
        passage=relevant.position[inside] - rows.start,
        grade=relevant.grade[inside],
        rank=ranks[inside],
        top=None if top is None else top[scored],
        answered=relevant.answered,
    )


def candidates(setting: Setting, layout: Layout, relevant: RelevantRows) -> int:
    """How many passages each query of a setting is asked of."""
    rows = layout.rows(setting)
    own = relevant.own is not None and setting.query_lang in setting.passage_langs
    return int(rows.stop - rows.start) - own

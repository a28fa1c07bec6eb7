"""The passages of all languages laid end to end, what is searched among them, and what is found: plain data that add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xlir_bench.errors import BadVectorsError
from xlir_bench.records import Collection, Floats, Ints, Ranking, Setting
from xlir_bench.retrieval.kernels import merge_best
from xlir_bench.retrieval.vectors import Rows, Vectors, stacked


@dataclass(frozen=True, slots=True)
class Pool:
    """Which positions of the pool belong to which language. Passages are ordered by language code, then row."""

    langs: tuple[str, ...]
    bounds: Mapping[str, slice]

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Pool:
        """The pool with these numbers of passages, by language."""
        langs = tuple(sorted(sizes))
        ends = np.cumsum([0] + [sizes[lang] for lang in langs]).tolist()
        return cls(langs, {lang: slice(ends[i], ends[i + 1]) for i, lang in enumerate(langs)})

    @classmethod
    def of_collection(cls, collection: Collection) -> Pool:
        """The pool of all passages."""
        return cls.of({lang: len(p.ids) for lang, p in collection.passages.items()})

    @property
    def size(self) -> int:
        """How many passages there are."""
        return int(self.bounds[self.langs[-1]].stop) if self.langs else 0

    def rows(self, setting: Setting) -> slice:
        """The positions of a setting's candidates: one language, or all."""
        if not setting.pooled:
            return self.bounds[setting.passage_langs[0]]
        if setting.passage_langs != self.langs:
            raise ValueError(f"setting {setting} wants a pool of {setting.passage_langs}")
        return slice(0, self.size)

    def rows_at(self, positions: Ints, passages: Mapping[str, Vectors]) -> Rows:
        """The rows of passages, held by language, at these positions, which must ascend."""
        parts = []
        for lang, rows in self.bounds.items():
            first, last = np.searchsorted(positions, [rows.start, rows.stop])
            if last > first:
                parts.append(passages[lang].rows(positions[first:last] - rows.start))
        return stacked(parts or [passages[self.langs[0]].rows(positions)])


@dataclass(frozen=True, slots=True)
class Relevant:
    """Every pair of a query and a relevant passage, of one query language; sorted by query, then position."""

    query: Ints
    position: Ints
    """The passage's position in the pool."""
    grade: Ints
    lang: Ints
    """Index of the passage's language in `Pool.langs`."""


@dataclass(frozen=True, slots=True)
class Want:
    """What is searched for the queries of one language: one search serves all of their settings."""

    pool: Pool
    query_lang: str
    settings: tuple[Setting, ...]
    queries: int
    """How many there are."""
    relevant: Relevant
    pair_depth: int
    """How many of the best passages to keep in settings of one passage language."""
    pool_depth: int
    """How many to keep in the pool of all languages."""
    own: Ints | None = None
    """If queries are passages themselves: the position of each in the pool. A passage is not a candidate for itself."""
    answered: Ints | None = None
    """If answers decide which passages are relevant: the queries that have answers."""

    @classmethod
    def of(
        cls,
        collection: Collection,
        settings: Sequence[Setting],
        pair_depth: int = 0,
        pool_depth: int = 100,
    ) -> Want:
        """What to search in a collection for these settings, which are all of one query language."""
        pool = Pool.of_collection(collection)
        (query_lang,) = {s.query_lang for s in settings}
        own = collection.own.get(query_lang) if query_lang in pool.bounds else None
        answers = collection.answers.get(query_lang)
        return cls(
            pool=pool,
            query_lang=query_lang,
            settings=tuple(settings),
            queries=len(collection.queries[query_lang].ids),
            relevant=_relevant(collection, query_lang, pool),
            pair_depth=pair_depth,
            pool_depth=pool_depth,
            own=None if own is None else own + pool.bounds[query_lang].start,
            answered=None
            if answers is None
            else np.flatnonzero([len(strings) > 0 for strings in answers]),
        )

    @property
    def langs(self) -> set[str]:
        """The languages whose passages are searched."""
        return {lang for setting in self.settings for lang in setting.passage_langs}

    @property
    def scopes(self) -> set[bool]:
        """Where ranks are wanted: True stands for the whole pool, False for one language."""
        return {setting.pooled for setting in self.settings}

    def items(self, setting: Setting) -> Ints:
        """Which of the relevant passages are among the candidates of a setting."""
        if setting.pooled:
            return np.arange(len(self.relevant.lang))
        return np.flatnonzero(self.relevant.lang == self.pool.langs.index(setting.passage_langs[0]))

    def deeper(self, depth: int) -> Want:
        """This want, with at least `depth` of the best passages in every setting."""
        depths = max(depth, self.pair_depth), max(depth, self.pool_depth)
        return replace(self, pair_depth=depths[0], pool_depth=depths[1])

    def of_passages(self, lang: str) -> Want:
        """This want, with only the settings that have passages of one language."""
        settings = tuple(setting for setting in self.settings if lang in setting.passage_langs)
        return replace(self, settings=settings)

    def candidates(self, setting: Setting) -> int:
        """How many candidates each query has in this setting."""
        rows = self.pool.rows(setting)
        own = self.own is not None and self.query_lang in setting.passage_langs
        return int(rows.stop - rows.start) - own

    def depth(self, setting: Setting) -> int:
        """How many of the best passages to keep in this setting."""
        wanted = self.pool_depth if setting.pooled else self.pair_depth
        return max(0, min(wanted, self.candidates(setting)))


def _relevant(collection: Collection, query_lang: str, pool: Pool) -> Relevant:
    """The relevant passages of a language's queries, of all languages that are in the pool."""
    parts = [
        (relevance.query, relevance.passage + pool.bounds[lang].start, relevance.grade, index)
        for index, lang in enumerate(pool.langs)
        if (relevance := collection.relevance.get((query_lang, lang))) is not None
    ]
    if not parts:
        none = np.empty(0, np.int64)
        return Relevant(none, none, none, none)
    query, position, grade = (
        np.concatenate([part[column] for part in parts]).astype(np.int64) for column in range(3)
    )
    # Small integers, because all of them are compared for every setting.
    langs = np.array([part[3] for part in parts], np.int16)
    lang = np.repeat(langs, [len(part[0]) for part in parts])
    order = np.lexsort((position, query))
    return Relevant(query[order], position[order], grade[order], lang[order])


@dataclass(frozen=True, slots=True)
class Best:
    """The best passages of each query: score descending, then position; -inf and -1 where there are fewer."""

    scores: Floats
    positions: Ints
    """Positions in the pool."""

    @classmethod
    def of(cls, queries: int, depth: int) -> Best:
        """No passage yet."""
        return cls(np.full((queries, depth), -np.inf), np.full((queries, depth), -1, np.int64))

    def add(self, query: Ints, scores: Floats, positions: Ints) -> None:
        """Insert these passages among the best of their queries."""
        merge_best(query, scores, positions, self.scores, self.positions)


@dataclass(frozen=True, slots=True)
class Partial:
    """What a search of a pool, or of a part of it, has found for the queries of one language."""

    want: Want
    best: Mapping[Setting, Best]
    before: Mapping[bool, Ints]
    """How many passages stand before each relevant one, in the whole pool (True) and in its language (False); -1 if an
    approximate search did not retrieve it."""
    ties: Mapping[bool, Ints] = field(default_factory=dict)
    """How many equal scores stand before (first row) and after (second row) each relevant passage; empty if not counted."""

    @classmethod
    def of(cls, want: Want, with_ties: bool = False) -> Partial:
        """Nothing found yet."""
        depths = {setting: want.depth(setting) for setting in want.settings}
        best = {s: Best.of(want.queries, depth) for s, depth in depths.items() if depth > 0}
        none = {pooled: np.zeros(len(want.relevant.query), np.int64) for pooled in want.scopes}
        shape = (2, len(want.relevant.query))
        ties = {pooled: np.zeros(shape, np.int32) for pooled in want.scopes if with_ties}
        return cls(want, best, none, ties)

    def merge(self, other: Partial) -> None:
        """Add what was found in another part of the pool."""
        for pooled, counts in other.before.items():
            self.before[pooled][:] += counts
        for pooled, counts in other.ties.items():
            self.ties[pooled][:] += counts
        for setting, best in other.best.items():
            query, place = np.nonzero(best.positions >= 0)
            self.best[setting].add(query, best.scores[query, place], best.positions[query, place])

    def rankings(self) -> list[Ranking]:
        """The rankings of all settings, once every part of the pool is added."""
        return [self._ranking(setting) for setting in self.want.settings]

    def listed(self, setting: Setting) -> Best | None:
        """The best passages of a setting; None where they are not known.

        An index that ranks relevant passages and lists none has only counted.
        """
        best, before = self.best.get(setting), self.before[setting.pooled][self.want.items(setting)]
        if best is None or ((before >= 0).any() and not (best.positions >= 0).any()):
            return None
        return best

    def _ranking(self, setting: Setting) -> Ranking:
        want, relevant = self.want, self.want.relevant
        candidates, items = want.pool.rows(setting), want.items(setting)
        start, query = candidates.start, relevant.query[items]
        before = self.before[setting.pooled][items]
        best, top, top_scores = self.listed(setting), None, None
        _require_places(setting, before, candidates.stop - start)
        if best is not None:
            scored = np.unique(query) if want.answered is None else want.answered
            top_scores = best.scores[scored]
            top = np.where(best.positions[scored] < 0, -1, best.positions[scored] - start)
            _require_places(setting, top, candidates.stop - start)
            if np.isnan(top_scores).any():
                raise BadVectorsError(f"setting {setting}: a passage that was found scores NaN")
        ties = self.ties.get(setting.pooled)
        return Ranking(
            setting=setting,
            candidates=want.candidates(setting),
            query=query,
            passage=relevant.position[items] - start,
            grade=relevant.grade[items],
            rank=before + 1,
            top=top,
            top_scores=top_scores,
            answered=want.answered,
            ties=None if ties is None else _without_room(ties[:, items]),
        )


def _require_places(setting: Setting, places: Ints, candidates: int) -> None:
    """Refuse places at which no passage can stand: an index of the user's own may give anything."""
    if places.size and not -1 <= places.min() <= places.max() < candidates:
        raise BadVectorsError(
            f"setting {setting}: the search gave places from {places.min()} to {places.max()} among"
            f" {candidates} candidates (0 is the first, -1 not found): nothing can be ranked by that"
        )


def _without_room(counts: Ints) -> Ints:
    """These counts; if all are 0, as in most settings, they take no memory."""
    return counts if counts.any() else np.broadcast_to(np.int32(0), counts.shape)

"""Several retrievers as one: the best passages of each are put together and ordered by the scores of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.encoders import EncoderCard
from xlir_bench.encoders.digest import fingerprint, slug
from xlir_bench.errors import BadVectorsError, InputError
from xlir_bench.options.running import CPU
from xlir_bench.records import Collection, Floats, Ints, Progress, Setting, Silent
from xlir_bench.retrieval.pool import Best, Partial, Want
from xlir_bench.retrieval.retriever import Index, Represented, Retriever, ScoringIndex

VERSION = 1
"""Raised when the computation changes: the fingerprint contains it."""
RRF = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""
QUERIES = 256
"""How many queries are fused together: some 10 MB for each retriever at depth 1,000."""
CELLS = 1 << 21
"""Scores of whole pools that are held for each retriever: 16 MB, and as much for their order."""
LISTING = 3
"""What it costs to list a passage and ask the other retrievers for its score; to score it with its whole pool costs 1."""


@dataclass(frozen=True, slots=True)
class FusedRetriever(Retriever):
    """Several retrievers of the same texts."""

    # Without `field`, the property of `Retriever` would be the default.
    parts: tuple[Retriever, ...] = field()
    depth: int
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self.parts):
            names = ", ".join(part.card.name for part in self.parts)
            raise InputError(
                f"--fuse-weights: {len(self.weights)} given for {len(self.parts)} retrievers; give one for each, in this order: {names}"
            )
        if self.weights is not None and not 0 < sum(self.weights) < float("inf"):
            weights = ",".join(f"{weight:g}" for weight in self.weights)
            raise InputError(
                f"--fuse-weights {weights}: the sum has to be above 0 and finite, as in 1,0.5"
            )

    @property
    def card(self) -> EncoderCard:
        """What a result records of the retrievers."""
        cards = [part.card for part in self.parts]
        how = {"depth": self.depth, "weights": self.weights, "version": VERSION}
        names = [card.name for card in cards]
        if self.weights is not None:
            names = [f"{w:g} {name}" for w, name in zip(self.weights, names, strict=True)]
        summed = "reciprocal ranks" if self.weights is None else "weighted scores"
        return EncoderCard(
            name=" + ".join(names),
            kind="fused",
            slug=slug("--".join(card.slug for card in cards), how),
            fingerprint=fingerprint({"fused": [card.fingerprint for card in cards], **how}),
            dtype=cards[0].dtype,
            max_tokens=cards[0].max_tokens,
            max_query_tokens=cards[0].max_query_tokens,
            fills_queries=cards[0].fills_queries,
            query_prompt=cards[0].query_prompt,
            passage_prompt=cards[0].passage_prompt,
            transform=cards[0].transform,
            fused=tuple((card.name, card.fingerprint) for card in cards),
            chosen_on=tuple(dict.fromkeys(task for card in cards for task in card.chosen_on)),
            notes=(
                f"the best {self.depth:,} of each retriever are ordered by the sum of {summed}",
                *dict.fromkeys(note for card in cards for note in card.notes),
            ),
        )

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Represent every text with each retriever; token counts are those of the first."""
        represented = [part.represent(collection, progress) for part in self.parts]
        indexes = [each.index.scoring for each in represented]
        scoring = tuple(index for index in indexes if index is not None)
        if len(scoring) < len(indexes):
            raise InputError(
                f"{self.card.name}: only retrievers that can score each passage by itself can be fused"
            )
        return Represented(
            index=FusedIndex(scoring, self.depth, self.weights),
            dimension=represented[0].dimension,
            tokens=represented[0].tokens,
            encoded=sum(each.encoded for each in represented),
            cached=sum(each.cached for each in represented),
            notes=tuple(note for each in represented for note in each.notes),
        )


@dataclass(frozen=True, slots=True)
class FusedIndex(Index):
    """The best passages of every retriever are put together and reordered; all others follow in the first's order.

    So each passage has a rank, and it is an exact count. Without weights, a passage scores the sum of 1 / (60 + rank)
    over the retrievers. A rank counts only the passages put together: it is one more than the number of those that the
    retriever scores higher. With weights, a passage scores the weighted sum of its scores; those of a retriever are
    scaled to lie from 0 to 1 for each query. Passages with equal sums are in the first retriever's order. The passages
    that follow score 0.
    """

    indexes: tuple[ScoringIndex, ...]
    depth: int
    """How many of the best passages of each retriever are put together."""
    weights: tuple[float, ...] | None = None

    @property
    def search_device(self) -> str:
        """The first device other than the CPU on which a retriever compares vectors; else the CPU."""
        devices = (index.search_device for index in self.indexes)
        return next((device for device in devices if device != CPU), CPU)

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """Search for one want after another: the lists of all query languages together would fill the memory."""
        progress.start("fuse", len(wants), "languages")
        for want in wants:
            fused = Partial.of(want)
            for found in self._found(want):
                self._fuse(found, fused)
            yield fused
            progress.advance(1)
        progress.finish()

    def _found(self, want: Want) -> Iterator[_Found]:
        """What the retrievers find in each setting, for a slice of the queries at a time.

        A whole pool is scored if that costs less than to list its best passages and to ask each retriever for its
        scores of what the others list.
        """
        # The first lists more if more are to be kept: its passages follow those that are put together.
        deep = replace(want, pair_depth=self.depth, pool_depth=self.depth)
        wants = [want.deeper(self.depth), *(deep for _ in self.indexes[1:])]
        listed = []
        for setting in want.settings:
            candidates = want.candidates(setting)
            if candidates > LISTING * min(candidates, self.depth * len(self.indexes)):
                listed.append(setting)
                continue
            size = max(1, min(QUERIES, CELLS // candidates))
            tables = zip(*(index.tables(setting, size) for index in self.indexes), strict=True)
            for rows, scores in zip(slices(want.queries, size), tables, strict=True):
                yield _by_tables(want, setting, rows, scores, [w.depth(setting) for w in wants])
        if not listed:
            return
        lists = [
            next(iter(index.search([replace(each, settings=tuple(listed))], Silent())))
            for index, each in zip(self.indexes, wants, strict=True)
        ]
        for setting in listed:
            for rows in slices(want.queries, QUERIES):
                yield _by_lists(setting, rows, self.indexes, lists)

    def _fuse(self, found: _Found, fused: Partial) -> None:
        """Reorder the best passages of these queries, and count how many stand before each relevant one."""
        want, setting, rows = fused.want, found.setting, found.rows
        together = _together(found.lists, self.depth, want.candidates(setting))
        is_passage = together >= 0
        row, position = np.nonzero(is_passage)[0], together[is_passage]
        scores = [np.full(together.shape, -np.inf) for _ in self.indexes]
        for number, table in enumerate(scores):
            table[is_passage] = found.scores(number, row, position)
            if np.isnan(table).any():
                raise BadVectorsError(
                    f"setting {setting}: retriever {number + 1} of those that are fused scores a passage NaN"
                )
        sums = self._sums(scores, is_passage)
        # The sort is stable: of passages that are equal in both, the first in the pool stands first.
        order = np.lexsort((-scores[0], -sums), axis=1)
        place = _places(order)
        if setting in fused.best:
            best, listed = fused.best[setting], found.lists[0].positions
            head = np.take_along_axis(together, order, axis=1)
            for number, positions in enumerate(head):
                others = listed[number][~np.isin(listed[number], positions)]
                positions = np.concatenate([positions[positions >= 0], others])
                best.positions[rows.start + number] = positions[: best.positions.shape[1]]
            ordered = np.take_along_axis(sums, order, axis=1)[:, : best.scores.shape[1]]
            best.scores[rows] = 0  # the score of the passages that follow
            best.scores[rows, : ordered.shape[1]] = np.where(np.isinf(ordered), 0, ordered)
        self._count(found, fused, together, place, scores[0])

    def _sums(self, scores: Sequence[Floats], is_passage: np.ndarray) -> Floats:
        """The fused score of each passage; -inf where there is no passage."""
        parts: list[Floats] = [np.asarray(1 / (RRF + _ranks(table))) for table in scores]
        if self.weights is not None:
            scaled = [_scaled(table, is_passage) for table in scores]
            parts = [weight * table for weight, table in zip(self.weights, scaled, strict=True)]
        return np.where(is_passage, np.sum(parts, axis=0), -np.inf)

    def _count(
        self, found: _Found, fused: Partial, together: Ints, place: Ints, scores: Floats
    ) -> None:
        """How many passages stand before each relevant one."""
        relevant, rows = fused.want.relevant, found.rows
        item = fused.want.items(found.setting)
        item = item[(relevant.query[item] >= rows.start) & (relevant.query[item] < rows.stop)]
        row, position = relevant.query[item] - rows.start, relevant.position[item]
        own = found.scores(0, row, position)[:, None]
        same = together[row] == position[:, None]
        ahead = (scores[row] > own) | ((scores[row] == own) & (together[row] < position[:, None]))
        ahead &= together[row] >= 0
        before = found.before(item, row, position)
        outside = (together[row] >= 0).sum(axis=1) + before - ahead.sum(axis=1)
        inside = place[row, same.argmax(axis=1)]
        fused.before[found.setting.pooled][item] = np.where(same.any(axis=1), inside, outside)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the retrievers find for a slice of the queries in a setting; queries are counted from its start."""

    setting: Setting
    rows: slice
    """The slice of the queries."""
    lists: Sequence[Best]
    """The best passages of each retriever."""
    scores: Callable[[int, Ints, Ints], Floats]
    """The scores that a retriever (by its number) gives these pairs of a query and a position."""
    before: Callable[[Ints, Ints, Ints], Ints]
    """How many passages the first retriever has before relevant ones, by their numbers, queries and positions."""


def _by_lists(
    setting: Setting, rows: slice, indexes: Sequence[ScoringIndex], partials: Sequence[Partial]
) -> _Found:
    """What is found by retrievers that list their best passages, and are asked for the scores of others."""
    lists = [partial.best[setting] for partial in partials]
    return _Found(
        setting,
        rows,
        [Best(best.scores[rows], best.positions[rows]) for best in lists],
        lambda number, row, position: indexes[number].scores(setting, row + rows.start, position),
        lambda item, _row, _position: partials[0].before[setting.pooled][item],
    )


def _by_tables(
    want: Want, setting: Setting, rows: slice, tables: Sequence[Floats], depths: Sequence[int]
) -> _Found:
    """What is found by retrievers that score the whole pool, in a table with a row for each query.

    `depths` says how many of the best passages of each are listed.
    """
    span = want.pool.rows(setting)
    if want.own is not None:
        own = want.own[rows]
        row = np.flatnonzero((own >= span.start) & (own < span.stop))
        for table in tables:
            table[row, own[row] - span.start] = -np.inf
    orders = [np.argsort(-table, axis=1, kind="stable") for table in tables]
    lists = []
    for table, order, depth in zip(tables, orders, depths, strict=True):
        head = order[:, :depth]
        lists.append(Best(np.take_along_axis(table, head, axis=1), head + span.start))
    return _Found(
        setting,
        rows,
        lists,
        lambda number, row, position: tables[number][row, position - span.start],
        lambda _item, row, position: _places(orders[0])[row, position - span.start],
    )


def _together(lists: Sequence[Best], depth: int, candidates: int) -> Ints:
    """By query, the positions that are in the first `depth` of any list, ascending; -1 fills up.

    If a list does not have all candidates, passages that score as its last one are not taken: others may score the
    same, and only pool order says which of them are listed.
    """
    taken = []
    for best in lists:
        positions, scores = best.positions[:, :depth], best.scores[:, :depth]
        if positions.shape[1] < candidates:
            positions = np.where(scores == scores[:, -1:], -1, positions)
        taken.append(positions)
    together = np.concatenate(taken, axis=1)
    last = np.iinfo(together.dtype).max
    together = np.sort(np.where(together < 0, last, together), axis=1)
    together[:, 1:][together[:, 1:] == together[:, :-1]] = last
    most = max(1, int((together < last).sum(axis=1).max()))
    together = np.sort(together, axis=1)[:, :most]
    return np.where(together == last, -1, together)


def _places(order: Ints) -> Ints:
    """By row, the place of each number in this order."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return places


def _ranks(scores: Floats) -> Ints:
    """By row, one more than the number of scores that are higher."""
    order = np.argsort(-scores, axis=1)
    ordered = np.take_along_axis(scores, order, axis=1)
    number = np.arange(scores.shape[1])
    is_tie = np.concatenate(
        [np.zeros((len(scores), 1), bool), ordered[:, 1:] == ordered[:, :-1]], axis=1
    )
    start = np.maximum.accumulate(np.where(is_tie, 0, number), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, start + 1, axis=1)
    return ranks


def _scaled(scores: Floats, is_passage: np.ndarray) -> Floats:
    """By row, the scores of passages scaled to lie from 0 to 1; if all are equal, they are 0."""
    low = np.where(is_passage, scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(is_passage, scores, -np.inf).max(axis=1, keepdims=True)
    width = np.where(high > low, high - low, 1)
    return np.asarray(np.where(is_passage, (scores - low) / width, 0))

"""Several retrievers as one: what any of them puts first is ordered anew by all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.encoders import EncoderCard
from xlir_bench.encoders.digest import fingerprint, slug
from xlir_bench.errors import InputError
from xlir_bench.options.running import CPU
from xlir_bench.records import Collection, Floats, Ints, Progress, Setting, Silent
from xlir_bench.retrieval.pool import Best, Partial, Want
from xlir_bench.retrieval.retriever import Index, Represented, Retriever, ScoringIndex

VERSION = 1
"""Changes with what is computed."""
RRF = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""
QUERIES = 256
"""How many are looked at together: some 10 MB a retriever at depth 1,000."""
CELLS = 1 << 21
"""Scores that are held of each retriever where it scores whole pools: 16 MB, and as much for their order."""
LISTING = 3
"""How many times as much a passage that is listed costs, and gathered for the others, as one that is scored with all."""


@dataclass(frozen=True, slots=True)
class FusedRetriever(Retriever):
    """Several retrievers of the same texts."""

    parts: tuple[Retriever, ...] = field()  # else the property of `Retriever` would be its default
    depth: int
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self.parts):
            names = ", ".join(part.card.name for part in self.parts)
            raise InputError(
                f"--fuse-weights: {len(self.weights)} given; one a retriever is wanted, in this order: {names}"
            )
        if self.weights is not None and not 0 < sum(self.weights) < float("inf"):
            given = ",".join(f"{weight:g}" for weight in self.weights)
            raise InputError(f"--fuse-weights {given}: a sum above 0 is wanted, such as of 1,0.5")

    @property
    def card(self) -> EncoderCard:
        """What a result records of them."""
        cards = [part.card for part in self.parts]
        how = {"depth": self.depth, "weights": self.weights, "version": VERSION}
        names = [card.name for card in cards]
        if self.weights is not None:
            names = [f"{w:g} {name}" for w, name in zip(self.weights, names, strict=True)]
        told = "reciprocal ranks" if self.weights is None else "weighted scores"
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
                f"the best {self.depth:,} of each retriever are ordered by the sum of {told}",
                *dict.fromkeys(note for card in cards for note in card.notes),
            ),
        )

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Every text once for each; lengths and unknown words are told as the first sees them."""
        represented = [part.represent(collection, progress) for part in self.parts]
        indexes = [each.index.scoring for each in represented]
        scoring = tuple(index for index in indexes if index is not None)
        if len(scoring) < len(indexes):
            raise InputError(
                f"{self.card.name}: only retrievers that score a passage by itself can be fused"
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
    """The best passages of every retriever are put together and ordered anew; the others follow as the first has them.

    So each passage has a rank, and it is an exact count. Without weights a passage scores the sum of
    1 / (60 + rank), its rank being one more than the number of passages among those put together that score
    higher. With weights it is the weighted sum of scores, each retriever's put between 0 and 1 for every query. Equal
    sums stand as the first retriever has them. What follows scores 0.
    """

    indexes: tuple[ScoringIndex, ...]
    depth: int
    """How many of the best passages of each."""
    weights: tuple[float, ...] | None = None

    @property
    def search_device(self) -> str:
        """Where any of them compares vectors, if that is not the processor."""
        devices = (index.search_device for index in self.indexes)
        return next((device for device in devices if device != CPU), CPU)

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """What each of these wants to know, one language after another: the lists of all would fill the memory."""
        progress.start("fuse", len(wants), "languages")
        for want in wants:
            fused = Partial.of(want)
            for known in self._known(want):
                self._fuse(known, fused)
            yield fused
            progress.advance(1)
        progress.finish()

    def _known(self, want: Want) -> Iterator[_Known]:
        """What the retrievers say of the queries of a language in each setting, so many queries at a time.

        The scores of a whole pool are computed at once where that costs less than to list its best passages, and to
        gather what the others make of them.
        """
        # Of the first also those that follow the ones put together, where more are to be kept.
        deep = replace(want, pair_depth=self.depth, pool_depth=self.depth)
        asked = [want.deeper(self.depth), *(deep for _ in self.indexes[1:])]
        listed = []
        for setting in want.settings:
            candidates = want.candidates(setting)
            if candidates > LISTING * min(candidates, self.depth * len(self.indexes)):
                listed.append(setting)
                continue
            size = max(1, min(QUERIES, CELLS // candidates))
            tables = zip(*(index.tables(setting, size) for index in self.indexes), strict=True)
            for rows, of_rows in zip(slices(want.queries, size), tables, strict=True):
                yield _by_tables(want, setting, rows, of_rows, [w.depth(setting) for w in asked])
        if not listed:
            return
        lists = [
            next(iter(index.search([replace(each, settings=tuple(listed))], Silent())))
            for index, each in zip(self.indexes, asked, strict=True)
        ]
        for setting in listed:
            for rows in slices(want.queries, QUERIES):
                yield _by_lists(setting, rows, self.indexes, lists)

    def _fuse(self, known: _Known, fused: Partial) -> None:
        """Order the best passages of some queries anew, and count how many stand before each relevant one."""
        want, setting, rows = fused.want, known.setting, known.rows
        together = _together(known.lists, self.depth, want.candidates(setting))
        there = together >= 0
        row, position = np.nonzero(there)[0], together[there]
        scores = [np.full(together.shape, -np.inf) for _ in self.indexes]
        for number, of_one in enumerate(scores):
            of_one[there] = known.scores(number, row, position)
        sums = self._sums(scores, there)
        # Stable: of equal ones the first in the pool stands first.
        order = np.lexsort((-scores[0], -sums), axis=1)
        place = _places(order)
        if setting in fused.best:
            best, listed = fused.best[setting], known.lists[0].positions
            head = np.take_along_axis(together, order, axis=1)
            for number, positions in enumerate(head):
                others = listed[number][~np.isin(listed[number], positions)]
                positions = np.concatenate([positions[positions >= 0], others])
                best.positions[rows.start + number] = positions[: best.positions.shape[1]]
            ordered = np.take_along_axis(sums, order, axis=1)[:, : best.scores.shape[1]]
            best.scores[rows] = 0  # of those that follow
            best.scores[rows, : ordered.shape[1]] = np.where(np.isinf(ordered), 0, ordered)
        self._count(known, fused, together, place, scores[0])

    def _sums(self, scores: Sequence[Floats], there: np.ndarray) -> Floats:
        """What every passage scores with all retrievers; -inf where there is none."""
        parts: list[Floats] = [np.asarray(1 / (RRF + _ranks(of_one))) for of_one in scores]
        if self.weights is not None:
            parts = [w * _between(s, there) for w, s in zip(self.weights, scores, strict=True)]
        return np.where(there, np.sum(parts, axis=0), -np.inf)

    def _count(
        self, known: _Known, fused: Partial, together: Ints, place: Ints, scores: Floats
    ) -> None:
        """How many passages stand before each relevant one."""
        relevant, rows = fused.want.relevant, known.rows
        item = fused.want.items(known.setting)
        item = item[(relevant.query[item] >= rows.start) & (relevant.query[item] < rows.stop)]
        row, position = relevant.query[item] - rows.start, relevant.position[item]
        own = known.scores(0, row, position)[:, None]
        same = together[row] == position[:, None]
        ahead = (scores[row] > own) | ((scores[row] == own) & (together[row] < position[:, None]))
        ahead &= together[row] >= 0
        before = known.before(item, row, position)
        outside = (together[row] >= 0).sum(axis=1) + before - ahead.sum(axis=1)
        inside = place[row, same.argmax(axis=1)]
        fused.before[known.setting.pooled][item] = np.where(same.any(axis=1), inside, outside)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the retrievers say of some queries in a setting; queries are counted from the first of them."""

    setting: Setting
    rows: slice
    """The queries."""
    lists: Sequence[Best]
    """The best passages of each retriever."""
    scores: Callable[[int, Ints, Ints], Floats]
    """What one of them (its number) gives each pair of a query and a passage."""
    before: Callable[[Ints, Ints, Ints], Ints]
    """How many passages the first has before relevant ones: their numbers, queries and positions."""


def _by_lists(
    setting: Setting, rows: slice, indexes: Sequence[ScoringIndex], partials: Sequence[Partial]
) -> _Known:
    """Each has listed its best passages; what it makes of another one is asked of it."""
    of_all = [partial.best[setting] for partial in partials]
    return _Known(
        setting,
        rows,
        [Best(best.scores[rows], best.positions[rows]) for best in of_all],
        lambda number, row, position: indexes[number].scores(setting, row + rows.start, position),
        lambda item, _row, _position: partials[0].before[setting.pooled][item],
    )


def _by_tables(
    want: Want, setting: Setting, rows: slice, tables: Sequence[Floats], depths: Sequence[int]
) -> _Known:
    """Each has scored the whole pool, a row a query; so many of its best passages are listed."""
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
    return _Known(
        setting,
        rows,
        lists,
        lambda number, row, position: tables[number][row, position - span.start],
        lambda _item, row, position: _places(orders[0])[row, position - span.start],
    )


def _together(lists: Sequence[Best], depth: int, candidates: int) -> Ints:
    """By query, the positions that are in the first `depth` of any list, ascending; -1 fills up.

    Where a list ends in the middle of passages that score alike, none of these is taken: which of them it has only
    says where they stand in the pool.
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
    """By row, where each number stands in an order of them."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return places


def _ranks(scores: Floats) -> Ints:
    """By row, one more than the number of scores that are higher."""
    order = np.argsort(-scores, axis=1)
    ordered = np.take_along_axis(scores, order, axis=1)
    number = np.arange(scores.shape[1])
    first = np.concatenate(
        [np.zeros((len(scores), 1), bool), ordered[:, 1:] == ordered[:, :-1]], axis=1
    )
    start = np.maximum.accumulate(np.where(first, 0, number), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, start + 1, axis=1)
    return ranks


def _between(scores: Floats, there: np.ndarray) -> Floats:
    """By row, the scores that there are from 0 to 1; 0 where all are alike."""
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(there, scores, -np.inf).max(axis=1, keepdims=True)
    wide = np.where(high > low, high - low, 1)
    return np.asarray(np.where(there, (scores - low) / wide, 0))

"""Several retrievers as one: what any of them puts first is ordered anew by all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xlir_bench.encoders import EncoderCard
from xlir_bench.encoders.digest import fingerprint, slug
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Floats, Ints, Progress, Setting, Silent
from xlir_bench.retrieval.partial import Best, Partial
from xlir_bench.retrieval.pool import Pool, Want
from xlir_bench.retrieval.retriever import Index, Represented, Retriever

VERSION = 1
"""Changes with what is computed."""
RRF = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""
QUERIES = 256
"""How many are looked at together: some 10 MB a retriever at depth 1,000."""


@dataclass(frozen=True, slots=True)
class FusedRetriever:
    """Several retrievers of the same texts."""

    parts: tuple[Retriever, ...]
    depth: int
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self.parts):
            names = ", ".join(part.card.name for part in self.parts)
            raise InputError(
                f"--fuse-weights: {len(self.weights)} given; one a retriever is wanted, in this order: {names}"
            )

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

    @property
    def device(self) -> str | None:
        """Where the first of them runs."""
        return self.parts[0].device

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Every text once for each; lengths and unknown words are told as the first sees them."""
        represented = [part.represent(collection, progress) for part in self.parts]
        return Represented(
            index=FusedIndex(tuple(each.index for each in represented), self.depth, self.weights),
            dimension=represented[0].dimension,
            tokens=represented[0].tokens,
            encoded=sum(each.encoded for each in represented),
            cached=sum(each.cached for each in represented),
            notes=tuple(note for each in represented for note in each.notes),
        )


@dataclass(frozen=True, slots=True)
class FusedIndex:
    """The best passages of every retriever are put together and ordered anew; the others follow as the first has them.

    So each passage has a rank, and it is an exact count. Without weights a passage scores the sum of
    1 / (60 + rank), its rank being one more than the number of passages among those put together that score
    higher. With weights it is the weighted sum of scores, each retriever's put between 0 and 1 for every query. Equal
    sums stand as the first retriever has them. What follows scores 0.
    """

    indexes: tuple[Index, ...]
    depth: int
    """How many of the best passages of each."""
    weights: tuple[float, ...] | None = None

    @property
    def pool(self) -> Pool:
        """Whose passages they are."""
        return self.indexes[0].pool

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """What each of these wants to know, one language after another: the lists of all would fill the memory."""
        progress.start("fuse", len(wants), "languages")
        for want in wants:
            deep = replace(want, pair_depth=self.depth, pool_depth=self.depth)
            # Of the first also those that follow the ones put together, where more are to be kept.
            asked = [want.deeper(self.depth), *(deep for _ in self.indexes[1:])]
            lists = [
                next(iter(index.search([each], Silent())))
                for index, each in zip(self.indexes, asked, strict=True)
            ]
            count = len(next(iter(lists[0].best.values())).positions)
            fused = Partial.of(want, count)
            for setting in want.settings:
                for start in range(0, count, QUERIES):
                    self._fuse(setting, slice(start, min(start + QUERIES, count)), lists, fused)
            yield fused
            progress.advance(1)
        progress.finish()

    def scores(self, setting: Setting, query: Ints, positions: Ints) -> Floats:
        """Refused: what a passage scores depends on the others."""
        raise NotImplementedError("fused scores cannot be fused again")

    def _fuse(
        self, setting: Setting, rows: slice, lists: Sequence[Partial], fused: Partial
    ) -> None:
        want = fused.want
        candidates = want.candidates(setting)
        together = _together(
            [partial.best[setting] for partial in lists], rows, self.depth, candidates
        )
        there = together >= 0
        query = np.nonzero(there)[0]
        scores = []
        for index in self.indexes:
            scores.append(np.full(together.shape, -np.inf))
            scores[-1][there] = index.scores(setting, query + rows.start, together[there])
        sums = self._sums(scores, there)
        order = np.lexsort((together, -scores[0], -sums), axis=1)
        place = np.argsort(order, axis=1)
        if setting in fused.best:
            best, listed = fused.best[setting], lists[0].best[setting].positions[rows]
            head = np.take_along_axis(together, order, axis=1)
            for row, positions in enumerate(head):
                others = listed[row][~np.isin(listed[row], positions)]
                positions = np.concatenate([positions[positions >= 0], others])
                best.positions[rows.start + row] = positions[: best.positions.shape[1]]
            ordered = np.take_along_axis(sums, order, axis=1)[:, : best.scores.shape[1]]
            best.scores[rows] = 0  # of those that follow
            best.scores[rows, : ordered.shape[1]] = np.where(np.isinf(ordered), 0, ordered)
        self._count(setting, rows, lists[0], fused, together, place, scores[0])

    def _sums(self, scores: Sequence[Floats], there: np.ndarray) -> Floats:
        """What every passage scores with all retrievers; -inf where there is none."""
        parts: list[Floats] = [np.asarray(1 / (RRF + _ranks(of_one))) for of_one in scores]
        if self.weights is not None:
            parts = [w * _between(s, there) for w, s in zip(self.weights, scores, strict=True)]
        return np.where(there, np.sum(parts, axis=0), -np.inf)

    def _count(
        self,
        setting: Setting,
        rows: slice,
        first: Partial,
        fused: Partial,
        together: Ints,
        place: Ints,
        scores: Floats,
    ) -> None:
        """How many passages stand before each relevant one."""
        relevant, pooled = fused.want.relevant, setting.pooled
        item = fused.want.items(setting)
        item = item[(relevant.query[item] >= rows.start) & (relevant.query[item] < rows.stop)]
        row, position = relevant.query[item] - rows.start, relevant.position[item]
        own = self.indexes[0].scores(setting, relevant.query[item], position)[:, None]
        same = together[row] == position[:, None]
        ahead = (scores[row] > own) | ((scores[row] == own) & (together[row] < position[:, None]))
        ahead &= together[row] >= 0
        outside = (together[row] >= 0).sum(axis=1) + first.before[pooled][item] - ahead.sum(axis=1)
        inside = place[row, same.argmax(axis=1)]
        fused.before[pooled][item] = np.where(same.any(axis=1), inside, outside)


def _together(lists: Sequence[Best], rows: slice, depth: int, candidates: int) -> Ints:
    """By query, the positions that are in the first `depth` of any list; -1 fills up.

    Where a list ends in the middle of passages that score alike, none of these is taken: which of them it has only
    says where they stand in the pool.
    """
    taken = []
    for best in lists:
        positions, scores = best.positions[rows, :depth], best.scores[rows, :depth]
        if positions.shape[1] < candidates:
            positions = np.where(scores == scores[:, -1:], -1, positions)
        taken.append(positions)
    together = np.sort(np.concatenate(taken, axis=1), axis=1)
    together[:, 1:][together[:, 1:] == together[:, :-1]] = -1
    return np.asarray(-np.sort(-together, axis=1))


def _ranks(scores: Floats) -> Ints:
    """By row, one more than the number of scores that are higher."""
    order = np.argsort(-scores, axis=1, kind="stable")
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

"""A first stage, and a reranker that orders the best passages of every ranking anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xlir_bench.encoders import EncoderCard, Reranker
from xlir_bench.encoders.digest import fingerprint, short, slug
from xlir_bench.records import Collection, Ints, Kind, Progress, Setting
from xlir_bench.retrieval.encoding import EmbedRequest
from xlir_bench.retrieval.pairs import PairScores
from xlir_bench.retrieval.pool import Partial, Want
from xlir_bench.retrieval.retriever import Index, Represented, Retriever

VERSION = 1
"""Changes with what is computed."""


@dataclass(frozen=True, slots=True)
class RerankedRetriever(Retriever):
    """A retriever whose best passages are ordered anew."""

    first: Retriever
    reranker: Reranker
    depth: int
    """How many of the best passages of every query."""
    request: EmbedRequest
    """Where the scores of pairs are kept, and how large a batch is."""

    @property
    def card(self) -> EncoderCard:
        """What a result records of both."""
        first, second = self.first.card, self.reranker.card
        how = {"rerank_depth": self.depth, "version": VERSION}
        cut = ""
        if second.max_tokens is not None:
            cut = f" ({second.dtype}, at most {second.max_tokens} tokens a pair)"
        return replace(
            first,
            name=f"{first.name} > {second.name}",
            kind="reranked",
            slug=slug(f"{first.slug}--{second.slug}", how),
            fingerprint=fingerprint({"reranked": [first.fingerprint, second.fingerprint], **how}),
            weights_digest=None,
            parameters=None,
            weights_bytes=None,
            reranker=f"{second.name} ({short(second.weights_digest or second.fingerprint)})",
            chosen_on=tuple(dict.fromkeys((*first.chosen_on, *second.chosen_on))),
            notes=(
                f"the best {self.depth:,} of {first.name} are re-ordered by {second.name}{cut}; equal scores stand"
                " as in the first stage, and what follows keeps its place",
                *first.notes,
                *(f"{second.name}: {note}" for note in second.notes),
            ),
        )

    @property
    def parts(self) -> tuple[Retriever]:
        """The first stage."""
        return (self.first,)

    @property
    def device(self) -> str | None:
        """Where the first stage runs, or else the reranker."""
        return self.first.device or self.reranker.device

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Every text as the first stage has it; pairs are scored when they are found."""
        represented = self.first.represent(collection, progress)
        pairs = PairScores(self.reranker, self.request, collection)
        index = RerankedIndex(represented.index, pairs, self.depth)
        return replace(represented, index=index, vectors=None)


@dataclass(frozen=True, slots=True)
class RerankedIndex(Index):
    """The first stage's best passages by the reranker's scores; the others follow as the first stage has them.

    So each passage has a rank, and it is exact. Equal scores stand as the first stage has them.
    """

    first: Index
    pairs: PairScores
    depth: int
    notes: list[str] = field(default_factory=list)

    @property
    def search_device(self) -> str:
        """That of the first stage."""
        return self.first.search_device

    def faiss_depth(self, depth: int) -> int:
        """As many as are re-ordered, at least."""
        return self.first.faiss_depth(max(depth, self.depth))

    def by_faiss(self, factory: str, depth: int) -> RerankedIndex | None:
        """FAISS below: the reranker orders its best passages where it did before."""
        first = self.first.by_faiss(factory, depth)
        return None if first is None else RerankedIndex(first, self.pairs, self.depth)

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """What each of these wants to know, one language after another: the lists of all would fill the memory."""
        shares: dict[Kind, list[float]] = defaultdict(list)
        for want in wants:
            (partial,) = self.first.search([want.deeper(self.depth)], progress)
            heads = [_Head.of(want, partial, setting, self.depth) for setting in want.settings]
            yield self._reordered(want, partial, heads, progress)
            for head in heads:
                if len(head.items):
                    shares[head.setting.kind].append(head.share)
        told = [*self._ceiling(shares), *self.pairs.told()]
        self.notes.extend(note for note in told if note not in self.notes)

    def _reordered(
        self, want: Want, partial: Partial, heads: Sequence[_Head], progress: Progress
    ) -> Partial:
        size = want.pool.size
        asked = np.unique(np.concatenate([head.codes(size) for head in heads]))
        scores = self.pairs.of(want.query_lang, asked // size, asked % size, progress)
        reordered = Partial.of(want)
        for head in heads:
            there = head.positions >= 0
            of_head = np.full(there.shape, -np.inf)
            of_head[there] = scores[np.searchsorted(asked, head.codes(size))]
            order = np.argsort(-of_head, axis=1, kind="stable")
            pooled = head.setting.pooled
            before = partial.before[pooled][head.items]
            inside, row = head.place_of(want.relevant.query[head.items], before)
            place = np.argsort(order, axis=1)
            before[inside] = place[row, before[inside]]
            reordered.before[pooled][head.items] = before
            if head.setting in reordered.best:
                best, listed = reordered.best[head.setting], partial.best[head.setting]
                depth, width = best.positions.shape[1], there.shape[1]
                best.positions[head.rows] = listed.positions[head.rows, :depth]
                in_order = np.take_along_axis(head.positions, order, axis=1)[:, :depth]
                best.positions[head.rows, :width] = in_order
                best.scores[head.rows, :width] = np.take_along_axis(of_head, order, 1)[:, :depth]
        return reordered

    def _ceiling(self, shares: dict[Kind, list[float]]) -> list[str]:
        """What no order of the best passages can lift."""
        told = [f"{np.mean(shares[kind]):.1%} ({kind})" for kind in Kind if shares[kind]]
        if not told:
            return []
        return [
            f"relevant passages among the best {self.depth:,}: {', '.join(told)}; no new order finds the others"
        ]


@dataclass(frozen=True, slots=True)
class _Head:
    """The best passages of a setting, and which of its queries have theirs re-ordered."""

    setting: Setting
    items: Ints
    """Which of the relevant passages that are wanted are of this setting."""
    share: float
    """Of the relevant passages of a query, how many are among its best ones; the mean over queries."""
    rows: Ints
    """Queries, ascending: all that are scored or, where only ranks of relevant passages are wanted, those that
    have any among their best. The order of the others changes nothing."""
    positions: Ints
    """A row for each of them, best first; -1 fills up."""

    @classmethod
    def of(cls, want: Want, partial: Partial, setting: Setting, depth: int) -> _Head:
        """Those of the first stage."""
        items = want.items(setting)
        query = want.relevant.query[items]
        before = partial.before[setting.pooled][items]
        inside = (before >= 0) & (before < depth)
        asked, place = np.unique(query, return_inverse=True)
        held, all_of = np.bincount(place, inside, len(asked)), np.bincount(place)
        if not want.depth(setting):
            rows = asked[held > 0]
        else:
            rows = asked if want.answered is None else want.answered
        best = partial.best.get(setting)
        none = np.empty((len(rows), 0), np.int64)
        positions = none if best is None else best.positions[rows, :depth]
        share = float((held / all_of).mean()) if len(items) else 0.0
        return cls(setting, items, share, rows, positions)

    def codes(self, size: int) -> Ints:
        """A number for each pair of a query and a passage of a pool of this size."""
        return np.asarray((self.rows[:, None] * size + self.positions)[self.positions >= 0])

    def place_of(self, query: Ints, before: Ints) -> tuple[Ints, Ints]:
        """Which of these relevant passages are among the best, and the row of each."""
        if not self.positions.size:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        row = np.searchsorted(self.rows, query).clip(max=len(self.rows) - 1)
        is_listed = (before >= 0) & (before < self.positions.shape[1])
        inside = np.flatnonzero(is_listed & (self.rows[row] == query))
        return inside, row[inside]

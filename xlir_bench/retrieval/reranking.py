"""A first stage, and a reranker that reorders the best passages of every ranking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xlir_bench.encoders import EncoderCard, Reranker
from xlir_bench.encoders.digest import fingerprint, short, slug
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Ints, Kind, Progress, Setting
from xlir_bench.retrieval.encoding import EmbedRequest
from xlir_bench.retrieval.pairs import PairScores
from xlir_bench.retrieval.pool import Partial, Want
from xlir_bench.retrieval.retriever import Index, Represented, Retriever

VERSION = 1
"""Raised when the computation changes: the fingerprint contains it."""


@dataclass(frozen=True, slots=True)
class RerankedRetriever(Retriever):
    """A retriever whose best passages a reranker reorders."""

    first: Retriever
    reranker: Reranker
    depth: int
    """How many of the best passages of every query are reordered."""
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
                f"the best {self.depth:,} of {first.name} are re-ordered by {second.name}{cut}; passages with"
                " equal scores keep their order, and the others keep their places",
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
        """Represent every text as the first stage does; pairs are scored when the index is searched."""
        represented = self.first.represent(collection, progress)
        pairs = PairScores(self.reranker, self.request, collection)
        index = RerankedIndex(represented.index, pairs, self.depth)
        return replace(represented, index=index, vectors=None)


@dataclass(frozen=True, slots=True)
class RerankedIndex(Index):
    """The first stage's best passages, ordered by the reranker's scores; all others follow in the first stage's order.

    So each passage has a rank, and it is exact. Passages with equal scores keep the first stage's order.
    """

    first: Index
    pairs: PairScores
    depth: int
    notes: list[str] = field(default_factory=list)

    @property
    def search_device(self) -> str:
        """The device of the first stage."""
        return self.first.search_device

    def faiss_depth(self, depth: int) -> int:
        """At least as many as are reordered."""
        return self.first.faiss_depth(max(depth, self.depth))

    def by_faiss(self, factory: str, depth: int) -> RerankedIndex | None:
        """The same reranker, for the best passages that FAISS finds."""
        first = self.first.by_faiss(factory, depth)
        return None if first is None else RerankedIndex(first, self.pairs, self.depth)

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """Search for one want after another: the lists of all query languages together would fill the memory."""
        shares: dict[Kind, list[float]] = defaultdict(list)
        for want in wants:
            (partial,) = self.first.search([want.deeper(self.depth)], progress)
            heads = [_Head.of(want, partial, setting, self.depth) for setting in want.settings]
            yield self._reordered(want, partial, heads, progress)
            for head in heads:
                if len(head.items):
                    shares[head.setting.kind].append(head.share)
        notes = [*self._ceiling(shares), *self.pairs.notes()]
        self.notes.extend(note for note in notes if note not in self.notes)

    def _reordered(
        self, want: Want, partial: Partial, heads: Sequence[_Head], progress: Progress
    ) -> Partial:
        size = want.pool.size
        codes = np.unique(np.concatenate([head.codes(size) for head in heads]))
        scores = self.pairs.scores(want.query_lang, codes // size, codes % size, progress)
        reordered = Partial.of(want)
        for head in heads:
            is_passage = head.positions >= 0
            head_scores = np.full(is_passage.shape, -np.inf)
            head_scores[is_passage] = scores[np.searchsorted(codes, head.codes(size))]
            order = np.argsort(-head_scores, axis=1, kind="stable")
            pooled = head.setting.pooled
            before = partial.before[pooled][head.items]
            inside, row = head.place_of(want.relevant.query[head.items], before)
            place = np.argsort(order, axis=1)
            before[inside] = place[row, before[inside]]
            reordered.before[pooled][head.items] = before
            if head.setting in reordered.best:
                best, listed = reordered.best[head.setting], partial.best[head.setting]
                depth, width = best.positions.shape[1], is_passage.shape[1]
                best.positions[head.rows] = listed.positions[head.rows, :depth]
                in_order = np.take_along_axis(head.positions, order, axis=1)[:, :depth]
                best.positions[head.rows, :width] = in_order
                in_order = np.take_along_axis(head_scores, order, axis=1)[:, :depth]
                best.scores[head.rows, :width] = in_order
        return reordered

    def _ceiling(self, shares: dict[Kind, list[float]]) -> list[str]:
        """A note on the share of relevant passages that the reranker sees: it cannot lift the others."""
        means = [f"{np.mean(shares[kind]):.1%} ({kind})" for kind in Kind if shares[kind]]
        if not means:
            return []
        return [
            f"relevant passages among the best {self.depth:,}: {', '.join(means)}; re-ordering cannot find the others"
        ]


@dataclass(frozen=True, slots=True)
class _Head:
    """The first stage's best passages in a setting, for the queries whose passages are reordered."""

    setting: Setting
    items: Ints
    """Which of the want's relevant passages are candidates of this setting."""
    share: float
    """The share of a query's relevant passages that are among its best ones; the mean over queries."""
    rows: Ints
    """These queries, ascending: all that are scored or, if only ranks of relevant passages are wanted, those with a
    relevant passage among their best. For other queries a new order changes no rank."""
    positions: Ints
    """The positions of the best passages: a row for each of these queries, best first; -1 fills up."""

    @classmethod
    def of(cls, want: Want, partial: Partial, setting: Setting, depth: int) -> _Head:
        """The best passages that the first stage has found in a setting."""
        items = want.items(setting)
        query = want.relevant.query[items]
        before = partial.before[setting.pooled][items]
        inside = (before >= 0) & (before < depth)
        scored, place = np.unique(query, return_inverse=True)
        among_best, relevant = np.bincount(place, inside, len(scored)), np.bincount(place)
        if not want.depth(setting):
            rows = scored[among_best > 0]
        else:
            rows = scored if want.answered is None else want.answered
        best = partial.listed(setting)
        if best is None and setting in partial.best:
            raise InputError(
                f"--rerank: the first stage lists no best passages in setting {setting}, and none can be"
                " re-ordered: leave it out"
            )
        none = np.empty((len(rows), 0), np.int64)
        positions = none if best is None else best.positions[rows, :depth]
        share = float((among_best / relevant).mean()) if len(items) else 0.0
        return cls(setting, items, share, rows, positions)

    def codes(self, size: int) -> Ints:
        """A number for each pair of a query and a passage of a pool of this size."""
        return np.asarray((self.rows[:, None] * size + self.positions)[self.positions >= 0])

    def place_of(self, query: Ints, before: Ints) -> tuple[Ints, Ints]:
        """Which of these relevant passages are among the best, and the row of its query for each."""
        if not self.positions.size:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        row = np.searchsorted(self.rows, query).clip(max=len(self.rows) - 1)
        is_listed = (before >= 0) & (before < self.positions.shape[1])
        inside = np.flatnonzero(is_listed & (self.rows[row] == query))
        return inside, row[inside]

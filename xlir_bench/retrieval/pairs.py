"""The scores of pairs: a pair of texts is scored once, and its score is stored for the next run.

A run that was killed goes on where it stopped, with the same scores: see `embedding`.

    <cache>/vectors/<reranker slug>-<fingerprint>/pair/      see `vector_store`; a vector is one number
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.encoders import Reranker
from xlir_bench.encoders.rerankers import checked_scores
from xlir_bench.errors import plural
from xlir_bench.files import blake2b_128
from xlir_bench.records import Collection, Floats, Ints, Progress, Role, TokenCounts
from xlir_bench.retrieval.embedding import WINDOW
from xlir_bench.retrieval.encoding import (
    EmbedRequest,
    device_budget,
    in_blocks,
    plan_batches,
    token_counts,
)
from xlir_bench.retrieval.pool import Pool
from xlir_bench.retrieval.vector_store import Block, Keys, Known, Store, distinct_keys, text_keys

PAIRS = "pair"
"""The folder of pairs in the cache; the folders of texts are named by role."""
BLOCK_PAIRS = 32_768
"""A block is written after this many pairs, or after `BLOCK_SECONDS`."""
COUNTED_AT_ONCE = 4096
"""Texts whose tokens are counted together."""


@dataclass(slots=True)
class PairScores:
    """A reranker's scores of pairs of a query and a passage of one collection."""

    reranker: Reranker
    request: EmbedRequest
    collection: Collection
    _pool: Pool = field(init=False)
    _store: Store = field(init=False)
    _seen: int = 0
    """How many distinct pairs there were."""
    _cut: int = 0
    """How many of them were too long for the reranker."""

    def __post_init__(self) -> None:
        self._pool = Pool.of_collection(self.collection)
        card = self.reranker.card
        what = "pairs that were scored now"
        self._store = Store.of(self.request.cache, card, card.fingerprint, what)

    def scores(self, lang: str, query: Ints, position: Ints, progress: Progress) -> Floats:
        """The score of each pair of a query of this language and a passage at a position of the pool."""
        if not len(query):
            return np.empty(0)
        queries = self.collection.queries[lang].texts
        sides = [
            _Side("query", *np.unique(query, return_inverse=True), queries.__getitem__),
            _Side("passage", *np.unique(position, return_inverse=True), self._passage),
        ]
        keys = pair_keys(*(side.keys() for side in sides))
        first, number = distinct_keys(keys)
        known = self._store.find(PAIRS, keys[first])
        missing = known.missing()
        if len(missing):
            progress.start(f"rerank {lang}", len(missing), "pairs")
            tokens = np.zeros(len(first), np.int32)
            tokens[missing] = sum(side.lengths(self.reranker, first[missing]) for side in sides)
            windows = np.searchsorted(missing, np.arange(WINDOW, len(first), WINDOW))
            for numbers in np.split(missing, windows):
                self._score(sides, first[numbers], tokens[numbers], numbers, known, progress)
            progress.finish()
        if damaged := self._store.damaged.pop(PAIRS, 0):
            self._store.notes.add(
                f"{plural(damaged, 'damaged block')} of pairs in the cache, scored again"
            )
        self._seen += len(first)
        self._cut += int((known.tokens > (self.reranker.card.max_tokens or np.inf)).sum())
        return np.asarray(known.vectors(number, None), np.float64)[:, 0]

    def notes(self) -> list[str]:
        """What a reader of the result should know."""
        card, notes = self.reranker.card, sorted(self._store.notes)
        if self._cut:
            share = self._cut / self._seen
            notes.append(
                f"{share:.1%} of the pairs are longer than the {card.max_tokens} tokens that {card.name} reads:"
                " cut"
            )
        return notes

    def _passage(self, position: int) -> str:
        number = bisect_right([rows.stop for rows in self._pool.bounds.values()], position)
        lang = self._pool.langs[number]
        texts = self.collection.passages[lang].texts
        return str(texts[position - self._pool.bounds[lang].start])

    def _score(
        self,
        sides: Sequence[_Side],
        rows: Ints,
        tokens: Ints,
        numbers: Ints,
        known: Known,
        progress: Progress,
    ) -> None:
        """Score these pairs in whole batches, from the longest pair to the shortest, and write blocks along the way."""
        limit = self.reranker.card.max_tokens or np.iinfo(np.int32).max
        budget = self.request.batch_tokens or device_budget(self.reranker)
        counts = TokenCounts(tokens, np.zeros_like(tokens))

        def score(batch: Ints) -> Floats:
            queries, passages = (side.texts(rows[batch]) for side in sides)
            texts = list(zip(queries, passages, strict=True))
            return checked_scores(self.reranker.scores(texts), texts)[:, None]

        def keep(scored: Ints, scores: Floats) -> None:
            block = Block.of(known.keys[numbers], scores, counts, scored)
            known.put(numbers[scored], block)
            self._store.write(PAIRS, block)

        batches = plan_batches(np.minimum(tokens, limit), budget)
        in_blocks(score, batches, keep, progress.advance, BLOCK_PAIRS)


@dataclass(frozen=True, slots=True)
class _Side:
    """The queries of some pairs, or their passages."""

    role: Role
    distinct: Ints
    """The distinct rows of the queries, or positions of the passages."""
    number: Ints
    """Which of the distinct ones each pair has."""
    text: Callable[[int], str]
    """The text in a row, or at a position."""

    def keys(self) -> Keys:
        """The key of this side's text, for each pair."""
        return text_keys(map(self.text, self.distinct.tolist()))[self.number]

    def texts(self, pairs: Ints) -> list[str]:
        """This side's text, for each of these pairs."""
        return [self.text(row) for row in self.distinct[self.number[pairs]].tolist()]

    def lengths(self, reranker: Reranker, pairs: Ints) -> Ints:
        """How many tokens this side's text has, for each of these pairs."""
        lengths, wanted = np.zeros(len(self.distinct), np.int32), np.unique(self.number[pairs])
        for part in slices(len(wanted), COUNTED_AT_ONCE):
            texts = [self.text(row) for row in self.distinct[wanted[part]].tolist()]
            lengths[wanted[part]] = token_counts(reranker, texts, self.role).tokens
        return lengths[self.number[pairs]]


def pair_keys(queries: Keys, passages: Keys) -> Keys:
    """The key of each pair, from the keys of its two texts."""
    keys = np.empty_like(queries)
    for part in slices(len(keys), WINDOW):
        both = np.concatenate([queries[part], passages[part]], axis=1)
        raw = b"".join(blake2b_128(row.data).digest() for row in both)
        keys[part] = np.frombuffer(raw, np.uint64).reshape(-1, 2)
    return keys

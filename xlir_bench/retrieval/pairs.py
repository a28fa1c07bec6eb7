"""The scores of pairs: a pair of texts is scored once, and kept for the next run as soon as it is.

A run that was killed goes on where it stopped, with the same scores: see `embedding`.

    <cache>/vectors/<reranker slug>-<fingerprint>/pair/      see `store`; a vector is one number
"""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench import files
from xlir_bench.encoders import Reranker, Tokenizing
from xlir_bench.encoders.rerankers import checked_scores
from xlir_bench.records import Collection, Floats, Ints, Progress, Role
from xlir_bench.retrieval.cache import remember_encoder, store_folder
from xlir_bench.retrieval.embedding import WINDOW
from xlir_bench.retrieval.encoding import (
    BLOCK_SECONDS,
    CPU_BATCH_TOKENS,
    GPU_BATCH_TOKENS,
    EmbedRequest,
    guessed_lengths,
    plan_batches,
)
from xlir_bench.retrieval.pool import Pool
from xlir_bench.retrieval.store import Block, Keys, Known, Store, text_keys, write_block

PAIRS = "pair"
"""Where texts have their role."""
BLOCK_PAIRS = 32_768
"""A block is written after so many pairs, or `BLOCK_SECONDS`."""
COUNTED_AT_ONCE = 4096
"""Texts whose tokens are counted together."""


@dataclass(slots=True)
class PairScores:
    """What a reranker gives the pairs of a collection."""

    reranker: Reranker
    request: EmbedRequest
    collection: Collection
    pool: Pool
    _notes: set[str] = field(default_factory=set)
    """On the cache."""
    _seen: int = 0
    _cut: int = 0
    """How many distinct pairs there were, and how many were too long for the reranker."""
    _folder: Path | None = None
    _held: object = None
    """Keeps the folder from being removed."""

    def __post_init__(self) -> None:
        cache, card = self.request.cache, self.reranker.card
        if cache is None:
            return
        folder = store_folder(cache, card.slug, card.fingerprint)
        self._folder = folder / PAIRS
        try:
            self._held = files.leased(folder)
            remember_encoder(folder, card.name, card.fingerprint)
        except OSError as error:
            self._not_kept(error)

    def of(self, lang: str, query: Ints, position: Ints, progress: Progress) -> Floats:
        """The scores of pairs of a query of this language and a passage at a position of the pool."""
        if not len(query):
            return np.empty(0)
        queries = self.collection.queries[lang].texts
        sides = [
            _Side.of("query", query, queries.__getitem__),
            _Side.of("passage", position, self._passage),
        ]
        keys = pair_keys(*(side.keys() for side in sides))
        first, number = _distinct(keys)
        store = Store(self._folder, self._notes)
        known = store.find(keys[first])
        missing = np.flatnonzero(known.part < 0)
        if len(missing):
            progress.start(f"rerank {lang}", len(missing), "pairs")
            pairs = _Pairs(sides, first, np.zeros(len(first), np.int32))
            pairs.count(self.reranker, missing)
            windows = np.searchsorted(missing, np.arange(WINDOW, len(first), WINDOW))
            for numbers in np.split(missing, windows):
                self._score(pairs, numbers, known, progress)
            progress.finish()
        if store.damaged:
            self._notes.add(
                f"{store.damaged} damaged cache block(s) of pairs were found and scored again"
            )
        self._seen += len(first)
        self._cut += int((known.tokens > (self.reranker.card.max_tokens or np.inf)).sum())
        return np.asarray(known.vectors(number, None), np.float64)[:, 0]

    def told(self) -> list[str]:
        """What a reader of the result should know."""
        card, notes = self.reranker.card, sorted(self._notes)
        if self._cut:
            share = self._cut / self._seen
            notes.append(
                f"{share:.1%} of the pairs are longer than the {card.max_tokens} tokens that {card.name} reads:"
                " cut"
            )
        return notes

    def _passage(self, position: int) -> str:
        number = bisect_right([rows.stop for rows in self.pool.bounds.values()], position)
        lang = self.pool.langs[number]
        texts = self.collection.passages[lang].texts
        return str(texts[position - self.pool.bounds[lang].start])

    def _score(self, pairs: _Pairs, numbers: Ints, known: Known, progress: Progress) -> None:
        """Score these pairs, and write as it goes: whole batches, from the longest pair to the shortest."""
        usual = CPU_BATCH_TOKENS if self.reranker.device.startswith("cpu") else GPU_BATCH_TOKENS
        budget = self.request.batch_tokens or usual
        most = self.reranker.card.max_tokens or np.iinfo(np.int32).max
        begun, done = time.monotonic(), list[tuple[Ints, Floats]]()

        def keep() -> None:
            nonlocal begun
            if done:
                self._keep(pairs, done, known)
            done.clear()
            begun = time.monotonic()

        try:
            for batch in plan_batches(np.minimum(pairs.tokens[numbers], most), budget):
                texts = pairs.texts(numbers[batch])
                done.append((numbers[batch], checked_scores(self.reranker.scores(texts), texts)))
                progress.advance(len(batch))
                enough = sum(len(of_batch) for _, of_batch in done) >= BLOCK_PAIRS
                if enough or time.monotonic() - begun > BLOCK_SECONDS:
                    keep()
        finally:
            keep()  # reached on Ctrl-C too: batches that are done are whole

    def _keep(self, pairs: _Pairs, done: Sequence[tuple[Ints, Floats]], known: Known) -> None:
        numbers, scores = (np.concatenate(column) for column in zip(*done, strict=True))
        tokens = pairs.tokens[numbers]
        block = Block(known.keys[numbers], scores[:, None], tokens, np.zeros_like(tokens))
        known.put(numbers, block.vectors, block, slice(None))
        try:
            if self._folder is not None:
                write_block(self._folder, block)
        except OSError as error:
            self._not_kept(error)

    def _not_kept(self, error: OSError) -> None:
        if self.request.cache is not None:
            remedy = "pairs that were scored now are not kept (XLIR_CACHE names another place)"
            self._notes.add(str(files.cannot_write(self.request.cache, remedy, error)))


@dataclass(frozen=True, slots=True)
class _Side:
    """The queries, or the passages, of some pairs."""

    role: Role
    distinct: Ints
    number: Ints
    """Which of them each pair has."""
    text: Callable[[int], str]

    @classmethod
    def of(cls, role: Role, rows: Ints, text: Callable[[int], str]) -> _Side:
        return cls(role, *np.unique(rows, return_inverse=True), text)

    def keys(self) -> Keys:
        """Of the text of each pair."""
        return text_keys(map(self.text, self.distinct.tolist()))[self.number]

    def lengths(self, reranker: Reranker, pairs: Ints) -> Ints:
        """What the texts of these pairs add to the length of each."""
        lengths, wanted = np.zeros(len(self.distinct), np.int32), np.unique(self.number[pairs])
        for start in range(0, len(wanted), COUNTED_AT_ONCE):
            some = wanted[start : start + COUNTED_AT_ONCE]
            texts = [self.text(row) for row in self.distinct[some].tolist()]
            if isinstance(reranker, Tokenizing):
                lengths[some] = reranker.count_tokens(texts, self.role).tokens
            else:
                lengths[some] = guessed_lengths(texts)
        return lengths[self.number[pairs]]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Distinct pairs of texts."""

    sides: Sequence[_Side]
    first: Ints
    """Where each stands first among all pairs."""
    tokens: Ints
    """How long each is, uncut; 0 where nobody asked."""

    def count(self, reranker: Reranker, numbers: Ints) -> None:
        """Find out how long these are."""
        rows = self.first[numbers]
        self.tokens[numbers] = sum(side.lengths(reranker, rows) for side in self.sides)

    def texts(self, numbers: Ints) -> list[tuple[str, str]]:
        """The query and the passage of each of these."""
        rows = self.first[numbers]
        query, passage = (
            map(side.text, side.distinct[side.number[rows]].tolist()) for side in self.sides
        )
        return list(zip(query, passage, strict=True))


def pair_keys(queries: Keys, passages: Keys) -> Keys:
    """The key of each pair, from those of its texts."""
    keys = np.empty_like(queries)
    for start in range(0, len(keys), WINDOW):
        some = slice(start, start + WINDOW)
        both = np.concatenate([queries[some], passages[some]], axis=1)
        raw = b"".join(hashlib.blake2b(row, digest_size=16).digest() for row in both)
        keys[some] = np.frombuffer(raw, np.uint64).reshape(-1, 2)
    return keys


def _distinct(keys: Keys) -> tuple[Ints, Ints]:
    """Where each distinct key stands first, ascending; and which of these each key is."""
    _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[number.ravel()]

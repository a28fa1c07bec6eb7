"""A first stage, and a reranker that orders the best passages of every ranking anew."""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from xlir_bench import files
from xlir_bench.encoders import EncoderCard, Reranker, Tokenizing
from xlir_bench.encoders.digest import fingerprint, slug
from xlir_bench.encoders.rerankers import checked_scores
from xlir_bench.records import Collection, Floats, Ints, Kind, Progress, Role, Setting
from xlir_bench.retrieval.cache import remember_encoder, store_folder
from xlir_bench.retrieval.embedding import (
    BLOCK_SECONDS,
    BLOCK_TEXTS,
    WINDOW,
    EmbedRequest,
    device_budget,
)
from xlir_bench.retrieval.partial import Partial
from xlir_bench.retrieval.plan import guessed_lengths, plan_batches
from xlir_bench.retrieval.pool import Pool, Want
from xlir_bench.retrieval.retriever import Index, Represented, Retriever
from xlir_bench.retrieval.store import Block, Keys, Known, Store, text_keys, write_block

VERSION = 1
"""Changes with what is computed."""
PAIRS = "pair"
"""The folder of scored pairs in the reranker's folder of the cache."""
COUNTED_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class RerankedRetriever:
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
        cut = "" if second.max_tokens is None else f" (pairs of at most {second.max_tokens} tokens)"
        return replace(
            first,
            name=f"{first.name} > {second.name}",
            kind="reranked",
            slug=slug(f"{first.slug}--{second.slug}", how),
            fingerprint=fingerprint({"reranked": [first.fingerprint, second.fingerprint], **how}),
            weights_digest=None,
            parameters=None,
            weights_bytes=None,
            chosen_on=tuple(dict.fromkeys((*first.chosen_on, *second.chosen_on))),
            notes=(
                f"the best {self.depth:,} of {first.name} are re-ordered by {second.name}{cut}; equal scores stand"
                " as in the first stage, and what follows keeps its place",
                *first.notes,
                *(f"{second.name}: {note}" for note in second.notes),
            ),
        )

    @property
    def device(self) -> str | None:
        """Where the first stage runs, or else the reranker."""
        return self.first.device or self.reranker.device

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Every text as the first stage has it; pairs are scored when they are found."""
        found = self.first.represent(collection, progress)
        pairs = PairScores(self.reranker, self.request, collection, found.index.pool)
        index = RerankedIndex(found.index, pairs, self.depth, [*found.notes])
        return replace(found, index=index, vectors=None, notes=index.notes)


@dataclass(frozen=True, slots=True)
class RerankedIndex:
    """The first stage's best passages by the reranker's scores; the others follow as the first stage has them.

    So each passage has a rank, and it is exact. Equal scores stand as the first stage has them.
    """

    first: Index
    pairs: PairScores
    depth: int
    notes: list[str]
    """Those of the first stage; a search adds its own."""

    @property
    def pool(self) -> Pool:
        """Whose passages they are."""
        return self.first.pool

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """What each of these wants to know, one language after another: the lists of all would fill the memory."""
        shares: dict[Kind, list[float]] = defaultdict(list)
        for want in wants:
            deep = replace(
                want,
                pair_depth=max(self.depth, want.pair_depth),
                pool_depth=max(self.depth, want.pool_depth),
            )
            (found,) = self.first.search([deep], progress)
            heads = [_Head.of(want, found, setting, self.depth) for setting in want.settings]
            yield self._reordered(want, found, heads, progress)
            for head in heads:
                if len(head.items):
                    shares[head.setting.kind].append(head.share)
        told = [*self._ceiling(shares), *self.pairs.told()]
        self.notes.extend(note for note in told if note not in self.notes)

    def scores(self, setting: Setting, query: Ints, positions: Ints) -> Floats:
        """Refused: what follows the best has no score of the reranker."""
        raise NotImplementedError("re-ordered passages cannot be fused")

    def _reordered(
        self, want: Want, found: Partial, heads: Sequence[_Head], progress: Progress
    ) -> Partial:
        size, count = self.pool.size, len(self.pairs.collection.queries[want.query_lang].ids)
        asked = np.unique(np.concatenate([head.codes(size) for head in heads]))
        scores = self.pairs.of(want.query_lang, asked // size, asked % size, progress)
        reordered = Partial.of(want, count)
        for head in heads:
            there = head.positions >= 0
            of_head = np.full(there.shape, -np.inf)
            of_head[there] = scores[np.searchsorted(asked, head.codes(size))]
            order = np.argsort(-of_head, axis=1, kind="stable")
            pooled = len(head.setting.passage_langs) > 1
            before = found.before[pooled][head.items]
            inside, row = head.place_of(want.relevant.query[head.items], before)
            place = np.argsort(order, axis=1)
            before[inside] = place[row, before[inside]]
            reordered.before[pooled][head.items] = before
            if head.setting in reordered.best:
                best, listed = reordered.best[head.setting], found.best[head.setting]
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
            f"of what is relevant the best {self.depth:,} hold {', '.join(told)}: no order of them lifts the rest"
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
    def of(cls, want: Want, found: Partial, setting: Setting, depth: int) -> _Head:
        """Those of the first stage."""
        bounds, relevant = want.pool.rows(setting), want.relevant
        items = np.flatnonzero(
            (relevant.position >= bounds.start) & (relevant.position < bounds.stop)
        )
        query = relevant.query[items]
        inside = found.before[len(setting.passage_langs) > 1][items] < depth
        asked, place = np.unique(query, return_inverse=True)
        held, all_of = np.bincount(place, inside, len(asked)), np.bincount(place)
        if not want.depth(setting):
            rows = asked[held > 0]
        else:
            rows = asked if want.answered is None else want.answered
        best = found.best.get(setting)
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
        inside = np.flatnonzero((before < self.positions.shape[1]) & (self.rows[row] == query))
        return inside, row[inside]


@dataclass(slots=True)
class PairScores:
    """The scores of pairs: a pair of texts is scored once, and kept for the next run as soon as it is.

    A run that was killed goes on where it stopped, with the same scores: see `embedding`.
    """

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
        return known.vectors(number, None).rows(slice(0, len(number)))[:, 0].astype(np.float64)

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
        budget = self.request.batch_tokens or device_budget(self.reranker)
        most = self.reranker.card.max_tokens or np.iinfo(np.int32).max
        begun, batches, scores = time.monotonic(), list[Ints](), list[Floats]()

        def keep() -> None:
            nonlocal begun
            if batches:
                self._keep(pairs, np.concatenate(batches), np.concatenate(scores), known)
            batches.clear()
            scores.clear()
            begun = time.monotonic()

        try:
            for batch in plan_batches(np.minimum(pairs.tokens[numbers], most), budget):
                texts = pairs.texts(numbers[batch])
                scores.append(checked_scores(self.reranker.scores(texts), texts))
                batches.append(numbers[batch])
                progress.advance(len(batch))
                enough = sum(map(len, batches)) >= BLOCK_TEXTS
                if enough or time.monotonic() - begun > BLOCK_SECONDS:
                    keep()
        finally:
            keep()  # reached on Ctrl-C too: batches that are done are whole

    def _keep(self, pairs: _Pairs, numbers: Ints, scores: Floats, known: Known) -> None:
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

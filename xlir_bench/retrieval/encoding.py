"""Distinct texts in planned batches, and the blocks in which their vectors are written.

Batches are sorted by length, longest first, under a budget of padded tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.encoders import Encoder, Tokenizing, checked, describe
from xlir_bench.encoders.transformer import SparseEncoder
from xlir_bench.errors import InputError
from xlir_bench.records import Ints, Role, TextsOnDisk, TokenCounts
from xlir_bench.retrieval.elsewhere import Elsewhere
from xlir_bench.retrieval.similarity import COSINE, Similarity, rounded
from xlir_bench.retrieval.tiles import NUMBA, Engine
from xlir_bench.retrieval.vector_store import Keys, distinct_keys, text_keys
from xlir_bench.retrieval.vectors import Rows, stacked

MAX_BATCH_TEXTS = 512
BLOCK_TEXTS = 4096
BLOCK_SECONDS = 15.0
BLOCK_NUMBERS = 1 << 24
"""A block is written after this many texts, seconds or vector components: a killed run loses no more."""
CPU_BATCH_TOKENS = 4096
GPU_BATCH_TOKENS = 65536
BATCH_LOGITS = 1 << 28
"""A sparse encoder computes a number for each token and word of its vocabulary: at most this many at once, 1 GB."""


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """How texts are encoded, and how their vectors are stored and compared."""

    cache: Path | None
    """The cache's root; None keeps nothing."""
    batch_tokens: int | None = None
    """Padded tokens in a batch; None chooses by device."""
    vectors: Literal["float32", "float16", "int8"] = "float32"
    """The type in which vectors are stored."""
    similarity: Similarity = COSINE
    """How vectors are compared."""
    engine: Engine = NUMBA
    """What compares vectors in this process."""
    elsewhere: Elsewhere | None = None
    """Workers that encode and search; None: this process does."""
    keep: bool = True
    """Whether vectors of passages are kept; if not, they are encoded whenever they are searched."""

    def __post_init__(self) -> None:
        """Sparse vectors are stored as they are; 8 bits keep only the direction of a vector."""
        if self.vectors != "float32" and self.similarity.form == "sparse":
            raise InputError(f"--vectors {self.vectors} is not for sparse vectors: leave it out")
        if self.vectors == "int8" and self.similarity != COSINE:
            raise InputError(
                "--vectors int8 keeps the direction of a vector but not its length, and a dot product needs both: try float16"
            )

    def sent(self) -> EmbedRequest:
        """The request that a worker gets: it has no workers of its own, and encodes but does not compare."""
        return replace(self, elsewhere=None, engine=NUMBA)


@dataclass(frozen=True, slots=True)
class Distinct:
    """The distinct texts of one role, in the order in which they first occur in the collection."""

    role: Role
    keys: Keys
    sources: tuple[Sequence[str], ...]
    source: Ints
    """Which of `sources` each text is from."""
    row: Ints
    """Its row in that source."""
    numbers: Mapping[str, Ints]
    """By language, the number of the distinct text that each of its texts is."""

    @classmethod
    def of(cls, role: Role, by_lang: Mapping[str, Sequence[str]]) -> Distinct:
        """Find the distinct texts of all languages."""
        sizes = [len(texts) for texts in by_lang.values()]
        # A slice at a time: texts that are read from disk are freed after each slice.
        keys = np.concatenate(
            [
                np.empty((0, 2), np.uint64),
                *(
                    text_keys(texts[rows])
                    for texts in by_lang.values()
                    for rows in slices(len(texts), BLOCK_TEXTS)
                ),
            ]
        )
        first, number = distinct_keys(keys)
        numbers = np.split(number, np.cumsum(sizes)[:-1])
        source = np.repeat(np.arange(len(sizes)), sizes)[first]
        row = first - np.concatenate([[0], np.cumsum(sizes)])[source]
        return cls(
            role,
            keys[first],
            tuple(by_lang.values()),
            source,
            row,
            dict(zip(by_lang, numbers, strict=True)),
        )

    def text(self, number: int) -> str:
        """The text of this number."""
        return str(self.sources[self.source[number]][self.row[number]])

    def texts(self, numbers: Ints) -> list[str]:
        """The texts of these numbers, which must ascend."""
        return texts_at(self.sources, self.source[numbers], self.row[numbers])

    def sent(self, part: slice) -> tuple[tuple[Sequence[str], ...], Ints, Ints]:
        """What a worker needs to read this part of the texts: sources, and each text's source and row.

        If some of the texts are in memory, the texts themselves are the only source.
        """
        source, row = self.source[part], self.row[part]
        if all(isinstance(self.sources[number], TextsOnDisk) for number in np.unique(source)):
            return self.sources, source, row
        texts = texts_at(self.sources, source, row)  # in the order of the part: sources ascend
        return (texts,), np.zeros_like(source), np.arange(len(row))


def texts_at(sources: Sequence[Sequence[str]], source: Ints, row: Ints) -> list[str]:
    """The text in each `row` of its `source`; sources must ascend, and within a source rows must ascend."""
    texts: list[str] = []
    for number in np.unique(source):
        rows = row[source == number]
        piece = sources[number][int(rows[0]) : int(rows[-1]) + 1]
        texts += (piece[at] for at in (rows - rows[0]).tolist())
    return texts


def plan_batches(lengths: Ints, budget: int) -> list[Ints]:
    """Batches of row numbers; in each, the number of texts times the longest length is at most `budget`.

    The plan depends on the lengths alone, so the same list of texts is always encoded in the same batches: the last
    bits of a vector depend on its batch. A text longer than the budget is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[Ints] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = min(MAX_BATCH_TEXTS, max(1, budget // longest))
        batches.append(order[start : start + size])
        start += size
    return batches


@dataclass(frozen=True, slots=True)
class PlannedTexts:
    """Texts, and the batches in which they are encoded."""

    encoder: Encoder
    request: EmbedRequest
    role: Role
    texts: Sequence[str]
    counts: TokenCounts
    batches: list[Ints]

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        request: EmbedRequest,
        role: Role,
        texts: Sequence[str],
        counts: TokenCounts | None = None,
    ) -> PlannedTexts:
        """Plan batches by the token counts that the model sees, and by the request's budget or else the device's."""
        counts = token_counts(encoder, texts, role) if counts is None else counts
        card, budget = describe(encoder), request.batch_tokens or device_budget(encoder)
        limit, lengths = card.cut(role), counts.tokens
        if limit is not None:
            filled = card.fills_queries and role == "query"
            lengths = np.full_like(lengths, limit) if filled else np.minimum(lengths, limit)
        return cls(encoder, request, role, texts, counts, plan_batches(lengths, budget))

    def encode(
        self,
        batches: Iterable[Ints],
        keep: Callable[[Ints, Rows], None],
        advance: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """Encode these batches; `keep` gets the numbers of texts and their vectors, in the type that is stored."""

        def encoded(batch: Ints) -> Rows:
            texts = [self.texts[i] for i in batch]
            vectors: Rows = self.encoder.encode(texts, self.role)
            if self.request.similarity.form == "dense":
                vectors = checked(vectors, texts, self.encoder.dimension)
            return rounded(vectors, self.request.vectors, self.request.similarity)

        in_blocks(encoded, batches, keep, advance)


def in_blocks(
    make: Callable[[Ints], Rows],
    batches: Iterable[Ints],
    keep: Callable[[Ints, Rows], None],
    advance: Callable[[int], None] = lambda _count: None,
    block_size: int | None = None,
) -> None:
    """Make the rows of one batch after another; `keep` gets each block of them, and the numbers of its texts."""
    held: list[tuple[Ints, Rows]] = []
    began = time.monotonic()

    def keep_held() -> None:
        numbers, rows = zip(*held, strict=True)
        keep(np.concatenate(numbers), stacked(rows))
        held.clear()

    try:
        for batch in batches:
            held.append((batch, make(batch)))
            advance(len(batch))
            if (
                sum(len(numbers) for numbers, _ in held) >= (block_size or BLOCK_TEXTS)
                or sum(rows.size for _, rows in held) > BLOCK_NUMBERS
                or time.monotonic() - began > BLOCK_SECONDS
            ):
                keep_held()
                began = time.monotonic()
    finally:
        # Also after Ctrl-C: only whole batches are held, so they are kept.
        if held:
            keep_held()


def token_counts(encoder: object, texts: Sequence[str], role: Role) -> TokenCounts:
    """The encoder's tokenizer counts tokens; without one, a token is taken to be three characters."""
    if isinstance(encoder, Tokenizing):
        return encoder.count_tokens(texts, role)
    guessed = np.array([len(text) // 3 + 2 for text in texts], np.int64)
    return TokenCounts(guessed, np.zeros_like(guessed))


def device_budget(encoder: object) -> int:
    """Padded tokens in a batch, if the request does not say."""
    device = str(getattr(encoder, "device", "cpu"))
    budget = CPU_BATCH_TOKENS if device.startswith("cpu") else GPU_BATCH_TOKENS
    if isinstance(encoder, SparseEncoder):
        return max(1, min(budget, BATCH_LOGITS // encoder.dimension))
    return budget

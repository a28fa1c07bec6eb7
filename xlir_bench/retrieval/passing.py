"""Vectors of passages that are made when they are searched and kept nowhere.

Passages that are judged are encoded first, for every other is compared with them; then each window of the corpus is
encoded, searched and dropped. All are encoded in the batches of one plan, so that vectors have the same bits each
time, and ranks are those of vectors that are kept. Memory is that of two windows and of what is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from xlir_bench.encoders import Encoder, Tokenizing
from xlir_bench.records import Collection, Floats, Ints, Progress, Role, TokenCounts
from xlir_bench.retrieval import embedding
from xlir_bench.retrieval.embedding import (
    Distinct,
    EmbedRequest,
    Growing,
    device_budget,
    embed,
    encode_planned,
    planned,
)
from xlir_bench.retrieval.exact import Stored, VectorIndex
from xlir_bench.retrieval.retriever import Represented

FEW = 256
"""So few texts of a window are encoded with their batches; for more, the window is."""
WINDOWS_HELD = 2
"""What is compared at a time may lie in two."""


def embed_in_passing(
    collection: Collection, encoder: Encoder, request: EmbedRequest, progress: Progress
) -> Represented:
    """Queries as ever, and passages that are encoded when an index of them is searched."""
    queries = embed(
        replace(collection, passages={}), encoder, replace(request, keep=True), progress
    )
    langs = collection.languages("passage")
    texts = Distinct.of("passage", {lang: collection.texts("passage", lang) for lang in langs})
    maker = Maker(encoder, request, texts, queries.dimension)
    judged = [
        texts.numbers[lang][relevance.passage]
        for (_, lang), relevance in collection.relevance.items()
    ]
    maker.remember(np.unique(np.concatenate([np.empty(0, np.int64), *judged])), progress)
    passages: dict[tuple[Role, str], Stored] = {
        ("passage", lang): Passing(maker, numbers) for lang, numbers in texts.numbers.items()
    }
    tokens: Mapping[tuple[Role, str], TokenCounts] | None = None
    if isinstance(encoder, Tokenizing):
        counted = {("passage", lang): maker.counts(n) for lang, n in texts.numbers.items()}
        tokens = {**(queries.tokens or {}), **counted}
    return Represented(
        index=VectorIndex.of({**(queries.vectors or {}), **passages}),
        dimension=queries.dimension,
        tokens=tokens,
        encoded=queries.encoded + len(texts.keys),
        cached=queries.cached,
        notes=(
            *queries.notes,
            "vectors of passages were searched as they were made, and kept nowhere",
        ),
    )


@dataclass(slots=True)
class Maker:
    """Encodes the texts of a corpus when they are asked for."""

    encoder: Encoder
    request: EmbedRequest
    texts: Distinct
    dimension: int
    tokens: Ints = field(init=False)
    unknown: Ints = field(init=False)
    known: Ints = field(init=False)
    """The texts whose vectors are remembered, ascending."""
    remembered: Floats = field(init=False)
    held: dict[int, Floats] = field(default_factory=dict)
    """The vectors of the windows that were encoded last, by their first text."""

    def remember(self, known: Ints, progress: Progress) -> None:
        """Count the tokens of all texts, and encode the batches that hold these."""
        size = len(self.texts.keys)
        self.tokens, self.unknown = np.zeros(size, np.int32), np.zeros(size, np.int32)
        parts = [np.empty((0, self.dimension), np.float32)]
        progress.start("encode judged", size, "texts")
        for start in range(0, size, embedding.WINDOW):
            stop = min(start + embedding.WINDOW, size)
            wanted = known[(known >= start) & (known < stop)] - start
            chosen, counts, batches = self._plan(start, None)
            self.tokens[start:stop], self.unknown[start:stop] = counts.tokens, counts.unknown
            if len(wanted):
                holding = [batch for batch in batches if np.isin(batch, wanted).any()]
                parts.append(self._encode(chosen, holding)[wanted])
            progress.advance(stop - start)
        progress.finish()
        self.known, self.remembered = known, np.concatenate(parts)

    def counts(self, numbers: Ints) -> TokenCounts:
        """The token counts of these texts."""
        return TokenCounts(self.tokens[numbers], self.unknown[numbers])

    def vectors(self, numbers: Ints, in_order: bool) -> Floats:
        """The vectors of these texts; `in_order`: those that follow them are asked for next."""
        place = np.minimum(np.searchsorted(self.known, numbers), max(len(self.known) - 1, 0))
        if not in_order and len(self.known) and (self.known[place] == numbers).all():
            return self.remembered[place]
        found = np.empty((len(numbers), self.dimension), np.float32)
        first = numbers - numbers % embedding.WINDOW
        for start in np.unique(first).tolist():
            mine = first == start
            found[mine] = self._of_window(start, numbers[mine] - start, in_order)
        return found

    def _of_window(self, start: int, rows: Ints, in_order: bool) -> Floats:
        if start not in self.held:
            stop = start + embedding.WINDOW
            counts = TokenCounts(self.tokens[start:stop], self.unknown[start:stop])
            chosen, _, batches = self._plan(start, counts)
            if not in_order or len(rows) <= min(FEW, len(chosen) - 1):
                return self._encode(chosen, [b for b in batches if np.isin(b, rows).any()])[rows]
            while len(self.held) >= WINDOWS_HELD:
                del self.held[next(iter(self.held))]
            self.held[start] = self._encode(chosen, batches)
        return self.held[start][rows]

    def _plan(
        self, start: int, counts: TokenCounts | None
    ) -> tuple[list[str], TokenCounts, list[Ints]]:
        at = np.arange(start, min(start + embedding.WINDOW, len(self.texts.keys)))
        chosen = self.texts.texts(at)
        budget = self.request.batch_tokens or device_budget(self.encoder)
        return chosen, *planned(self.encoder, "passage", chosen, budget, counts)

    def _encode(self, texts: list[str], batches: list[Ints]) -> Floats:
        """The vectors of these batches, in the rows of their texts, as they would be kept."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        keys, counts = np.zeros((len(texts), 2), np.uint64), TokenCounts(*np.zeros((2, len(texts))))

        def keep(growing: Growing) -> None:
            rows, block = growing.block(keys, counts, self.request)
            vectors[rows] = block.vectors

        encode_planned(self.encoder, "passage", texts, batches, keep, lambda _count: None)
        return vectors


@dataclass(frozen=True, slots=True)
class Passing:
    """The passages of one language."""

    maker: Maker
    numbers: Ints
    """Which of the maker's texts each is."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.maker.dimension

    def rows(self, rows: Ints | slice) -> Floats:
        """These rows, in this order."""
        return self.maker.vectors(self.numbers[rows], in_order=isinstance(rows, slice))

    def blocks(self, size: int) -> Iterator[Floats]:
        """The rows in order, at most `size` at a time."""
        return (self.rows(slice(start, start + size)) for start in range(0, len(self), size))

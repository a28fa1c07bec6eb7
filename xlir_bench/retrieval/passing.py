"""Vectors of passages that are made when they are searched and kept nowhere.

Passages that are judged are encoded first, for every other is compared with them; then each window of the corpus is
encoded, searched and dropped, here or by workers. All are encoded in the batches of one plan, so that vectors have the
same bits each time, and ranks are those of vectors that are kept. Memory is that of two windows and of what is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from xlir_bench.encoders import Encoder, Tokenizing
from xlir_bench.executor import LOCAL
from xlir_bench.records import Collection, Floats, Ints, Progress, Role, TextsOnDisk, TokenCounts
from xlir_bench.retrieval import embedding
from xlir_bench.retrieval.elsewhere import Live, Named
from xlir_bench.retrieval.embedding import Distinct, embed, texts_at
from xlir_bench.retrieval.encoding import EmbedRequest, Growing, batch_encoder, in_blocks, planned
from xlir_bench.retrieval.exact import StoredRows, VectorIndex
from xlir_bench.retrieval.retriever import Represented
from xlir_bench.retrieval.tiles import NUMBA

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
    maker = Maker(
        texts.sources, texts.source, texts.row, replace(request, elsewhere=None, engine=NUMBA),
        embedding.WINDOW, queries.dimension,
        encoder=encoder,
    )  # fmt: skip
    there = request.elsewhere
    makes = Live(encoder) if there is None else there.named(encoder)
    judged = [
        texts.numbers[lang][relevance.passage]
        for (_, lang), relevance in collection.relevance.items()
    ]
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *judged]))
    units = maker.windows_of(wanted)
    vectors = [np.empty((0, queries.dimension), np.float32)] * len(texts.keys[:: maker.window])
    progress.start("encode judged", len(texts.keys), "texts")
    for done in (LOCAL if there is None else there.executor).run(JudgedJob(makes), units):
        window, counts, vectors[window] = done.result()
        start = window * maker.window
        maker.tokens[start : start + maker.window] = counts.tokens
        maker.unknown[start : start + maker.window] = counts.unknown
        progress.advance(len(counts.tokens))
    progress.finish()
    maker.known, maker.remembered = wanted, np.concatenate([*vectors])
    maker.counted = True
    passages: dict[tuple[Role, str], StoredRows] = {
        ("passage", lang): Passing(maker, numbers) for lang, numbers in texts.numbers.items()
    }
    tokens: dict[tuple[Role, str], TokenCounts] | None = None
    if isinstance(encoder, Tokenizing):
        tokens = dict(queries.tokens or {})
        for lang, numbers in texts.numbers.items():
            counts = TokenCounts(maker.tokens[numbers], maker.unknown[numbers])
            tokens["passage", lang] = counts
    index = VectorIndex.of(
        {**(queries.vectors or {}), **passages}, request.similarity, request.engine
    )
    if there is not None:
        index = replace(index, elsewhere=replace(there, ready=PassingJob(makes)))
    return Represented(
        index=index,
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
    """Encodes the texts of a corpus, or of some windows of it, when they are asked for."""

    sources: tuple[Sequence[str], ...]
    source: Ints
    """Where each text is: its source, and its row there."""
    row: Ints
    request: EmbedRequest
    window: int
    """Texts whose batches are planned together."""
    dimension: int
    encoder: Encoder | None = None
    """None while it is sent."""
    counted: bool = False
    """Whether it is known how long the texts are."""
    tokens: Ints = field(default_factory=lambda: np.empty(0, np.int32))
    unknown: Ints = field(default_factory=lambda: np.empty(0, np.int32))
    known: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """The texts whose vectors are remembered, ascending."""
    remembered: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    held: dict[int, Floats] = field(default_factory=dict)
    """The vectors of the windows that were encoded last, by their first text."""

    def __post_init__(self) -> None:
        """Lengths that are not known yet have room."""
        if not len(self.tokens):
            self.tokens, self.unknown = np.zeros((2, len(self.row)), np.int32)

    def only(self, numbers: Ints) -> tuple[Maker, Ints]:
        """A maker of the windows that these texts are in, to be sent, and which of its texts they are."""
        windows, place = np.unique(numbers // self.window, return_inverse=True)
        at = np.concatenate([self._window(start) for start in windows * self.window])
        source, row, sources = self.source[at], self.row[at], self.sources
        if not all(isinstance(sources[number], TextsOnDisk) for number in np.unique(source)):
            # Those in memory are sent themselves; sources never come back in a window.
            sources = (texts_at(sources, source, row),)
            source, row = np.zeros_like(source), np.arange(len(row))
        small = Maker(
            sources, source, row, self.request, self.window, self.dimension,
            None, self.counted, self.tokens[at], self.unknown[at],
        )  # fmt: skip
        return small, place * self.window + numbers % self.window

    def windows_of(self, wanted: Ints) -> Iterator[tuple[str, tuple[int, Maker, Ints]]]:
        """Each window, by number, and which of its texts are among these."""
        for window, start in enumerate(range(0, len(self.row), self.window)):
            inside = wanted[(wanted >= start) & (wanted < start + self.window)] - start
            yield (
                f"judged texts from {start:,}",
                (window, self.only(np.array([start]))[0], inside),
            )

    def judged(self, rows: Ints) -> tuple[TokenCounts, Floats]:
        """Of one window: how long all of its texts are, and the vectors of these."""
        chosen, counts, batches = self._plan(0)
        if not len(rows):
            return counts, np.empty((0, self.dimension), np.float32)
        return counts, self._encode(chosen, _holding(batches, rows))[rows]

    def vectors(self, numbers: Ints, in_order: bool) -> Floats:
        """The vectors of these texts; `in_order`: those that follow them are asked for next."""
        if not in_order and len(self.known):
            place = np.minimum(np.searchsorted(self.known, numbers), len(self.known) - 1)
            if (self.known[place] == numbers).all():
                return self.remembered[place]
        found = np.empty((len(numbers), self.dimension), np.float32)
        first = numbers - numbers % self.window
        for start in np.unique(first).tolist():
            mine = first == start
            found[mine] = self._of_window(start, numbers[mine] - start, in_order)
        return found

    def _of_window(self, start: int, rows: Ints, in_order: bool) -> Floats:
        if start not in self.held:
            chosen, _, batches = self._plan(start)
            if not in_order or len(rows) <= min(FEW, len(chosen) - 1):
                return self._encode(chosen, _holding(batches, rows))[rows]
            while len(self.held) >= WINDOWS_HELD:
                del self.held[next(iter(self.held))]
            self.held[start] = self._encode(chosen, batches)
        return self.held[start][rows]

    def _window(self, start: int) -> Ints:
        return np.arange(start, min(start + self.window, len(self.row)))

    def _plan(self, start: int) -> tuple[list[str], TokenCounts, list[Ints]]:
        at = self._window(start)
        chosen = texts_at(self.sources, self.source[at], self.row[at])
        counts = TokenCounts(self.tokens[at], self.unknown[at]) if self.counted else None
        return chosen, *planned(self._encoder, "passage", chosen, self.request.batch_tokens, counts)

    @property
    def _encoder(self) -> Encoder:
        if self.encoder is None:
            raise RuntimeError("it was sent without its encoder")
        return self.encoder

    def _encode(self, texts: list[str], batches: list[Ints]) -> Floats:
        """The vectors of these batches, in the rows of their texts, as they would be kept."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        keys, counts = np.zeros((len(texts), 2), np.uint64), TokenCounts(*np.zeros((2, len(texts))))

        def keep(growing: Growing) -> None:
            rows, block = growing.block(keys, counts, self.request)
            vectors[rows] = block.vectors

        in_blocks(batch_encoder(self._encoder, self.request, "passage", texts), batches, keep)
        return vectors


def _holding(batches: Sequence[Ints], rows: Ints) -> list[Ints]:
    return [batch for batch in batches if np.isin(batch, rows).any()]


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

    @property
    def on_disk(self) -> bool:
        """They are not even there."""
        return True

    def rows(self, rows: Ints | slice) -> Floats:
        """These rows, in this order."""
        return self.maker.vectors(self.numbers[rows], in_order=isinstance(rows, slice))

    def only(self, rows: slice) -> Passing:
        """These rows alone, to be sent."""
        return Passing(*self.maker.only(self.numbers[rows]))

    def spans(self, size: int) -> Iterator[slice]:
        """Spans of about so many rows; a window is in one of them, but for texts that come again."""
        window = np.maximum.accumulate(self.numbers) // self.maker.window
        cuts = np.flatnonzero(np.diff(window)) + 1
        several = max(1, round(size / self.maker.window))
        ends = [0, *cuts[several - 1 :: several].tolist(), len(self)]
        return (slice(a, b) for a, b in pairwise(ends) if b > a)


@dataclass(frozen=True, slots=True)
class JudgedJob:
    """Windows of which some texts are judged."""

    makes: Live | Named

    def open(self) -> Callable[[tuple[int, Maker, Ints]], tuple[int, TokenCounts, Floats]]:
        """With the encoder."""
        encoder = self.makes.open()

        def judged(unit: tuple[int, Maker, Ints]) -> tuple[int, TokenCounts, Floats]:
            window, maker, rows = unit
            return window, *replace(maker, encoder=encoder).judged(rows)

        return judged


@dataclass(frozen=True, slots=True)
class PassingJob:
    """Passages that were sent without an encoder."""

    makes: Live | Named

    def open(self) -> Callable[[StoredRows], StoredRows]:
        """What gives them one."""
        encoder = self.makes.open()

        def made(passages: StoredRows) -> StoredRows:
            if not isinstance(passages, Passing):
                return passages
            return replace(passages, maker=replace(passages.maker, encoder=encoder))

        return made

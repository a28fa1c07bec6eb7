"""Vectors of passages that are made when they are searched and kept nowhere.

Passages that are judged are encoded first, for every other is compared with them; then each window of the corpus is
encoded, searched and dropped, here or by workers. All are encoded in the batches of one plan, so that vectors have the
same bits each time, and ranks are those of vectors that are kept. Memory is that of two windows and of what is judged, and
grows by the key and the counts of each text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from weakref import ref

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.encoders import Encoder, Tokenizing
from xlir_bench.executor import LOCAL
from xlir_bench.records import Collection, Floats, Ints, Progress, Role, TokenCounts
from xlir_bench.retrieval import embedding
from xlir_bench.retrieval.embedding import embed
from xlir_bench.retrieval.encoding import Distinct, EmbedRequest, PlannedTexts, texts_at
from xlir_bench.retrieval.retriever import Represented
from xlir_bench.retrieval.vector_index import VectorIndex
from xlir_bench.retrieval.vectors import Vectors

FEW = 0.25
"""Batches with so small a share of a window's texts are encoded alone; for more, the window is, and is held."""
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
    there, size, dimension = request.elsewhere, embedding.WINDOW, queries.dimension
    makes = (lambda: encoder) if there is None else there.loading(encoder)
    windows = [
        Window(*texts.sent(some), request.sent(), dimension, makes)
        for some in slices(len(texts.keys), size)
    ]
    judged = [
        texts.numbers[lang][relevance.passage]
        for (_, lang), relevance in collection.relevance.items()
    ]
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *judged]))
    ends = np.searchsorted(wanted, np.arange(1, len(windows)) * size)
    units = (
        (f"judged texts from {number * size:,}", (number, window, inside - number * size))
        for number, (window, inside) in enumerate(zip(windows, np.split(wanted, ends), strict=True))
    )
    progress.start("encode judged", len(texts.keys), "texts")
    for done in (LOCAL if there is None else there.executor).run(JudgedJob(), units):
        number, counts, known, vectors = done.result()
        window = windows[number]
        window.counts, window.known, window.remembered = counts, known, vectors
        progress.advance(len(counts.tokens))
    progress.finish()
    passages: dict[tuple[Role, str], Vectors] = {
        ("passage", lang): Passing(
            tuple(windows),
            (numbers // size).astype(np.int32),
            (numbers % size).astype(np.int32),
            dimension,
        )
        for lang, numbers in texts.numbers.items()
    }
    tokens: dict[tuple[Role, str], TokenCounts] | None = None
    if isinstance(encoder, Tokenizing):
        tokens = dict(queries.tokens or {})
        columns = zip(
            *((w.counts.tokens, w.counts.unknown) for w in windows if w.counts), strict=True
        )
        every, unknown = (np.concatenate(column) for column in columns)
        for lang, numbers in texts.numbers.items():
            tokens["passage", lang] = TokenCounts(every[numbers], unknown[numbers])
    both = {**(queries.vectors or {}), **passages}
    return Represented(
        # A quarter of a window at a time, so that few blocks lie in two.
        VectorIndex.of(both, request.similarity, request.engine, max(1, size // 4), there),
        dimension=dimension,
        tokens=tokens,
        encoded=queries.encoded + len(texts.keys),
        cached=queries.cached,
        notes=(
            *queries.notes,
            "vectors of passages were searched as they were made, and kept nowhere",
        ),
    )


@dataclass(slots=True, weakref_slot=True)
class Window:
    """Texts whose batches are planned together: rows of vectors that are made when they are asked for."""

    sources: tuple[Sequence[str], ...]
    source: Ints
    """Where each text is: its source, and its row there."""
    row: Ints
    request: EmbedRequest
    dimension: int
    makes: Callable[[], Encoder]
    counts: TokenCounts | None = None
    """How long the texts are, once that is known."""
    known: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """The rows whose vectors are remembered, ascending."""
    remembered: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    held: Floats | None = None
    """All vectors, as long as no other windows are looked at."""

    @property
    def shape(self) -> tuple[int, int]:
        """As an array has it."""
        return len(self.row), self.dimension

    def __getitem__(self, rows: Ints | slice) -> Floats:
        wanted = np.arange(len(self.row))[rows]
        if len(self.known):
            place = np.minimum(np.searchsorted(self.known, wanted), len(self.known) - 1)
            if (self.known[place] == wanted).all():
                return self.remembered[place]
        if self.held is None:
            plan = self._plan()
            if sum(map(len, _batches_of(plan, wanted))) <= FEW * len(self.row):
                return self._encoded(plan, wanted)
            while len(_recent) >= WINDOWS_HELD:
                if (other := _recent.popleft()()) is not None:
                    other.held = None
            self.held = self._encoded(plan, np.arange(len(self.row)))
            _recent.append(ref(self))
        return self.held[wanted]

    def judged(self, rows: Ints) -> tuple[TokenCounts, Floats]:
        """How long all of its texts are, and the vectors of these."""
        plan = self._plan()
        return plan.counts, self._encoded(plan, rows)

    def _plan(self) -> PlannedTexts:
        texts = texts_at(self.sources, self.source, self.row)
        return PlannedTexts.of(self.makes(), self.request, "passage", texts, self.counts)

    def _encoded(self, plan: PlannedTexts, rows: Ints) -> Floats:
        """The vectors of these rows as they would be kept, encoded in whole batches."""
        vectors = np.zeros(self.shape, np.float32)

        def keep(places: Ints, encoded: Floats) -> None:
            vectors[places] = encoded

        plan.encode(_batches_of(plan, rows), keep)
        return vectors[rows]


def _batches_of(plan: PlannedTexts, rows: Ints) -> list[Ints]:
    """The batches that hold any of these texts."""
    return [batch for batch in plan.batches if np.isin(batch, rows).any()]


_recent: deque[ref[Window]] = deque()
"""The windows that were looked at last, whose vectors are held."""


@dataclass(frozen=True, slots=True)
class Passing(Vectors):
    """The passages of one language, in windows of the corpus."""

    @property
    def on_disk(self) -> bool:
        """They are not even there."""
        return True

    def spans(self, size: int) -> Iterator[slice]:
        """Spans of about so many rows; a window is in one of them, but for texts that come again."""
        cuts = np.flatnonzero(np.diff(np.maximum.accumulate(self.part))) + 1
        several = max(1, round(size / embedding.WINDOW))
        ends = [0, *cuts[several - 1 :: several].tolist(), len(self)]
        return (slice(a, b) for a, b in pairwise(ends) if b > a)


@dataclass(frozen=True, slots=True)
class JudgedJob:
    """Windows of which some texts are judged."""

    def open(
        self,
    ) -> Callable[[tuple[int, Window, Ints]], tuple[int, TokenCounts, Ints, Floats]]:
        """Windows open their encoder themselves."""

        def judged(unit: tuple[int, Window, Ints]) -> tuple[int, TokenCounts, Ints, Floats]:
            number, window, rows = unit
            counts, vectors = window.judged(rows)
            return number, counts, rows, vectors

        return judged

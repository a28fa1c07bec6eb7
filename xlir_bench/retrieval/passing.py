"""Vectors of passages that are encoded when they are searched, and stored nowhere.

Judged passages are encoded first, because the scores of all others are compared with theirs. Then each window of the
corpus is encoded, searched and dropped, here or by workers. The batches of a window are the same each time, so vectors
have the same bits, and ranks are those of stored vectors. Memory holds the vectors of two windows and of judged passages,
and for every text its key and token counts.
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
"""If the batches that are needed have at most this share of a window's texts, only they are encoded; else all are, and held."""
WINDOWS_HELD = 2
"""The passages of a block may lie in two windows."""


def embed_in_passing(
    collection: Collection, encoder: Encoder, request: EmbedRequest, progress: Progress
) -> Represented:
    """Encode queries as `embed` does; passages are encoded when their index is searched."""
    queries = embed(
        replace(collection, passages={}), encoder, replace(request, keep=True), progress
    )
    langs = collection.languages("passage")
    texts = Distinct.of("passage", {lang: collection.texts("passage", lang) for lang in langs})
    workers, size, dimension = request.elsewhere, embedding.WINDOW, queries.dimension
    load = (lambda: encoder) if workers is None else workers.loading(encoder)
    windows = [
        Window(*texts.sent(part), request.sent(), dimension, load)
        for part in slices(len(texts.keys), size)
    ]
    judged = [
        texts.numbers[lang][relevance.passage]
        for (_, lang), relevance in collection.relevance.items()
    ]
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *judged]))
    ends = np.searchsorted(wanted, np.arange(1, len(windows)) * size)
    units = (
        (f"judged texts from {number * size:,}", (number, window, rows - number * size))
        for number, (window, rows) in enumerate(zip(windows, np.split(wanted, ends), strict=True))
    )
    progress.start("encode judged", len(texts.keys), "texts")
    for done in (LOCAL if workers is None else workers.executor).run(JudgedJob(), units):
        number, counts, rows, vectors = done.result()
        window = windows[number]
        window.counts, window.judged_rows, window.judged_vectors = counts, rows, vectors
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
        total, unknown = (np.concatenate(column) for column in columns)
        for lang, numbers in texts.numbers.items():
            tokens["passage", lang] = TokenCounts(total[numbers], unknown[numbers])
    both = {**(queries.vectors or {}), **passages}
    return Represented(
        # Blocks of a quarter of a window, so that few of them lie in two windows.
        VectorIndex.of(both, request.similarity, request.engine, max(1, size // 4), workers),
        dimension=dimension,
        tokens=tokens,
        encoded=queries.encoded + len(texts.keys),
        cached=queries.cached,
        notes=(
            *queries.notes,
            "vectors of passages were searched when they were encoded, and kept nowhere",
        ),
    )


@dataclass(slots=True, weakref_slot=True)
class Window:
    """Texts whose batches are planned together. Reading rows of the window encodes them."""

    sources: tuple[Sequence[str], ...]
    source: Ints
    """Where each text is: the number of its source, and its row there."""
    row: Ints
    request: EmbedRequest
    dimension: int
    load: Callable[[], Encoder]
    counts: TokenCounts | None = None
    """The token counts of the texts, once they are known."""
    judged_rows: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """The rows of judged texts, ascending."""
    judged_vectors: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    held: Floats | None = None
    """The vectors of all rows, until other windows are held instead."""

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and their length."""
        return len(self.row), self.dimension

    def __getitem__(self, rows: Ints | slice) -> Floats:
        wanted = np.arange(len(self.row))[rows]
        if len(self.judged_rows):
            place = np.searchsorted(self.judged_rows, wanted)
            place = np.minimum(place, len(self.judged_rows) - 1)
            if (self.judged_rows[place] == wanted).all():
                return self.judged_vectors[place]
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
        """The token counts of all texts of the window, and the vectors of these rows."""
        plan = self._plan()
        return plan.counts, self._encoded(plan, rows)

    def _plan(self) -> PlannedTexts:
        texts = texts_at(self.sources, self.source, self.row)
        return PlannedTexts.of(self.load(), self.request, "passage", texts, self.counts)

    def _encoded(self, plan: PlannedTexts, rows: Ints) -> Floats:
        """The vectors of these rows, with the values that would be stored; whole batches are encoded."""
        vectors = np.zeros(self.shape, np.float32)

        def keep(places: Ints, encoded: Floats) -> None:
            vectors[places] = encoded

        plan.encode(_batches_of(plan, rows), keep)
        return vectors[rows]


def _batches_of(plan: PlannedTexts, rows: Ints) -> list[Ints]:
    """The batches that hold any of these texts."""
    return [batch for batch in plan.batches if np.isin(batch, rows).any()]


_recent: deque[ref[Window]] = deque()
"""The windows whose vectors are held, the oldest first."""


@dataclass(frozen=True, slots=True)
class Passing(Vectors):
    """The vectors of the passages of one language, in windows of the corpus."""

    @property
    def on_disk(self) -> bool:
        """True: workers can encode them, as they can read files."""
        return True

    def spans(self, size: int) -> Iterator[slice]:
        """Spans of about `size` rows; each window lies in one span, except for texts that are repeated in another."""
        cuts = np.flatnonzero(np.diff(np.maximum.accumulate(self.part))) + 1
        several = max(1, round(size / embedding.WINDOW))
        ends = [0, *cuts[several - 1 :: several].tolist(), len(self)]
        return (slice(a, b) for a, b in pairwise(ends) if b > a)


@dataclass(frozen=True, slots=True)
class JudgedJob:
    """Encodes the judged texts of windows."""

    def open(
        self,
    ) -> Callable[[tuple[int, Window, Ints]], tuple[int, TokenCounts, Ints, Floats]]:
        """Nothing is loaded yet: each window loads its encoder."""

        def judged(unit: tuple[int, Window, Ints]) -> tuple[int, TokenCounts, Ints, Floats]:
            number, window, rows = unit
            counts, vectors = window.judged(rows)
            return number, counts, rows, vectors

        return judged

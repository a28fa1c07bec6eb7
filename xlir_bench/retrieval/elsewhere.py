"""Texts that workers encode, and parts of a pool that they search.

They write vectors into the cache, where whoever sent them finds them, and read them there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from xlir_bench import files
from xlir_bench.encoders import Encoder, load_encoder
from xlir_bench.encoders.devices import default_device
from xlir_bench.errors import InputError
from xlir_bench.executor import Executor
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import CPU
from xlir_bench.records import Floats, Ints, Progress, Role
from xlir_bench.retrieval import embedding
from xlir_bench.retrieval.embedding import Encoding, texts_at
from xlir_bench.retrieval.encoding import EmbedRequest, PlannedTexts
from xlir_bench.retrieval.exact import Search, VectorIndex
from xlir_bench.retrieval.pool import Partial, Want
from xlir_bench.retrieval.tiles import NUMBA
from xlir_bench.retrieval.vector_retrievers import engine_for
from xlir_bench.retrieval.vector_store import Block, text_keys, write_block
from xlir_bench.retrieval.vectors import Rows

UNITS = 4
"""For each worker, where there are enough texts: so none waits long for the last one."""
FEW_TEXTS = 256
"""Fewer are not worth a unit."""
PIECE = embedding.WINDOW // 4
"""A unit of search has a multiple of so many passages, so that few units end within a shard."""


_loaded: dict[tuple[str, EncoderOptions, str], Encoder] = {}
"""Of this process, which is a worker."""


def loaded(spec: str, options: EncoderOptions, fingerprint: str) -> Encoder:
    """The encoder of this fingerprint, kept until another one is wanted; another model of that spec is refused."""
    wanted = spec, options, fingerprint
    if wanted not in _loaded:
        _loaded.clear()
        encoder = load_encoder(spec, options)
        if encoder.fingerprint != fingerprint:
            raise InputError(
                f"{spec} is another model on a worker than here, or its libraries have other versions: every node"
                " wants the same"
            )
        _loaded[wanted] = encoder
    return _loaded[wanted]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Workers, and how each of them loads the encoder; they search what they have written."""

    executor: Executor
    spec: str
    options: EncoderOptions
    search_device: str = CPU
    """Where each compares vectors."""

    def loading(self, encoder: Encoder) -> Callable[[], Encoder]:
        """What a worker gets this encoder by."""
        return partial(loaded, self.spec, self.options, encoder.fingerprint)

    def encode(self, folder: Path, encoding: Encoding) -> None:
        """Encode the texts of which nothing is known; `folder` is that of the encoder in the cache."""
        job = EncodeJob(
            self.loading(encoding.encoder),
            folder,
            replace(encoding.request, elsewhere=None, engine=NUMBA),
            {texts.role: texts.sources for texts in encoding.roles},
        )
        for done in self.executor.run(job, self._units(encoding)):
            encoding.progress.advance(done.result())

    def search(
        self, index: VectorIndex, searches: Sequence[Search], langs: set[str], progress: Progress
    ) -> None:
        """Each worker compares a span of the pool at a time, and what they find adds up."""
        passages = {lang: index.passages[lang] for lang in sorted(langs)}
        asked = [(search.partial.want, search.queries, search.own) for search in searches]
        job = SearchJob(self.search_device, asked)
        share = -(-sum(map(len, passages.values())) // (UNITS * self.executor.workers))
        size = PIECE * max(1, -(-share // PIECE))
        spans = (
            (f"search of {lang} passages from {span.start:,}", index.part(lang, span))
            for lang, rows in passages.items()
            for span in rows.spans(size)
        )
        for done in self.executor.run(job, spans):
            count, parts = done.result()
            for search, part in zip(searches, parts, strict=True):
                search.partial.merge(part)
            progress.advance(count)

    def _units(self, encoding: Encoding) -> Iterator[tuple[str, Batches]]:
        windows = [
            (texts, start)
            for texts in encoding.roles
            for start in range(0, len(texts.keys), embedding.WINDOW)
            if len(encoding.known[texts.role].missing(start, embedding.WINDOW))
        ]
        parts = -(-UNITS * self.executor.workers // max(1, len(windows)))
        for number, (texts, start) in enumerate(windows):
            missing = encoding.known[texts.role].missing(start, embedding.WINDOW)
            count = min(parts, -(-len(missing) // FEW_TEXTS))
            for part in range(count):
                name = f"{texts.role} texts from {start:,}, part {part + 1} of {count}"
                at = texts.source[missing], texts.row[missing]
                yield name, Batches(number, texts.role, *at, part, count)


@dataclass(frozen=True, slots=True)
class Batches:
    """Some of the batches of a window: every `parts`-th."""

    window: int
    role: Role
    source: Ints
    """Where each text of the window is: its source, and its row there."""
    row: Ints
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """Batches to encode. They are planned over all texts of a window, so vectors have the bits that one process makes."""

    makes: Callable[[], Encoder]
    folder: Path
    request: EmbedRequest
    sources: Mapping[Role, tuple[Sequence[str], ...]]

    def open(self) -> Callable[[Batches], int]:
        """Load the encoder."""
        return _Encoder(self, self.makes(), files.leased(self.folder)).encode


@dataclass(slots=True)
class _Encoder:
    """A worker at it."""

    job: EncodeJob
    encoder: Encoder
    lease: object
    """Keeps the folder from being removed."""
    last: tuple[int, PlannedTexts] | None = None
    """The window that was planned last: one worker may get several parts of it."""

    def encode(self, unit: Batches) -> int:
        """Write the vectors of these batches; how many there are."""
        job, role = self.job, unit.role
        if self.last is None or self.last[0] != unit.window:
            texts = texts_at(job.sources[role], unit.source, unit.row)
            self.last = unit.window, PlannedTexts.of(self.encoder, job.request, role, texts)
        _, plan = self.last
        keys, wanted = text_keys(plan.texts), plan.batches[unit.part :: unit.parts]

        def keep(rows: Ints, vectors: Rows) -> None:
            block = Block.of(keys, vectors, plan.counts, rows)
            with files.explained(job.folder, "XLIR_CACHE names another place"):
                write_block(job.folder / role, block)

        plan.encode(wanted, keep)
        return sum(map(len, wanted))


@dataclass(frozen=True, slots=True)
class SearchJob:
    """What is asked of every span of a pool."""

    device: str
    asked: Sequence[tuple[Want, Rows, Floats]]
    """What is wanted, the queries, prepared, and the true score of each relevant passage."""

    def open(self) -> Callable[[VectorIndex], tuple[int, list[Partial]]]:
        """The queries are where they are compared."""
        engine = engine_for(self.device)
        asked = [(want, engine.placed(queries), own) for want, queries, own in self.asked]

        def search(span: VectorIndex) -> tuple[int, list[Partial]]:
            """How many passages were compared, and what is found among them by each search."""
            index, (lang,) = replace(span, engine=engine), span.pool.langs
            searches = [
                Search(index, Partial.of(want.of_passages(lang), with_ties=True), queries, own)
                for want, queries, own in asked
            ]
            index.compare(searches, {lang}, lambda _count: None)
            return len(index.passages[lang]), [search.partial for search in searches]

        return search


def on_device(options: EncoderOptions, executor: Executor) -> EncoderOptions:
    """The options with which an encoder is the same here and on workers, which may have another device."""
    if options.device is not None or executor.device in (None, default_device()):
        return options
    return replace(options, device=executor.device)

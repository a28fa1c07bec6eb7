"""Encodes every distinct text once, for all settings; a killed run loses one block at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench import files
from xlir_bench.encoders import Encoder, Tokenizing, describe
from xlir_bench.errors import InputError, plural
from xlir_bench.options.running import Shard
from xlir_bench.records import ROLES, Collection, Ints, Progress, Role, TokenCounts
from xlir_bench.retrieval.elsewhere import Elsewhere
from xlir_bench.retrieval.encoding import Distinct, EmbedRequest, PlannedTexts, texts_at
from xlir_bench.retrieval.retriever import Represented
from xlir_bench.retrieval.similarity import COSINE
from xlir_bench.retrieval.vector_index import BLOCK, VectorIndex
from xlir_bench.retrieval.vector_store import Block, Known, Store, text_keys, write_block
from xlir_bench.retrieval.vectors import Rows, Vectors

WINDOW = 65_536
"""How many texts are planned into batches together: in most tasks, all of them."""
WINDOWS = 4
"""If each part gets this many windows or more, a part is whole windows; otherwise it is some batches of every window."""
IN_MEMORY = 262_144
"""The vectors of up to this many texts are held in memory; those of more are read from disk."""
TOKENS_OF_TEXT = 64
"""How many token vectors a text is taken to have: with a vector for each token, this many times fewer texts are held."""
FEW_TEXTS = 256
"""The texts of a window are cut into units of at least about this many: fewer are not worth sending to a worker."""
SEEN_AFTER = (0, 2, 10, 60)
"""Seconds to wait before each look for what workers wrote: NFS may show a folder as it was a minute ago."""


def embed(
    collection: Collection, encoder: Encoder, request: EmbedRequest, progress: Progress
) -> Represented:
    """Encode every distinct (role, text) once; a run that was killed goes on where it stopped."""
    encoding = Encoding.of(collection, encoder, request, progress)
    roles, store, total = encoding.roles, encoding.store, encoding.missing
    if total:
        progress.start("encode", total, "texts")
        if request.elsewhere is not None and store.folder is not None:
            encoding.encode_elsewhere(request.elsewhere, store.folder)
        else:
            for texts in roles:
                encoding.encode(texts)
        progress.finish()
    notes = [
        f"{plural(count, 'damaged block')} of role {role} in the cache, encoded again"
        for role, count in store.damaged.items()
    ]
    notes += sorted(store.notes)
    is_dense, has_tokens = (request.similarity.form == form for form in ("dense", "tokens"))
    vectors: dict[tuple[Role, str], Vectors] = {}
    counts: dict[tuple[Role, str], TokenCounts] = {}
    for texts in roles:
        known = encoding.known[texts.role]
        empty = np.flatnonzero(known.sizes == 0)
        notes += zero_vectors(texts.role, texts.text, empty, "no" if has_tokens else "a zero")
        for lang, numbers in texts.numbers.items():
            vectors[texts.role, lang] = known.vectors(numbers, store)
            counts[texts.role, lang] = known.counts(numbers)
    distinct = sum(len(texts.keys) for texts in roles)
    tokens = counts if isinstance(encoder, Tokenizing) else None
    if not is_dense:
        means = [f"{known.sizes.mean():.1f} of a {role}" for role, known in encoding.known.items()]
        counted = "vectors" if has_tokens else "weights other than 0"
        notes.append(f"{counted} for each text, on average: {', '.join(means)}")
    block = BLOCK // TOKENS_OF_TEXT if has_tokens else None
    return Represented(
        VectorIndex.of(vectors, request.similarity, request.engine, block, request.elsewhere),
        dimension=next(iter(vectors.values())).dimension,
        vectors=vectors if is_dense else None,
        tokens=tokens,
        encoded=total,
        cached=distinct - total,
        notes=tuple(notes),
    )


@dataclass(slots=True)
class Encoding:
    """The distinct texts of a collection, which of them have vectors, and the store that new vectors go to."""

    encoder: Encoder
    request: EmbedRequest
    progress: Progress
    roles: list[Distinct]
    store: Store
    known: dict[Role, Known] = field(default_factory=dict)

    @classmethod
    def of(
        cls, collection: Collection, encoder: Encoder, request: EmbedRequest, progress: Progress
    ) -> Encoding:
        """Find the distinct texts, and which have vectors in the cache; the request decides its folder."""
        roles = [
            Distinct.of(role, {lang: collection.texts(role, lang) for lang in langs})
            for role in ROLES
            if (langs := collection.languages(role))
        ]
        store = Store()
        # Without a cache, the encoder's card and fingerprint are not needed.
        if request.cache is not None:
            kept_as = "" if request.vectors == "float32" else f"-{request.vectors}"
            if kept_as and request.similarity != COSINE:
                kept_as += "-dot"  # these rows keep their length, those for cosine do not
            store = Store.of(
                request.cache,
                describe(encoder),
                encoder.fingerprint,
                "vectors that were encoded now",
                kept_as,
            )
        encoding = cls(encoder, request, progress, roles, store)
        encoding.look()
        return encoding

    def look(self) -> None:
        """Find which texts have vectors in the cache."""
        self.known = {
            texts.role: self.store.find(texts.role, texts.keys, self.in_memory(texts))
            for texts in self.roles
        }

    def encode_elsewhere(self, elsewhere: Elsewhere, folder: Path) -> None:
        """Let workers encode the texts without vectors, into the encoder's folder in the cache."""
        sources = {texts.role: texts.sources for texts in self.roles}
        job = EncodeJob(elsewhere.loading(self.encoder), folder, self.request.sent(), sources)
        for done in elsewhere.executor.run(job, self._units(elsewhere.units)):
            self.progress.advance(done.result())
        for pause in SEEN_AFTER:
            time.sleep(pause)
            self.look()
            if not self.missing:
                return
        raise InputError(
            f"{self.missing:,} texts that workers encoded are not in {self.store.folder} as it is seen here: XLIR_CACHE"
            " has to name a folder that all nodes share"
        )

    def _units(self, wanted: int) -> Iterator[tuple[str, Batches]]:
        """The texts without vectors, in about `wanted` units."""
        windows = [
            (texts, start)
            for texts in self.roles
            for start in range(0, len(texts.keys), WINDOW)
            if len(self.known[texts.role].missing(start, WINDOW))
        ]
        parts = -(-wanted // max(1, len(windows)))
        for number, (texts, start) in enumerate(windows):
            missing = self.known[texts.role].missing(start, WINDOW)
            count = min(parts, -(-len(missing) // FEW_TEXTS))
            for part in range(count):
                name = f"{texts.role} texts from {start:,}, part {part + 1} of {count}"
                at = texts.source[missing], texts.row[missing]
                yield name, Batches(number, texts.role, *at, part, count)

    @property
    def missing(self) -> int:
        """How many texts have no vector yet."""
        return sum(int((known.part < 0).sum()) for known in self.known.values())

    def in_memory(self, texts: Distinct) -> bool:
        """Whether the vectors of these texts are held in memory."""
        vectors_of_text = TOKENS_OF_TEXT if self.request.similarity.form == "tokens" else 1
        return len(texts.keys) * vectors_of_text <= IN_MEMORY

    def encode(self, texts: Distinct, shard: Shard | None = None) -> None:
        """Encode the texts without vectors, or one part of them, and write blocks along the way.

        Batches run from the longest text of a window to the shortest, and a block is whole batches. So if a run is
        killed, the next one plans the same batches for the texts that are left, and its vectors are the same to the
        bit. How many texts of a part are left is found for one window at a time, so each window shows its own progress.
        """
        part, parts = (0, 1) if shard is None else (shard.number - 1, shard.of)
        known, windows = self.known[texts.role], range(0, len(texts.keys), WINDOW)
        whole_windows = len(windows) >= WINDOWS * parts
        starts = windows[part::parts] if whole_windows else windows
        for number, start in enumerate(starts, 1):
            missing = known.missing(start, WINDOW)
            if not len(missing):
                continue
            # All parts are cut from one plan, whatever other runs have encoded by now.
            if parts > 1:
                missing = np.arange(start, min(start + WINDOW, len(texts.keys)))
            plan = PlannedTexts.of(self.encoder, self.request, texts.role, texts.texts(missing))
            wanted = [
                batch
                for batch in (plan.batches if whole_windows else plan.batches[part::parts])
                if (known.part[missing[batch]] < 0).any()
            ]

            def keep(
                rows: Ints, vectors: Rows, at: Ints = missing, counts: TokenCounts = plan.counts
            ) -> None:
                block = Block.of(texts.keys[at], vectors, counts, rows)
                path = self.store.write(texts.role, block)
                if self.in_memory(texts):
                    known.put(at[rows], block)
                else:
                    known.put(at[rows], block, path or self.store.set_aside(texts.role, block))

            if not wanted:
                continue
            if shard is not None:
                window = f" {number} of {len(starts)}" if len(starts) > 1 else ""
                count = sum(map(len, wanted))
                self.progress.start(f"encode {texts.role} texts{window}", count, "texts")
            plan.encode(wanted, keep, self.progress.advance)
            if shard is not None:
                self.progress.finish()


@dataclass(frozen=True, slots=True)
class Batches:
    """Some batches of a window: every `parts`-th, from number `part` on."""

    window: int
    role: Role
    source: Ints
    """Where each text of the window is: the number of its source, and its row there."""
    row: Ints
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """Encodes batches. They are planned over all texts of a window, so vectors have the same bits as in one process."""

    load: Callable[[], Encoder]
    folder: Path
    request: EmbedRequest
    sources: Mapping[Role, tuple[Sequence[str], ...]]

    def open(self) -> Callable[[Batches], int]:
        """Load the encoder."""
        return _Encoder(self, self.load(), files.leased(self.folder)).encode


@dataclass(slots=True)
class _Encoder:
    """The encoder of a worker, and the texts that it planned last."""

    job: EncodeJob
    encoder: Encoder
    lease: object
    """Keeps the folder from being removed."""
    last: tuple[int, PlannedTexts] | None = None
    """The window that was planned last: one worker may get several parts of it."""

    def encode(self, unit: Batches) -> int:
        """Encode these batches and write their vectors; returns how many there are."""
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


def zero_vectors(
    role: Role,
    text: Callable[[int], str],
    zero: Ints,
    what: str = "a zero",
) -> list[str]:
    """A note if any texts have a zero vector, and so cannot be told apart.

    `zero` holds their numbers; `text` gives the text of a number.
    """
    if not len(zero):
        return []
    first = text(int(zero[0]))[:60]
    return [
        f"{plural(len(zero), f'{role} text')} with {what} vector, ranked by pool order: {first!r}"
    ]

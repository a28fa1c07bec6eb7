"""Every distinct text is encoded once, whatever the number of settings; a killed run loses one block at most."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from xlir_bench import files
from xlir_bench.encoders import Encoder, EncoderCard, StoredVectors, Tokenizing, checked, describe
from xlir_bench.records import ROLES, Collection, Floats, Ints, Progress, Role, TokenCounts
from xlir_bench.retrieval.cache import remember_encoder, store_folder
from xlir_bench.retrieval.exact import VectorIndex
from xlir_bench.retrieval.plan import guessed_lengths, plan_batches
from xlir_bench.retrieval.retriever import Represented
from xlir_bench.retrieval.similarity import rounded
from xlir_bench.retrieval.store import Block, Keys, Known, Store, text_keys, write_block
from xlir_bench.retrieval.tiles import NUMBA, Engine
from xlir_bench.retrieval.vectors import Vectors

WINDOW = 65_536
"""Batches are planned over so many texts at a time: all of them in most tasks."""
IN_MEMORY = 262_144
"""The vectors of so many texts are held in memory; those of more are read from disk."""
BLOCK_TEXTS = 4096
BLOCK_SECONDS = 15.0
"""A block is written after so many texts or seconds: what a killed run loses at most."""
CPU_BATCH_TOKENS = 4096
GPU_BATCH_TOKENS = 65536


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """How texts are embedded."""

    cache: Path | None
    """The cache's root; None keeps nothing."""
    batch_tokens: int | None = None
    """Padded tokens in a batch; None chooses by device."""
    vectors: Literal["float32", "float16", "int8"] = "float32"
    """The type in which vectors are kept."""
    engine: Engine = NUMBA
    """What compares them."""


@dataclass(frozen=True, slots=True)
class VectorRetriever:
    """An encoder whose vectors are compared with each other."""

    encoder: Encoder
    request: EmbedRequest

    @property
    def card(self) -> EncoderCard:
        """What a result records of the encoder."""
        return describe(self.encoder)

    @property
    def device(self) -> str | None:
        """Where the encoder runs, where that is known."""
        return getattr(self.encoder, "device", None)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Every distinct text is encoded once, or found in the cache."""
        return embed(collection, self.encoder, self.request, progress)


@dataclass(frozen=True, slots=True)
class StoredRetriever:
    """Vectors that a user has already."""

    stored: StoredVectors
    limited: bool
    """Only the first queries are wanted (`--limit`): there may be vectors of more."""
    engine: Engine = NUMBA
    device: str | None = None

    @property
    def card(self) -> EncoderCard:
        """What a result records of them."""
        return self.stored.card

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """The vectors as they are."""
        vectors, notes = {}, []
        for role in ROLES:
            for lang in collection.languages(role):
                texts = collection.texts(role, lang)
                # A NaN is never lower than anything: unseen, it would stand at rank 1.
                rows = self.stored.vectors(role, lang, len(texts), self.limited and role == "query")
                vectors[role, lang] = Vectors.of(checked(rows, texts))
                notes += zero_vectors(role, texts.__getitem__, np.flatnonzero(~rows.any(axis=1)))
        index = VectorIndex.of(vectors, engine=self.engine)
        return Represented(index, self.stored.dimension, vectors, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Distinct:
    """The distinct texts of one role, in the order in which they first stand in the collection."""

    role: Role
    keys: Keys
    sources: tuple[Sequence[str], ...]
    source: Ints
    """Which of `sources` each text is from."""
    row: Ints
    """Its row in that source."""
    numbers: Mapping[str, Ints]
    """By language, which of the distinct texts each of its texts is."""

    @classmethod
    def of(cls, role: Role, by_lang: Mapping[str, Sequence[str]]) -> _Distinct:
        sizes = [len(texts) for texts in by_lang.values()]
        # A slice at a time: the memory of texts on disk is freed with each.
        keys = np.concatenate(
            [
                np.empty((0, 2), np.uint64),
                *(text_keys(piece) for texts in by_lang.values() for piece in _slices(texts)),
            ]
        )
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        numbers = np.split(place[inverse.ravel()], np.cumsum(sizes)[:-1])
        first = first[order]
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
        found: list[str] = []
        for source in np.unique(self.source[numbers]):
            rows = self.row[numbers[self.source[numbers] == source]]
            piece = self.sources[source][int(rows[0]) : int(rows[-1]) + 1]
            found += (piece[row] for row in (rows - rows[0]).tolist())
        return found


def _slices(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + BLOCK_TEXTS] for start in range(0, len(texts), BLOCK_TEXTS))


def embed(
    collection: Collection, encoder: Encoder, request: EmbedRequest, progress: Progress
) -> Represented:
    """Every distinct (role, text) once; a run that was killed goes on where it stopped."""
    roles = [
        _Distinct.of(role, {x: collection.texts(role, x) for x in collection.languages(role)})
        for role in ROLES
    ]
    work = _Work(encoder, request, progress)
    stores = {t.role: Store(work.folder and work.folder / t.role, work.notes) for t in roles}
    found = {t.role: stores[t.role].find(t.keys, _in_memory(t)) for t in roles}
    total = sum(int((known.part < 0).sum()) for known in found.values())
    if total:
        progress.start("encode", total, "texts")
        for texts in roles:
            work.encode(texts, found[texts.role], stores[texts.role])
        progress.finish()
    notes = [
        f"{s.damaged} damaged cache block(s) of role {role} were found and encoded again"
        for role, s in stores.items()
        if s.damaged
    ]
    notes += sorted(work.notes)
    vectors: dict[tuple[Role, str], Vectors] = {}
    counts: dict[tuple[Role, str], TokenCounts] = {}
    for texts in roles:
        known = found[texts.role]
        notes += zero_vectors(texts.role, texts.text, np.flatnonzero(known.zero))
        for lang, numbers in texts.numbers.items():
            vectors[texts.role, lang] = known.vectors(numbers, work.held)
            counts[texts.role, lang] = known.counts(numbers)
    distinct = sum(len(texts.keys) for texts in roles)
    tokens = counts if isinstance(encoder, Tokenizing) else None
    return Represented(
        index=VectorIndex.of(vectors, engine=request.engine),
        dimension=next(iter(vectors.values())).dimension,
        vectors=vectors,
        tokens=tokens,
        encoded=total,
        cached=distinct - total,
        notes=tuple(notes),
    )


def _in_memory(texts: _Distinct) -> bool:
    return len(texts.keys) <= IN_MEMORY


@dataclass(slots=True)
class _Work:
    """The encoder, and where its vectors go."""

    encoder: Encoder
    request: EmbedRequest
    progress: Progress
    folder: Path | None = None
    """This encoder's folder in the cache."""
    spare: Path | None = None
    """A temporary folder for vectors that neither fit in memory nor can be kept."""
    notes: set[str] = field(default_factory=set)
    """What a reader of the result should know of the cache."""
    held: list[object] = field(default_factory=list)
    """Keeps the files of vectors from being removed: a lease of the folder, a temporary folder."""

    def __post_init__(self) -> None:
        if self.request.cache is None:
            return
        card = describe(self.encoder)
        kept_as = "" if self.request.vectors == "float32" else f"-{self.request.vectors}"
        folder = store_folder(self.request.cache, card.slug, self.encoder.fingerprint)
        self.folder = folder.with_name(folder.name + kept_as)
        try:
            self.held.append(files.leased(self.folder))
            remember_encoder(self.folder, card.name, self.encoder.fingerprint)
        except OSError as error:
            self._not_kept(error)

    def encode(self, texts: _Distinct, known: Known, store: Store) -> None:
        """Encode the texts of which nothing is known, and write as it goes.

        Batches run from the longest text of a window to the shortest, and what is written is whole batches:
        those that a killed run has left undone are planned alike by the next one, so its vectors are the same
        to the bit.
        """
        budget = self.request.batch_tokens or _device_budget(self.encoder)
        for start in range(0, len(texts.keys), WINDOW):
            missing = start + np.flatnonzero(known.part[start : start + WINDOW] < 0)
            if not len(missing):
                continue
            chosen = texts.texts(missing)
            counts = _token_counts(self.encoder, chosen, texts.role)
            growing = _Growing()
            try:
                for batch in plan_batches(_cut(counts.tokens, self.encoder), budget):
                    asked = [chosen[i] for i in batch]
                    vectors = self.encoder.encode(asked, texts.role)
                    growing.add(batch, checked(vectors, asked, self.encoder.dimension))
                    self.progress.advance(len(batch))
                    if growing.is_enough:
                        self._keep(missing, growing, counts, texts, known, store)
                        growing = _Growing()
            finally:
                # Reached on Ctrl-C too: the batches that are done are whole, so they are kept.
                self._keep(missing, growing, counts, texts, known, store)

    def _keep(
        self,
        missing: Ints,
        growing: _Growing,
        counts: TokenCounts,
        texts: _Distinct,
        known: Known,
        store: Store,
    ) -> None:
        if not growing.batches:
            return
        rows = np.concatenate(growing.batches)
        block = Block(
            texts.keys[missing[rows]],
            rounded(np.concatenate(growing.vectors), self.request.vectors),
            counts.tokens[rows].astype(np.int32),
            counts.unknown[rows].astype(np.int32),
        )
        path = None
        try:
            path = store.folder and write_block(store.folder, block)
        except OSError as error:
            self._not_kept(error)
        part: Floats | Path = block.vectors
        if not _in_memory(texts):
            part = path or self._spared(texts.role, block)
        known.put(missing[rows], part, block, slice(None))

    def _spared(self, role: Role, block: Block) -> Path:
        """Write the block to a temporary folder, where the cache cannot keep it."""
        if self.spare is None:
            self.spare = Path(tempfile.mkdtemp(prefix="xlir-bench-"))
            self.held.append(_Removed(self.spare))
        with files.explained(
            self.spare, "a large corpus needs room there; TMPDIR names another place"
        ):
            return write_block(self.spare / role, block)

    def _not_kept(self, error: OSError) -> None:
        if self.request.cache is not None:
            remedy = "vectors that were encoded now are not kept (XLIR_CACHE names another place)"
            self.notes.add(str(files.cannot_write(self.request.cache, remedy, error)))


class _Removed:
    """Removes the folder once nobody holds this."""

    def __init__(self, folder: Path) -> None:
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


@dataclass(slots=True)
class _Growing:
    """Batches that are encoded and not yet written."""

    batches: list[Ints] = field(default_factory=list)
    vectors: list[Floats] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, batch: Ints, vectors: Floats) -> None:
        self.batches.append(batch)
        self.vectors.append(vectors)

    @property
    def is_enough(self) -> bool:
        return (
            sum(map(len, self.batches)) >= BLOCK_TEXTS
            or time.monotonic() - self.began > BLOCK_SECONDS
        )


def _token_counts(encoder: Encoder, texts: Sequence[str], role: Role) -> TokenCounts:
    if isinstance(encoder, Tokenizing):
        return encoder.count_tokens(texts, role)
    return TokenCounts(guessed_lengths(texts), np.zeros(len(texts), np.int64))


def _cut(tokens: Ints, encoder: Encoder) -> Ints:
    """Lengths as the model sees them."""
    limit = describe(encoder).max_tokens
    return tokens if limit is None else np.minimum(tokens, limit)


def _device_budget(encoder: Encoder) -> int:
    device = str(getattr(encoder, "device", "cpu"))
    return CPU_BATCH_TOKENS if device.startswith("cpu") else GPU_BATCH_TOKENS


def zero_vectors(role: Role, text: Callable[[int], str], zero: Ints) -> list[str]:
    """A note where texts (of these numbers) have a zero vector, and so rank by pool order."""
    if not len(zero):
        return []
    first = text(int(zero[0]))[:60]
    return [f"{len(zero)} {role} text(s) have a zero vector and rank by pool order: {first!r}"]

"""One stream of batches over the texts of all languages, cached as it goes."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from xlir_bench.embed.cache import (
    CachedRows,
    Digests,
    VectorStore,
    remember_encoder,
    store_folder,
    text_digests,
)
from xlir_bench.embed.plan import guessed_lengths, plan_batches
from xlir_bench.embed.shards import shard_folder, sharded_vectors, whole_shards
from xlir_bench.encoders import Encoder, Tokenizing, checked, describe
from xlir_bench.records import (
    ROLES,
    Collection,
    Floats,
    Ints,
    Progress,
    Role,
    Shards,
    Stored,
    TokenCounts,
    Vectors,
)

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


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of a collection, by role and language, in the order of its texts."""

    vectors: Mapping[tuple[Role, str], Vectors]
    """Those of a corpus on disk lie in shards."""
    tokens: Mapping[tuple[Role, str], TokenCounts] | None
    """None where the encoder has no tokenizer."""
    encoded: int = 0
    """Texts that were encoded now."""
    cached: int = 0
    """Texts that came from the cache."""
    notes: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        """Of a vector."""
        its = next(iter(self.vectors.values()))
        return its.dimension if isinstance(its, Shards) else int(its.shape[1])


@dataclass(frozen=True, slots=True)
class _Texts:
    """The distinct texts of one role, and where each language's texts stand among them."""

    role: Role
    texts: list[str]
    digests: Digests
    rows: dict[str, Ints]

    @classmethod
    def of(cls, role: Role, by_lang: Mapping[str, Sequence[str]]) -> _Texts:
        place: dict[str, int] = {}
        rows: dict[str, Ints] = {}
        for lang, texts in by_lang.items():
            found = [place.setdefault(text, len(place)) for text in texts]
            rows[lang] = np.array(found, np.int64)
        return cls(role, list(place), text_digests(place), rows)


@dataclass(slots=True)
class _Block:
    """Batches that are encoded and not yet written."""

    rows: list[Ints] = field(default_factory=list)
    vectors: list[Floats] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, rows: Ints, vectors: Floats) -> None:
        """Take in a batch."""
        self.rows.append(rows)
        self.vectors.append(vectors)

    def written(self, store: VectorStore, digests: Digests, counts: TokenCounts) -> _Block:
        """Write what is here, if anything; the empty block that comes next."""
        if self.rows:
            rows = np.concatenate(self.rows)
            store.write(
                digests[rows],
                np.concatenate(self.vectors),
                counts.tokens[rows],
                counts.unknown[rows],
            )
        return _Block()

    @property
    def full(self) -> bool:
        texts = sum(len(rows) for rows in self.rows)
        return texts >= BLOCK_TEXTS or time.monotonic() - self.began > BLOCK_SECONDS


def embed(
    collection: Collection, encoder: Encoder, request: EmbedRequest, progress: Progress
) -> Embedded:
    """Every distinct (role, text) once; a run that was killed goes on where it stopped."""
    by_role = {
        role: {lang: collection.texts(role, lang) for lang in collection.languages(role)}
        for role in ROLES
    }
    roles = [
        _Texts.of(role, {x: t for x, t in texts.items() if not isinstance(t, Stored)})
        for role, texts in by_role.items()
    ]
    corpora = {x: t for x, t in by_role["passage"].items() if isinstance(t, Stored)}
    work = _Work(encoder, request, progress)
    folder, keep = work.corpora_folder() if corpora else (Path(), None)
    homes = {lang: shard_folder(folder, texts) for lang, texts in corpora.items()}
    whole = {lang: whole_shards(homes[lang], len(texts)) for lang, texts in corpora.items()}
    stores = {role: VectorStore.open(work.folder, role) for role in ROLES}
    missing = {t.role: np.flatnonzero(~stores[t.role].has(t.digests)) for t in roles}
    total = sum(len(rows) for rows in missing.values())
    total += sum(len(texts) for texts in corpora.values())
    total -= sum(len(shard.counts) for shards in whole.values() for shard in shards.values())
    if total:
        progress.start("encode", total, "texts")
        for texts in roles:
            work.encode(texts, missing[texts.role], stores[texts.role])
    sharded = {
        lang: sharded_vectors(homes[lang], texts, whole[lang], work.fill)
        for lang, texts in corpora.items()
    }
    if total:
        progress.finish()
    found = {t.role: stores[t.role].read(t.digests) for t in roles}
    notes = [
        f"{len(s.damaged)} damaged cache block(s) of role {role} were found and encoded again"
        for role, s in stores.items()
        if s.damaged
    ]
    vectors: dict[tuple[Role, str], Vectors] = {}
    counts: dict[tuple[Role, str], TokenCounts] = {}
    for texts in roles:
        cached = found[texts.role]
        notes += zero_vectors(texts.role, texts.texts, np.flatnonzero(~cached.vectors.any(axis=1)))
        for lang, rows in texts.rows.items():
            vectors[texts.role, lang] = cached.vectors[rows]
            counts[texts.role, lang] = TokenCounts(cached.tokens[rows], cached.unknown[rows])
    for lang, its in sharded.items():
        notes += zero_vectors("passage", corpora[lang], its.zero)
        vectors["passage", lang] = replace(its.shards, folder=keep)
        counts["passage", lang] = its.counts
    known = isinstance(encoder, Tokenizing)
    distinct = sum(len(t.texts) for t in roles) + sum(len(texts) for texts in corpora.values())
    return Embedded(vectors, counts if known else None, total, distinct - total, tuple(notes))


class _TemporaryFolder:
    """A folder that is gone once nobody holds this."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="xlir-bench-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(slots=True)
class _Work:
    """The encoder, and where its vectors go."""

    encoder: Encoder
    request: EmbedRequest
    progress: Progress
    folder: Path | None = field(init=False)

    def __post_init__(self) -> None:
        self.folder = None
        if self.request.cache is not None:
            card = describe(self.encoder)
            self.folder = store_folder(self.request.cache, card.slug, self.encoder.fingerprint)
            remember_encoder(self.folder, card.name, self.encoder.fingerprint)

    def corpora_folder(self) -> tuple[Path, object]:
        """Where vectors of corpora lie, and what keeps that folder while nothing is to be kept."""
        if self.folder is not None:
            return self.folder, None
        temporary = _TemporaryFolder()
        return temporary.path, temporary

    def fill(self, texts: Sequence[str], store: VectorStore) -> CachedRows:
        """What the store knows of these texts after what it lacked was encoded."""
        distinct = _Texts.of("passage", {"": texts})
        missing = np.flatnonzero(~store.has(distinct.digests))
        self.progress.advance(len(texts) - len(missing))
        self.encode(distinct, missing, store)
        return store.read(distinct.digests[distinct.rows[""]])

    def encode(self, texts: _Texts, missing: Ints, store: VectorStore) -> None:
        """Encode the texts that have no vector, and write as it goes.

        Batches run from the longest text to the shortest, and what is written is whole batches: those that
        a killed run has left undone are planned alike by the next one, so its vectors are the same to the
        bit.
        """
        if not len(missing):
            return
        wanted, digests = [texts.texts[i] for i in missing], texts.digests[missing]
        counts = _token_counts(self.encoder, wanted, texts.role)
        budget = self.request.batch_tokens or _device_budget(self.encoder)
        block = _Block()
        try:
            for batch in plan_batches(_cut(counts.tokens, self.encoder), budget):
                chosen = [wanted[i] for i in batch]
                vectors = self.encoder.encode(chosen, texts.role)
                block.add(batch, checked(vectors, chosen, self.encoder.dimension))
                self.progress.advance(len(batch))
                if block.full:
                    block = block.written(store, digests, counts)
        finally:
            # Reached on Ctrl-C too: the batches that are done are whole, so they are kept.
            block.written(store, digests, counts)


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


def zero_vectors(role: Role, texts: Sequence[str], zero: Ints) -> list[str]:
    """A note where texts (these rows) have a vector that says nothing, and so rank by their place."""
    if not len(zero):
        return []
    first = texts[int(zero[0])][:60]
    return [f"{len(zero)} {role} text(s) have a zero vector and rank by pool order: {first!r}"]

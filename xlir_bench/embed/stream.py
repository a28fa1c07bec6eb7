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

from xlir_bench import files
from xlir_bench.embed.cache import (
    Keys,
    Rows,
    VectorStore,
    remember_encoder,
    store_folder,
    text_keys,
)
from xlir_bench.embed.plan import guessed_lengths, plan_batches
from xlir_bench.embed.shards import shard_folder, sharded_vectors, whole_shards
from xlir_bench.encoders import Encoder, Tokenizing, checked, describe
from xlir_bench.records import (
    ROLES,
    Collection,
    Ints,
    Progress,
    Role,
    Stored,
    TokenCounts,
)
from xlir_bench.retrieval import Vectors
from xlir_bench.shardfile import write_shard

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
        return next(iter(self.vectors.values())).dimension


@dataclass(frozen=True, slots=True)
class _Texts:
    """The distinct texts of one role, and where each language's texts stand among them."""

    role: Role
    texts: list[str]
    keys: Keys
    rows: dict[str, Ints]

    @classmethod
    def of(cls, role: Role, by_lang: Mapping[str, Sequence[str]]) -> _Texts:
        place: dict[str, int] = {}
        rows: dict[str, Ints] = {}
        for lang, texts in by_lang.items():
            found = [place.setdefault(text, len(place)) for text in texts]
            rows[lang] = np.array(found, np.int64)
        return cls(role, list(place), text_keys(place), rows)


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
    homes = {
        lang: shard_folder(work.folder or work.temporary(), texts)
        for lang, texts in corpora.items()
    }
    whole = {
        lang: whole_shards(homes[lang], len(texts), work.notes) for lang, texts in corpora.items()
    }
    stores = {role: VectorStore(work.folder and work.folder / role, work.notes) for role in ROLES}
    found = {t.role: stores[t.role].find(t.keys) for t in roles}
    total = sum(len(rows.missing) for rows in found.values())
    total += sum(len(texts) for texts in corpora.values())
    total -= sum(len(shard.tokens) for shards in whole.values() for shard in shards.values())
    if total:
        progress.start("encode", total, "texts")
        for texts in roles:
            work.encode(texts, found[texts.role], stores[texts.role])
    sharded = {
        lang: sharded_vectors(homes[lang], texts, whole[lang], work.fill, work.save)
        for lang, texts in corpora.items()
    }
    if total:
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
        cached = found[texts.role]
        notes += zero_vectors(texts.role, texts.texts, np.flatnonzero(~cached.vectors.any(axis=1)))
        for lang, rows in texts.rows.items():
            vectors[texts.role, lang] = Vectors.of(cached.vectors[rows])
            counts[texts.role, lang] = TokenCounts(cached.tokens[rows], cached.unknown[rows])
    for lang, its in sharded.items():
        notes += zero_vectors("passage", corpora[lang], its.zero)
        vectors["passage", lang] = replace(its.vectors, folder=work.held)
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
    folder: Path | None = None
    """Of this encoder in the cache."""
    notes: set[str] = field(default_factory=set)
    """What a reader of the result should know of the cache."""
    held: list[object] = field(default_factory=list)
    """As long as it is, the files of vectors stay: a lease of the folder, a temporary folder."""

    def __post_init__(self) -> None:
        if self.request.cache is None:
            return
        card = describe(self.encoder)
        self.folder = store_folder(self.request.cache, card.slug, self.encoder.fingerprint)
        try:
            self.held.append(files.leased(self.folder))
            remember_encoder(self.folder, card.name, self.encoder.fingerprint)
        except OSError as error:
            self._not_kept(error)

    def temporary(self) -> Path:
        """A folder for vectors that are not kept."""
        for its in self.held:
            if isinstance(its, _TemporaryFolder):
                return its.path
        self.held.append(made := _TemporaryFolder())
        return made.path

    def fill(self, texts: Sequence[str], store: VectorStore) -> Rows:
        """What is known of these texts after what the store lacked was encoded."""
        distinct = _Texts.of("passage", {"": texts})
        rows = store.find(distinct.keys)
        self.progress.advance(len(texts) - len(rows.missing))
        self.encode(distinct, rows, store)
        return rows.take(distinct.rows[""])

    def save(self, folder: Path, prefix: str, rows: Rows) -> Path:
        """A shard of a corpus: in its folder, or in a temporary one where the cache takes nothing."""
        if self.folder is not None:
            try:
                return write_shard(folder, prefix, rows.arrays())
            except OSError as error:
                self._not_kept(error)
        spare = self.temporary()
        with files.explained(spare, "a large corpus needs room there; TMPDIR names another place"):
            return write_shard(spare / folder.name, prefix, rows.arrays())

    def encode(self, texts: _Texts, rows: Rows, store: VectorStore) -> None:
        """Encode the texts of which nothing is known, and write as it goes.

        Batches run from the longest text to the shortest, and what is written is whole batches: those that
        a killed run has left undone are planned alike by the next one, so its vectors are the same to the
        bit.
        """
        missing = rows.missing
        if not len(missing):
            return
        counts = _token_counts(self.encoder, [texts.texts[i] for i in missing], texts.role)
        budget = self.request.batch_tokens or _device_budget(self.encoder)
        done: list[Ints] = []
        began = time.monotonic()
        try:
            for batch in plan_batches(_cut(counts.tokens, self.encoder), budget):
                at = missing[batch]
                chosen = [texts.texts[i] for i in at]
                vectors = self.encoder.encode(chosen, texts.role)
                vectors = checked(vectors, chosen, self.encoder.dimension)
                rows.put(at, vectors, counts.tokens[batch], counts.unknown[batch])
                done.append(at)
                self.progress.advance(len(batch))
                if sum(map(len, done)) >= BLOCK_TEXTS or time.monotonic() - began > BLOCK_SECONDS:
                    self._keep(store, rows, done)
                    done, began = [], time.monotonic()
        finally:
            # Reached on Ctrl-C too: the batches that are done are whole, so they are kept.
            self._keep(store, rows, done)

    def _keep(self, store: VectorStore, rows: Rows, done: Sequence[Ints]) -> None:
        if done:
            try:
                store.write(rows.take(np.concatenate(done)))
            except OSError as error:
                self._not_kept(error)

    def _not_kept(self, error: OSError) -> None:
        if self.request.cache is not None:
            remedy = "vectors that were encoded now are not kept (XLIR_CACHE names another place)"
            self.notes.add(str(files.cannot_write(self.request.cache, remedy, error)))


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

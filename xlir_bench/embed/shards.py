"""Vectors of a corpus on disk: shard after shard, each whole in a file of its own, read through memory maps.

    <cache>/vectors/<encoder>/corpora/<digest>/000000-<digest of its bytes>.npy
                                               000000-<digest of its bytes>.counts.npy
                                               growing/          blocks of the shard that is being encoded

Memory holds one shard's texts. What a killed run had encoded of a shard lies in blocks, as it does for
texts that fit into memory, and is taken from there by the next run.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xlir_bench.embed.cache import CachedRows, VectorStore, write_atomically
from xlir_bench.records import Floats, Ints, Shards, Stored, TokenCounts

SHARD_TEXTS = 65536
"""100 MB of vectors of 384 dimensions."""
Fill = Callable[[Sequence[str], VectorStore], CachedRows]
"""Encode what a store lacks of these texts; what it then knows of each."""


@dataclass(frozen=True, slots=True)
class ShardedVectors:
    """The vectors of one corpus."""

    shards: Shards
    counts: TokenCounts
    encoded: int
    """Texts whose shard was not there."""
    zero: Ints
    """Rows of texts whose vector says nothing."""


@dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    dimension: int
    counts: Ints
    zero: Ints
    """Rows of texts whose vector says nothing."""

    @classmethod
    def of(cls, path: Path, counts: Ints) -> _Shard | None:
        """The shard in this file; None if it holds another number of vectors."""
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(vectors) != len(counts):
            return None
        return cls(path, vectors.shape[1], counts, np.flatnonzero(~vectors.any(axis=1)))


def shard_folder(encoder_folder: Path, texts: Stored) -> Path:
    """Where the shards of a corpus lie."""
    return encoder_folder / "corpora" / texts.digest


def missing_texts(folder: Path, count: int) -> int:
    """How many texts of a corpus have no whole shard."""
    return sum(
        stop - start
        for number, start, stop in _spans(count)
        if not any(folder.glob(f"{number:06d}-*.counts.npy"))
    )


def sharded_vectors(folder: Path, texts: Sequence[str], fill: Fill) -> ShardedVectors:
    """The vectors of a corpus; shards that are not there are encoded."""
    found: list[_Shard] = []
    encoded = 0
    zero: list[Ints] = []
    for number, start, stop in _spans(len(texts)):
        shard = _read(folder, number, stop - start)
        if shard is None:
            shard = _encoded(folder, number, texts[start:stop], fill)
            encoded += stop - start
        zero.append(start + shard.zero)
        found.append(shard)
    counts = [shard.counts for shard in found]
    return ShardedVectors(
        shards=Shards(
            parts=tuple(shard.path for shard in found),
            sizes=tuple(len(shard.counts) for shard in found),
            dimension=found[0].dimension if found else 0,
        ),
        counts=TokenCounts(
            *(np.concatenate([np.empty(0, np.int32), *(c[:, k] for c in counts)]) for k in (0, 1))
        ),
        encoded=encoded,
        zero=np.concatenate([np.empty(0, np.int64), *zero]),
    )


def _spans(count: int) -> list[tuple[int, int, int]]:
    return [
        (number, start, min(start + SHARD_TEXTS, count))
        for number, start in enumerate(range(0, count, SHARD_TEXTS))
    ]


def _read(folder: Path, number: int, rows: int) -> _Shard | None:
    """A whole shard; a damaged one is removed."""
    for path in sorted(folder.glob(f"{number:06d}-*.counts.npy")):
        vectors = path.with_name(path.name.replace(".counts", ""))
        try:
            counts = np.load(path, allow_pickle=False)
            sound = len(counts) == rows and vectors.stem.partition("-")[2] == _digest(vectors)
            if sound and (shard := _Shard.of(vectors, counts)) is not None:
                return shard
        except (OSError, ValueError, EOFError):
            pass
        for damaged in (path, vectors):
            damaged.unlink(missing_ok=True)
    return None


def _encoded(folder: Path, number: int, texts: Sequence[str], fill: Fill) -> _Shard:
    part = f"{number:06d}"
    rows = fill(texts, VectorStore.open(folder / "growing", part))
    counts = np.stack([rows.tokens, rows.unknown], axis=1).astype(np.int32)
    vectors = _save(folder, number, rows.vectors)
    buffer = io.BytesIO()
    np.save(buffer, counts, allow_pickle=False)
    # Written last: a shard is whole where its counts are.
    write_atomically(vectors.with_suffix(".counts.npy"), buffer.getbuffer())
    shutil.rmtree(folder / "growing" / part, ignore_errors=True)
    zero = np.flatnonzero(~rows.vectors.any(axis=1))
    return _Shard(vectors, rows.vectors.shape[1], counts, zero)


def _save(folder: Path, number: int, vectors: Floats) -> Path:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    digest = hashlib.blake2b(buffer.getbuffer(), digest_size=16).hexdigest()
    path = folder / f"{number:06d}-{digest}.npy"
    write_atomically(path, buffer.getbuffer())
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

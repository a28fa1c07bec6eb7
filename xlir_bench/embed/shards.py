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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xlir_bench.embed.cache import CachedRows, VectorStore, file_digest, write_atomically
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
    zero: Ints
    """Rows of texts whose vector says nothing."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One whole shard on disk."""

    path: Path
    dimension: int
    counts: Ints
    zero: Ints
    """Rows of texts whose vector says nothing."""

    @classmethod
    def of(cls, path: Path, counts: Ints) -> Shard | None:
        """The shard in this file; None if it holds another number of vectors."""
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(vectors) != len(counts):
            return None
        return cls(path, vectors.shape[1], counts, np.flatnonzero(~vectors.any(axis=1)))


def shard_folder(encoder_folder: Path, texts: Stored) -> Path:
    """Where the shards of a corpus lie."""
    return encoder_folder / "corpora" / texts.digest


def whole_shards(folder: Path, count: int) -> dict[int, Shard]:
    """Those of so many texts that are there and sound, by their number."""
    found = {n: _read(folder, n, stop - start) for n, start, stop in _spans(count)}
    return {number: shard for number, shard in found.items() if shard is not None}


def sharded_vectors(
    folder: Path, texts: Sequence[str], whole: Mapping[int, Shard], fill: Fill
) -> ShardedVectors:
    """The vectors of a corpus; shards that are not among the whole ones are encoded."""
    spans = _spans(len(texts))
    found = [
        whole.get(number) or _encoded(folder, number, texts[start:stop], fill)
        for number, start, stop in spans
    ]
    counts = [shard.counts for shard in found]
    zero = [start + shard.zero for (_, start, _), shard in zip(spans, found, strict=True)]
    return ShardedVectors(
        shards=Shards(
            parts=tuple(shard.path for shard in found),
            sizes=tuple(len(shard.counts) for shard in found),
            dimension=found[0].dimension if found else 0,
        ),
        counts=TokenCounts(
            *(np.concatenate([np.empty(0, np.int32), *(c[:, k] for c in counts)]) for k in (0, 1))
        ),
        zero=np.concatenate([np.empty(0, np.int64), *zero]),
    )


def _spans(count: int) -> list[tuple[int, int, int]]:
    return [
        (number, start, min(start + SHARD_TEXTS, count))
        for number, start in enumerate(range(0, count, SHARD_TEXTS))
    ]


def _read(folder: Path, number: int, rows: int) -> Shard | None:
    """A whole shard; a damaged one is removed."""
    for path in sorted(folder.glob(f"{number:06d}-*.counts.npy")):
        vectors = path.with_name(path.name.replace(".counts", ""))
        try:
            counts = np.load(path, allow_pickle=False)
            sound = len(counts) == rows and vectors.stem.partition("-")[2] == file_digest(vectors)
            if sound and (shard := Shard.of(vectors, counts)) is not None:
                return shard
        except (OSError, ValueError, EOFError):
            pass
        for damaged in (path, vectors):
            damaged.unlink(missing_ok=True)
    return None


def _encoded(folder: Path, number: int, texts: Sequence[str], fill: Fill) -> Shard:
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
    return Shard(vectors, rows.vectors.shape[1], counts, zero)


def _save(folder: Path, number: int, vectors: Floats) -> Path:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    digest = hashlib.blake2b(buffer.getbuffer(), digest_size=16).hexdigest()
    path = folder / f"{number:06d}-{digest}.npy"
    write_atomically(path, buffer.getbuffer())
    return path

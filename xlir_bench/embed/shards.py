"""Vectors of a corpus on disk: shard after shard (see `shardfile`), in the order of its texts.

    <cache>/vectors/<encoder>/corpora/<digest>/000000-<digest of its bytes>.safetensors
                                               growing/          what is encoded of the next shard

Memory holds one shard's texts. What a killed run had encoded of a shard lies in smaller ones, as it does for
texts that fit into memory, and is taken from there by the next run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xlir_bench.embed.cache import Rows, VectorStore
from xlir_bench.records import Ints, Stored, TokenCounts
from xlir_bench.retrieval import Vectors
from xlir_bench.shardfile import SUFFIX, is_sound, mapped

SHARD_TEXTS = 65536
"""100 MB of vectors of 384 dimensions."""
Fill = Callable[[Sequence[str], VectorStore], Rows]
"""Encode what a store lacks of these texts; what it then knows of each."""
Save = Callable[[Path, str, Rows], Path]
"""Write a shard of these rows: where it should lie, how its name begins, where it lies."""


@dataclass(frozen=True, slots=True)
class ShardedVectors:
    """The vectors of one corpus."""

    vectors: Vectors
    counts: TokenCounts
    zero: Ints
    """Rows of texts whose vector says nothing."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One whole shard on disk."""

    path: Path
    dimension: int
    tokens: Ints
    unknown: Ints
    zero: Ints
    """Rows of texts whose vector says nothing."""

    @classmethod
    def of(cls, path: Path) -> Shard:
        """The shard in this file, which is sound."""
        its = mapped(path)
        vectors = its["vectors"]
        zero = np.flatnonzero(~vectors.any(axis=1))
        tokens, unknown = np.array(its["tokens"]), np.array(its["unknown"])
        return cls(path, vectors.shape[1], tokens, unknown, zero)


def shard_folder(encoder_folder: Path, texts: Stored) -> Path:
    """Where the shards of a corpus lie."""
    return encoder_folder / "corpora" / texts.digest


def whole_shards(folder: Path, count: int, notes: set[str]) -> dict[int, Shard]:
    """Those of so many texts that are there and sound, by their number; damaged ones are removed."""
    found = {}
    for number, start, stop in _spans(count):
        for path in sorted(folder.glob(f"{number:06d}-*{SUFFIX}")):
            try:
                if not is_sound(path):
                    path.unlink(missing_ok=True)
                    notes.add(f"a damaged shard of corpus {folder.name[:8]} was encoded again")
                elif len((shard := Shard.of(path)).tokens) == stop - start:
                    found[number] = shard
                    break
            except FileNotFoundError:  # removed a moment ago
                continue
            except OSError as error:
                notes.add(
                    f"cached vectors in {folder} cannot be read ({error.strerror}): those texts"
                    " were encoded again"
                )
    return found


def sharded_vectors(
    folder: Path, texts: Sequence[str], whole: Mapping[int, Shard], fill: Fill, save: Save
) -> ShardedVectors:
    """The vectors of a corpus; shards that are not among the whole ones are encoded."""
    spans = _spans(len(texts))
    found = [
        whole.get(number) or _encoded(folder, number, texts[start:stop], fill, save)
        for number, start, stop in spans
    ]
    zero = [start + shard.zero for (_, start, _), shard in zip(spans, found, strict=True)]
    return ShardedVectors(
        vectors=Vectors(
            parts=tuple(shard.path for shard in found),
            sizes=tuple(len(shard.tokens) for shard in found),
            dimension=found[0].dimension if found else 0,
        ),
        counts=TokenCounts(
            tokens=np.concatenate([np.empty(0, np.int32), *(s.tokens for s in found)]),
            unknown=np.concatenate([np.empty(0, np.int32), *(s.unknown for s in found)]),
        ),
        zero=np.concatenate([np.empty(0, np.int64), *zero]),
    )


def _spans(count: int) -> list[tuple[int, int, int]]:
    return [
        (number, start, min(start + SHARD_TEXTS, count))
        for number, start in enumerate(range(0, count, SHARD_TEXTS))
    ]


def _encoded(folder: Path, number: int, texts: Sequence[str], fill: Fill, save: Save) -> Shard:
    growing = folder / "growing" / f"{number:06d}"
    rows = fill(texts, VectorStore(growing))
    path = save(folder, f"{number:06d}-", rows)
    shutil.rmtree(growing, ignore_errors=True)
    return Shard.of(path)

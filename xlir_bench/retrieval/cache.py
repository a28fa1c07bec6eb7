"""What the cache holds for each encoder (see `vector_store`), and how room is made in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xlir_bench import files
from xlir_bench.errors import XlirError
from xlir_bench.retrieval.vector_store import is_shard
from xlir_bench.untrusted import load_json


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the cache holds for one encoder."""

    encoder: str
    folder: Path
    blocks: int
    bytes: int
    used: float
    """Time of the last write, seconds since the epoch."""


def cache_entries(cache: Path) -> list[CacheEntry]:
    """One entry for each encoder, the longest unused first."""
    entries = [_entry(folder) for folder in (cache / "vectors").glob("*") if folder.is_dir()]
    return sorted(entries, key=lambda entry: (entry.used, entry.folder.name))


def _entry(folder: Path) -> CacheEntry:
    try:
        name = str(load_json(folder / "encoder.json")["name"])
    except (XlirError, KeyError, TypeError):
        name = folder.name
    stats = list(_stats(folder))
    return CacheEntry(
        encoder=name,
        folder=folder,
        blocks=sum(1 for name, _ in stats if is_shard(name)),
        bytes=sum(s.st_size for _, s in stats),
        used=max((s.st_mtime for _, s in stats), default=0.0),
    )


def _stats(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name and status of every file in the folder; a file that another run removes meanwhile is left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield name, Path(place, name).stat()


@dataclass(frozen=True, slots=True)
class Pruned:
    """The outcome of a request to make room."""

    removed: tuple[CacheEntry, ...]
    in_use: tuple[CacheEntry, ...]
    """Encoders that stay because a run is using their vectors."""


def prune(
    cache: Path,
    max_bytes: int | None = None,
    older_than: float | None = None,
    encoders: Sequence[str] = (),
    dry_run: bool = False,
) -> Pruned:
    """Remove the vectors of encoders by name, then of those unused for more than `older_than` seconds.

    If the cache still has more than `max_bytes`, the longest unused ones are removed, too. With `dry_run` nothing is
    removed, and the outcome says what would be.
    """
    entries, now = cache_entries(cache), time.time()
    excess = 0 if max_bytes is None else sum(entry.bytes for entry in entries) - max_bytes
    named = [
        entry
        for entry in entries
        if entry.encoder in encoders or (older_than is not None and now - entry.used > older_than)
    ]
    removed, in_use = [], []
    for entry in [*named, *(entry for entry in entries if entry not in named)]:
        if entry not in named and excess <= 0:
            break
        with files.explained(entry.folder, "nothing was removed from there"):
            if dry_run or files.remove_unused(entry.folder):
                removed.append(entry)
                excess -= entry.bytes
            else:
                in_use.append(entry)
    return Pruned(tuple(removed), tuple(in_use))

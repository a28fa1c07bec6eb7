"""The vector cache: shards of texts, so that nothing is half written and two runs never collide.

    <cache>/vectors/<encoder slug>-<fingerprint>/encoder.json
                                                 query/<digest>.safetensors      see `shardfile`
                                                 passage/<digest>.safetensors

A run reads the keys of all shards, and of those that hold a text it needs the rest, after a look at their
digest: a damaged one is removed, and its texts are encoded again. Where the system does not let a shard be read
or written, the run goes on without it and says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench import files
from xlir_bench.errors import XlirError
from xlir_bench.reading import load_json
from xlir_bench.records import Floats, Ints
from xlir_bench.shardfile import SUFFIX, is_sound, mapped, read_keys, write_shard

Keys = NDArray[np.uint64]
"""One row of two words a text: 128 bits of BLAKE2."""


def text_keys(texts: Iterable[str]) -> Keys:
    """The key of each text."""
    raw = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for text in texts
    )
    return np.frombuffer(raw, np.uint64).reshape(-1, 2)


def store_folder(cache: Path, slug: str, fingerprint: str) -> Path:
    """Where an encoder's vectors lie."""
    key = fingerprint.removeprefix("sha256:")[:16]
    return cache / "vectors" / f"{files.safe_name(slug, 80)}-{files.safe_name(key)}"


@dataclass(slots=True)
class Rows:
    """Some texts, and what is known of each so far."""

    keys: Keys
    known: NDArray[np.bool_]
    vectors: Floats
    """Zero where nothing is known; no number wide before anything is."""
    tokens: Ints
    unknown: Ints

    @classmethod
    def of(cls, keys: Keys) -> Rows:
        """Texts of which nothing is known."""
        count = len(keys)
        none = np.zeros(count, np.int32)
        return cls(keys, np.zeros(count, bool), np.zeros((count, 0), np.float32), none, none.copy())

    @property
    def missing(self) -> Ints:
        """The rows of which nothing is known."""
        return np.flatnonzero(~self.known)

    def put(self, at: Ints, vectors: Floats, tokens: Ints, unknown: Ints) -> None:
        """Say what is known of some rows."""
        if not self.vectors.shape[1]:
            self.vectors = np.zeros((len(self.keys), vectors.shape[1]), np.float32)
        self.vectors[at], self.tokens[at], self.unknown[at] = vectors, tokens, unknown
        self.known[at] = True

    def take(self, at: Ints) -> Rows:
        """A copy of some rows, in this order."""
        return Rows(
            self.keys[at], self.known[at], self.vectors[at], self.tokens[at], self.unknown[at]
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As a shard holds them."""
        return {
            "keys": self.keys,
            "vectors": self.vectors,
            "tokens": self.tokens,
            "unknown": self.unknown,
        }


@dataclass(slots=True)
class VectorStore:
    """The cached vectors of one encoder and role, or of a piece of a corpus."""

    folder: Path | None
    """None keeps nothing."""
    notes: set[str] = field(default_factory=set)
    """What a reader of the result should know of the cache."""
    damaged: int = 0
    """Shards whose digest was wrong; they are gone."""

    def find(self, keys: Keys) -> Rows:
        """What is known of these texts, each of which is asked for once; the first shard by name wins."""
        rows = Rows.of(keys)
        order = np.argsort(keys[:, 0], kind="stable")
        # All but the last: so what is searched for in them always has a place in `order`.
        first = keys[order[:-1], 0]
        for path in self._shards() if len(keys) else ():
            try:
                self._read(path, rows, order, first)
            except FileNotFoundError:  # removed a moment ago
                continue
            except OSError as error:
                self._unread(error)
        return rows

    def _read(self, path: Path, rows: Rows, order: Ints, first: Keys) -> None:
        """Put in what this shard knows, once its digest was seen; remove it if that is wrong."""
        try:
            keys = read_keys(path)
            at = order[np.searchsorted(first, keys[:, 0])]
            wanted = (rows.keys[at] == keys).all(axis=1) & ~rows.known[at]
        except (ValueError, LookupError):
            wanted = None
        if wanted is not None and not wanted.any():
            return
        if not is_sound(path):
            path.unlink(missing_ok=True)
            self.damaged += 1
        elif wanted is not None:
            shard = mapped(path)
            found = (shard[name][wanted] for name in ("vectors", "tokens", "unknown"))
            rows.put(at[wanted], *found)

    def _shards(self) -> list[Path]:
        try:
            paths = list(self.folder.iterdir()) if self.folder else []
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._unread(error)
            return []
        return sorted(path for path in paths if _is_shard(path.name))

    def _unread(self, error: OSError) -> None:
        self.notes.add(
            f"cached vectors in {self.folder} cannot be read ({error.strerror}): those texts were"
            " encoded again"
        )

    def write(self, rows: Rows) -> None:
        """Keep these rows; they are whole on disk or not there at all."""
        if self.folder:
            write_shard(self.folder, "", rows.arrays())


def _is_shard(name: str) -> bool:
    return name.endswith(SUFFIX) and not name.startswith(".")


def remember_encoder(folder: Path, name: str, fingerprint: str) -> None:
    """Note whose vectors a folder holds, for people who look into the cache."""
    path = folder / "encoder.json"
    if not path.is_file():
        record = json.dumps({"name": name, "fingerprint": fingerprint}, ensure_ascii=False)
        files.write(path, record)


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the cache holds of one encoder."""

    encoder: str
    folder: Path
    blocks: int
    bytes: int
    used: float
    """Time of the last write, seconds since the epoch."""


def cache_entries(cache: Path) -> list[CacheEntry]:
    """One entry an encoder, the longest unused first."""
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
        blocks=sum(1 for name, _ in stats if _is_shard(name)),
        bytes=sum(s.st_size for _, s in stats),
        used=max((s.st_mtime for _, s in stats), default=0.0),
    )


def _stats(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The name of every file in it, with what it takes; another run may remove some meanwhile."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield name, Path(place, name).stat()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a request to make room."""

    removed: tuple[CacheEntry, ...]
    in_use: tuple[CacheEntry, ...]
    """Those that a run is reading: they stay."""


def prune(
    cache: Path,
    max_bytes: int | None = None,
    older_than: float | None = None,
    encoders: Sequence[str] = (),
) -> Pruned:
    """Remove encoders by name, those unused for so many seconds, then the longest unused ones."""
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
            if files.remove_unused(entry.folder):
                removed.append(entry)
                excess -= entry.bytes
            else:
                in_use.append(entry)
    return Pruned(tuple(removed), tuple(in_use))

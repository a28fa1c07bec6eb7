"""The vector cache: content-addressed blocks, so that nothing is half written and two runs never collide.

    <cache>/vectors/<encoder slug>-<fingerprint>/encoder.json
                                                 query/<digest>.npy      a block: one record a text
                                                 passage/<digest>.npy

A block's name is the digest of its bytes: a damaged one is found when it is read, and two runs that write
the same block write the same file.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import XlirError
from xlir_bench.records import Floats, Ints

ABANDONED = 3600
"""Seconds after which a temporary file belongs to nobody."""
Digests = NDArray[np.uint64]
"""One row of two words a text: 128 bits of BLAKE2."""


def text_digests(texts: Iterable[str]) -> Digests:
    """The digest of each text."""
    raw = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for text in texts
    )
    return np.frombuffer(raw, np.uint64).reshape(-1, 2)


def store_folder(cache: Path, slug: str, fingerprint: str) -> Path:
    """Where an encoder's vectors lie."""
    key = fingerprint.removeprefix("sha256:")[:16]
    return cache / "vectors" / f"{quote(slug, safe='')[:80]}-{quote(key, safe='')}"


@dataclass(frozen=True, slots=True)
class CachedRows:
    """What a store knows of some texts."""

    found: NDArray[np.bool_]
    vectors: Floats
    """A row for each text; rows not found are zero."""
    tokens: Ints
    unknown: Ints


@dataclass(slots=True)
class VectorStore:
    """The cached vectors of one encoder and role, or of a piece of a corpus."""

    folder: Path | None
    """None keeps everything in memory and nothing on disk."""
    damaged: list[str] = field(default_factory=list)
    """Blocks whose checksum was wrong; they are gone, and their texts are encoded again."""
    _blocks: list[NDArray[Any]] = field(default_factory=list)

    @classmethod
    def open(cls, encoder_folder: Path | None, part: str) -> VectorStore:
        """The store of this part (a role) with every block on disk, in the order of their names."""
        store = cls(encoder_folder / part if encoder_folder else None)
        store._sweep()
        for path in sorted(store.folder.glob("*.npy") if store.folder else ()):
            store._add(path)
        return store

    def _sweep(self) -> None:
        """Remove what runs left that were killed while they wrote; a living one writes for moments."""
        for path in self.folder.glob(".*.tmp") if self.folder else ():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    def _add(self, path: Path) -> None:
        try:
            # First of all: numpy's reader gives any error there is for a damaged header.
            sound = path.stem == file_digest(path)
            if sound:
                self._blocks.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:  # pruned a moment ago
            return
        except (ValueError, EOFError, OSError):
            sound = False
        if not sound:
            path.unlink(missing_ok=True)
            self.damaged.append(path.name)

    def has(self, digests: Digests) -> NDArray[np.bool_]:
        """Which of these texts have a vector."""
        return self._locate(digests)[0] >= 0

    def read(self, digests: Digests) -> CachedRows:
        """The vectors and token counts of these texts, where there are any."""
        block_of, row_of = self._locate(digests)
        dimension = self._blocks[0]["vector"].shape[1] if self._blocks else 0
        rows = CachedRows(
            found=block_of >= 0,
            vectors=np.zeros((len(digests), dimension), np.float32),
            tokens=np.zeros(len(digests), np.int64),
            unknown=np.zeros(len(digests), np.int64),
        )
        for number, block in enumerate(self._blocks):
            mine = np.flatnonzero(block_of == number)
            at = row_of[mine]
            rows.vectors[mine] = block["vector"][at]
            rows.tokens[mine] = block["tokens"][at]
            rows.unknown[mine] = block["unknown"][at]
        return rows

    def _locate(self, digests: Digests) -> tuple[Ints, Ints]:
        """Block and row of each text; -1 where it has none. The first block that holds a text wins."""
        sizes = [len(block) for block in self._blocks]
        place = np.full(len(digests), -1, np.int64)
        if not sum(sizes):
            return place, place
        known = np.concatenate([block["digest"] for block in self._blocks])
        order = np.argsort(known[:, 0], kind="stable")
        at = order[np.minimum(np.searchsorted(known[order, 0], digests[:, 0]), len(order) - 1)]
        hit = (known[at] == digests).all(axis=1)
        starts = np.cumsum([0, *sizes])
        block_of = np.searchsorted(starts, at, side="right") - 1
        return np.where(hit, block_of, -1), np.where(hit, at - starts[block_of], -1)

    def write(self, digests: Digests, vectors: Floats, tokens: Ints, unknown: Ints) -> None:
        """Add a block; it is whole on disk under its name or not there at all."""
        kind = [
            ("digest", "u8", 2),
            ("tokens", "i4"),
            ("unknown", "i4"),
            ("vector", "f4", vectors.shape[1]),
        ]
        block = np.empty(len(digests), dtype=np.dtype(kind))
        block["digest"], block["vector"] = digests, vectors
        block["tokens"], block["unknown"] = tokens, unknown
        self._blocks.append(block)
        if self.folder:
            buffer = io.BytesIO()
            np.save(buffer, block, allow_pickle=False)
            name = hashlib.blake2b(buffer.getbuffer(), digest_size=16).hexdigest()
            write_atomically(self.folder / f"{name}.npy", buffer.getbuffer())


def file_digest(path: Path) -> str:
    """What the name of a sound file carries."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write under a temporary name, then rename; says what to do when the disk is full."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise XlirError(
            f"cannot write {path}: {reason}. What was encoded before is kept:"
            " make room, or set XLIR_CACHE to another disk, and run the same command again"
        ) from error


def remember_encoder(folder: Path, name: str, fingerprint: str) -> None:
    """Note whose vectors a folder holds, for people who look into the cache."""
    path = folder / "encoder.json"
    if not path.is_file():
        record = json.dumps({"name": name, "fingerprint": fingerprint}, ensure_ascii=False)
        write_atomically(path, record.encode())


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
        name = str(json.loads((folder / "encoder.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        name = folder.name
    stats = list(_stats(folder))
    return CacheEntry(
        encoder=name,
        folder=folder,
        blocks=sum(1 for path in folder.rglob("*.npy") if ".counts" not in path.suffixes),
        bytes=sum(s.st_size for s in stats),
        used=max((s.st_mtime for s in stats), default=0.0),
    )


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Of every file in it; another run may rename or remove some meanwhile."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield path.stat()


def prune(
    cache: Path,
    max_bytes: int | None = None,
    older_than: float | None = None,
    encoders: Sequence[str] = (),
) -> list[CacheEntry]:
    """Remove encoders by name, those unused for so many seconds, then the longest unused ones."""
    entries = cache_entries(cache)
    now = time.time()
    doomed = [
        entry
        for entry in entries
        if entry.encoder in encoders or (older_than is not None and now - entry.used > older_than)
    ]
    if max_bytes is not None:
        kept = [entry for entry in entries if entry not in doomed]
        excess = sum(entry.bytes for entry in kept) - max_bytes
        for entry in kept:
            if excess <= 0:
                break
            doomed.append(entry)
            excess -= entry.bytes
    for entry in doomed:
        shutil.rmtree(entry.folder, ignore_errors=True)
    return doomed

"""The vectors of one encoder, by role and text, in shards that are added but never changed.

    <cache>/vectors/<encoder slug>-<fingerprint>/encoder.json                    whose vectors these are
                                                 query/<digest>.safetensors      see `shardfile`
                                                 passage/<digest>.safetensors

A run reads the keys of all shards, and checks the digest of each shard that holds a text it needs. A shard is not checked
again until its size, time or inode changes, because a terabyte takes one processor twenty minutes; so a bit that flips on
the disk later is not seen. A damaged shard is removed, and its texts are encoded again. If the system does not let a shard
be read or written, the run goes on without it and says so.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xlir_bench import files, objectstore
from xlir_bench.arrays import slices
from xlir_bench.encoders import EncoderCard
from xlir_bench.errors import XlirError
from xlir_bench.records import Ints, TokenCounts
from xlir_bench.retrieval.vectors import Rows, Vectors, arrays_of, rows_of, sizes_of
from xlir_bench.shardfile import SUFFIX, is_sound, mapped, read_keys, write_shard
from xlir_bench.untrusted import load_json

Keys = NDArray[np.uint64]
"""For each text, a row of two 64-bit words: 128 bits of BLAKE2."""
SOUND = ".sound.json"
"""A file beside shards, with the `_stamp` of each shard that was found to be sound."""
LOOKED_AT = 64
"""How many shards threads check before the vectors in them are taken."""
SETTLED = 10**10
"""Nanoseconds: a write to a file that is older than this changes its time, on every file system."""


def text_keys(texts: Iterable[str]) -> Keys:
    """The key of each text."""
    raw = b"".join(
        files.blake2b_128(text.encode("utf-8", "surrogatepass")).digest() for text in texts
    )
    return np.frombuffer(raw, np.uint64).reshape(-1, 2)


def distinct_keys(keys: Keys) -> tuple[Ints, Ints]:
    """The row in which each distinct key stands first, ascending; and for each key, its number among the distinct ones."""
    _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[number.ravel()]


@dataclass(frozen=True, slots=True)
class Block:
    """The keys, vectors and token counts of texts that were encoded together."""

    keys: Keys
    vectors: Rows
    tokens: Ints
    unknown: Ints

    @classmethod
    def of(cls, keys: Keys, vectors: Rows, counts: TokenCounts, rows: Ints) -> Block:
        """The block of these vectors, in the type that is stored; their keys and counts are in these `rows`."""
        tokens, unknown = (
            count[rows].astype(np.int32) for count in (counts.tokens, counts.unknown)
        )
        return cls(keys[rows], vectors, tokens, unknown)

    @classmethod
    def read(cls, path: Path) -> Block:
        """The block that a shard holds, mapped into memory."""
        arrays = mapped(path)
        return cls(arrays["keys"], rows_of(arrays), arrays["tokens"], arrays["unknown"])


@dataclass(slots=True)
class Known:
    """Distinct texts, and where the vector of each is: the part that holds it, and its row there."""

    keys: Keys
    part: Ints
    """-1 if the text has no vector yet."""
    row: Ints
    tokens: Ints
    unknown: Ints
    sizes: Ints
    """How many numbers of the vector are not zero; if tokens have vectors, how many vectors there are."""
    parts: list[Rows | Path] = field(default_factory=list)
    """Rows, or files if there are too many texts for memory."""
    dimension: int = 0

    @classmethod
    def of(cls, keys: Keys) -> Known:
        """These texts, none of which has a vector yet."""
        count = len(keys)
        tokens, unknown, sizes, row = (np.zeros(count, np.int32) for _ in range(4))
        return cls(keys, row - 1, row, tokens, unknown, sizes)

    def missing(self, start: int = 0, count: int | None = None) -> Ints:
        """The texts without vectors, among all or among `count` texts from `start` on."""
        stop = None if count is None else start + count
        return start + np.flatnonzero(self.part[start:stop] < 0)

    def put(
        self, at: Ints, block: Block, path: Path | None = None, rows: Ints | slice = slice(None)
    ) -> None:
        """The texts `at` these places have the vectors in these rows of a block, which is in memory or in the file `path`."""
        self.part[at], self.row[at] = len(self.parts), np.arange(len(block.keys))[rows]
        self.tokens[at], self.unknown[at] = block.tokens[rows], block.unknown[rows]
        self.sizes[at] = sizes_of(block.vectors, rows)
        self.parts.append(block.vectors if path is None else path)
        self.dimension = int(block.vectors.shape[1])

    def vectors(self, numbers: Ints, held: object) -> Vectors:
        """The vectors of these texts, in this order."""
        return Vectors(
            tuple(self.parts), self.part[numbers], self.row[numbers], self.dimension, held
        )

    def counts(self, numbers: Ints) -> TokenCounts:
        """The token counts of these texts."""
        return TokenCounts(self.tokens[numbers], self.unknown[numbers])


def store_folder(cache: Path, slug: str, fingerprint: str) -> Path:
    """The folder of an encoder's vectors."""
    key = fingerprint.removeprefix("sha256:")[:16]
    return cache / "vectors" / f"{files.safe_name(slug, 80)}-{files.safe_name(key)}"


def remember_encoder(folder: Path, name: str, fingerprint: str) -> None:
    """Note whose vectors a folder holds, for people who look into the cache."""
    path = folder / "encoder.json"
    if not path.is_file():
        record = json.dumps({"name": name, "fingerprint": fingerprint}, ensure_ascii=False)
        objectstore.write(path, record.encode())


@dataclass(slots=True, weakref_slot=True)
class Store:
    """The cached vectors of one encoder, in a folder that is kept from being removed; without a folder nothing is stored."""

    folder: Path | None = None
    what: str = "vectors"
    """What is not stored if the folder cannot be written. A note names it, and the run goes on."""
    notes: set[str] = field(default_factory=set)
    """What a reader of the result should know of the cache."""
    damaged: Counter[str] = field(default_factory=Counter)
    """How many shards of each role had a wrong digest and were removed."""
    lease: object = None
    """Keeps the folder from being removed."""
    temporary: Path | None = None
    """A folder for blocks that fit neither in memory nor in the cache; removed when nothing refers to the store any more."""

    @classmethod
    def of(
        cls, cache: Path | None, card: EncoderCard, fingerprint: str, what: str, suffix: str = ""
    ) -> Store:
        """The store of this encoder, with its folder created and leased; without a cache, a store without a folder."""
        if cache is None:
            return cls()
        folder = store_folder(cache, card.slug, fingerprint)
        folder = folder.with_name(folder.name + suffix)
        store = cls(folder, what)
        try:
            store.lease = files.leased(folder)
            remember_encoder(folder, card.name, fingerprint)
        except OSError as error:
            store._not_kept(folder, error)
        return store

    def write(self, role: str, block: Block) -> Path | None:
        """Write a block to the cache; returns its file, or None if it could not be written."""
        if self.folder is not None:
            try:
                return write_block(self.folder / role, block)
            except OSError as error:
                self._not_kept(self.folder, error)
        return None

    def set_aside(self, role: str, block: Block) -> Path:
        """Write a block that the cache cannot hold to a temporary folder."""
        if self.temporary is None:
            self.temporary = Path(tempfile.mkdtemp(prefix="xlir-bench-"))
            weakref.finalize(self, shutil.rmtree, self.temporary, ignore_errors=True)
        with files.explained(
            self.temporary, "a large corpus needs room there; TMPDIR names another place"
        ):
            return write_block(self.temporary / role, block)

    def _not_kept(self, folder: Path, error: OSError) -> None:
        remedy = f"{self.what} are not kept (XLIR_CACHE names another place)"
        self.notes.add(str(files.cannot_write(folder.parents[1], remedy, error)))

    def find(self, role: str, keys: Keys, in_memory: bool = True) -> Known:
        """Find the vectors of these distinct texts; if several shards have one, the first shard by name is taken."""
        known = Known.of(keys)
        if self.folder is None:
            return known
        folder = self.folder / role
        remembered, paths = _remembered(folder), self._shards(folder)
        sound = {path.name: remembered[path.name] for path in paths if path.name in remembered}
        order = np.argsort(keys[:, 0], kind="stable")
        # All but the last, so that a search in them always gives a place in `order`.
        first = keys[order[:-1], 0]
        # Digests are most of the work, and threads compute them side by side.
        with ThreadPoolExecutor() as threads:
            for part in slices(len(paths) if len(keys) else 0, LOOKED_AT):
                checks = [
                    threads.submit(_texts_in, path, keys, order, first, sound)
                    for path in paths[part]
                ]
                for path, check in zip(paths[part], checks, strict=True):
                    try:
                        self._take(path, known, check.result(), in_memory)
                    except FileNotFoundError:  # removed a moment ago
                        continue
                    except OSError as error:
                        self._unread(folder, error)
        if sound != remembered:
            with suppress(OSError):  # then the next run checks again
                files.write(folder / SOUND, json.dumps(sound))
        return known

    def _take(
        self, path: Path, known: Known, held: tuple[Ints, Ints] | None, in_memory: bool
    ) -> None:
        """Take from this shard the vectors that no shard before it has; remove the shard if it is damaged."""
        shard = None
        if held is not None:
            new = known.part[held[0]] < 0
            at, rows = held[0][new], held[1][new]
            if not len(rows):
                return
            with suppress(ValueError, LookupError):  # it was damaged after the check
                shard = Block.read(path)
        if shard is None:
            path.unlink(missing_ok=True)
            self.damaged[path.parent.name] += 1
        elif in_memory:
            block = Block(*(getattr(shard, name)[rows] for name in Block.__slots__))
            known.put(at, block)
        else:
            known.put(at, shard, path, rows)

    def _shards(self, folder: Path) -> list[Path]:
        names = objectstore.names(folder)
        try:
            names |= {path.name for path in folder.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self._unread(folder, error)
        return [folder / name for name in sorted(names) if is_shard(name)]

    def _unread(self, folder: Path, error: OSError) -> None:
        self.notes.add(
            f"cached vectors in {folder} cannot be read ({error.strerror}): those texts were encoded again"
        )


def _remembered(folder: Path) -> dict[str, list[int]]:
    try:
        stated = load_json(folder / SOUND, strict=False)
    except XlirError:
        return {}
    return stated if isinstance(stated, dict) else {}


def _texts_in(
    path: Path, keys: Keys, order: Ints, first: Keys, sound: dict[str, list[int]]
) -> tuple[Ints, Ints] | None:
    """Which of these texts a shard holds, and in which of its rows; None if it is damaged.

    `first` are the first words of keys in `order`. The digest is not checked if the shard holds none of the texts.
    """
    try:
        stored = read_keys(path)
        at = order[np.searchsorted(first, stored[:, 0])]
        rows = np.flatnonzero((keys[at] == stored).all(axis=1))
    except (ValueError, LookupError):
        sound.pop(path.name, None)
        return None
    if len(rows) and not _was_sound(path, sound):
        return None
    return at[rows], rows


def _was_sound(path: Path, sound: dict[str, list[int]]) -> bool:
    """Whether a shard is sound. `sound` has the stamps of shards that were found to be sound; it is brought up to date."""
    stamp = _stamp(objectstore.fetched(path))
    if sound.get(path.name) == stamp:
        return True
    sound.pop(path.name, None)
    sound_now = is_sound(path)
    if sound_now and time.time_ns() - stamp[1] > SETTLED:
        sound[path.name] = stamp
    return sound_now


def _stamp(path: Path) -> list[int]:
    """What changes when a file is written to, or replaced by another: size, time and inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def write_block(folder: Path, block: Block) -> Path:
    """Write a block as a shard, which is whole on disk or not there at all."""
    arrays = {"keys": block.keys, "tokens": block.tokens, "unknown": block.unknown}
    return write_shard(folder, "", arrays | arrays_of(block.vectors))


def is_shard(name: str) -> bool:
    """Whether a file of this name is a shard."""
    return name.endswith(SUFFIX) and not name.startswith(".")

"""The vectors of one role and language, in memory or on disk, and how a shard keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_array, vstack

from xlir_bench.arrays import slices
from xlir_bench.encoders.multivector import TokenVectors
from xlir_bench.records import Floats, Ints
from xlir_bench.shardfile import mapped

Rows: TypeAlias = Any
"""An array, a `csr_array` or `TokenVectors`: it has a shape and can be indexed as an array is."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """One row for each text, held in parts. A part in a file is opened when it is read, and closed afterwards.

    A file that stayed mapped would count as memory once it was read.
    """

    parts: tuple[Rows | Path, ...]
    """Each is rows, an object that makes rows when they are read, or a file (see `shardfile`)."""
    part: Ints
    """Which part holds each row."""
    row: Ints
    """The place of each row in its part."""
    dimension: int
    """Length of a vector."""
    held: object = None
    """An object that keeps the files from being removed as long as it exists."""

    @classmethod
    def of(cls, *parts: Rows | Path) -> Vectors:
        """The rows of these parts, one part after another."""
        sizes = [_opened(part).shape[0] for part in parts]
        part = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
        row = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
        return cls(parts, part, row, int(_opened(parts[0]).shape[1]))

    def __len__(self) -> int:
        return len(self.row)

    @property
    def on_disk(self) -> bool:
        """Whether any part is a file."""
        return any(isinstance(getattr(part, "part", part), Path) for part in self.parts)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Floats:
        """All rows in memory, for `np.asarray`."""
        return np.asarray(self.rows(slice(0, len(self))), dtype)

    def rows(self, rows: Ints | slice, into: Floats | None = None) -> Rows:
        """These rows in float32, in this order: copied, to `into` if given, unless one part holds them as they are wanted."""
        part, row = self.part[rows], self.row[rows]
        numbers = np.unique(part)
        if len(numbers) == 1 and (np.diff(row) == 1).all():
            held = _opened(self.parts[numbers[0]])[row[0] : row[0] + len(row)]
            if not isinstance(held, np.ndarray) or held.dtype == np.float32:
                return held
            copied = np.empty(held.shape, np.float32) if into is None else into
            copied[:] = held
            return copied
        if not isinstance(first := _opened(self.parts[0]), np.ndarray):
            taken = [_opened(self.parts[number])[row[part == number]] for number in numbers]
            order = np.argsort(part, kind="stable")
            return stacked(taken or [first[:0]])[np.argsort(order)]
        copied = np.empty((len(row), self.dimension), np.float32) if into is None else into
        for number in numbers:
            inside = part == number
            copied[inside] = _opened(self.parts[number])[row[inside]]
        return copied

    def made(self, make: Callable[[Rows], Rows]) -> Vectors:
        """Vectors whose rows are made from these by `make`, each time they are read."""
        return replace(self, parts=tuple(MadeRows(part, make) for part in self.parts))

    def only(self, rows: slice) -> Vectors:
        """These rows alone, to be sent to a worker: with only the parts that hold them, and without `held`."""
        numbers, part = np.unique(self.part[rows], return_inverse=True)
        parts = tuple(self.parts[number] for number in numbers)
        return Vectors(parts, part.astype(np.int32), self.row[rows], self.dimension)

    def spans(self, size: int) -> Iterator[slice]:
        """Slices of `size` rows."""
        return slices(len(self), size)


@dataclass(frozen=True, slots=True)
class MadeRows:
    """A part whose rows are made from those of another part."""

    part: Rows | Path
    make: Callable[[Rows], Rows]

    def __getitem__(self, rows: Ints | slice) -> Rows:
        return self.make(_opened(self.part)[rows])


def _opened(part: Rows | Path) -> Rows:
    """The rows of a part; a file is mapped into memory."""
    return rows_of(mapped(part)) if isinstance(part, Path) else part


def stacked(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if isinstance(parts[0], TokenVectors):
        return TokenVectors.stacked(parts)
    return vstack(parts, format="csr")


def sizes_of(rows: Rows, numbers: Ints | slice) -> Ints:
    """How many numbers are not zero in each row with these numbers; if tokens have vectors, how many vectors there are."""
    if isinstance(rows, np.ndarray):
        return np.asarray(np.count_nonzero(rows[numbers], axis=1))
    return np.asarray(np.diff(arrays_of(rows)["ends"])[numbers])


def arrays_of(rows: Rows) -> dict[str, NDArray[Any]]:
    """The arrays in which a shard stores these rows; see `shardfile`."""
    if isinstance(rows, np.ndarray):
        return {"vectors": rows}
    if isinstance(rows, TokenVectors):
        return {"vectors": rows.vectors, "ends": rows.ends.astype(np.int32)}
    return {
        "weights": rows.data,
        "columns": rows.indices.astype(np.int32),
        "ends": rows.indptr.astype(np.int32),
        "dimension": np.array([rows.shape[1]], np.int32),
    }


def rows_of(arrays: Mapping[str, NDArray[Any]]) -> Rows:
    """The rows in these arrays of a shard, in the type that is stored."""
    if "ends" not in arrays:
        return arrays["vectors"]
    if "columns" not in arrays:
        return TokenVectors(arrays["vectors"], arrays["ends"])
    shape = (len(arrays["ends"]) - 1, int(arrays["dimension"][0]))
    return csr_array((arrays["weights"], arrays["columns"], arrays["ends"]), shape=shape)

"""The vectors of one role and language, in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from xlir_bench.arrays import slices
from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval.rows import Rows, rows_of, stacked
from xlir_bench.retrieval.similarity import normalised
from xlir_bench.shardfile import mapped


@dataclass(frozen=True, slots=True)
class Vectors:
    """One row a text; several parts hold them, of which a file is opened when it is read and closed after.

    A file that stayed mapped would count as memory once it was read through.
    """

    parts: tuple[Rows | Path, ...]
    """Rows (see `rows`), or files (see `shardfile`)."""
    part: Ints
    """Which part holds each row."""
    row: Ints
    """Its row in that part."""
    dimension: int
    """Length of a vector."""
    held: object = None
    """What keeps the files from being removed as long as they may be read."""

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
        """Whether any of them are in files."""
        return any(isinstance(getattr(part, "part", part), Path) for part in self.parts)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Floats:
        """All rows, in memory: `np.asarray` of it."""
        return np.asarray(self.rows(slice(0, len(self))), dtype)

    def rows(self, rows: Ints | slice) -> Rows:
        """These rows in float32, in this order; a copy, unless they follow each other in one part."""
        part, row = self.part[rows], self.row[rows]
        if len(row) and (part == part[0]).all() and (np.diff(row) == 1).all():
            there = _opened(self.parts[part[0]])[row[0] : row[0] + len(row)]
            return np.asarray(there, np.float32) if isinstance(there, np.ndarray) else there
        if not isinstance(first := _opened(self.parts[0]), np.ndarray):
            taken = [_opened(self.parts[number])[row[part == number]] for number in np.unique(part)]
            order = np.argsort(part, kind="stable")
            return stacked(taken or [first[:0]])[np.argsort(order)]
        copied = np.empty((len(row), self.dimension), np.float32)
        for number in np.unique(part):
            inside = part == number
            copied[inside] = _opened(self.parts[number])[row[inside]]
        return copied

    def moved(self, offset: Floats, matrix: Floats | None) -> Vectors:
        """The same, each moved when it is read."""
        return replace(self, parts=tuple(MovedRows(x, offset, matrix) for x in self.parts))

    def only(self, rows: slice) -> Vectors:
        """These rows alone, to be sent: with the parts that hold them, and no hold on files."""
        numbers, part = np.unique(self.part[rows], return_inverse=True)
        parts = tuple(self.parts[number] for number in numbers)
        return Vectors(parts, part.astype(np.int32), self.row[rows], self.dimension)

    def spans(self, size: int) -> Iterator[slice]:
        """Spans of so many rows."""
        return slices(len(self), size)


@dataclass(frozen=True, slots=True)
class MovedRows:
    """The rows of a part at unit length, less an offset, turned by a matrix."""

    part: Rows | Path
    offset: Floats
    matrix: Floats | None

    def __getitem__(self, rows: Ints | slice) -> Floats:
        unit = normalised(_opened(self.part)[rows])
        moved = unit.astype(np.float64) - self.offset
        if self.matrix is not None:
            # Not a matrix product: its last bits would depend on which rows are asked for together.
            moved = np.einsum("ij,jk->ik", moved, self.matrix, optimize=False)
        moved[~unit.any(axis=1)] = 0  # a zero vector stays zero
        return moved.astype(np.float32)


def _opened(part: Rows | Path) -> Rows:
    return rows_of(mapped(part)) if isinstance(part, Path) else part

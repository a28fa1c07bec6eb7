"""The vectors of one role and language, in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from xlir_bench.records import Floats, Ints
from xlir_bench.shardfile import mapped


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows laid end to end in several parts; a file is opened when it is read and closed after.

    A file that stayed mapped would count as memory once it was read through.
    """

    parts: tuple[Floats | Path, ...]
    """Files (see `shardfile`), or arrays."""
    sizes: tuple[int, ...]
    """How many rows are in each."""
    dimension: int
    """Of a vector."""
    folder: object = None
    """Kept alive as long as they are read: what keeps the files where they are."""

    @classmethod
    def of(cls, rows: Floats) -> Vectors:
        """Rows that are in memory."""
        return cls((rows,), (len(rows),), int(rows.shape[1]))

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def on_disk(self) -> bool:
        """Whether there may be too many for memory."""
        return any(isinstance(part, Path) for part in self.parts)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Floats:
        """All rows, in memory: `np.asarray` of it."""
        if len(self.parts) == 1 and not self.on_disk and not copy:
            return np.asarray(self.parts[0], dtype)
        return np.asarray(self.rows(np.arange(len(self))), dtype)

    def rows(self, rows: Ints) -> Floats:
        """Copies of these rows, in this order."""
        starts = np.cumsum([0, *self.sizes])
        part_of = np.searchsorted(starts, rows, side="right") - 1
        found = np.empty((len(rows), self.dimension), np.float32)
        for number in np.unique(part_of):
            mine = part_of == number
            found[mine] = _opened(self.parts[number])[rows[mine] - starts[number]]
        return found

    def blocks(self, size: int) -> Iterator[tuple[int, Floats]]:
        """The rows in order, at most so many at a time, each with the row that it begins at."""
        first = 0
        for part, count in zip(self.parts, self.sizes, strict=True):
            rows = _opened(part)
            for start in range(0, count, size):
                yield first + start, rows[start : start + size]
            first += count


def _opened(part: Floats | Path) -> Floats:
    return mapped(part)["vectors"] if isinstance(part, Path) else part

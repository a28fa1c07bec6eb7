"""Rows in an endless random order in which each comes once a round; only a window of it is held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xlir_bench.train.store import Flags

Rows = NDArray[np.int64]
WINDOW = 4096
ROUNDS = 5
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def shuffled(positions: Rows, size: int, seed: int) -> Rows:
    """Where a shuffle of ``range(size)`` that `seed` names puts these positions; no table is made.

    A Feistel network permutes the next power of four; what lands beyond `size` goes through again.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = np.random.default_rng([seed, size]).integers(2**63, size=ROUNDS, dtype=np.uint64)
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    values = positions.astype(np.uint64)
    pending = np.arange(len(values))
    while len(pending):
        values[pending] = _network(values[pending], keys, shift, mask)
        pending = pending[values[pending] >= size]
    return values.astype(np.int64)


def _network(
    values: NDArray[np.uint64], keys: NDArray[np.uint64], shift: np.uint64, mask: np.uint64
) -> NDArray[np.uint64]:
    left, right = values >> shift, values & mask
    for key in keys:
        mixed = (right + key) * _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[1]
        left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
    found: NDArray[np.uint64] = left << shift | right
    return found


@dataclass(frozen=True, slots=True)
class Share:
    """A run of rows and how many of them a round takes: fewer than there are, or some several times."""

    first: int
    rows: int
    taken: int


@dataclass(frozen=True, slots=True)
class Rounds:
    """What a round holds: every source with its share."""

    shares: tuple[Share, ...]

    @property
    def size(self) -> int:
        """Rows in a round."""
        return sum(share.taken for share in self.shares)

    def rows(self, positions: Rows, turn: int, seed: int) -> Rows:
        """The rows at these positions of a round; a share below its size moves on from round to round."""
        places = shuffled(positions, self.size, seed)
        bounds = np.cumsum([share.taken for share in self.shares])
        source = np.searchsorted(bounds, places, "right")
        table = np.array([(s.first, s.rows, s.taken) for s in self.shares], np.int64)
        first, rows, taken = table[source].T
        found: Rows = first + (turn * taken + places - (bounds[source] - taken)) % rows
        return found


@dataclass(slots=True)
class Lane:
    """The rows that may stand in one kind of place, such as both sides in German, round after round."""

    rounds: Rounds
    eligible: Callable[[Rows], Flags]
    count: int
    """How many rows are eligible."""
    seed: int
    _turn: int = 0
    _position: int = 0
    _window: list[int] = field(default_factory=list)
    _again: dict[int, None] = field(default_factory=dict)
    """Rows that were put back, in order; each once, however often that happened."""

    def take(self, count: int) -> list[int]:
        """The next rows of the order."""
        while len(self._window) < count:
            self._fill()
        taken, self._window = self._window[:count], self._window[count:]
        return taken

    def put_back(self, row: int) -> None:
        """A row that did not fit its batch: it comes first in the next."""
        self._again.setdefault(row)

    def waiting(self) -> list[int]:
        """The rows that were put back, taken out."""
        rows = list(self._again)
        self._again.clear()
        return rows

    def _fill(self) -> None:
        stop = min(self._position + WINDOW, self.rounds.size)
        positions = np.arange(self._position, stop)
        seed = self.seed * 1_000_003 + self._turn
        rows = self.rounds.rows(positions, self._turn, seed)
        self._window.extend(rows[self.eligible(rows)].tolist())
        self._position = stop
        if stop == self.rounds.size:
            self._turn, self._position = self._turn + 1, 0

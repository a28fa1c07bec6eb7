"""Scores that torch computes and counts on a device; only pairs that are too near to tell are copied back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xlir_bench.encoders.devices import require_device
from xlir_bench.errors import InputError
from xlir_bench.records import Floats, Ints
from xlir_bench.retrieval import tiles
from xlir_bench.retrieval.kernels import SURPLUS
from xlir_bench.retrieval.similarity import Dense, Similarity
from xlir_bench.retrieval.tiles import Engine, Tile, around
from xlir_bench.retrieval.vectors import Rows

SHARE = 1024
"""Queries of a tile: with a block of passages, its scores take 64 MB."""
PIECE = 1 << 23
"""Scores that are compared at a time."""
PROBED = 64
"""Length of the vectors that test how exact a device is."""

_precision = Lock()
"""Held while `_whole_float32` changes a setting of the whole process."""


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """Prepared rows, and their copy on the device."""

    rows: Floats
    copy: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows and their length."""
        return self.rows.shape

    def __getitem__(self, part: slice) -> DeviceRows:
        return DeviceRows(self.rows[part], self.copy[part])


@dataclass(frozen=True, slots=True)
class TorchTile(Tile):
    """A tile whose scores are a tensor on a device."""

    error: Floats

    def leave_out(self, row: Ints, column: Ints) -> None:
        """Give these pairs a score below any other."""
        self.scores[self._on_device(row), self._on_device(column)] = -torch.inf

    def count(
        self,
        row: Ints,
        own: Floats,
        column: Ints,
        start: Ints,
        stop: Ints,
        before: Ints,
        ties: Ints,
    ) -> Iterator[tuple[Ints, Ints]]:
        """See `Tile`."""
        low, high = around(own, self.error[row])
        width = self.scores.shape[1] + 1
        spans = start * width + stop
        for span in np.unique(spans).tolist():
            items, (first, last) = np.flatnonzero(spans == span), divmod(span, width)
            size = max(1, PIECE // (last - first))
            for piece in np.split(items, range(size, len(items), size)):
                scores = self.scores[:, first:last][self._on_device(row[piece])]
                is_higher = scores > self._on_device(high[piece])[:, None]
                is_near = (scores >= self._on_device(low[piece])[:, None]) & ~is_higher
                before[piece] += is_higher.sum(1).cpu().numpy()
                for item, near in _places(is_near):
                    yield piece[item], first + near

    def best(self, start: int, stop: int, bars: Floats, depth: int) -> Iterator[tuple[Ints, Ints]]:
        """See `Tile`."""
        scores = self.scores[:, start:stop]
        low = self._on_device((bars - self.error).astype(np.float32))
        if int((scores >= low[:, None]).sum(1).max()) > SURPLUS * depth:
            # If `depth` columns score s or more, a column below s - 2 error cannot be among the best.
            listed = torch.topk(scores, depth, sorted=False).values.amin(1)
            low = torch.maximum(low, listed - 2 * self._on_device(self.error.astype(np.float32)))
        # A column that is no candidate of the row scores -inf.
        for row, column in _places((scores >= low[:, None]) & (scores > -torch.inf)):
            yield row, start + column

    def _on_device(self, values: Any) -> Tensor:
        return torch.from_numpy(values).to(self.scores.device)


@dataclass(frozen=True, slots=True)
class TorchEngine(Engine):
    """Computes tiles with torch, on a device."""

    share: int | None = SHARE
    device: torch.device = field(kw_only=True)

    @classmethod
    def of(cls, name: str) -> TorchEngine:
        """The engine of this device; a device whose scores are less exact than float32 is refused."""
        engine = cls(name=name, device=require_device(name, "--search-device"))
        # Each loses the most that rounding to some number of bits can lose; TF32, for example, keeps 10 bits.
        values = 1 + 2.0 ** -np.arange(1, 23) - 2.0**-23
        rows = np.tile(values.repeat(PROBED).reshape(-1, PROBED), (SHARE // len(values), 1))
        try:
            placed = engine.placed(rows.astype(np.float32))
            tile = engine.tile(Dense(cosine=False), placed, placed)
            scores = tile.scores.cpu().numpy()
        except (RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:150]
            raise InputError(
                f"--search-device {name}: torch cannot use it here ({reason})"
            ) from error
        if (np.abs(scores - rows @ rows.T) > tile.error[:, None]).any():
            raise InputError(
                f"--search-device {name}: products on it are less exact than float32, so ranks would not be exact:"
                " leave it out (or is NVIDIA_TF32_OVERRIDE set?)"
            )
        return engine

    def placed(self, rows: Rows) -> DeviceRows:
        """These rows, copied to the device."""
        return DeviceRows(
            rows, torch.from_numpy(np.require(rows, requirements="W")).to(self.device)
        )

    def tile(self, similarity: Similarity, queries: DeviceRows, passages: DeviceRows) -> TorchTile:
        """The scores of rows that are on the device."""
        if not isinstance(similarity, Dense):
            raise InputError(
                "--search-device compares dense vectors, one for each text: leave it out for this model"
            )
        with _whole_float32():
            scores = queries.copy @ passages.copy.T
        error = similarity.error(queries.rows, passages.rows, queries.shape[1])
        return TorchTile(similarity, queries.rows, passages.rows, scores, error)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Products that begin in this context are not rounded to TF32, whatever the process has set."""
    matmul = torch.backends.cuda.matmul
    # The newer name came with torch 2.9. Once it was used in the process, the older name fails.
    is_new = hasattr(matmul, "fp32_precision")
    name = "fp32_precision" if is_new else "allow_tf32"
    with _precision:
        kept = getattr(matmul, name)
        setattr(matmul, name, "ieee" if is_new else False)
        try:
            yield
        finally:
            setattr(matmul, name, kept)


def _places(mask: Tensor) -> Iterator[tuple[Ints, Ints]]:
    """The rows and columns where the mask is true, for some whole rows at a time."""
    ends = mask.sum(1).cumsum(0).cpu().numpy()
    start = 0
    while start < len(ends):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + tiles.LISTED, "right")))
        if ends[stop - 1] > done:
            row, column = mask[start:stop].nonzero(as_tuple=True)
            yield start + row.cpu().numpy(), column.cpu().numpy()
        start = stop

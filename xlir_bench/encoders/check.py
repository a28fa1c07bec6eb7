"""Vectors are checked before anything is ranked by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xlir_bench.errors import BadVectorsError
from xlir_bench.records import Floats, Ints

SHOWN = 60
"""How much of a text an error shows."""


def quoted(text: str) -> str:
    """A text on one line, cut to `SHOWN` characters, in quotes."""
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN else line[: SHOWN - 1] + "…")


def as_floats(vectors: Any, giver: str = "the encoder") -> Floats:
    """Whatever an encoder or a reranker gave (array, tensor, nested lists) as a C-contiguous float32 array."""
    if hasattr(vectors, "detach"):
        vectors = vectors.detach().cpu().float().numpy()
    try:
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadVectorsError(
            f"{giver} gave {type(vectors).__name__}, not numbers: {error}"
        ) from error


def checked(vectors: Any, texts: Sequence[str], dimension: int | None = None) -> Floats:
    """The vectors of `texts` as float32, one finite row per text; an error names the first text that went wrong."""
    floats = as_floats(vectors)
    if not texts and floats.size == 0:
        return floats.reshape(0, dimension or 0)
    first = quoted(texts[0]) if texts else "(none)"
    if floats.ndim != 2 or len(floats) != len(texts):
        raise BadVectorsError(
            f"the encoder gave shape {floats.shape} for {len(texts)} texts (one row each is wanted), the first of them {first}"
        )
    width = floats.shape[1]
    if width == 0 or (dimension is not None and width != dimension):
        wanted = "at least one number" if dimension is None else f"{dimension} numbers"
        raise BadVectorsError(
            f"the encoder gave vectors of {width} numbers, not {wanted}, for the text {first} and those after it"
        )
    check_finite(floats, np.arange(len(floats)), texts)
    return floats


def check_finite(numbers: Floats, row: Ints, texts: Sequence[str]) -> None:
    """Refuse NaN and infinite numbers; `row` has the number of the text of each number, or of each line of numbers."""
    finite = np.isfinite(numbers) if numbers.ndim == 1 else np.isfinite(numbers).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        kind = "NaN" if np.isnan(numbers[first]).any() else "infinite numbers"
        wrong = len(np.unique(row[~finite]))
        raise BadVectorsError(
            f"the encoder gave {kind} for the text {quoted(texts[int(row[first])])} ({wrong} of {len(texts)} texts)"
        )

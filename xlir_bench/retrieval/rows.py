"""What represents texts, a row each: vectors, sparse vectors, or vectors of tokens; and how a shard keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from xlir_bench.encoders.multivector import TokenVectors
from xlir_bench.records import Ints

Rows: TypeAlias = Any
"""An array, a `csr_array` or `TokenVectors`: it has a shape and can be indexed as an array is."""


def stacked(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if isinstance(parts[0], TokenVectors):
        return TokenVectors.stacked(parts)
    return vstack(parts, format="csr")


def sizes_of(rows: Rows, some: Ints | slice) -> Ints:
    """How many numbers of each of some rows are not zero; of tokens, how many vectors there are."""
    if isinstance(rows, np.ndarray):
        return np.asarray(np.count_nonzero(rows[some], axis=1))
    ends = rows.ends if isinstance(rows, TokenVectors) else rows.indptr
    return np.asarray(np.diff(ends)[some])


def arrays_of(rows: Rows) -> dict[str, NDArray[Any]]:
    """What a shard keeps of them; see `shardfile`."""
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
    """The rows that a shard keeps, as they are there."""
    if "ends" not in arrays:
        return arrays["vectors"]
    if "columns" not in arrays:
        return TokenVectors(arrays["vectors"], arrays["ends"])
    shape = (len(arrays["ends"]) - 1, int(arrays["dimension"][0]))
    return csr_array((arrays["weights"], arrays["columns"], arrays["ends"]), shape=shape)

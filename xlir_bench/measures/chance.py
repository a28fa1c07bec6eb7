"""What a random ranking scores; shown beside every figure."""

from __future__ import annotations

import numpy as np

from xlir_bench.records import Floats, Ints


def expected_range(candidates: int, relevant: Ints) -> Floats:
    """Expected highest minus lowest rank of K relevant passages placed at random among N.

    (N + 1)(K - 1) / (K + 1):

    >>> expected_range(13_014, np.array([11])).round(1).tolist()
    [10845.8]
    """
    return (candidates + 1) * (relevant - 1) / (relevant + 1)


def expected_map(candidates: int, relevant: Ints) -> Floats:
    """Expected average precision of R relevant passages placed at random among N.

    A relevant passage at rank k has R - 1 others, each above it with probability (k - 1)/(N - 1):
    the mean over k of (1 + (k - 1)(R - 1)/(N - 1)) / k. One relevant passage of two: (1 + 1/2) / 2.

    >>> expected_map(2, np.array([1])).tolist()
    [0.75]
    """
    if candidates < 2:
        return np.ones(len(relevant))
    harmonic = float(np.sum(1.0 / np.arange(1, candidates + 1)))
    others = (relevant - 1) / (candidates - 1)
    return harmonic / candidates * (1 - others) + others

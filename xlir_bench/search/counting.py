"""The rank of a passage by counting those that stand before it: the one loop that numpy is too slow for.

numpy compares into a table of truth values and counts that in a second pass, a call for each relevant
passage; compiled, it is one pass, in vector registers, four times as fast. numba comes with ranx.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from xlir_bench.records import Floats, Ints


@njit(cache=True)  # type: ignore[untyped-decorator]
def count_ranks(
    scores: Floats, row: Ints, position: Ints, start: Ints, stop: Ints, ranks: Ints
) -> None:
    """Write each passage's rank among the columns [start, stop) of its row of scores.

    Before it stand those that score higher, and those that score the same and come earlier.
    """
    for i in range(len(row)):
        line = scores[row[i]]
        own = line[position[i]]
        head, tail = line[start[i] : position[i]], line[position[i] + 1 : stop[i]]
        # 32 bits: as wide as a score, so that vector registers compare and count alike.
        before = np.uint32(0)
        for column in range(len(head)):
            before = np.uint32(before + np.uint32(head[column] >= own))
        for column in range(len(tail)):
            before = np.uint32(before + np.uint32(tail[column] > own))
        ranks[i] = before + 1


STRIDE = 256
"""Columns looked at together: most hold nothing that is near enough, or good enough."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def true_product(a: Floats, b: Floats) -> float:
    """The inner product of two vectors in float64: the same wherever they stand.

    Four sums side by side, in a stated order: vector registers can take them, and no compiler changes them.
    """
    s0 = s1 = s2 = s3 = 0.0
    whole = len(a) - len(a) % 4
    for i in range(0, whole, 4):
        s0 += np.float64(a[i]) * np.float64(b[i])
        s1 += np.float64(a[i + 1]) * np.float64(b[i + 1])
        s2 += np.float64(a[i + 2]) * np.float64(b[i + 2])
        s3 += np.float64(a[i + 3]) * np.float64(b[i + 3])
    for i in range(whole, len(a)):
        s0 += np.float64(a[i]) * np.float64(b[i])
    return (s0 + s1) + (s2 + s3)


@njit(cache=True)  # type: ignore[untyped-decorator]
def true_products(queries: Floats, passages: Floats, found: Floats) -> None:
    """Write the true product of each query with the passage of the same row."""
    for i in range(len(queries)):
        found[i] = true_product(queries[i], passages[i])


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def count_before(
    scores: Floats,
    queries: Floats,
    passages: Floats,
    first: int,
    row: Ints,
    own: Floats,
    position: Ints,
    error: float,
    before: Ints,
) -> None:
    """Add to each relevant passage's count those of a block of passages that stand before it.

    `scores` are products in float32, at most `error` from the true ones: what is further than that from
    a passage's `own` true score is told apart by them, the few others by their true products.
    """
    for i in prange(len(row)):
        line = scores[row[i]]
        low, high = np.float32(own[i] - error), np.float32(own[i] + error)
        for start in range(0, len(line), STRIDE):
            part = line[start : start + STRIDE]
            above, near = np.uint32(0), np.uint32(0)
            for column in range(len(part)):
                above = np.uint32(above + np.uint32(part[column] > high))
                near = np.uint32(near + np.uint32(part[column] >= low))
            before[i] += above
            if near == above:
                continue
            for column in range(len(part)):
                if part[column] >= low and part[column] <= high:
                    score = true_product(queries[row[i]], passages[start + column])
                    earlier = first + start + column < position[i]
                    before[i] += score > own[i] or (score == own[i] and earlier)


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def keep_best(
    scores: Floats,
    queries: Floats,
    passages: Floats,
    first: int,
    floor: Floats,
    error: float,
    best: Floats,
    positions: Ints,
) -> None:
    """Merge a block of passages into each query's best: true score descending, then position.

    `floor` is what a score in float32 has to reach, whatever was kept before.
    """
    depth = best.shape[1]
    for row in prange(len(scores)):
        line, kept, places = scores[row], best[row], positions[row]
        bar = max(floor[row], np.float32(kept[depth - 1] - error))
        for start in range(0, len(line), STRIDE):
            part = line[start : start + STRIDE]
            some = np.uint32(0)
            for column in range(len(part)):
                some = np.uint32(some + np.uint32(part[column] >= bar))
            if some == 0:
                continue
            for column in range(len(part)):
                if part[column] < bar or part[column] == -np.inf:
                    continue
                score = true_product(queries[row], passages[start + column])
                # Positions ascend, so an equal score that is kept already stands before this one.
                if score <= kept[depth - 1]:
                    continue
                place = depth - 1
                while place > 0 and kept[place - 1] < score:
                    kept[place], places[place] = kept[place - 1], places[place - 1]
                    place -= 1
                kept[place], places[place] = score, first + start + column
                bar = max(floor[row], np.float32(kept[depth - 1] - error))


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def unit_rows(rows: Floats, unit: Floats) -> None:
    """Write each row at unit length; a zero row stays zero."""
    for i in prange(len(rows)):
        length = np.sqrt(true_product(rows[i], rows[i]))
        scale = 1.0 / length if length > 0 else 0.0
        for j in range(rows.shape[1]):
            unit[i, j] = np.float32(rows[i, j] * scale)

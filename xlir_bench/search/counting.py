"""The loops over scores and vectors that numpy is too slow for, compiled: counting, keeping the best, unit length.

numpy compares into a table of truth values and counts that in a second pass, a call for each relevant
passage; compiled, it is one pass, in vector registers, four times as fast. numba comes with ranx.
"""

from __future__ import annotations

import numpy as np
from numba import njit

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


STRIDE = 128
"""Columns looked at together: most hold nothing that is near enough, or good enough.

Those of a stride that do are written down first and looked at after: a loop that also calls a function for some
of its columns is no longer compiled for vector registers, and takes three times as long.
"""


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def true_product(a: Floats, b: Floats, products: Floats) -> float:
    """The inner product of two vectors in float64: the same wherever they stand, on every machine.

    The upper half of the products is added to the lower until one is left: an order that vector registers
    of any width keep. `products` is room for as many as a vector has components.
    """
    count = len(a)
    for i in range(count):
        products[i] = np.float64(a[i]) * np.float64(b[i])
    while count > 1:
        half = (count + 1) // 2
        for i in range(count - half):
            products[i] += products[i + half]
        count = half
    return float(products[0])


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def true_products(queries: Floats, passages: Floats, found: Floats) -> None:
    """Write the true product of each query with the passage of the same row."""
    products = np.empty(queries.shape[1])
    for i in range(len(queries)):
        found[i] = true_product(queries[i], passages[i], products)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
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
    """Add to each relevant passage's count those of a tile of passages that stand before it.

    `scores` are products in float32, at most `error` from the true ones: what is further than that from
    a passage's `own` true score is told apart by them, the few others by their true products.
    """
    close, products = np.empty(STRIDE + 1, np.int64), np.empty(queries.shape[1])
    for i in range(len(row)):
        line = scores[row[i]]
        low, high = np.float32(own[i] - error), np.float32(own[i] + error)
        total = np.int64(0)
        for start in range(0, len(line), STRIDE):
            part = line[start : start + STRIDE]
            above, near = np.uint32(0), np.uint32(0)
            for column in range(len(part)):
                above = np.uint32(above + np.uint32(part[column] > high))
                near = np.uint32(near + np.uint32(part[column] >= low))
            total += np.int64(above)
            if near == above:
                continue
            count = 0
            for column in range(len(part)):
                close[count] = start + column
                count += low <= part[column] <= high
            for number in range(count):
                column = close[number]
                score = true_product(queries[row[i]], passages[column], products)
                earlier = first + column < position[i]
                total += np.int64(score > own[i] or (score == own[i] and earlier))
        before[i] += total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
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
    """Merge a tile of passages into each query's best: true score descending, then position.

    `floor` is what a score in float32 has to reach, whatever was kept before.
    """
    depth = best.shape[1]
    good, products = np.empty(STRIDE + 1, np.int64), np.empty(queries.shape[1])
    for row in range(len(scores)):
        line, kept, places = scores[row], best[row], positions[row]
        for start in range(0, len(line), STRIDE):
            bar = max(floor[row], np.float32(kept[depth - 1] - error))
            part = line[start : start + STRIDE]
            some = np.uint32(0)
            for column in range(len(part)):
                some = np.uint32(some + np.uint32(part[column] >= bar))
            if some == 0:
                continue
            count = 0
            for column in range(len(part)):
                good[count] = start + column
                count += part[column] >= bar and part[column] != -np.inf
            for number in range(count):
                column = good[number]
                score = true_product(queries[row], passages[column], products)
                # Positions ascend, so an equal score that is kept already stands before this one.
                if score <= kept[depth - 1]:
                    continue
                place = depth - 1
                while place > 0 and kept[place - 1] < score:
                    kept[place], places[place] = kept[place - 1], places[place - 1]
                    place -= 1
                kept[place], places[place] = score, first + column


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def unit_rows(rows: Floats, unit: Floats) -> None:
    """Write each row at unit length; a zero row stays zero.

    Lengths are taken in float64: squares of large float16-born values overflow float32.
    """
    products = np.empty(rows.shape[1])
    for i in range(len(rows)):
        length = np.sqrt(true_product(rows[i], rows[i], products))
        scale = 1.0 / length if length > 0 else 0.0
        for j in range(rows.shape[1]):
            unit[i, j] = np.float32(rows[i, j] * scale)

"""The loops over scores and vectors that numpy is too slow for, compiled by numba (which comes with ranx).

How they are written, so that they can be changed safely:

- A tile of scores is float32, a row a query, and lies row by row in memory. A loop that only compares and counts
  is compiled for vector registers; one that also calls a function, or writes where a condition holds, is not, and
  takes three times as long. So columns are first counted in pieces of `STRIDE`, and a piece is looked at column by
  column only where the count says that something is in it. Most pieces hold nothing.
- Counts inside a piece are 32 bits, as wide as a score: then one register compares and counts as many columns.
- `lists[count] = column; count += condition` writes every column and keeps those that hold: no branch to guess
  wrongly. The lists need room for one column more than they can keep.
- A list that may not hold the next row ends the call; the caller takes what is there and goes on from that row.
- No `fastmath`: it would let the compiler add in any order, and then a product would depend on the machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from xlir_bench.records import Floats, Ints

STRIDE = 128
"""Columns that are counted together."""
MANY = 24
"""Items of one row from which on its columns are sorted into bins once, not compared with every item."""
BINS = 2048
"""A multiple of what a row has items, so that most bins hold no item."""
SURPLUS = 4
"""Into how many times as many parts as passages are wanted a line is cut, to see what the best of them reach."""


def are_compiled() -> bool:
    """Whether this machine has compiled them, as they are now: numba keeps what it made, and ranx's functions with them."""
    if (kept := getattr(count_above, "_cache", None)) is None:  # numba was told to compile nothing
        return True
    written = Path(__file__).stat().st_mtime
    return any(x.stat().st_mtime > written for x in Path(kept.cache_path).glob("kernels.*.nbi"))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_above(
    scores: Floats,
    row: Ints,
    low: Floats,
    high: Floats,
    own: Ints,
    start: Ints,
    stop: Ints,
    begin: int,
    above: Ints,
    near_item: Ints,
    near_column: Ints,
) -> tuple[int, int]:
    """For items from `begin` on, count the columns [start, stop) of their row that are above `high`.

    Those from `low` to `high` are listed instead, but for their `own`. Returns the item to go on with, and the length of
    the list.
    """
    count, alike = 0, begin
    item = begin
    while item < len(row):
        if count + stop[item] - start[item] >= len(near_item):
            return item, count
        line = scores[row[item], start[item] : stop[item]]
        if item >= alike:
            while alike < len(row) and (row[alike], start[alike], stop[alike]) == (
                row[item],
                start[item],
                stop[item],
            ):
                alike += 1
            if alike - item >= MANY:
                room = near_item[count:], near_column[count:]
                some = slice(item, alike)
                near = _count_binned(
                    line, low[some], high[some], own[some] - start[item], above[some], *room
                )
                if near >= 0:
                    near_item[count : count + near] += item
                    near_column[count : count + near] += start[item]
                    count += near
                    item = alike
                    continue
                if count > 0:
                    return item, count
        first, floor, ceiling = count, low[item], high[item]
        total = np.int64(0)
        for at in range(0, len(line), STRIDE):
            piece = line[at : at + STRIDE]
            higher, reaching = np.uint32(0), np.uint32(0)
            for column in range(len(piece)):
                higher = np.uint32(higher + np.uint32(piece[column] > ceiling))
                reaching = np.uint32(reaching + np.uint32(piece[column] >= floor))
            total += np.int64(higher)
            if reaching > higher:
                itself = own[item] - start[item] - at
                for column in range(len(piece)):
                    near_column[count] = start[item] + at + column
                    is_near = (piece[column] >= floor) & (piece[column] <= ceiling)
                    count += is_near & (column != itself)
        near_item[first:count] = item
        above[item] += total
        item += 1
    return len(row), count


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _count_binned(
    line: Floats,
    low: Floats,
    high: Floats,
    own: Ints,
    above: Ints,
    near_item: Ints,
    near_column: Ints,
) -> int:
    """The same for items that are compared with the same columns; the length of the list, -1 if it may not hold it.

    A bin's columns are all below an item, all above it, or compared with it one by one.
    """
    floor = low.min()
    scale = np.float32(BINS - 1) / (high.max() - floor)
    if not 0 < scale < np.inf:
        return -1
    bins, last = np.empty(len(line), np.uint16), np.float32(BINS - 1)
    for column in range(len(line)):
        bins[column] = np.uint16(min(max((line[column] - floor) * scale, np.float32(0)), last))
    lowest, highest = np.empty(len(low), np.int64), np.empty(len(low), np.int64)
    is_compared = np.zeros(BINS, np.bool_)
    for item in range(len(low)):
        lowest[item] = np.uint16(min((low[item] - floor) * scale, last))
        highest[item] = np.uint16(min((high[item] - floor) * scale, last))
        is_compared[lowest[item] : highest[item] + 1] = True
    ends = np.zeros(BINS, np.int32)
    columns, count = np.empty(len(line) + 1, np.int32), 0
    for column in range(len(line)):
        ends[bins[column]] += 1
        columns[count] = column
        count += is_compared[bins[column]]
    compared = 0
    for item in range(len(low)):
        compared += ends[lowest[item] : highest[item] + 1].sum()
    if compared >= len(near_item):
        return -1
    # From counts to the place behind each bin's columns, were they sorted.
    for number in range(1, BINS):
        ends[number] += ends[number - 1]
    starts = ends.copy()
    sorted_columns = np.empty(len(line), np.int32)
    for column in columns[:count]:
        starts[bins[column]] -= 1
        sorted_columns[starts[bins[column]]] = column
    count = 0
    for item in range(len(low)):
        above[item] += len(line) - ends[highest[item]]
        first = ends[lowest[item] - 1] if lowest[item] else 0
        for place in range(first, ends[highest[item]]):
            column = sorted_columns[place]
            score = line[column]
            above[item] += score > high[item]
            near_item[count] = item
            near_column[count] = column
            is_near = (score >= low[item]) & (score <= high[item])
            count += is_near & (column != own[item])
    return count


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_exact(
    scores: Floats,
    row: Ints,
    own: Floats,
    column: Ints,
    start: Ints,
    stop: Ints,
    above: Ints,
    ties: Ints,
) -> None:
    """For each item, count the columns [start, stop) of its row that score more than its `own`, and as much.

    Scores are true ones. Of equal ones those before the item's `column`, which may be outside the tile, are in the first
    row of `ties`, those after it in the second.
    """
    for item in range(len(row)):
        line, bar = scores[row[item]], np.float32(own[item])
        middle = min(max(column[item], start[item]), stop[item])
        for side in range(2):
            first = middle if side else start[item]
            last = stop[item] if side else middle
            for piece in range(first, last, STRIDE):
                higher, reaching = np.uint32(0), np.uint32(0)
                for at in range(piece, min(piece + STRIDE, last)):
                    higher = np.uint32(higher + np.uint32(line[at] > bar))
                    reaching = np.uint32(reaching + np.uint32(line[at] >= bar))
                above[item] += np.int64(higher)
                ties[side, item] += np.int64(reaching) - np.int64(higher)
        if start[item] <= column[item] < stop[item]:
            ties[1, item] -= 1  # itself


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def settle(
    item: Ints, true: Floats, place: Ints, own: Floats, position: Ints, above: Ints, ties: Ints
) -> None:
    """Count passages by their true scores: each is at a `place` of the pool, and compared with one item.

    An item's own passage is at its `position`; of equal scores those before it are in the first row of `ties`, those
    after it in the second.
    """
    for i in range(len(item)):
        of = item[i]
        above[of] += true[i] > own[of]
        if true[i] == own[of] and place[i] != position[of]:
            ties[int(place[i] > position[of]), of] += 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def list_best(
    scores: Floats,
    start: int,
    stop: int,
    bars: Floats,
    error: Floats,
    depth: int,
    begin: int,
    rows: Ints,
    columns: Ints,
) -> tuple[int, int]:
    """List the columns [start, stop) that may be among the `depth` truly best of their row.

    A score is at most `error` of its row from the true one, and only those from the row's bar on count. With
    `depth` columns at some score or above it, whatever is more than two errors below that is out.
    Returns the row to go on with, and the length of the list.
    """
    count = 0
    for row in range(begin, len(scores)):
        if count + stop - start >= len(rows):
            return row, count
        line = scores[row, start:stop]
        first, bar = count, bars[row]
        if bar == -np.inf and len(line) > depth:
            bar = _reached_by(_largest(line, SURPLUS * depth), depth, error[row])
        for at in range(0, len(line), STRIDE):
            piece = line[at : at + STRIDE]
            reaching = np.uint32(0)
            for column in range(len(piece)):
                reaching = np.uint32(reaching + np.uint32(piece[column] >= bar))
            if reaching == 0:
                continue
            for column in range(len(piece)):
                columns[count] = at + column
                # A column that is none of the row's candidates has -inf.
                count += piece[column] >= bar and piece[column] != -np.inf
        if count - first > depth:
            listed = line[columns[first:count]]
            bar, count = _reached_by(listed, depth, error[row]), first
            for i in range(len(listed)):
                columns[count] = columns[first + i]
                count += listed[i] >= bar
        for place in range(first, count):
            rows[place] = row
            columns[place] += start
    return len(scores), count


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _largest(line: Floats, parts: int) -> Floats:
    """The largest number of each part of a line; every so many columns one is of the same part."""
    largest = line[:parts].copy()
    for at in range(parts, len(line), parts):
        piece = line[at : at + parts]
        for column in range(len(piece)):
            if piece[column] > largest[column]:
                largest[column] = piece[column]
    return largest


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _reached_by(scores: Floats, depth: int, error: float) -> np.float32:
    """From which score on columns may be among the `depth` truly best of some."""
    place = len(scores) - depth
    return np.float32(np.partition(scores, place)[place] - 2 * error)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def merge_best(rows: Ints, scores: Floats, positions: Ints, best: Floats, places: Ints) -> None:
    """Put what is listed among the best of its row: score descending, then position ascending."""
    last = best.shape[1] - 1
    for i in range(len(rows)):
        kept, where, score, position = best[rows[i]], places[rows[i]], scores[i], positions[i]
        if score < kept[last] or (score == kept[last] and position > where[last]):
            continue
        place = last
        while place > 0 and (
            kept[place - 1] < score or (kept[place - 1] == score and where[place - 1] > position)
        ):
            kept[place], where[place] = kept[place - 1], where[place - 1]
            place -= 1
        kept[place], where[place] = score, position


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
def true_products(
    queries: Floats, query: Ints, passages: Floats, passage: Ints, out: Floats
) -> None:
    """Write the true product of each pair of rows."""
    products = np.empty(queries.shape[1])
    for i in range(len(query)):
        out[i] = true_product(queries[query[i]], passages[passage[i]], products)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def true_table(queries: Floats, passages: Floats, out: Floats) -> None:
    """Write the true product of each query, by row, and each passage."""
    products = np.empty(queries.shape[1])
    for query in range(len(queries)):
        for passage in range(len(passages)):
            out[query, passage] = true_product(queries[query], passages[passage], products)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def true_maxsims(
    queries: Floats,
    ends: Ints,
    query: Ints,
    passages: Floats,
    passage_ends: Ints,
    passage: Ints,
    out: Floats,
) -> None:
    """Write for each pair the sum, over a query's tokens, of the largest true product with a token of the passage.

    Tokens lie one text after another. A pair whose passage has none is left as it is.
    """
    products = np.empty(queries.shape[1])
    for i in range(len(query)):
        first, last = passage_ends[passage[i]], passage_ends[passage[i] + 1]
        if first == last:
            continue
        total = 0.0
        for token in range(ends[query[i]], ends[query[i] + 1]):
            largest = true_product(queries[token], passages[first], products)
            for other in range(first + 1, last):
                product = true_product(queries[token], passages[other], products)
                largest = max(largest, product)
            total += largest
        out[i] = total


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


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def sparse_scores(
    ends: Ints,
    columns: Ints,
    weights: Floats,
    passage_ends: Ints,
    passages: Ints,
    values: Floats,
    count: int,
) -> Floats:
    """The inner product of every query and each of `count` passages, both with few columns that are not zero.

    Queries lie by row and passages by column (CSR and CSC): a query's columns are gone through in ascending order,
    and each adds to the passages that have it. In float64, then rounded once: equal for equal texts, on every machine.
    """
    scores = np.zeros((len(ends) - 1, count), np.float32)
    line = np.empty(count)
    for query in range(len(ends) - 1):
        line[:] = 0
        for i in range(ends[query], ends[query + 1]):
            column = columns[i]
            for j in range(passage_ends[column], passage_ends[column + 1]):
                line[passages[j]] += np.float64(weights[i]) * np.float64(values[j])
        for passage in range(count):
            scores[query, passage] = np.float32(line[passage])
    return scores


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def sparse_products(
    query: Ints,
    ends: Ints,
    columns: Ints,
    weights: Floats,
    passage: Ints,
    passage_ends: Ints,
    passage_columns: Ints,
    values: Floats,
) -> Floats:
    """The same of some pairs, both by row: to the bit what `sparse_scores` says of them."""
    sums = np.empty(len(query))
    for pair in range(len(query)):
        i, end = ends[query[pair]], ends[query[pair] + 1]
        j, passage_end = passage_ends[passage[pair]], passage_ends[passage[pair] + 1]
        total = 0.0
        while i < end and j < passage_end:
            if columns[i] < passage_columns[j]:
                i += 1
            elif columns[i] > passage_columns[j]:
                j += 1
            else:
                total += np.float64(weights[i]) * np.float64(values[j])
                i, j = i + 1, j + 1
        sums[pair] = np.float32(total)
    return sums

"""The loops over scores and vectors that are too slow in numpy, compiled by numba (which comes with ranx).

A *tile* is a float32 table of scores, with a row per query and a column per passage, stored row by row. An *item* is
a relevant passage whose rank is wanted: it is compared with the columns [start, stop) of its query's row. How the loops
are written, so that they can be changed safely:

- The compiler turns a loop that only compares and counts into vector instructions. A loop that also calls a function,
  or writes only if a condition holds, takes three times as long. So columns are first counted in pieces of `STRIDE`.
  A piece is searched column by column only if its count is not 0, and most counts are 0.
- Counts inside a piece have 32 bits, like a score: a vector register then compares and counts equally many columns.
- `columns[count] = column; count += condition` writes every column, but moves on only if the condition holds. It has
  no branch that the processor can predict wrongly. It may write one column too many: lists need room for one more.
- If a list may not have room for the next row or item, the call ends and returns that row or item. The caller uses
  the list, and calls again from there.
- No `fastmath`: it lets the compiler add in any order, and then the bits of a product would depend on the machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from xlir_bench.records import Floats, Ints

STRIDE = 128
"""Columns that are counted together."""
MANY = 24
"""If a row has this many items or more, its columns are sorted into bins once, and not compared with every item."""
BINS = 2048
"""How many bins: many more than a row has items, so that the columns of most bins are compared with no item."""
SURPLUS = 4
"""Parts that a line is cut into for each passage that is wanted; the largest score of each part gives a first bar."""


def are_compiled() -> bool:
    """Whether numba's cache on this machine has these loops as they are now; it then has ranx's functions, too."""
    if (cache := getattr(count_above, "_cache", None)) is None:  # numba is set to compile nothing
        return True
    written = Path(__file__).stat().st_mtime
    return any(x.stat().st_mtime > written for x in Path(cache.cache_path).glob("kernels.*.nbi"))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_above(
    scores: Floats,
    row: Ints,
    low: Floats,
    high: Floats,
    own_column: Ints,
    start: Ints,
    stop: Ints,
    begin: int,
    above: Ints,
    near_item: Ints,
    near_column: Ints,
) -> tuple[int, int]:
    """For each item from `begin` on, add to `above` how many columns [start, stop) of its row score more than `high`.

    A column from `low` to `high` is too near to tell which score is truly higher: it is listed, as a pair of an item and a
    column, unless it is the item's `own_column`. Returns the item to go on with, and the length of the list.
    """
    count, alike_until = 0, begin
    item = begin
    while item < len(row):
        if count + stop[item] - start[item] >= len(near_item):
            return item, count
        line = scores[row[item], start[item] : stop[item]]
        if item >= alike_until:
            # The items that follow and are compared with the same columns.
            while alike_until < len(row) and (
                row[alike_until],
                start[alike_until],
                stop[alike_until],
            ) == (row[item], start[item], stop[item]):
                alike_until += 1
            if alike_until - item >= MANY:
                room = near_item[count:], near_column[count:]
                alike = slice(item, alike_until)
                own = own_column[alike] - start[item]
                near = _count_binned(line, low[alike], high[alike], own, above[alike], *room)
                if near >= 0:
                    near_item[count : count + near] += item
                    near_column[count : count + near] += start[item]
                    count += near
                    item = alike_until
                    continue
                # With an empty list they may have room; if not, each is counted alone.
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
                itself = own_column[item] - start[item] - at
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
    own_column: Ints,
    above: Ints,
    near_item: Ints,
    near_column: Ints,
) -> int:
    """As `count_above`, for items that are compared with the same columns, those of `line`.

    Returns the length of the list. If the list may have too little room, or the range of scores below cannot be divided,
    it counts nothing and returns -1.

    Bins divide the range of scores from the least `low` to the greatest `high`. The bin of a score never falls as the
    score grows. So columns in a bin beyond that of `high` are above the item, and columns in a bin before that of `low`
    are below it. Only the columns from the bin of `low` to the bin of `high` are compared with the item one by one.
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
    # From the number of columns in each bin to the place where the bin ends, if columns are sorted by bin.
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
            count += is_near & (column != own_column[item])
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
    """For each item, add to `above` how many columns [start, stop) of its row score more than its `own` score.

    All scores are true ones. Columns with an equal score are added to `ties`: to its first row if they are before the
    item's `column`, to its second if after. That column may be outside the tile.
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
    items: Ints, true: Floats, place: Ints, own: Floats, position: Ints, above: Ints, ties: Ints
) -> None:
    """Count passages that were too near to tell by their true scores, each for one of the `items`.

    A passage is at a `place` of the pool. An item has a true score, `own`, and its own passage is at its `position`.
    Passages with an equal score are added to `ties`: to its first row if they are before the item, to its second if after.
    """
    for i in range(len(items)):
        item = items[i]
        above[item] += true[i] > own[item]
        if true[i] == own[item] and place[i] != position[item]:
            ties[int(place[i] > position[item]), item] += 1


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
    """List the columns [start, stop) that may truly be among the `depth` best of their row and score the row's bar or more.

    A score is at most the row's `error` from the true score. If `depth` columns score s or more, their true scores
    are s - error or more; so a column below s - 2 error cannot be among the best. Returns the row to go on with, and
    the length of the list.
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
                # A column that is no candidate of the row scores -inf.
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
    """The largest score of each part of a line; part p has the columns p, p + parts, p + 2 parts, and so on."""
    largest = line[:parts].copy()
    for at in range(parts, len(line), parts):
        piece = line[at : at + parts]
        for column in range(len(piece)):
            if piece[column] > largest[column]:
                largest[column] = piece[column]
    return largest


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _reached_by(scores: Floats, depth: int, error: float) -> np.float32:
    """The lowest score at which a column may truly be among the `depth` best of these."""
    place = len(scores) - depth
    return np.float32(np.partition(scores, place)[place] - 2 * error)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def merge_best(rows: Ints, scores: Floats, positions: Ints, best: Floats, places: Ints) -> None:
    """Insert each listed passage into the best of its row, by score descending, then position ascending; drop the last."""
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
    """The inner product of two vectors in float64: the same bits wherever the vectors lie, on every machine.

    The bits of a sum depend on the order of its additions. Here the upper half of the products is added to the lower
    half until one number is left: an order that vector registers of any width can keep. `products` is room for one
    number per component.
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
    """Write the true products of all queries, by row, and all passages, by column."""
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

    The tokens of all texts lie one text after another: those of text n are the rows from ends[n] to ends[n + 1]. For a
    passage without tokens nothing is written.
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

    Lengths are computed in float64: the squares of large values overflow float32.
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
    """The inner products of all queries and `count` passages, both sparse.

    Queries are stored by row (CSR), passages by column (CSC). The columns of a query are visited in ascending order,
    and each adds to the passages that have it. Sums are float64 and are rounded once: equal texts have equal scores, on
    every machine.
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
    """The inner product of each pair, with queries and passages by row (CSR): the same bits as in `sparse_scores`."""
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

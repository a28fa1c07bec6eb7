"""Retrieval measures as ranx has them, from exact ranks: the one module that knows ranx.

map, mrr and recall follow from the ranks of the relevant passages alone, the same to the bit. For the others ranx scores
arrays of ids in the order of their ranks (the scores beside them are for its sorting, which is not needed). A passage
that is not relevant only takes up a place, so a run is an array of -1 with the relevant ids at their ranks: no pool is
sorted, and queries of all settings are scored together, those with deep ranks apart from the others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType

import numpy as np

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.measures.answers import token_budget
from xlir_bench.records import Floats, Ints, Ranking, Scores

WHOLE = ("map", "mrr", "ndcg", "ndcg_burges", "dcg", "dcg_burges", "r-precision")
"""May stand alone (over the whole ranking) or, but for r-precision, carry a cut-off ``@k``."""
CUT = ("recall", "precision", "hit_rate", "hits", "f1")
"""Need a cut-off: over the whole pool recall is always 1."""
CHUNK_PLACES = 2_000_000
"""Places of a run array scored at a time (16 MB)."""
PADDING = (-2.0, 0.0)
"""Fills up a list of relevant passages. The ideal ranking of nDCG is looked up in that same list: padded
with a real id, such as 0, it would hold that passage twice."""


def check_measures(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once; all unknown or incomplete ones are reported together, with near misses."""
    names = tuple(dict.fromkeys(names))
    known = [*WHOLE, *(f"{name}@10" for name in (*WHOLE[:-1], *CUT)), "rbp.80"]
    unknown = [n for n in names if not _is_measure(n)]
    if unknown and all(n in CUT for n in unknown):
        raise InputError(
            "; ".join(f"measure {n!r} wants a cut-off, such as '{n}@10'" for n in unknown)
        )
    if unknown:
        raise UnknownNameError("measure", unknown, known)
    if not names:
        raise InputError("no measure was asked for; try --measures map,recall@10")
    return names


def check_fit(names: Sequence[str], by_answers: bool) -> None:
    """Refuse measures of judged passages where a task has answers instead, and the other way round."""
    unfit = [name for name in names if (token_budget(name) is not None) != by_answers]
    if unfit and by_answers:
        raise InputError(
            f"{', '.join(unfit)} wants judged passages, and this task has answers alone:"
            " try --measures recall@2kt,recall@5kt"
        )
    if unfit:
        raise InputError(
            f"{', '.join(unfit)} looks for answers in passages, and this task has none: try --measures map,recall@10"
        )


def _is_measure(name: str) -> bool:
    if name in WHOLE or token_budget(name) is not None or re.fullmatch(r"rbp\.\d{1,3}", name):
        return True
    cut = re.fullmatch(r"([a-z0-9_-]+)@([1-9]\d{0,6})", name)
    return cut is not None and cut[1] in (*WHOLE[:-1], *CUT)


def score(rankings: Sequence[Ranking], measures: Sequence[str]) -> list[Scores]:
    """Per-query values of every measure, one `Scores` a ranking."""
    return Scorer.of(rankings).scores(measures)


def average_precision(query: Ints, rank: Ints) -> Floats:
    """For each query that occurs, the mean of i / r over its i-th best rank r; 0 is not retrieved.

    >>> average_precision(np.array([7, 7, 8]), np.array([5, 2, 4])).tolist()
    [0.45, 0.25]
    """
    order = np.lexsort((np.where(rank > 0, rank, np.iinfo(np.int64).max), query))
    _, start, row, size = np.unique(
        query[order], return_index=True, return_inverse=True, return_counts=True
    )
    place = np.arange(1, len(query) + 1) - start[row]
    sorted_rank = rank[order]
    parts = np.divide(place, sorted_rank, out=np.zeros(len(query)), where=sorted_rank > 0)
    return np.asarray(np.bincount(row, parts, len(size)) / size)


def reciprocal_rank(query: Ints, rank: Ints) -> Floats:
    """For each query that occurs, 1 / r of its best rank r; 0 is not retrieved.

    >>> reciprocal_rank(np.array([7, 7, 8]), np.array([5, 2, 0])).tolist()
    [0.5, 0.0]
    """
    _, row = np.unique(query, return_inverse=True)
    best = np.full(row.max(initial=-1) + 1, np.inf)
    np.minimum.at(best, row[rank > 0], rank[rank > 0])
    return 1 / best


def share_found(query: Ints, rank: Ints) -> Floats:
    """For each query that occurs, the share of its ranks that is not 0.

    >>> share_found(np.array([7, 7, 8]), np.array([5, 0, 2])).tolist()
    [0.5, 1.0]
    """
    _, row, size = np.unique(query, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(row, rank > 0, len(size)) / size)


BY_RANKS: Mapping[str, Callable[[Ints, Ints], Floats]] = {
    "map": average_precision,
    "mrr": reciprocal_rank,
    "recall": share_found,
}
"""What needs no place for every passage of the pool. ranx walks through all of them: most of the time of a report."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """The relevant passages of all scored queries of some rankings, one row each, grouped by query."""

    rankings: Sequence[Ranking]
    scored: Sequence[Ints]
    """Of each ranking, the rows of its queries."""
    query: Ints
    """The number of its query among all that are scored."""
    column: Ints
    """Its number among those of its query, the highest grade first."""
    passage: Ints
    grade: Ints
    rank: Ints
    size: Ints
    """By scored query: how many it has."""
    deepest: Ints
    """By scored query: the deepest of their ranks."""

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> Scorer:
        """Ready to be scored by any measures."""
        queries, scored, count = [np.empty(0, np.int64)], [], 0
        for r in rankings:
            rows, query = np.unique(r.query, return_inverse=True)
            scored.append(rows)
            queries.append(query + count)
            count += len(rows)
        query = np.concatenate(queries)
        passage, grade, rank = (
            np.concatenate([np.empty(0, np.int64), *(getattr(r, name) for r in rankings)]).astype(
                np.int64
            )
            for name in ("passage", "grade", "rank")
        )
        order = np.lexsort((passage, -grade, query))
        query, passage, grade, rank = query[order], passage[order], grade[order], rank[order]
        size = np.bincount(query, minlength=count)
        deepest = np.zeros(count, np.int64)
        np.maximum.at(deepest, query, rank)
        column = _ranges(size)
        return cls(rankings, scored, query, column, passage, grade, rank, size, deepest)

    def scores(self, measures: Sequence[str]) -> list[Scores]:
        """Per-query values of every measure, one `Scores` a ranking."""
        values: dict[str, Floats] = {}
        walked: dict[bool, list[str]] = {True: [], False: []}
        for measure in measures:
            name, _, cut = measure.partition("@")
            if name in BY_RANKS:
                rank = np.where(self.rank > int(cut), 0, self.rank) if cut else self.rank
                values[measure] = BY_RANKS[name](self.query, rank)
            else:
                walked[bool(cut)].append(measure)
        # Places below the deepest relevant passage, or below the cut-off, change no value.
        deepest_cut = max((int(measure.split("@")[1]) for measure in walked[True]), default=1)
        depth = {True: np.minimum(self.deepest, deepest_cut), False: self.deepest}
        for has_cut, group in walked.items():
            if group:
                values |= _evaluate(self, group, depth[has_cut])
        ends = np.cumsum([0] + [len(rows) for rows in self.scored]).tolist()
        return [
            Scores(
                r.setting,
                r.candidates,
                rows,
                {m: values[m][ends[i] : ends[i + 1]] for m in measures},
            )
            for i, (r, rows) in enumerate(zip(self.rankings, self.scored, strict=True))
        ]


def _evaluate(table: Scorer, measures: Sequence[str], depth: Ints) -> dict[str, Floats]:
    """Values of all scored queries, each looked at so far down, by chunks of queries of about the same depth."""
    by_ranx = {measure: _ranx_function(measure) for measure in measures}
    values: dict[str, Floats] = {measure: np.empty(len(depth)) for measure in measures}
    depth = np.maximum(depth, 1)
    order = np.argsort(depth, kind="stable")
    starts = np.cumsum(table.size) - table.size
    places = np.empty(0)
    end = len(order)
    while end > 0:
        deepest = int(depth[order[end - 1]])
        start = max(0, end - max(1, CHUNK_PLACES // deepest))
        chosen = order[start:end]
        sizes = table.size[chosen]
        query = np.repeat(np.arange(len(chosen)), sizes)
        rows = np.repeat(starts[chosen], sizes) + _ranges(sizes)
        relevant = np.full((len(chosen), int(sizes.max()), 2), PADDING)
        relevant[query, table.column[rows], 0] = table.passage[rows]
        relevant[query, table.column[rows], 1] = table.grade[rows]
        needed = len(chosen) * deepest
        if len(places) < needed:
            places = np.full(needed, -1.0)
        run = places[:needed].reshape(len(chosen), deepest, 1)
        rank = table.rank[rows]
        seen = (rank > 0) & (rank <= deepest)
        run[query[seen], rank[seen] - 1, 0] = table.passage[rows][seen]
        for measure, evaluate in by_ranx.items():
            values[measure][chosen] = evaluate(relevant, run)
        # Emptied, not made anew: filling gigabytes would cost more than scoring them.
        run[query[seen], rank[seen] - 1, 0] = -1.0
        end = start
    return values


def _ranges(sizes: Ints) -> Ints:
    """0, 1, … for each size, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _ranx_function(measure: str) -> Callable[[Floats, Floats], Floats]:
    """ranx's function of this name, with its cut-off or persistence."""
    name, _, parameter = measure.replace(".", "@").partition("@")
    bound = float(f"0.{parameter}") if name == "rbp" else int(parameter or 0)
    function = _ranx_metrics().metric_switch(name)
    return lambda relevant, run: np.asarray(function(relevant, run, bound, 1))


@cache
def _ranx_metrics() -> ModuleType:
    """`ranx.metrics` without the rest of ranx, unless that is imported already.

    ``import ranx`` brings matplotlib, scipy.stats and a catalogue of data sets: two seconds, longer than the rest of
    a small run. So while the measures are imported, an empty module stands in for the package; it is removed again, so
    that a later ``import ranx`` gets all of it.
    """
    if "ranx" in sys.modules:
        return import_module("ranx.metrics")
    spec = find_spec("ranx")
    if spec is None:
        raise ModuleNotFoundError("ranx is not installed", name="ranx")
    sys.modules["ranx"] = module_from_spec(spec)
    try:
        metrics = import_module("ranx.metrics")
    finally:
        del sys.modules["ranx"]
    # As ranx itself does on import; other layers may have to be installed.
    import_module("numba").config.THREADING_LAYER = "workqueue"
    return metrics

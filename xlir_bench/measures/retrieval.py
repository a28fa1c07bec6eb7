"""Retrieval measures by ranx, from exact ranks: the one module that knows ranx.

ranx scores arrays of ids in the order of their ranks (the scores beside them are for its sorting, which
is not needed). A passage that is not relevant only takes up a place, so a run is an array of -1 with the
relevant ids at their ranks: no pool is sorted, and queries of all settings are scored together, shallow
ones apart from deep ones.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
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
"""Say nothing without a cut-off: over the whole pool recall is always 1."""
CHUNK_PLACES = 2_000_000
"""Places of a run array scored at a time (16 MB)."""
PADDING = (-2.0, 0.0)
"""Fills up a list of relevant passages. The ideal ranking of nDCG is looked up in that same list: padded
with a real id, such as 0, it would hold that passage twice."""


def check_measures(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once; every unknown or incomplete one is reported, with near misses."""
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
    """Refuse measures of judged passages where answers decide, and the other way round."""
    unfit = [name for name in names if (token_budget(name) is not None) != by_answers]
    if unfit and by_answers:
        raise InputError(
            f"{', '.join(unfit)} wants judged passages, and this task has answers alone:"
            " try --measures recall@2kt,recall@5kt"
        )
    if unfit:
        raise InputError(
            f"{', '.join(unfit)} looks for answers in passages, and this task has none:"
            " try --measures map,recall@10"
        )


def _is_measure(name: str) -> bool:
    if name in WHOLE or token_budget(name) is not None or re.fullmatch(r"rbp\.\d{1,3}", name):
        return True
    cut = re.fullmatch(r"([a-z0-9_-]+)@([1-9]\d{0,6})", name)
    return cut is not None and cut[1] in (*WHOLE[:-1], *CUT)


def score(rankings: Sequence[Ranking], measures: Sequence[str]) -> list[Scores]:
    """Per-query values of every measure, one `Scores` a ranking."""
    table = _RelevantTable.of(rankings)
    values: dict[str, Floats] = {}
    for depth, group in _by_depth(table, measures):
        values |= _evaluate(table, group, depth)
    ends = np.cumsum([0] + [len(r.scored) for r in rankings]).tolist()
    return [
        Scores(
            setting=r.setting,
            candidates=r.candidates,
            query=r.scored,
            values={m: values[m][ends[i] : ends[i + 1]] for m in measures},
        )
        for i, r in enumerate(rankings)
    ]


@dataclass(frozen=True, slots=True)
class _RelevantTable:
    """Relevant passages of all scored queries of all rankings, one row each, grouped by query."""

    row: Ints
    """Which scored query, counted over all rankings."""
    column: Ints
    """Which of its relevant passages, the highest grade first."""
    passage: Ints
    grade: Ints
    rank: Ints
    size: Ints
    """Per scored query: how many relevant passages it has."""
    depth: Ints
    """Per scored query: the deepest rank it has."""
    first: Ints
    """Per scored query: the best rank it has; 0 where nothing relevant was retrieved."""

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> _RelevantTable:
        rows, offset = [], 0
        for r in rankings:
            scored, row = np.unique(r.query, return_inverse=True)
            rows.append(row + offset)
            offset += len(scored)
        if not rows:
            none = np.empty(0, np.int64)
            return cls(none, none, none, none, none, none, none, none)
        row = np.concatenate(rows)
        passage, grade, rank = (
            np.concatenate([getattr(r, name) for r in rankings]).astype(np.int64)
            for name in ("passage", "grade", "rank")
        )
        order = np.lexsort((passage, -grade, row))
        row, passage, grade, rank = row[order], passage[order], grade[order], rank[order]
        size = np.bincount(row, minlength=offset)
        starts = np.cumsum(size) - size
        depth = np.zeros(offset, np.int64)
        np.maximum.at(depth, row, rank)
        first = depth.copy()
        np.minimum.at(first, row[rank > 0], rank[rank > 0])
        column = np.arange(len(row)) - starts[row]
        return cls(row, column, passage, grade, rank, size, depth, first)


def _by_depth(table: _RelevantTable, measures: Sequence[str]) -> Iterator[tuple[Ints, list[str]]]:
    """Measures that look equally far down, and how far, for each query.

    A place below the deepest relevant passage, or the cut-off, changes no value; for mrr that is a place
    below the first one.
    """
    groups = {
        "first": [m for m in measures if m == "mrr"],
        "cut": [m for m in measures if "@" in m],
        "whole": [m for m in measures if "@" not in m and m != "mrr"],
    }
    cut = max((int(m.split("@")[1]) for m in groups["cut"]), default=1)
    depths = {"first": table.first, "cut": np.minimum(table.depth, cut), "whole": table.depth}
    for name, group in groups.items():
        if group:
            yield np.maximum(depths[name], 1), group


def _evaluate(table: _RelevantTable, measures: list[str], depth: Ints) -> dict[str, Floats]:
    """Values over all scored queries, by chunks of queries of about the same depth."""
    by_ranx = {m: _evaluate_by(m) for m in measures}
    order = np.argsort(depth, kind="stable")
    starts = np.cumsum(table.size) - table.size
    values: dict[str, Floats] = {m: np.empty(len(depth)) for m in measures}
    places = np.empty(0)
    end = len(order)
    while end > 0:
        deepest = int(depth[order[end - 1]])
        start = max(0, end - max(1, CHUNK_PLACES // deepest))
        chosen = order[start:end]
        rows = np.repeat(np.arange(len(chosen)), table.size[chosen])
        entries = np.repeat(starts[chosen], table.size[chosen]) + _ranges(table.size[chosen])
        relevant = np.full((len(chosen), int(table.size[chosen].max()), 2), PADDING)
        relevant[rows, table.column[entries], 0] = table.passage[entries]
        relevant[rows, table.column[entries], 1] = table.grade[entries]
        needed = len(chosen) * deepest
        if len(places) < needed:
            places = np.full(needed, -1.0)
        run = places[:needed].reshape(len(chosen), deepest, 1)
        rank = table.rank[entries]
        seen = (rank > 0) & (rank <= deepest)
        run[rows[seen], rank[seen] - 1, 0] = table.passage[entries][seen]
        for measure, evaluate in by_ranx.items():
            values[measure][chosen] = evaluate(relevant, run)
        # Emptied, not made anew: filling gigabytes would cost more than scoring them.
        run[rows[seen], rank[seen] - 1, 0] = -1.0
        end = start
    return values


def _ranges(sizes: Ints) -> Ints:
    """0, 1, … for each size, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _evaluate_by(measure: str) -> Callable[[Floats, Floats], Floats]:
    """ranx's function of this name, with its cut-off or persistence bound."""
    name, _, parameter = measure.replace(".", "@").partition("@")
    if name == "rbp":
        bound: float = float(f"0.{parameter}")
    else:
        bound = int(parameter or 0)
    function = _ranx_metrics().metric_switch(name)
    return lambda relevant, run: np.asarray(function(relevant, run, bound, 1))


@cache
def _ranx_metrics() -> ModuleType:
    """`ranx.metrics` without the rest of ranx, unless that is here already.

    ``import ranx`` brings matplotlib, scipy.stats and a catalogue of data sets: two seconds, longer than
    all else that a small run takes. So its package is put in place unexecuted while the measures are
    imported from it, and taken away again: who imports ranx later gets all of it.
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
    # What ranx sets in the part that was left out; other layers may have to be installed.
    import_module("numba").config.THREADING_LAYER = "workqueue"
    return metrics

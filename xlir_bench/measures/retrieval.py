"""Retrieval measures as ranx defines them, from exact ranks, and recall of answers in texts. No other module uses ranx.

map, mrr and recall are computed here from the ranks of the relevant passages, and equal ranx's to the bit. The other
measures are ranx's own functions, which take arrays of ids in the order of their ranks (ranx needs scores only to sort
them, and they are sorted). A passage that is not relevant only takes up a place, so a run is an array of -1 with the
relevant ids at their ranks. No pool is sorted, and queries of all settings are scored together, those with deep ranks
apart from the others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from itertools import accumulate, chain, groupby, islice
from types import ModuleType

import numpy as np

from xlir_bench.arrays import Shared, groups, order_by, ranges
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.measures.bootstrap import UNIT, Bounds
from xlir_bench.records import Floats, Ints, Ranking, Scores

WHOLE = ("map", "mrr", "ndcg", "ndcg_burges", "dcg", "dcg_burges", "r-precision")
"""Measures of the whole ranking; all but r-precision may also have a cut-off, ``@k``."""
CUT = ("recall", "precision", "hit_rate", "hits", "f1")
"""Measures that need a cut-off: over the whole pool recall is always 1."""
ABOVE_ONE = ("dcg", "dcg_burges", "hits", "rbp")
"""Measures that can exceed 1: dcg adds up gains, hits counts passages, and rbp weighs passages by their grades."""
CHUNK_PLACES = 2_000_000
"""Places of a run array scored at a time (16 MB)."""
ROWS = 2_000_000
"""Relevant passages that are scored together."""
LIKELY = 1000
"""Queries are merged by a number made of grade and rank; with a higher grade it might not fit its type."""
Function = Callable[[Floats, Floats], Floats]
"""Takes the relevant passages and the runs of some queries, and gives a value for each query."""
PADDING = (-2.0, 0.0)
"""Fills up the lists of relevant passages, which have different lengths. nDCG takes its ideal ranking from the list:
padded with a real id, such as 0, it would hold that passage twice."""
TokensOf = Callable[[int], Sequence[str]]
TOKENS_KEPT = 16_384
"""How many passages' tokens are kept in memory: about 100 MB at 100 words a passage."""
ANSWER_DEPTH = 1000
"""How many of the best passages are searched for answers: enough for 5,000 tokens if each has five."""


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
    reason = "looks for answers in passages, and this task has none: try --measures map,recall@10"
    if by_answers:
        reason = "wants judged passages, and this task has answers alone: try --measures recall@2kt,recall@5kt"
    if unfit := [name for name in names if (token_budget(name) is not None) != by_answers]:
        raise InputError(f"{', '.join(unfit)} {reason}")


def _is_measure(name: str) -> bool:
    if name in WHOLE or token_budget(name) is not None or re.fullmatch(r"rbp\.\d{1,3}", name):
        return True
    cut = re.fullmatch(r"([a-z0-9_-]+)@([1-9]\d{0,6})", name)
    return cut is not None and cut[1] in (*WHOLE[:-1], *CUT)


def bounds_of(measure: str) -> Bounds:
    """The least and the largest value that a measure can have; an interval of it ends there.

    >>> bounds_of("recall@10"), bounds_of("dcg@10")
    ((0.0, 1.0), (0.0, inf))
    """
    name = re.split("[@.]", measure)[0]
    return (0.0, np.inf) if name in ABOVE_ONE else UNIT


def token_budget(measure: str) -> int | None:
    """How many tokens a measure looks at; None for any other measure."""
    matched = re.fullmatch(r"recall@([1-9]\d{0,3})kt", measure)
    return int(matched[1]) * 1000 if matched else None


def score(rankings: Sequence[Ranking], measures: Sequence[str]) -> list[Scores]:
    """Per-query values of every measure, one `Scores` for each ranking."""
    scores: list[Scores] = []
    by_ranx = {m: _ranx_function(m) for m in measures if m.partition("@")[0] not in BY_RANKS}
    ends = accumulate(len(ranking.query) for ranking in rankings)
    batches = groupby(zip(ends, rankings, strict=True), lambda numbered: numbered[0] // ROWS)
    for _, batch in batches:
        scores += _scores([ranking for _, ranking in batch], measures, by_ranx)
    return scores


def _scores(
    rankings: Sequence[Ranking], measures: Sequence[str], by_ranx: Mapping[str, Function]
) -> Iterator[Scores]:
    relevant = _Relevant.of(rankings)
    queries, like = relevant.distinct()
    with_cut = {measure: by_ranx[measure] for measure in by_ranx if "@" in measure}
    whole = {measure: by_ranx[measure] for measure in by_ranx if "@" not in measure}
    # Places below the deepest relevant passage, or below the cut-off, change no value.
    cut = max((int(measure.split("@")[1]) for measure in with_cut), default=1)
    deepest = relevant.deepest[queries]
    by_measure = _evaluated(relevant, queries, with_cut, np.minimum(deepest, cut))
    by_measure |= _evaluated(relevant, queries, whole, deepest)
    rows, query = relevant.rows(queries)
    ranks = relevant.rank[rows]
    for measure in (m for m in measures if m not in by_ranx):
        name, _, cut_off = measure.partition("@")
        within_cut = np.where(ranks > int(cut_off), 0, ranks) if cut_off else ranks
        by_measure[measure] = BY_RANKS[name](query, within_cut)
    by_measure = {measure: by_measure[measure] for measure in measures}
    ends, shared = np.cumsum([0, *relevant.scored]).tolist(), Shared()
    for r, start, stop in zip(rankings, ends, ends[1:], strict=False):
        scored = shared.of(r.scored)
        yield Scores(r.setting, r.candidates, scored, _Expanded(by_measure, like[start:stop]))


@dataclass(frozen=True, slots=True)
class _Expanded(Mapping[str, Floats]):
    """A value for each query, by measure; equal values are stored once: settings have many queries and few values."""

    distinct: Mapping[str, Floats]
    number: Ints
    """The position in `distinct` of each query's value."""

    def __getitem__(self, measure: str) -> Floats:
        return self.distinct[measure][self.number]

    def __iter__(self) -> Iterator[str]:
        return iter(self.distinct)

    def __len__(self) -> int:
        return len(self.distinct)


@dataclass(frozen=True, slots=True)
class _Relevant:
    """The relevant passages of all scored queries of all rankings, one row each, grouped by query."""

    column: Ints
    """The passage's number among the relevant ones of its query, the highest grade first."""
    passage: Ints
    grade: Ints
    rank: Ints
    size: Ints
    """By scored query: how many relevant passages it has."""
    deepest: Ints
    """By scored query: the deepest rank of its relevant passages."""
    scored: Ints
    """By ranking: how many queries are scored."""

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> _Relevant:
        query, passage, grade, rank = (
            np.concatenate([np.empty(0, np.int32), *(getattr(r, name) for r in rankings)])
            for name in ("query", "passage", "grade", "rank")
        )
        lengths = [len(r.query) for r in rankings]
        ranking = np.repeat(np.arange(len(rankings)), lengths)
        is_first = np.r_[True, (np.diff(query) != 0) | (np.diff(ranking) != 0)][: len(query)]
        query, start = np.cumsum(is_first) - 1, np.flatnonzero(is_first)
        size = np.diff(np.r_[start, len(query)])
        if len(grade) and grade.min() < grade.max():
            order = np.lexsort((-grade.astype(np.int64), query))
            passage, grade, rank = passage[order], grade[order], rank[order]
        deepest = np.maximum.reduceat(rank, start) if len(start) else start
        scored = np.bincount(ranking[start], minlength=len(rankings))
        return cls(ranges(size), passage, grade, rank, size, deepest, scored)

    def rows(self, queries: Ints) -> tuple[Ints, Ints]:
        """The rows of these queries, and for each row the number of its query among these."""
        sizes = self.size[queries]
        starts = (np.cumsum(self.size) - self.size)[queries]
        return np.repeat(starts, sizes) + ranges(sizes), np.repeat(np.arange(len(queries)), sizes)

    def distinct(self) -> tuple[Ints, Ints]:
        """Queries that differ, and for each query the one of these that is like it.

        Queries with one relevant passage each are alike if its grade and rank are equal.
        """
        first = np.cumsum(self.size) - self.size
        alone = (self.size == 1) & (self.grade[first] <= LIKELY)
        key = -1 - np.arange(len(self.size))
        key[alone] = (
            self.grade[first[alone]] * (self.rank.max(initial=0) + 1) + self.rank[first[alone]]
        )
        _, queries, like = np.unique(key, return_index=True, return_inverse=True)
        return queries, like.astype(np.int32)


def average_precision(query: Ints, rank: Ints) -> Floats:
    """For each query that occurs, the mean of i / r, where r is its i-th best rank; rank 0 means not retrieved.

    Equal to the bit to ranx's map, but without an array as long as the pool.

    >>> average_precision(np.array([7, 7, 8]), np.array([5, 2, 4])).tolist()
    [0.45, 0.25]
    """
    order = order_by(query, np.where(rank > 0, rank, np.iinfo(np.int32).max))
    _, row, size = groups(query[order])
    place = ranges(size) + 1
    sorted_rank = rank[order]
    parts = np.divide(place, sorted_rank, out=np.zeros(len(query)), where=sorted_rank > 0)
    return np.asarray(np.bincount(row, parts, len(size)) / size)


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


def reciprocal_rank(query: Ints, rank: Ints) -> Floats:
    """For each query that occurs, 1 / r, where r is its best rank; rank 0 means not retrieved.

    >>> reciprocal_rank(np.array([7, 7, 8]), np.array([5, 2, 0])).tolist()
    [0.5, 0.0]
    """
    _, row, size = groups(query)
    best = np.full(len(size), np.inf)
    np.minimum.at(best, row[rank > 0], rank[rank > 0])
    return 1 / best


def share_found(query: Ints, rank: Ints) -> Floats:
    """For each query that occurs, the share of its relevant passages that was retrieved: whose rank is not 0.

    >>> share_found(np.array([7, 7, 8]), np.array([5, 0, 2])).tolist()
    [0.5, 1.0]
    """
    _, row, size = groups(query)
    return np.asarray(np.bincount(row, rank > 0, len(size)) / size)


BY_RANKS: Mapping[str, Callable[[Ints, Ints], Floats]] = {
    "map": average_precision,
    "mrr": reciprocal_rank,
    "recall": share_found,
}
"""Measures that need only the ranks of relevant passages. ranx walks through the whole pool, most of the time of a report."""


RANX_NAMES = {
    "map": "average_precision", "mrr": "reciprocal_rank", "r-precision": "r_precision", "rbp": "rank_biased_precision",
}  # fmt: skip
"""The functions in `ranx.metrics` of measures that have another name there."""


def _evaluated(
    table: _Relevant, queries: Ints, measures: Mapping[str, Function], depth: Ints
) -> dict[str, Floats]:
    """The values of these queries, each scored down to its `depth`, in chunks of queries of about the same depth."""
    values: dict[str, Floats] = {measure: np.empty(len(queries)) for measure in measures}
    depth = np.maximum(depth, 1)
    order = np.argsort(depth, kind="stable")
    most = int(table.size[queries].max(initial=1))
    places = np.empty(0)
    end = len(order) if measures else 0
    while end > 0:
        deepest = int(depth[order[end - 1]])
        start = max(0, end - max(1, CHUNK_PLACES // max(deepest, most)))
        chosen = order[start:end]
        rows, query = table.rows(queries[chosen])
        relevant = np.full((len(chosen), int(table.size[queries[chosen]].max()), 2), PADDING)
        relevant[query, table.column[rows], 0] = table.passage[rows]
        relevant[query, table.column[rows], 1] = table.grade[rows]
        needed = len(chosen) * deepest
        if len(places) < needed:
            places = np.full(needed, -1.0)
        run = places[:needed].reshape(len(chosen), deepest, 1)
        rank = table.rank[rows]
        seen = (rank > 0) & (rank <= deepest)
        run[query[seen], rank[seen] - 1, 0] = table.passage[rows][seen]
        for measure, evaluate in measures.items():
            values[measure][chosen] = evaluate(relevant, run)
        # Cleared and used again: filling gigabytes anew would cost more than scoring them.
        run[query[seen], rank[seen] - 1, 0] = -1.0
        end = start
    return values


def _ranx_function(measure: str) -> Function:
    """ranx's function of this name, with its cut-off or persistence."""
    name, _, parameter = measure.replace(".", "@").partition("@")
    bound = float(f"0.{parameter}") if name == "rbp" else int(parameter or 0)
    function = getattr(_ranx_metrics(), RANX_NAMES.get(name, name))
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


def score_answers(
    ranking: Ranking,
    answers: Sequence[tuple[str, ...]],
    tokens_of: TokensOf,
    measures: Sequence[str],
) -> Scores:
    """For each query and budget of tokens, whether its best passages hold one of its answers within that budget.

    ``recall@2kt`` of XOR-Retrieve, whose passages nobody judged: the ranked passages are cut into tokens, the first
    2,000 of them joined by spaces, and a question counts if any of its answers is part of that text. The official
    evaluation first cuts passages into sentences, by a model that has to be downloaded; here they are cut into words at
    once. The two differ where a full stop ends a sentence inside a passage.
    """
    budgets = {measure: token_budget(measure) or 0 for measure in measures}
    top = ranking.top if ranking.top is not None else np.empty((len(ranking.scored), 0), np.int64)
    values = {measure: np.zeros(len(top)) for measure in measures}
    for place, (row, best) in enumerate(zip(ranking.scored, top, strict=True)):
        passages = (tokens_of(position) for position in best.tolist() if position >= 0)
        tokens = list(islice(chain.from_iterable(passages), max(budgets.values())))
        for measure, budget in budgets.items():
            seen = " ".join(tokens[:budget])
            values[measure][place] = any(answer in seen for answer in answers[row])
    return Scores(ranking.setting, ranking.candidates, ranking.scored, values)


def tokens_of(texts: Sequence[str]) -> TokensOf:
    """A function that gives the tokens of a text by its position, from NLTK's tokenizer, which needs no model."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenizer = NLTKWordTokenizer()

    @lru_cache(maxsize=TOKENS_KEPT)
    def cut(position: int) -> Sequence[str]:
        tokens: list[str] = tokenizer.tokenize(texts[position])
        return tokens

    return cut

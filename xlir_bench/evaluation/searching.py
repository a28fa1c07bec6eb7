"""Search all settings of a run, and compute map from rankings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, groupby

import numpy as np

from xlir_bench.arrays import Shared
from xlir_bench.measures import score
from xlir_bench.measures.retrieval import ANSWER_DEPTH
from xlir_bench.records import Collection, Kind, Progress, Ranking, Setting, Silent
from xlir_bench.retrieval import Index, Want

POOL_DEPTH = 100
"""How many of the best passages of the pool are kept: the bias views need them."""
TOGETHER = 4_000_000
"""Query languages with about this many relevant passages are searched in one pass over the pool.

More of them would need more memory, and save no time.
"""


def search(
    index: Index,
    collection: Collection,
    settings: Sequence[Setting],
    keep: int = 0,
    progress: Progress | None = None,
) -> list[Ranking]:
    """The rankings of these settings, in their order, with at least `keep` of the best passages of each query."""
    pair_depth = max(keep, ANSWER_DEPTH if collection.answers else 0)
    depths = pair_depth, max(pair_depth, POOL_DEPTH)
    by_lang: dict[str, list[Setting]] = {}
    for setting in sorted(settings):
        by_lang.setdefault(setting.query_lang, []).append(setting)
    relevant = dict.fromkeys(by_lang, 0)
    for (lang, _), rows in collection.relevance.items():
        if lang in relevant:
            relevant[lang] += len(rows.query)
    by_setting, shared = {}, Shared()
    numbered = zip(accumulate(relevant.values()), by_lang.values(), strict=True)
    for _, group in groupby(numbered, lambda item: item[0] // TOGETHER):
        wants = [Want.of(collection, of_lang, *depths) for _, of_lang in group]
        for partial in index.search(wants, progress or Silent()):
            for r in partial.rankings():
                query, passage, grade = map(shared.of, (r.query, r.passage, r.grade))
                rank = r.rank.astype(np.int32)
                by_setting[r.setting] = replace(
                    r, query=query, passage=passage, grade=grade, rank=rank
                )
    return [by_setting[setting] for setting in settings]


def map_by_kind(rankings: Sequence[Ranking], depth: int | None = None) -> dict[Kind, float]:
    """The macro average of map by kind; with `depth`, only that many of the best passages count."""
    if depth is not None:
        rankings = [replace(r, rank=np.where(r.rank <= depth, r.rank, 0)) for r in rankings]
    scores = score(rankings, ["map"])
    return mean_by_kind(
        (s.setting.kind, float(s.values["map"].mean())) for s in scores if len(s.query)
    )


def mean_by_kind(values: Iterable[tuple[Kind, float]]) -> dict[Kind, float]:
    """The mean over the settings of each kind, from one value a setting."""
    by_kind: dict[Kind, list[float]] = {}
    for kind, value in values:
        by_kind.setdefault(kind, []).append(value)
    return {kind: float(np.mean(by_kind[kind])) for kind in Kind if kind in by_kind}

"""How languages relate in an embedding: whether translations are near each other, and how far apart languages are.

Vectors are of unit length (or zero), so an inner product is a cosine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from xlir_bench.arrays import equal_pairs
from xlir_bench.measures.bootstrap import student_quantile
from xlir_bench.records import Floats, Ints

CUTS = (1, 5, 10)
ROUNDING = 1e-6
"""Smaller distances between vectors of 32 bits are rounding error."""


@dataclass(frozen=True, slots=True)
class KeyedTexts:
    """Texts of one language and their keys: items of two languages that share a key are translations."""

    vectors: Floats
    item: Ints
    """The row of an item in `vectors`, listed once for each of its keys."""
    key: Ints
    cluster: Ints
    """What each key is resampled with, such as an article."""


@dataclass(frozen=True, slots=True)
class PairAlignment:
    """How near texts of one language are to their translations in another."""

    items: int
    """How many texts of the first language have a translation in the second."""
    translations: float
    """Mean cosine of translations."""
    others: float
    """Mean cosine of all other pairs."""
    margin: float
    """How much nearer translations are than other pairs."""
    recall: Mapping[str, float]
    """How often a translation is among the 1, 5, 10 nearest texts of the second language."""


@dataclass(frozen=True, slots=True)
class RelevanceCosines:
    """Mean cosine of queries with their relevant passages, and with the others."""

    relevant: float
    others: float


def pair_alignment(first: KeyedTexts, second: KeyedTexts) -> PairAlignment | None:
    """How near the items of `first` are to their translations in `second`; None where no two are translations.

    An item has the cosine .9 with its translation, and .95 and .2 with two other items: the translation is the second
    nearest, so recall@1 is 0 and recall@5 is 1; the margin is .9 - (.95 + .2) / 2.
    """
    row, column, _ = _translations(first, second)
    if not len(row):
        return None
    scores = first.vectors @ second.vectors.T
    cosines = scores[row, column].astype(np.float64)
    translations, others = _means(cosines, first.vectors, second.vectors)
    ranks = _best_ranks(scores, row, column)
    return PairAlignment(
        items=len(ranks),
        translations=translations,
        others=others,
        margin=translations - others,
        recall={f"recall@{cut}": float((ranks <= cut).mean()) for cut in CUTS},
    )


def _translations(first: KeyedTexts, second: KeyedTexts) -> tuple[Ints, Ints, Ints]:
    """For each pair of items that share a key: their rows in the two languages, and the pair's cluster."""
    left, right = equal_pairs(first.key, second.key)
    pairs = np.stack([first.item[left], second.item[right]])
    (row, column), at = np.unique(pairs, axis=1, return_index=True)
    return row, column, first.cluster[left[at]]


def _means(linked: Floats, first: Floats, second: Floats) -> tuple[float, float]:
    """The mean cosine of linked pairs (`linked` has their cosines), and that of all other pairs of these vectors."""
    total = float(first.sum(axis=0, dtype=np.float64) @ second.sum(axis=0, dtype=np.float64))
    others = len(first) * len(second) - len(linked)
    return float(linked.mean()), (total - float(linked.sum())) / others if others else 0.0


def _best_ranks(scores: Floats, row: Ints, column: Ints) -> Ints:
    """The rank of the nearest translation of each row that has one; equal scores rank by their position."""
    order = np.lexsort((column, -scores[row, column], row))
    rows, first = np.unique(row[order], return_index=True)
    nearest = column[order][first]
    score = scores[rows, nearest][:, None]
    before = np.arange(scores.shape[1]) < nearest[:, None]
    return np.asarray(1 + ((scores[rows] > score) | ((scores[rows] == score) & before)).sum(axis=1))


def anisotropy(vectors: Floats) -> float:
    """Mean cosine of two different texts of one language: near 1, all texts point the same way."""
    count = len(vectors)
    if count < 2:
        return 0.0
    total = vectors.sum(axis=0, dtype=np.float64)
    squares = float(np.einsum("ij,ij->", vectors, vectors, dtype=np.float64))
    return (float(total @ total) - squares) / (count * (count - 1))


def semantic_affinity(translations: float, within: float) -> float | None:
    """Semantic Affinity (arXiv 2601.09732): 1/(1 + r), where r is the distance of translations / that of random pairs.

    A distance is 1 - a mean cosine: of translations, and of different texts of one language (`anisotropy`). At 1,
    translations coincide; at .5, they are no nearer than any two texts of a language. None where all texts coincide. With
    mean cosines of .9 for translations and .6 for texts of a language, r is .1/.4, and the affinity .8.

    >>> round(semantic_affinity(0.9, 0.6), 9)
    0.8
    """
    apart, spread = max(0.0, 1 - translations), max(0.0, 1 - within)
    return spread / (spread + apart) if spread + apart > ROUNDING else None


def affinity_interval(
    items: Mapping[str, KeyedTexts], texts: Mapping[str, Floats], clusters: Mapping[str, Ints]
) -> tuple[float, float] | None:
    """The 95 % interval of `semantic_affinity` by the jackknife: each cluster is left out once, with all its texts.

    None if there is only one cluster; a text of cluster -1 is in no cluster. Example: the affinities without each of three
    clusters are .5, .6 and .7, so the variance is 2/3 · .02, and the interval is ± 4.3 · .115.
    """
    count = 1 + max((int(x.cluster.max(initial=-1)) for x in items.values()), default=-1)
    present = np.zeros(count, bool)
    translations, within = [], []
    for one, other in combinations(sorted(items), 2):
        row, column, cluster = _translations(items[one], items[other])
        first, second = items[one].vectors[row], items[other].vectors[column]
        cosines = np.einsum("ij,ij->i", first, second, dtype=np.float64)
        sums, pairs = (_without_each(x, cluster, count) for x in (cosines, np.ones(len(row))))
        translations.append(_divided(sums, pairs))
        present[cluster] = True
    for lang, vectors in texts.items():
        squares, ones = np.einsum("ij,ij->i", vectors, vectors), np.ones(len(vectors))
        sums, same_text, texts_left = (
            _without_each(x, clusters[lang], count) for x in (vectors, squares, ones)
        )
        pairs = texts_left * (texts_left - 1)
        within.append(_divided((sums**2).sum(axis=1) - same_text, pairs))
    if present.sum() < 2:
        return None
    means = (
        _divided(np.nansum(cosines, axis=0), np.isfinite(cosines).sum(axis=0))
        for cosines in (translations, within)
    )
    *without, value = (semantic_affinity(*pair) for pair in zip(*means, strict=True))
    estimates = np.array(without, float)[present]
    if value is None or not np.isfinite(estimates).all():
        return None
    variance = (len(estimates) - 1) / len(estimates) * ((estimates - estimates.mean()) ** 2).sum()
    half = student_quantile(0.975, len(estimates) - 1) * float(np.sqrt(variance))
    return max(0.0, value - half), min(1.0, value + half)


def _without_each(values: Floats, cluster: Ints, count: int) -> Floats:
    """For each cluster, the sum of all values outside it; and last, the sum of all values."""
    sums = np.zeros((count + 1, *values.shape[1:]))
    np.add.at(sums, cluster, values)
    sums[count] = 0  # those of no cluster, -1
    return np.asarray(values.sum(axis=0, dtype=np.float64) - sums)


def _divided(sums: Floats, counts: Floats) -> Floats:
    """Means; nan where nothing was counted."""
    return np.asarray(np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0))


def language_variance(vectors: Mapping[str, Floats]) -> float:
    """The share of the variance that lies between the centroids of languages; 1 if vectors differ by language alone."""
    everything = np.concatenate(list(vectors.values())).astype(np.float64)
    centre = everything.mean(axis=0)
    whole = float(((everything - centre) ** 2).sum())
    between = sum(len(v) * float(((v.mean(axis=0) - centre) ** 2).sum()) for v in vectors.values())
    return between / whole if whole else 0.0


def hubness(top: Ints, candidates: int) -> float:
    """Skewness of how often each candidate is among the best of a query; far above 0, the same few candidates often are.

    `top` holds positions of candidates, with a row for each query; -1 pads.
    """
    times = np.bincount(top[top >= 0], minlength=candidates).astype(float)
    spread = times.std()
    return float((((times - times.mean()) / spread) ** 3).mean()) if spread else 0.0


def relevance_cosines(
    queries: Floats, passages: Floats, query: Ints, passage: Ints
) -> RelevanceCosines:
    """The mean cosines of queries and passages; `query` and `passage` are the rows of relevant pairs."""
    relevant = np.einsum("ij,ij->i", queries[query], passages[passage], dtype=np.float64)
    return RelevanceCosines(*_means(relevant, queries[np.unique(query)], passages))

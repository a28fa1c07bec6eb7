"""How the languages of an encoder lie to each other, over the texts of one collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from xlir_bench.measures.alignment import (
    Items,
    anisotropy,
    hubness,
    language_variance,
    pair_alignment,
    relevance_cosines,
)
from xlir_bench.records import ROLES, Collection, Floats, Kind, Passages, Ranking, Role
from xlir_bench.results.schema import AlignmentPart, PairAlignmentPart, RelevancePart
from xlir_bench.retrieval import Vectors as AnyVectors
from xlir_bench.retrieval import normalised

Vectors = Mapping[tuple[Role, str], Floats]
MapByKind = Callable[[Vectors], dict[Kind, float]]
"""The map of other vectors of the same texts."""
HUB_DEPTH = 10
SAMPLE = 10_000
"""Of a corpus that lies on disk, so many passages are looked at besides the relevant ones."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A collection and its vectors, small enough for memory."""

    collection: Collection
    vectors: Vectors
    whole: bool
    """Whether nothing was left out."""


def in_sample(collection: Collection, vectors: Mapping[tuple[Role, str], AnyVectors]) -> Sample:
    """The collection itself, or where passages lie on disk the relevant ones and some of the others."""
    passages, relevance = dict(collection.passages), dict(collection.relevance)
    found: dict[tuple[Role, str], Floats] = {}
    whole = True
    for (role, lang), its in vectors.items():
        if not its.on_disk or role == "query":
            found[role, lang] = np.asarray(its)
            continue
        whole = False
        mine = {pair: rows for pair, rows in relevance.items() if pair[1] == lang}
        spread = np.linspace(0, len(its) - 1, min(len(its), SAMPLE)).astype(np.int64)
        rows = np.unique(np.concatenate([spread, *(r.passage for r in mine.values())]))
        found[role, lang] = its.rows(rows)
        stored = passages[lang]
        passages[lang] = Passages(
            tuple(stored.ids[row] for row in rows), tuple(stored.texts[row] for row in rows)
        )
        relevance |= {
            pair: replace(r, passage=np.searchsorted(rows, r.passage)) for pair, r in mine.items()
        }
    return Sample(replace(collection, passages=passages, relevance=relevance), found, whole)


def alignment_part(
    collection: Collection,
    vectors: Vectors,
    rankings: Sequence[Ranking],
    map_of: MapByKind | None,
) -> AlignmentPart:
    """Everything that is known of it; what a collection without translations does not allow is left empty."""
    unit = {key: normalised(rows) for key, rows in vectors.items()}
    by_role = {
        role: {lang: unit[role, lang] for lang in collection.languages(role)} for role in ROLES
    }
    parallel = collection.parallel
    return AlignmentPart(
        questions=_pairs(_questions(collection, by_role["query"])) if parallel else {},
        answers=_pairs(_answers(collection, by_role["passage"])) if parallel else {},
        relevance={} if parallel else _relevance(collection, unit),
        anisotropy={
            role: {lang: anisotropy(rows) for lang, rows in of_role.items()}
            for role, of_role in by_role.items()
        },
        language_variance={role: language_variance(rows) for role, rows in by_role.items()},
        map_without_centroids={}
        if map_of is None
        else map_of({key: _centred(rows) for key, rows in unit.items()}),
        hubness=_hubness(rankings),
    )


def _questions(collection: Collection, vectors: Mapping[str, Floats]) -> dict[str, Items]:
    """Questions of one id are translations."""
    code = _codes(collection)
    found = {}
    for lang, rows in vectors.items():
        key = np.array([code[name] for name in collection.queries[lang].ids], np.int64)
        found[lang] = Items(rows, np.arange(len(key)), key)
    return found


def _answers(collection: Collection, vectors: Mapping[str, Floats]) -> dict[str, Items]:
    """Passages that answer questions of one id are translations; equal texts of a language are one item."""
    code = _codes(collection)
    found = {}
    for lang, rows in vectors.items():
        relevance = collection.relevance.get((lang, lang))
        if relevance is None:
            continue
        texts = collection.passages[lang].texts
        place = {texts[row]: int(row) for row in reversed(relevance.passage)}
        number = {text: n for n, text in enumerate(place)}
        ids = collection.queries[lang].ids
        found[lang] = Items(
            rows[list(place.values())],
            np.array([number[texts[row]] for row in relevance.passage]),
            np.array([code[ids[row]] for row in relevance.query]),
        )
    return found


def _codes(collection: Collection) -> dict[str, int]:
    names = (name for queries in collection.queries.values() for name in queries.ids)
    return {name: n for n, name in enumerate(dict.fromkeys(names))}


def _pairs(items: Mapping[str, Items]) -> dict[str, PairAlignmentPart]:
    found = {
        f"{a}-{b}": pair_alignment(items[a], items[b]) for a, b in permutations(sorted(items), 2)
    }
    return {
        pair: PairAlignmentPart(
            items=part.items,
            translations=part.translations,
            others=part.others,
            margin=part.margin,
            recall={f"recall@{cut}": value for cut, value in part.recall.items()},
        )
        for pair, part in found.items()
        if part is not None
    }


def _relevance(collection: Collection, unit: Vectors) -> dict[str, RelevancePart]:
    """By query and passage language, where nothing is a translation of anything."""
    found = {}
    for (asked, sought), rows in sorted(collection.relevance.items()):
        if len(rows.query):
            queries, passages = unit["query", asked], unit["passage", sought]
            near, far = relevance_cosines(queries, passages, rows.query, rows.passage)
            found[f"{asked}-{sought}"] = RelevancePart(relevant=near, others=far)
    return found


def _centred(unit: Floats) -> Floats:
    centre = unit.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.asarray(unit - centre)


def _hubness(rankings: Sequence[Ranking]) -> float | None:
    """Over the queries of all languages, in the pool of all languages."""
    pooled = [r for r in rankings if r.setting.kind == Kind.MULTILINGUAL and r.top is not None]
    if not pooled:
        return None
    top = np.concatenate([r.top[:, :HUB_DEPTH].ravel() for r in pooled if r.top is not None])
    return hubness(top, max(r.candidates for r in pooled))

"""How the languages of an encoder relate to each other, over the texts of one collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from xlir_bench.evaluation.searching import map_by_kind, search
from xlir_bench.measures.alignment import (
    KeyedTexts,
    PairAlignment,
    RelevanceCosines,
    affinity_interval,
    anisotropy,
    hubness,
    language_variance,
    pair_alignment,
    relevance_cosines,
)
from xlir_bench.records import (
    ROLES,
    Collection,
    Floats,
    Ints,
    Kind,
    Passages,
    Progress,
    Ranking,
    Role,
)
from xlir_bench.results.schema import ROLE_OF, AlignmentPart
from xlir_bench.results.tables import Codes
from xlir_bench.retrieval import Represented, VectorIndex, Vectors, normalised

HUB_DEPTH = 10
SAMPLE = 10_000
"""How many passages of each language are sampled from a corpus on disk, besides the relevant ones."""


def alignment_part(
    whole: Collection,
    represented: Represented,
    rankings: Sequence[Ranking],
    progress: Progress,
) -> AlignmentPart:
    """All figures of alignment; those that need translations stay empty in a collection without any."""
    collection, loaded = _in_memory(whole, represented.vectors or {})
    unit = {key: normalised(rows) for key, rows in loaded.items()}
    by_role = {
        role: {lang: unit[role, lang] for lang in collection.languages(role)} for role in ROLES
    }
    parallel = collection.parallel
    clusters = _clusters(collection)
    items = {
        "questions": _questions(collection, by_role["query"], clusters["query"]),
        "answers": _answers(collection, by_role["passage"], clusters["query"]),
    }
    without_centroids = {}
    if collection is whole:  # a sample of the passages would have another map
        centres = {key: rows.mean(axis=0, dtype=np.float64) for key, rows in unit.items()}
        centred = {
            key: Vectors.of(rows - centres[key].astype(np.float32)) for key, rows in unit.items()
        }
        index = VectorIndex.of(centred, engine=represented.index.engine)
        settings = [r.setting for r in rankings]
        without_centroids = map_by_kind(search(index, whole, settings, progress=progress))
    return AlignmentPart(
        questions=_pairs(items["questions"]) if parallel else {},
        answers=_pairs(items["answers"]) if parallel else {},
        affinity_interval={
            kind: interval
            for kind, role in ROLE_OF.items()
            if parallel
            and (interval := affinity_interval(items[kind], by_role[role], clusters[role]))
        },
        relevance={} if parallel else _relevance(collection, unit),
        anisotropy={
            role: {lang: anisotropy(rows) for lang, rows in of_role.items()}
            for role, of_role in by_role.items()
        },
        language_variance={role: language_variance(of_role) for role, of_role in by_role.items()},
        map_without_centroids=without_centroids,
        hubness=_hubness(rankings),
    )


def _in_memory(
    collection: Collection, vectors: Mapping[tuple[Role, str], Vectors]
) -> tuple[Collection, dict[tuple[Role, str], Floats]]:
    """The collection and its vectors; of passages on disk, only the relevant ones and a sample of the others."""
    loaded: dict[tuple[Role, str], Floats] = {}
    for (role, lang), stored in vectors.items():
        if role == "query" or not stored.on_disk:
            loaded[role, lang] = np.asarray(stored)
            continue
        of_lang = {pair: judged for pair, judged in collection.relevance.items() if pair[1] == lang}
        spread = np.linspace(0, len(stored) - 1, min(len(stored), SAMPLE)).astype(np.int64)
        rows = np.unique(np.concatenate([spread, *(judged.passage for judged in of_lang.values())]))
        loaded[role, lang] = stored.rows(rows)
        passages = collection.passages[lang]
        ids, texts = (tuple(names[row] for row in rows) for names in (passages.ids, passages.texts))
        for pair, judged in of_lang.items():
            of_lang[pair] = replace(judged, passage=np.searchsorted(rows, judged.passage))
        collection = replace(
            collection,
            passages={**collection.passages, lang: Passages(ids, texts)},
            relevance={**collection.relevance, **of_lang},
        )
    return collection, loaded


def _clusters(collection: Collection) -> dict[Role, dict[str, Ints]]:
    """The cluster of each question; a passage has that of the question it answers, or -1 if it answers none."""
    codes = Codes({lang: queries.clusters for lang, queries in collection.queries.items()})
    of_queries = {
        lang: codes.of(lang, np.arange(len(queries.ids)))
        for lang, queries in collection.queries.items()
    }
    of_passages = {lang: np.full(len(p.ids), -1) for lang, p in collection.passages.items()}
    for lang in of_queries.keys() & of_passages.keys():
        if (judged := collection.relevance.get((lang, lang))) is not None:
            of_passages[lang][judged.passage] = of_queries[lang][judged.query]
    return {"query": of_queries, "passage": of_passages}


def _questions(
    collection: Collection, vectors: Mapping[str, Floats], clusters: Mapping[str, Ints]
) -> dict[str, KeyedTexts]:
    """The questions of each language; those with the same id are translations of each other."""
    ids = Codes({lang: queries.ids for lang, queries in collection.queries.items()})
    rows = {lang: np.arange(len(of_lang)) for lang, of_lang in vectors.items()}
    return {
        lang: KeyedTexts(vectors[lang], rows[lang], ids.of(lang, rows[lang]), clusters[lang])
        for lang in vectors
    }


def _answers(
    collection: Collection, vectors: Mapping[str, Floats], clusters: Mapping[str, Ints]
) -> dict[str, KeyedTexts]:
    """The relevant passages of each language, each text once.

    Passages that answer questions with the same id are translations of each other.
    """
    ids = Codes({lang: queries.ids for lang, queries in collection.queries.items()})
    items = {}
    for lang, rows in vectors.items():
        relevance = collection.relevance.get((lang, lang))
        if relevance is None:
            continue
        texts = collection.passages[lang].texts
        first_row = {texts[row]: int(row) for row in reversed(relevance.passage)}
        item = {text: n for n, text in enumerate(first_row)}
        items[lang] = KeyedTexts(
            rows[list(first_row.values())],
            np.array([item[texts[row]] for row in relevance.passage]),
            ids.of(lang, relevance.query),
            clusters[lang][relevance.query],
        )
    return items


def _pairs(items: Mapping[str, KeyedTexts]) -> dict[str, PairAlignment]:
    pairs = permutations(sorted(items), 2)
    aligned = {f"{a}-{b}": pair_alignment(items[a], items[b]) for a, b in pairs}
    return {name: pair for name, pair in aligned.items() if pair is not None}


def _relevance(
    collection: Collection, unit: Mapping[tuple[Role, str], Floats]
) -> dict[str, RelevanceCosines]:
    """The cosines of queries with their passages, by both languages: for collections without translations."""
    return {
        f"{query_lang}-{passage_lang}": relevance_cosines(
            unit["query", query_lang], unit["passage", passage_lang], judged.query, judged.passage
        )
        for (query_lang, passage_lang), judged in sorted(collection.relevance.items())
        if len(judged.query)
    }


def _hubness(rankings: Sequence[Ranking]) -> float | None:
    """The hubness of passages in the pool of all languages, over the queries of all languages."""
    pools = [r for r in rankings if r.setting.kind == Kind.MULTILINGUAL and r.top is not None]
    if not pools:
        return None
    top = np.concatenate([r.top[:, :HUB_DEPTH].ravel() for r in pools if r.top is not None])
    return hubness(top, max(r.candidates for r in pools))

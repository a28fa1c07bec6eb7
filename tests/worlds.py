"""Small random collections with vectors, and their rankings computed in the plainest way there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xlir_bench.records import (
    Collection,
    Passages,
    Queries,
    Ranking,
    Relevance,
    Role,
    Setting,
    Silent,
)
from xlir_bench.retrieval import VectorIndex, Vectors, Want


@dataclass(frozen=True)
class World:
    """A collection and the vectors of its texts."""

    collection: Collection
    vectors: Mapping[tuple[Role, str], np.ndarray]

    @property
    def langs(self) -> list[str]:
        return self.collection.languages("passage")

    def index(self, part: int = 1000) -> VectorIndex:
        """Exact search of these vectors, the passages in parts of so many rows."""
        return VectorIndex.of({key: in_parts(rows, part) for key, rows in self.vectors.items()})

    @cached_property
    def whole_index(self) -> VectorIndex:
        """The same, made once."""
        return self.index()

    def settings(self, query_lang: str) -> list[Setting]:
        pairs = [Setting(query_lang, (lang,)) for lang in self.langs]
        return [*pairs, Setting(query_lang, tuple(self.langs))] if len(self.langs) > 1 else pairs

    def wants(self, pair_depth: int = 0, pool_depth: int = 100) -> list[Want]:
        return [
            Want.of(self.collection, self.settings(lang), pair_depth, pool_depth)
            for lang in self.collection.languages("query")
        ]

    def rankings(
        self, pair_depth: int = 0, pool_depth: int = 100, part: int = 1000
    ) -> list[Ranking]:
        """Of every setting, by exact search."""
        found = self.index(part).search(self.wants(pair_depth, pool_depth), Silent())
        return [ranking for of_language in found for ranking in of_language.rankings()]


def in_parts(rows: np.ndarray, size: int) -> Vectors:
    """The rows in parts of at most so many."""
    return Vectors.of(*(rows[i : i + size] for i in range(0, max(1, len(rows)), size)))


def random_world(
    seed: int,
    queries: Mapping[str, int],
    passages: Mapping[str, int],
    distinct: int | None = None,
    dimension: int = 16,
) -> World:
    """Queries and passages of these languages with random relevance: none to three passages a pair.

    With `distinct`, every vector is one of so many, the zero vector among them: most scores are ties.
    """
    rng = np.random.default_rng(seed)

    def vectors(count: int) -> np.ndarray:
        if distinct is None:
            return rng.standard_normal((count, dimension)).astype(np.float32)
        return table[rng.integers(0, distinct, count)]

    table = rng.standard_normal((distinct or 1, dimension)).astype(np.float32)
    table[0] = 0
    relevance = {}
    for asked, count in queries.items():
        for there, size in passages.items():
            rows = [
                (q, p, rng.integers(1, 4))
                for q in range(count)
                for p in sorted(rng.choice(size, rng.integers(0, min(size, 3) + 1), replace=False))
            ]
            if rows and rng.random() < 0.8:
                query, passage, grade = np.array(rows, np.int32).T.copy()
                relevance[asked, there] = Relevance(query, passage, grade)
    collection = Collection(
        queries={
            lang: Queries(
                ids=tuple(f"q{i}" for i in range(n)),
                texts=[f"{lang} question {i}" for i in range(n)],
                clusters=tuple(f"article {i // 3}" for i in range(n)),
            )
            for lang, n in queries.items()
        },
        passages={
            lang: Passages(
                ids=tuple(f"{lang}:{i}:0" for i in range(n)),
                texts=[f"{lang} passage {i}" for i in range(n)],
            )
            for lang, n in passages.items()
        },
        relevance=relevance,
        cluster="article",
        parallel=True,
        digests={},
    )
    of_queries = {("query", lang): vectors(n) for lang, n in queries.items()}
    return World(
        collection, of_queries | {("passage", lang): vectors(n) for lang, n in passages.items()}
    )


def text_collection(
    queries: Mapping[str, Sequence[str]], passages: Mapping[str, Sequence[str]]
) -> Collection:
    """A collection of these texts, of which nothing is relevant to anything."""
    return Collection(
        queries={
            lang: Queries(tuple(f"q{i}" for i in range(len(t))), t, ("one",) * len(t))
            for lang, t in queries.items()
        },
        passages={
            lang: Passages(tuple(f"{lang}:0:{i}" for i in range(len(t))), t)
            for lang, t in passages.items()
        },
        relevance={},
        cluster="article",
        parallel=True,
        digests={},
    )


def evaluator_texts(
    collection: Collection, setting: Setting
) -> tuple[dict[str, str], dict[str, str], dict[str, set[str]]]:
    """Queries, passages and which are relevant, as evaluators of sentence-transformers want them."""
    asked, there = setting.query_lang, setting.passage_langs
    passages = {f"{x}/{i}": t for x in there for i, t in enumerate(collection.texts("passage", x))}
    relevant: dict[str, set[str]] = {}
    for x in there:
        judged = collection.relevance[asked, x]
        for query, passage in zip(judged.query, judged.passage, strict=True):
            relevant.setdefault(str(query), set()).add(f"{x}/{passage}")
    queries = {str(i): text for i, text in enumerate(collection.texts("query", asked))}
    return queries, passages, relevant


def plain_order(query: np.ndarray, passages: np.ndarray) -> list[int]:
    """Every passage, best first: cosine in double precision, equal ones in the order they stand."""
    query, passages = query.astype(float), passages.astype(float)
    lengths = np.linalg.norm(passages, axis=1)
    # Row by row, not as a product of matrices, where equal rows may get other last bits.
    scores = (passages * query).sum(axis=1) / (np.linalg.norm(query) or 1)
    order: list[int] = np.argsort(
        -scores / np.where(lengths > 0, lengths, 1), kind="stable"
    ).tolist()
    return order


def plain_rows(world: World, setting: Setting) -> Iterator[tuple[int, int, int, int]]:
    """(query, position, grade, rank) of every relevant passage of a setting, as `Ranking` has them."""
    passages = np.concatenate([world.vectors["passage", lang] for lang in setting.passage_langs])
    starts, start = {}, 0
    for lang in setting.passage_langs:
        starts[lang] = start
        start += len(world.vectors["passage", lang])
    for row, query in enumerate(world.vectors["query", setting.query_lang]):
        order = plain_order(query, passages)
        for lang in setting.passage_langs:
            relevance = world.collection.relevance.get((setting.query_lang, lang))
            if relevance is None:
                continue
            for i in np.flatnonzero(relevance.query == row):
                position = starts[lang] + int(relevance.passage[i])
                yield row, position, int(relevance.grade[i]), order.index(position) + 1

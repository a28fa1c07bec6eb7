"""What intervals resample: clusters of questions that move together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Collection, Ints


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of all queries, numbered alike in every language."""

    names: list[str]
    codes: dict[str, Ints]

    @classmethod
    def of(cls, collection: Collection) -> Clusters:
        """Number the clusters of a collection."""
        names = sorted({c for q in collection.queries.values() for c in q.clusters})
        place = {name: i for i, name in enumerate(names)}
        codes: dict[str, Ints] = {
            lang: np.array([place[c] for c in q.clusters], np.int64)
            for lang, q in collection.queries.items()
        }
        return cls(names, codes)

"""BM25 over the words of all texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array, vstack

from xlir_bench.encoders import EncoderCard
from xlir_bench.encoders.bm25 import BM25, K1, B, terms
from xlir_bench.records import ROLES, Collection, Floats, Ints, Progress, Role, Setting, TokenCounts
from xlir_bench.retrieval.exact import VectorIndex
from xlir_bench.retrieval.partial import Partial
from xlir_bench.retrieval.pool import Pool, Want
from xlir_bench.retrieval.retriever import Represented
from xlir_bench.retrieval.sparse import Sparse, SparseRows


@dataclass(frozen=True, slots=True)
class BM25Retriever:
    """BM25 as a retriever."""

    bm25: BM25
    device: str | None = None

    @property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        return self.bm25.card

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """The words of every text."""
        words: dict[tuple[Role, str], list[Counter[str]]] = {}
        keys = [(role, lang) for role in ROLES for lang in collection.languages(role)]
        progress.start("words", sum(len(collection.texts(*key)) for key in keys), "texts")
        for role, lang in keys:
            texts = collection.texts(role, lang)
            words[role, lang] = [Counter(terms(text)) for text in texts]
            progress.advance(len(texts))
        progress.finish()
        passages = [row for key, rows in words.items() if key[0] == "passage" for row in rows]
        columns = {
            word: i for i, word in enumerate(dict.fromkeys(w for row in passages for w in row))
        }
        tokens = {
            key: TokenCounts(
                np.array([row.total() for row in rows], np.int64),
                np.array(
                    [sum(n for w, n in row.items() if w not in columns) for row in rows], np.int64
                ),
            )
            for key, rows in words.items()
        }
        counts = {key: _matrix(rows, columns) for key, rows in words.items()}
        strange = sum(
            int((t.tokens == t.unknown).sum()) for key, t in tokens.items() if key[0] == "query"
        )
        notes = (
            (f"{strange:,} question(s) have no word of any passage and rank by pool order",)
            if strange
            else ()
        )
        return Represented(BM25Index.of(counts), max(1, len(columns)), tokens=tokens, notes=notes)


@dataclass(frozen=True, slots=True)
class BM25Index:
    """Exact search with the weights that the words have in each language, and in all together."""

    pool: Pool
    alone: VectorIndex
    together: VectorIndex

    @classmethod
    def of(cls, counts: dict[tuple[Role, str], csr_array]) -> BM25Index:
        """The index of texts whose words are counted, by role and language."""
        queries = {key: SparseRows(rows) for key, rows in counts.items() if key[0] == "query"}
        passages = {key: rows for key, rows in counts.items() if key[0] == "passage"}
        alone = {key: SparseRows(_weighted(rows)) for key, rows in passages.items()}
        weighted, start, together = _weighted(vstack(list(passages.values()), format="csr")), 0, {}
        for key, rows in passages.items():
            together[key] = SparseRows(weighted[start : start + rows.shape[0]])
            start += rows.shape[0]
        indexes = [VectorIndex.of({**queries, **rows}, Sparse()) for rows in (alone, together)]
        return cls(indexes[0].pool, *indexes)

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterable[Partial]:
        """What each of these wants to know."""
        found = []
        for index, pooled in ((self.alone, False), (self.together, True)):
            asked = [
                replace(
                    w, settings=tuple(s for s in w.settings if (len(s.passage_langs) > 1) == pooled)
                )
                for w in wants
            ]
            found.append(index.search(asked, progress))
        for want, alone, together in zip(wants, *found, strict=True):
            yield Partial(
                want, {**alone.best, **together.best}, {**alone.before, **together.before}
            )

    def scores(self, setting: Setting, query: Ints, positions: Ints) -> Floats:
        """The score of each pair of a query and a passage, with the weights that words have in this setting."""
        index = self.together if len(setting.passage_langs) > 1 else self.alone
        return index.scores(setting, query, positions)


def _matrix(rows: Sequence[Counter[str]], columns: dict[str, int]) -> csr_array:
    """How often each text has each word; words that no passage has are left out."""
    known = [[(columns[word], n) for word, n in row.items() if word in columns] for row in rows]
    ends = np.cumsum([0, *map(len, known)])
    flat = np.array([pair for row in known for pair in row], np.int64).reshape(-1, 2)
    made = csr_array(
        (flat[:, 1].astype(np.float64), flat[:, 0], ends), shape=(len(rows), max(1, len(columns)))
    )
    made.sort_indices()
    return made


def _weighted(counts: csr_array) -> csr_array:
    """What each word of each passage adds to the score of a question that has it."""
    number = counts.shape[0]
    length = counts.sum(axis=1)
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log(1 + (number - having + 0.5) / (having + 0.5))
    row = np.repeat(np.arange(number), np.diff(counts.indptr))
    saturated = K1 * (1 - B + B * length / max(length.mean(), 1e-9))
    weights = idf[counts.indices] * counts.data / (counts.data + saturated[row])
    return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)

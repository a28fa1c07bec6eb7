"""BM25 over the words of all texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.sparse import csr_array

from xlir_bench.encoders import EncoderCard
from xlir_bench.encoders.bm25 import BM25, K1, B, terms
from xlir_bench.errors import plural
from xlir_bench.records import Collection, Floats, Ints, Progress, Role, Setting, TokenCounts
from xlir_bench.retrieval.pool import Partial, Want
from xlir_bench.retrieval.retriever import Represented, Retriever, ScoringIndex
from xlir_bench.retrieval.similarity import Sparse
from xlir_bench.retrieval.vector_index import VectorIndex
from xlir_bench.retrieval.vectors import Vectors

PASSAGES_FIRST: tuple[Role, ...] = ("passage", "query")
TEXTS = 4096
"""Texts whose words are held in memory as words."""


@dataclass(frozen=True, slots=True)
class BM25Retriever(Retriever):
    """BM25 as a retriever."""

    bm25: BM25
    parts = ()

    @property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        return self.bm25.card

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """The words of every text."""
        # Passages first: a word's column is where it first stands in them, so that products are added in that order.
        keys = [(role, lang) for role in PASSAGES_FIRST for lang in collection.languages(role)]
        progress.start("words", sum(len(collection.texts(*key)) for key in keys), "texts")
        columns: dict[str, int] = {}
        counted = {key: _counted(collection.texts(*key), *key, columns, progress) for key in keys}
        progress.finish()
        tokens = {key: of_texts for key, (_, of_texts) in counted.items()}
        counts = {key: rows for key, (rows, _) in counted.items()}
        for rows in counts.values():
            rows.resize(rows.shape[0], max(1, len(columns)))
        strange = sum(
            int((t.tokens == t.unknown).sum()) for key, t in tokens.items() if key[0] == "query"
        )
        notes = (
            (f"{plural(strange, 'question')} without a word of any passage, ranked by pool order",)
            if strange
            else ()
        )
        return Represented(BM25Index.of(counts), max(1, len(columns)), tokens=tokens, notes=notes)


@dataclass(frozen=True, slots=True)
class BM25Index(ScoringIndex):
    """Exact search with the weights that the words have in each language, and in all together."""

    alone: VectorIndex
    together: VectorIndex

    @classmethod
    def of(cls, counts: dict[tuple[Role, str], csr_array]) -> BM25Index:
        """The index of texts whose words are counted, by role and language."""
        rows = {key: Vectors.of(of_texts) for key, of_texts in counts.items()}
        passages = {key: of_texts for key, of_texts in counts.items() if key[0] == "passage"}
        of_all = _statistics(list(passages.values()))
        alone, together = dict(rows), dict(rows)
        for key, of_texts in passages.items():
            alone[key] = rows[key].made(partial(_weighted, *_statistics([of_texts])))
            together[key] = rows[key].made(partial(_weighted, *of_all))
        return cls(VectorIndex.of(alone, Sparse()), VectorIndex.of(together, Sparse()))

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterable[Partial]:
        """What each of these wants to know."""
        answers = []
        for index, pooled in ((self.alone, False), (self.together, True)):
            asked = [
                replace(w, settings=tuple(s for s in w.settings if s.pooled == pooled))
                for w in wants
            ]
            answers.append(index.search(asked, progress))
        for want, alone, together in zip(wants, *answers, strict=True):
            yield Partial(
                want,
                {**alone.best, **together.best},
                {**alone.before, **together.before},
                {**alone.ties, **together.ties},
            )

    def scores(self, setting: Setting, query: Ints, positions: Ints) -> Floats:
        """The score of each pair of a query and a passage, with the weights that words have in this setting."""
        return self._weighted_for(setting).scores(setting, query, positions)

    def tables(self, setting: Setting, size: int) -> Iterator[Floats]:
        """The same of all candidates, a row a query, of so many queries at a time."""
        return self._weighted_for(setting).tables(setting, size)

    def _weighted_for(self, setting: Setting) -> VectorIndex:
        return self.together if setting.pooled else self.alone


def _weighted(idf: Floats, mean_length: float, counts: csr_array) -> csr_array:
    """What each word of these passages adds to the score of a question that has it, from how often it is in them.

    `idf` is what each word says, of the passages that are searched; `mean_length` their length in words.
    """
    length = counts.sum(axis=1)
    row = np.repeat(np.arange(len(length)), np.diff(counts.indptr))
    saturated = K1 * (1 - B + B * length / max(mean_length, 1e-9))
    weights = idf[counts.indices] * counts.data / (counts.data + saturated[row])
    return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)


def _statistics(passages: Sequence[csr_array]) -> tuple[Floats, float]:
    """The idf of each word, and the mean length, of these passages."""
    number = sum(counts.shape[0] for counts in passages)
    having = sum(np.bincount(counts.indices, minlength=counts.shape[1]) for counts in passages)
    words = sum(int(counts.data.sum()) for counts in passages)
    return np.log(1 + (number - having + 0.5) / (having + 0.5)), words / max(1, number)


def _counted(
    texts: Sequence[str], role: Role, lang: str, columns: dict[str, int], progress: Progress
) -> tuple[csr_array, TokenCounts]:
    """How often each text has each word; a new word of a passage gets a column, one of a query is left out."""
    indices, data, known = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    tokens, sizes = [np.empty(0, np.int64)], [np.zeros(1, np.int64)]
    for start in range(0, len(texts), TEXTS):
        words = [terms(text, lang) for text in texts[start : start + TEXTS]]
        flat = (word for row in words for word in row)
        if role == "passage":
            column = np.fromiter((columns.setdefault(w, len(columns)) for w in flat), np.int64)
        else:
            column = np.fromiter((columns.get(w, -1) for w in flat), np.int64)
        tokens.append(np.array([len(row) for row in words], np.int64))
        row = np.repeat(np.arange(len(words)), tokens[-1])[column >= 0]
        known.append(np.bincount(row, minlength=len(words)))
        code, count = np.unique(row << 32 | column[column >= 0], return_counts=True)
        sizes.append(np.bincount(code >> 32, minlength=len(words)))
        indices.append((code & 0xFFFFFFFF).astype(np.int32))
        data.append(count.astype(np.int32))
        progress.advance(len(words))
    ends = np.cumsum(np.concatenate(sizes))
    rows = csr_array(
        (np.concatenate(data), np.concatenate(indices), ends),
        shape=(len(texts), max(1, len(columns))),
    )
    total = np.concatenate(tokens)
    return rows, TokenCounts(total, total - np.concatenate(known))

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
"""How many texts are split into words at a time: the words of all would fill the memory."""


@dataclass(frozen=True, slots=True)
class BM25Retriever(Retriever):
    """Ranks passages by the BM25 weights of the words that they share with the query."""

    bm25: BM25
    parts = ()

    @property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        return self.bm25.card

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Count the words of every text."""
        # Columns number the words by their first place in the passages. Products are added in the order of columns.
        keys = [(role, lang) for role in PASSAGES_FIRST for lang in collection.languages(role)]
        progress.start("words", sum(len(collection.texts(*key)) for key in keys), "texts")
        columns: dict[str, int] = {}
        counted = {key: _counted(collection.texts(*key), *key, columns, progress) for key in keys}
        progress.finish()
        tokens = {key: token_counts for key, (_, token_counts) in counted.items()}
        counts = {key: rows for key, (rows, _) in counted.items()}
        for rows in counts.values():
            rows.resize(rows.shape[0], max(1, len(columns)))
        wordless = sum(
            int((t.tokens == t.unknown).sum()) for key, t in tokens.items() if key[0] == "query"
        )
        notes = (
            (f"{plural(wordless, 'question')} without a word of any passage, ranked by pool order",)
            if wordless
            else ()
        )
        return Represented(BM25Index.of(counts), max(1, len(columns)), tokens=tokens, notes=notes)


@dataclass(frozen=True, slots=True)
class BM25Index(ScoringIndex):
    """Exact search. The weights of words are those of one language or, in a pooled setting, of all languages together."""

    alone: VectorIndex
    together: VectorIndex

    @classmethod
    def of(cls, counts: dict[tuple[Role, str], csr_array]) -> BM25Index:
        """The index of texts whose words are counted, by role and language."""
        rows = {key: Vectors.of(words) for key, words in counts.items()}
        passages = {key: words for key, words in counts.items() if key[0] == "passage"}
        statistics_of_all = _statistics(list(passages.values()))
        alone, together = dict(rows), dict(rows)
        for key, words in passages.items():
            alone[key] = rows[key].made(partial(_weighted, *_statistics([words])))
            together[key] = rows[key].made(partial(_weighted, *statistics_of_all))
        return cls(VectorIndex.of(alone, Sparse()), VectorIndex.of(together, Sparse()))

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterable[Partial]:
        """Search for each want, with the weights for each of its settings."""
        found = []
        for index, pooled in ((self.alone, False), (self.together, True)):
            parts = [
                replace(w, settings=tuple(s for s in w.settings if s.pooled == pooled))
                for w in wants
            ]
            found.append(index.search(parts, progress))
        for want, alone, together in zip(wants, *found, strict=True):
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
        """The scores of all candidates of a setting, a row for each query, of `size` queries at a time."""
        return self._weighted_for(setting).tables(setting, size)

    def _weighted_for(self, setting: Setting) -> VectorIndex:
        return self.together if setting.pooled else self.alone


def _weighted(idf: Floats, mean_length: float, counts: csr_array) -> csr_array:
    """What each word of these passages adds to the score of a question that has the word.

    `counts` says how often each passage has each word. `idf` (of each word) and `mean_length` (in words) are taken
    from all passages that are searched.
    """
    length = counts.sum(axis=1)
    row = np.repeat(np.arange(len(length)), np.diff(counts.indptr))
    saturated = K1 * (1 - B + B * length / max(mean_length, 1e-9))
    weights = idf[counts.indices] * counts.data / (counts.data + saturated[row])
    return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)


def _statistics(passages: Sequence[csr_array]) -> tuple[Floats, float]:
    """The idf of each word in these passages, and their mean length in words."""
    number = sum(counts.shape[0] for counts in passages)
    having = sum(np.bincount(counts.indices, minlength=counts.shape[1]) for counts in passages)
    words = sum(int(counts.data.sum()) for counts in passages)
    return np.log(1 + (number - having + 0.5) / (having + 0.5)), words / max(1, number)


def _counted(
    texts: Sequence[str], role: Role, lang: str, columns: dict[str, int], progress: Progress
) -> tuple[csr_array, TokenCounts]:
    """How often each text has each word. A new word of a passage gets a column; a new word of a query is left out."""
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

"""How many rows there are for each language and pair of languages, and which rows those are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.train.cycles import Rounds, Rows, Share
from xlir_bench.train.store import ANSWER, QUESTION, Flags, RowStore

CHUNK = 8192
MONOLINGUAL, CROSS_LINGUAL = "monolingual", "cross-lingual"


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by language; plain or weighted, as each source is."""

    monolingual: NDArray[np.float64]
    """By language: rows with two different texts in it."""
    crossing: NDArray[np.float64]
    """By question language: rows with an answer in another."""
    pairs: NDArray[np.float64]
    """By question and answer language, the diagonal left at 0."""


@dataclass(frozen=True)
class Census:
    """What the rows of a store can be used for; languages are numbers of the store."""

    store: RowStore
    langs: tuple[int, ...]

    @classmethod
    def of(cls, store: RowStore, langs: tuple[str, ...] | None) -> Census:
        """Of all languages, or of some; those that no row has are refused."""
        unknown = sorted(set(langs or ()) - set(store.languages))
        if unknown:
            raise UnknownNameError("language of the training rows", unknown, store.languages)
        wanted = store.languages if langs is None else sorted(set(langs))
        if not wanted:
            raise InputError("no language is left to train on")
        return cls(store, tuple(store.languages.index(lang) for lang in wanted))

    @cached_property
    def mask(self) -> Flags:
        """Which languages of the store count."""
        mask = np.zeros(len(self.store.languages), bool)
        mask[list(self.langs)] = True
        return mask

    def rounds(self, kind: str | None) -> Rounds:
        """What an epoch holds of a kind of batch, or of any: each source by its weight."""
        shares, first = [], 0
        for source in self.store.sources:
            if source.rows and (kind is None or source.use in ("all", kind)):
                taken = max(1, round(source.weight * source.rows))
                shares.append(Share(first, source.rows, taken))
            first += source.rows
        return Rounds(tuple(shares))

    def monolingual(self, rows: Rows, lang: int) -> Flags:
        """Rows with two different texts in a language."""
        keys = self.store.keys[rows, :, lang]
        question, answer = keys[:, QUESTION], keys[:, ANSWER]
        found: Flags = (question != 0) & (answer != 0) & (question != answer)
        return found & self._of_use(rows, MONOLINGUAL)

    def pair(self, rows: Rows, question: int, answer: int) -> Flags:
        """Rows with a question in one language and an answer in another."""
        asked = self.store.keys[rows, QUESTION, question] != 0
        found: Flags = asked & (self.store.keys[rows, ANSWER, answer] != 0)
        return found & self._of_use(rows, CROSS_LINGUAL)

    def crossing(self, rows: Rows, question: int) -> Flags:
        """Rows with a question in a language and an answer in any other that counts."""
        asked = self.store.keys[rows, QUESTION, question] != 0
        found: Flags = asked & self.answers(rows, question).any(axis=1)
        return found & self._of_use(rows, CROSS_LINGUAL)

    def answers(self, rows: Rows, question: int) -> Flags:
        """By row and language: whether there is an answer in another language than the question's."""
        others = self.mask.copy()
        others[question] = False
        found: Flags = (self.store.keys[rows, ANSWER] != 0) & others
        return found

    @cached_property
    def counts(self) -> Counts:
        """Rows, each once."""
        return self._count(weighted=False)

    @cached_property
    def weighted(self) -> Counts:
        """Rows, each as often as its source weighs."""
        return self._count(weighted=True)

    def _count(self, weighted: bool) -> Counts:
        size = len(self.store.languages)
        total = Counts(np.zeros(size), np.zeros(size), np.zeros((size, size)))
        first = 0
        for source in self.store.sources:
            weight = source.weight if weighted else 1.0
            for start in range(first, first + source.rows, CHUNK):
                stop = min(start + CHUNK, first + source.rows)
                keys = self.store.keys[start:stop] * self.mask
                asked, answered = keys[:, QUESTION] != 0, keys[:, ANSWER] != 0
                if source.use in ("all", MONOLINGUAL):
                    both = asked & answered & (keys[:, QUESTION] != keys[:, ANSWER])
                    total.monolingual[:] += weight * np.count_nonzero(both, axis=0)
                if source.use in ("all", CROSS_LINGUAL):
                    pairs = asked.T.astype(np.float64) @ answered.astype(np.float64)
                    np.fill_diagonal(pairs, 0.0)
                    total.pairs[:] += weight * pairs
                    others = np.count_nonzero(answered, axis=1)[:, None] > answered
                    total.crossing[:] += weight * np.count_nonzero(asked & others, axis=0)
            first += source.rows
        return total

    def _of_use(self, rows: Rows, kind: str) -> Flags:
        ends = np.cumsum([source.rows for source in self.store.sources])
        taken = np.array([source.use in ("all", kind) for source in self.store.sources])
        found: Flags = taken[np.searchsorted(ends, rows, "right")]
        return found

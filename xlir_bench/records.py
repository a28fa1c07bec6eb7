"""The nouns that every floor shares: settings, collections, rankings, scores. Types alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Role = Literal["query", "passage"]
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

ROLES: tuple[Role, ...] = ("query", "passage")
POOL = "*"
"""How the pool of all languages is written where one passage language would stand."""


class Kind(StrEnum):
    """The three kinds of setting; tables show them in this order."""

    MONOLINGUAL = "monolingual"
    CROSS_LINGUAL = "cross-lingual"
    MULTILINGUAL = "multilingual"


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """Queries of one language against the passages of one or more; its kind follows from that."""

    query_lang: str
    passage_langs: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """Monolingual, cross-lingual, or multilingual (more than one passage language)."""
        if len(self.passage_langs) > 1:
            return Kind.MULTILINGUAL
        if self.passage_langs == (self.query_lang,):
            return Kind.MONOLINGUAL
        return Kind.CROSS_LINGUAL

    @property
    def passage_lang(self) -> str:
        """The passage language, or ``*`` for the pool."""
        return self.passage_langs[0] if len(self.passage_langs) == 1 else POOL

    def __str__(self) -> str:
        return f"{self.query_lang}-{self.passage_lang}"


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries of one language, in the order of their file."""

    ids: tuple[str, ...]
    """Unique within the language; a translation has the same id."""
    texts: Sequence[str]
    clusters: tuple[str, ...]
    """What resampling moves together (article, document or question); the same for translations."""


@dataclass(frozen=True, slots=True)
class Passages:
    """The candidates of one language, in pool order."""

    ids: Sequence[str]
    """Unique in the whole collection, ``lang:paragraph:sentence``."""
    texts: Sequence[str]
    """Those of a corpus that lies on disk are `Stored`."""
    bodies: Sequence[str] | None = None
    """Without their titles, where answers are looked for in them."""


@runtime_checkable
class Stored(Protocol):
    """Texts that lie on disk because there may be too many for memory; read row by row."""

    @property
    def digest(self) -> str:
        """Names the corpus: the same texts in the same order have the same."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """Which passages of one language answer the queries of one language, as parallel arrays.

    Sorted by query, then passage. Both are row numbers in `Queries` and `Passages`.
    """

    query: Ints
    passage: Ints
    grade: Ints
    """Above 0; a judged passage that is not relevant has no row."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What a task asks: queries, candidates and relevance of every language, read once and checked."""

    queries: Mapping[str, Queries]
    passages: Mapping[str, Passages]
    relevance: Mapping[tuple[str, str], Relevance]
    """By (query language, passage language); a pair without any relevant passage may be absent."""
    cluster: str
    """What a cluster is: ``article``, ``document`` or ``question``."""
    parallel: bool
    """Whether queries of one id in several languages are translations of each other."""
    digests: Mapping[str, str]
    """SHA-256 of every file read, by its path under the data root."""
    changed: tuple[str, ...] = ()
    """Paths of files that differ from their pinned digest and were read all the same."""
    notes: tuple[str, ...] = ()
    """Oddities of the data that are no faults."""
    answers: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    """Where a passage counts by the answer that stands in it, by language: the answers to each query. A
    query with none is not scored; no relevance is known."""
    own: Mapping[str, Ints] = field(default_factory=dict)
    """Where queries are candidates themselves, by language: the row of each among the passages of its
    language. It leaves the pools that it is asked of."""

    def texts(self, role: Role, lang: str) -> Sequence[str]:
        """The texts of one role and language."""
        return self.queries[lang].texts if role == "query" else self.passages[lang].texts

    def bodies(self, lang: str) -> Sequence[str]:
        """The passages of a language as answers are looked for in them."""
        passages = self.passages[lang]
        return passages.texts if passages.bodies is None else passages.bodies

    def languages(self, role: Role) -> list[str]:
        """The languages of a role, sorted by code: pool order."""
        return sorted(self.queries if role == "query" else self.passages)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What search found for one setting: one row per relevant passage of every query that has any."""

    setting: Setting
    candidates: int
    """Size of the pool."""
    query: Ints
    """Row of the query in its language, ascending."""
    passage: Ints
    """Position of the relevant passage in the pool of this setting (languages by code, then row)."""
    grade: Ints
    rank: Ints
    """From 1; 0 where an approximate index did not retrieve it."""
    top: Ints | None = None
    """Pool positions of the best passages, a row for each of `scored`, best first; -1 pads."""
    answered: Ints | None = None
    """Where answers decide and no relevance is known: the rows of the queries that have any."""
    top_scores: Floats | None = None
    """Of the best passages."""

    @property
    def scored(self) -> Ints:
        """The rows of the queries that count: those with a relevant passage in this pool, or an answer."""
        return np.unique(self.query) if self.answered is None else self.answered


@dataclass(frozen=True, slots=True)
class Scores:
    """Per-query values of one setting; means are taken last."""

    setting: Setting
    candidates: int
    query: Ints
    """Row of each scored query, ascending."""
    values: Mapping[str, Floats]
    """By measure, one value a scored query."""


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """How an encoder's tokenizer saw some texts; one entry a text."""

    tokens: Ints
    """Length before any cut, special tokens and prompt included."""
    unknown: Ints
    """How many of them are the unknown token."""


class Progress(Protocol):
    """Whoever wants to show progress is told of it here; nothing below the command line prints."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """A stage begins: so many units are to be done."""

    def advance(self, count: int) -> None:
        """So many more units are done."""

    def finish(self) -> None:
        """The stage is over."""


@runtime_checkable
class Noting(Protocol):
    """A `Progress` that can show a remark beside it, such as the loss."""

    def note(self, text: str) -> None:
        """Show this until the next one."""


Evaluate = Callable[[Any], Mapping[str, float]]
"""From a model in the middle of training to figures by name; handed in by whoever starts the training."""


class Silent:
    """A `Progress` that shows nothing."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Show nothing."""

    def advance(self, count: int) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""

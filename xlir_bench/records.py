"""The types that all packages share: settings, collections, rankings, scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import UnknownNameError

Item = TypeVar("Item")

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

    @classmethod
    def named(cls, *names: str) -> tuple[Kind, ...]:
        """The kinds of these names, however they are spelt; all unknown ones are reported together.

        >>> [kind.value for kind in Kind.named("Crosslingual", "mono_lingual")]
        ['cross-lingual', 'monolingual']
        """
        known = {kind.value.replace("-", ""): kind for kind in cls}
        plain = [re.sub(r"[\W_]", "", str(name).casefold()) for name in names]
        if unknown := [n for n, p in zip(names, plain, strict=True) if p not in known]:
            raise UnknownNameError("kind", unknown, [kind.value for kind in cls])
        return tuple(known[p] for p in plain)


def measure_name(name: str) -> str:
    """A measure as ranx spells it.

    >>> measure_name("nDCG_at_10")
    'ndcg@10'
    """
    return name.strip().lower().replace("_at_", "@")


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """Queries of one language against the passages of one or more; its kind follows from that."""

    query_lang: str
    passage_langs: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """Monolingual, cross-lingual, or multilingual (more than one passage language)."""
        if self.pooled:
            return Kind.MULTILINGUAL
        if self.passage_langs == (self.query_lang,):
            return Kind.MONOLINGUAL
        return Kind.CROSS_LINGUAL

    @property
    def pooled(self) -> bool:
        """Whether passages of several languages are searched together."""
        return len(self.passage_langs) > 1

    @property
    def passage_lang(self) -> str:
        """The passage language, or ``*`` for the pool."""
        return POOL if self.pooled else self.passage_langs[0]

    def __str__(self) -> str:
        return f"{self.query_lang}-{self.passage_lang}"


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries of one language, in the order of their file."""

    ids: tuple[str, ...]
    """Unique within the language; translations share an id."""
    texts: Sequence[str]
    clusters: tuple[str, ...]
    """Queries of one cluster (article, document or question) move together in resampling; so do translations."""


@dataclass(frozen=True, slots=True)
class Passages:
    """The candidates of one language, in pool order."""

    ids: Sequence[str]
    """Unique in the whole collection, ``lang:paragraph:sentence``."""
    texts: Sequence[str]
    """`TextsOnDisk`, where the corpus lies on disk."""
    bodies: Sequence[str] | None = None
    """The texts without titles, if passages are searched for answers."""


@runtime_checkable
class TextsOnDisk(Protocol):
    """Texts on disk, because there may be too many for memory; read row by row."""

    @property
    def digest(self) -> str:
        """The digest of the corpus: equal for the same texts in the same order."""


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
    """What a task asks: the queries, candidates and relevance of every language, checked."""

    queries: Mapping[str, Queries]
    passages: Mapping[str, Passages]
    relevance: Mapping[tuple[str, str], Relevance]
    """By (query language, passage language); a pair without any relevant passage may be absent."""
    cluster: str
    """What the clusters of queries are: ``article``, ``document`` or ``question``."""
    parallel: bool
    """Whether queries of one id in several languages are translations of each other."""
    digests: Mapping[str, str]
    """SHA-256 of every file read, by its path under the data root."""
    changed: tuple[str, ...] = ()
    """Paths of files that differ from their pinned digest and were read all the same."""
    notes: tuple[str, ...] = ()
    """Oddities of the data that are no faults."""
    answers: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    """By language, the answers to each query, where a passage counts if it contains one: no relevance is known
    then, and a query without answers is not scored."""
    own: Mapping[str, Ints] = field(default_factory=dict)
    """By language, where queries are candidates themselves: the row of each query among the passages. It is left out
    of the pool of that query."""

    def texts(self, role: Role, lang: str) -> Sequence[str]:
        """The texts of one role and language."""
        return self.queries[lang].texts if role == "query" else self.passages[lang].texts

    def bodies(self, lang: str) -> Sequence[str]:
        """The passages of a language without titles, to look for answers in."""
        passages = self.passages[lang]
        return passages.texts if passages.bodies is None else passages.bodies

    def languages(self, role: Role) -> list[str]:
        """The languages of a role, sorted by code, which is pool order."""
        return sorted(self.queries if role == "query" else self.passages)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The ranks of one setting: a row for each relevant passage of each query that has any."""

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
    """Pool positions of the best passages, best first, a row for each of `scored`; padded with -1."""
    answered: Ints | None = None
    """Where answers decide: the rows of the queries that have answers."""
    top_scores: Floats | None = None
    """Scores of `top`."""
    ties: Ints | None = None
    """Two rows: how many candidates of equal score stand before each relevant passage, and after it; None: not known."""

    @property
    def rank_or_last(self) -> Ints:
        """The ranks; a passage that an index did not retrieve counts as the last."""
        return np.where(self.rank > 0, self.rank, self.candidates)

    @property
    def scored(self) -> Ints:
        """The rows of the queries that are scored: those with a relevant passage in this pool, or an answer."""
        if self.answered is not None:
            return self.answered
        return np.asarray(self.query[np.diff(self.query, prepend=-1) != 0])


@dataclass(frozen=True, slots=True)
class Scores:
    """Per-query values of one setting; means are taken last."""

    setting: Setting
    candidates: int
    query: Ints
    """Row of each scored query, ascending."""
    values: Mapping[str, Floats]
    """By measure, one value for each scored query."""


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What an encoder's tokenizer made of some texts; one entry for each text."""

    tokens: Ints
    """Length before any cut, special tokens and prompt included."""
    unknown: Ints
    """How many of them are the unknown token."""


@runtime_checkable
class Progress(Protocol):
    """Shows progress; nothing below the command line prints."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """A stage of `total` units begins."""

    def advance(self, count: int) -> None:
        """More units are done."""

    def finish(self) -> None:
        """The stage is over."""


@runtime_checkable
class Noting(Protocol):
    """A `Progress` that can also show a remark, such as the loss."""

    def note(self, text: str) -> None:
        """Show `text` until the next remark."""


Evaluate = Callable[[Any], Mapping[str, float]]
"""Gives the figures of a model in training, by name; the caller of the training passes it."""


def followed(items: Sequence[Item], progress: Progress, stage: str, unit: str) -> Iterator[Item]:
    """The items, one after another; each is done when the next one is asked for."""
    progress.start(stage, len(items), unit)
    try:
        for item in items:
            yield item
            progress.advance(1)
    finally:
        progress.finish()


class Silent:
    """A `Progress` that shows nothing."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Show nothing."""

    def advance(self, count: int) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""

"""The seam between the harness and whatever retrieves: it represents texts once and gives an index of them.

A retriever of another kind (an inverted index, one that compares token by token) is a class with a `card` and
`represent`; whoever asks it knows no more of it than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from xlir_bench.encoders import EncoderCard
from xlir_bench.records import Collection, Floats, Ints, Progress, Role, Setting, TokenCounts
from xlir_bench.retrieval.pool import Partial, Pool, Want
from xlir_bench.retrieval.vectors import Vectors


class Index(Protocol):
    """The texts of a collection, ready to be searched."""

    @property
    def pool(self) -> Pool:
        """The pool that it searches."""

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterable[Partial]:
        """What each of these wants to know, in their order."""


@runtime_checkable
class ScoringIndex(Index, Protocol):
    """An index in which a passage has a score of its own, whatever the others have."""

    def scores(self, setting: Setting, query: Ints, positions: Ints) -> Floats:
        """The true score of each pair of a query and a passage of a setting."""

    def tables(self, setting: Setting, size: int) -> Iterator[Floats]:
        """The true scores of all candidates of a setting, a row a query, of so many queries at a time."""


@dataclass(frozen=True, slots=True)
class Represented:
    """The texts of a collection as a retriever sees them."""

    index: Index
    dimension: int
    """Length of a text's vector."""
    vectors: Mapping[tuple[Role, str], Vectors] | None = None
    """One per text, in the order of the collection; None where a text has no single vector."""
    tokens: Mapping[tuple[Role, str], TokenCounts] | None = None
    """None where there is no tokenizer."""
    encoded: int = 0
    """Texts that were encoded now."""
    cached: int = 0
    """Texts that came from the cache."""
    notes: Sequence[str] = ()
    """Whole once the index was searched."""


class Retriever(Protocol):
    """What can be evaluated."""

    @property
    def card(self) -> EncoderCard:
        """What a result records of it; found without loading any weights."""

    @property
    def device(self) -> str | None:
        """Where it runs, where that is known."""

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Represent every text once, and index them."""

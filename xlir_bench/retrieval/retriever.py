"""The interface of the harness to a retriever, which represents texts once and gives an index of them.

A retriever of another kind (an inverted index, for example) is a class derived from `Retriever`, and its index a class
derived from `Index`: their callers rely only on what is declared here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from xlir_bench.encoders import EncoderCard
from xlir_bench.options.running import Shard
from xlir_bench.records import Collection, Floats, Ints, Progress, Role, Setting, TokenCounts
from xlir_bench.retrieval.pool import Partial, Want
from xlir_bench.retrieval.tiles import NUMBA, Engine
from xlir_bench.retrieval.vectors import Vectors


class Index(ABC):
    """The texts of a collection, ready to be searched.

    A derived class has to define `search`. The other methods fit most indexes; a class overrides those that differ.
    """

    @abstractmethod
    def search(self, wants: Sequence[Want], progress: Progress) -> Iterable[Partial]:
        """For each want in turn: how many passages stand before each relevant one, and the best passages."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of the result should know of the search, once it is over."""
        return ()

    @property
    def engine(self) -> Engine:
        """What compares vectors in this process."""
        return NUMBA

    @property
    def search_device(self) -> str:
        """Where vectors are compared."""
        return self.engine.name

    @property
    def scoring(self) -> ScoringIndex | None:
        """The index itself, if its score of a passage does not depend on other passages; else None."""
        return None

    def faiss_depth(self, depth: int) -> int:
        """How many passages a FAISS index below this one has to find, if `depth` are wanted of this one."""
        return depth

    def by_faiss(self, factory: str, depth: int) -> Index | None:
        """This index with FAISS, asked for `depth` passages, in place of exact search; None without dense vectors."""
        return None


class ScoringIndex(Index):
    """An index whose score of a passage does not depend on other passages."""

    @property
    def scoring(self) -> ScoringIndex:
        """Itself."""
        return self

    @property
    def scores_fast(self) -> bool:
        """Whether millions of scores take seconds, and not minutes."""
        return True

    @abstractmethod
    def scores(self, setting: Setting, query: Ints, positions: Ints) -> Floats:
        """The true score of each pair of a query and a passage of a setting."""

    @abstractmethod
    def tables(self, setting: Setting, size: int) -> Iterator[Floats]:
        """The true scores of all candidates of a setting, a row for each query, of `size` queries at a time."""


@dataclass(frozen=True, slots=True)
class Represented:
    """The texts of a collection as a retriever sees them."""

    index: Index
    dimension: int
    """Length of a text's vector."""
    vectors: Mapping[tuple[Role, str], Vectors] | None = None
    """One row for each text, in the order of the collection; None if a text does not have a single vector."""
    tokens: Mapping[tuple[Role, str], TokenCounts] | None = None
    """The token counts of each text; None if there is no tokenizer."""
    encoded: int = 0
    """Texts that were encoded now."""
    cached: int = 0
    """Texts that came from the cache."""
    notes: Sequence[str] = ()


class Retriever(ABC):
    """What is evaluated: it represents texts, and gives an index that searches them."""

    @property
    @abstractmethod
    def card(self) -> EncoderCard:
        """What a result records of it; found without loading any weights."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[Retriever]:
        """The retrievers that it is made of; none if it represents texts itself."""

    @property
    def device(self) -> str | None:
        """The device that it runs on, if known."""
        return self.parts[0].device if self.parts else None

    @abstractmethod
    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Represent every text once, and index them."""

    def encode_shard(self, collection: Collection, shard: Shard, progress: Progress) -> int:
        """Encode one part of the texts into the cache; returns how many were encoded."""
        return sum(part.encode_shard(collection, shard, progress) for part in self.parts)

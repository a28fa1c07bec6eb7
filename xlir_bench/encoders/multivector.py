"""Late interaction, such as ColBERT: a vector for each token of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xlir_bench.encoders.check import check_finite
from xlir_bench.encoders.hub import Place
from xlir_bench.encoders.layout import MULTI_VECTOR
from xlir_bench.encoders.libraries import quiet_transformers
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS
from xlir_bench.encoders.tokens import ModelTokens
from xlir_bench.encoders.transformer import TransformerEncoder
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Floats, Ints, Role


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The vectors of the tokens of some texts, one text after another."""

    vectors: Floats
    """A row a token."""
    ends: Ints
    """Where the tokens of the first text begin, and where those of each text end."""

    @classmethod
    def of(cls, texts: Sequence[Floats]) -> TokenVectors:
        """From one array of token vectors per text."""
        ends = np.cumsum([0, *(len(text) for text in texts)])
        return cls(np.concatenate(texts), ends)

    @classmethod
    def stacked(cls, parts: Sequence[TokenVectors]) -> TokenVectors:
        """The texts of all parts, in their order."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(np.concatenate([part.vectors for part in parts]), _ends(lengths))

    @property
    def shape(self) -> tuple[int, int]:
        """How many texts there are, and how long the vector of a token is."""
        return len(self.ends) - 1, int(self.vectors.shape[1])

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.vectors.size)

    @property
    def lengths(self) -> Ints:
        """How many tokens each text has."""
        return np.diff(self.ends)

    def __getitem__(self, rows: Ints | slice) -> TokenVectors:
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.shape[0])
            ends = self.ends[start : max(start, stop) + 1]
            return TokenVectors(self.vectors[ends[0] : ends[-1]], ends - ends[0])
        lengths = self.lengths[rows]
        ends = _ends(lengths)
        token = np.arange(ends[-1]) + np.repeat(self.ends[:-1][rows] - ends[:-1], lengths)
        return TokenVectors(self.vectors[token], ends)


def _ends(lengths: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)])


class MultiVectorEncoder(TransformerEncoder):
    """A `MultiVectorEncoder` of sentence-transformers, which reads models of PyLate and of ColBERT too."""

    kind = "late-interaction"
    model_type = MULTI_VECTOR

    def __init__(self, place: Place, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(place, options)
        self.max_query_tokens = place.layout.query_tokens(options.max_length)
        self.fills_queries = place.layout.fills_queries

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        """The `TokenVectors` of the texts, as one batch; loads the model."""
        if not texts:
            return TokenVectors(np.zeros((0, self.dimension), np.float32), np.zeros(1, np.int64))
        with quiet_transformers():  # which would warn of each query that is cut
            vectors = self._encode(texts, role, convert_to_numpy=True)
        tokens = TokenVectors.of([np.asarray(text, np.float32) for text in vectors])
        check_finite(tokens.vectors, np.repeat(np.arange(len(texts)), tokens.lengths), texts)
        return tokens

    @cached_property
    def _tokens(self) -> ModelTokens:
        """Counts tokens, and keeps no ids: how the model cuts and fills up a text depends on its role and contents."""
        return ModelTokens(self._model[0], 0)

    def _cut(self, model: Any) -> None:
        """Let the model cut queries and passages, each after a number of tokens of its own."""
        model[0].document_length, model[0].query_length = self.max_tokens, self.max_query_tokens

"""One loaded sentence-transformers model: how it encodes and counts, whoever loaded it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.encoders.check import as_floats
from xlir_bench.encoders.prompts import Prompts
from xlir_bench.errors import InputError
from xlir_bench.records import Floats, Role, TokenCounts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

COUNTED_AT_ONCE = 2048
NO_TOKEN = -1
"""The id of the unknown token where a tokenizer has none."""


class Session:
    """Encodes with one loaded model, its prompts and its dimension; leaves the model as it was."""

    def __init__(
        self, model: SentenceTransformer, prompts: Prompts, truncate_dim: int | None
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._truncate_dim = truncate_dim

    @cached_property
    def dimension(self) -> int:
        """Length of its vectors, cut or not."""
        own = self._model.truncate_dim
        self._model.truncate_dim = None
        try:
            ask = getattr(self._model, "get_embedding_dimension", None)
            whole = (ask or self._model.get_sentence_embedding_dimension)()
            whole = int(whole or self._encode(["dimension"], "query", None).shape[1])
        finally:
            self._model.truncate_dim = own
        if self._truncate_dim is not None and self._truncate_dim > whole:
            raise InputError(
                f"--truncate-dim {self._truncate_dim}: its vectors have only {whole} numbers"
            )
        cut = own if self._truncate_dim is None else self._truncate_dim
        return whole if cut is None else min(whole, cut)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row a text."""
        dimension = self.dimension
        if not texts:
            return np.zeros((0, dimension), np.float32)
        return as_floats(self._encode(texts, role, self._truncate_dim))

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens as the model's own tokenizer counts them, prompt and special tokens included, uncut."""
        prompt = self._prompt(role)
        tokens, unknown = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for start in range(0, len(texts), COUNTED_AT_ONCE):
            rows = self._token_ids(
                [prompt + text for text in texts[start : start + COUNTED_AT_ONCE]]
            )
            tokens.append(np.array([len(row) for row in rows]))
            unknown.append(np.array([row.count(self._unknown_id) for row in rows]))
        return TokenCounts(np.concatenate(tokens), np.concatenate(unknown))

    def _encode(self, texts: Sequence[str], role: Role, truncate_dim: int | None) -> Any:
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        training = self._model.training
        try:
            return encode(
                list(texts),
                prompt=self._prompt(role),
                batch_size=len(texts),
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=False,
                truncate_dim=truncate_dim,
            )
        finally:
            self._model.train(training)

    def _prompt(self, role: Role) -> str:
        return self._prompts.query if role == "query" else self._prompts.passage

    @cached_property
    def _tokenizer(self) -> Any:
        """The tokenizer of the first module; a bare one is copied, since its cut is part of its state."""
        tokenizer = getattr(self._model[0], "tokenizer", None)
        if tokenizer is None:
            raise InputError(
                f"{type(self._model[0]).__name__} has no tokenizer that could count tokens"
            )
        if _is_bare(tokenizer):
            tokenizer = type(tokenizer).from_str(tokenizer.to_str())
            tokenizer.no_truncation()
            tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _unknown_id(self) -> int:
        if _is_bare(self._tokenizer):
            token = getattr(self._tokenizer.model, "unk_token", None)
            found = None if token is None else self._tokenizer.token_to_id(token)
        else:
            found = getattr(self._tokenizer, "unk_token_id", None)
        return NO_TOKEN if found is None else int(found)

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        if _is_bare(self._tokenizer):
            return [e.ids for e in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        if not callable(self._tokenizer):
            return [list(self._tokenizer.tokenize(text)) for text in texts]
        rows: list[list[int]] = self._tokenizer(
            texts,
            add_special_tokens=True,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return rows


def _is_bare(tokenizer: Any) -> bool:
    return hasattr(tokenizer, "no_truncation")

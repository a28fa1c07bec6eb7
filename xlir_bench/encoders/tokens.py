"""A model's own tokenizer: what it has counted, the model need not tokenise again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.errors import InputError
from xlir_bench.records import Ints, TokenCounts

COUNTED_AT_ONCE = 2048
REMEMBERED = 1 << 25
"""Ids that are kept until they are read, 134 MB."""
NO_TOKEN = -1
"""The id of the unknown token where a tokenizer has none."""


class ModelTokens:
    """The tokenizer of a model's first module, and the ids of texts that it has counted.

    What a model reads beside ids is learnt from the first batch whose ids are known: it is tokenised once more, and
    where its ids do not make what the model makes of its texts, all others are tokenised again too. So is every batch with
    a text that has to be cut.
    """

    def __init__(self, module: Any, limit: int | None) -> None:
        tokenizer = getattr(module, "tokenizer", None)
        if tokenizer is None:
            raise InputError(f"{type(module).__name__} has no tokenizer to count tokens")
        self._is_bare = is_bare(tokenizer)
        if self._is_bare:  # it is copied, since its cut is part of its state
            tokenizer = type(tokenizer).from_str(tokenizer.to_str())
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._limit = np.inf if limit is None else limit
        self._unknown_id = self._find_unknown()
        self._ids: dict[str, Ints] = {}
        self._how: dict[str, Any] | None = None
        """How the batch was asked for that this was learnt from."""
        self._beside: dict[str, Any] = {}
        self._read: tuple[str, ...] = ()

    def count(self, texts: Sequence[str], prompt: str) -> TokenCounts:
        """Tokens of each text behind the prompt, special ones included, uncut; ids of texts before are forgotten."""
        self._ids, self._how = {}, None
        tokens, unknown, room = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], REMEMBERED
        for some in slices(len(texts), COUNTED_AT_ONCE):
            asked = [prompt + text for text in texts[some]]
            rows = token_ids(self._tokenizer, asked, special=not self._is_bare)
            tokens.append(np.array([len(row) for row in rows]))
            unknown.append(np.array([row.count(self._unknown_id) for row in rows]))
            for text, row in zip(asked, rows, strict=True):
                if len(row) <= min(self._limit, room):
                    self._ids[text] = np.array(row, np.int32)
                    room -= len(row)
        return TokenCounts(np.concatenate(tokens), np.concatenate(unknown))

    def features(
        self, preprocess: Callable[..., Mapping[str, Any]], texts: Sequence[str], **how: Any
    ) -> Mapping[str, Any]:
        """What the model's `preprocess` makes of a batch, from ids where all are known; each is used once."""
        prompt = how.get("prompt") or ""
        ids = [self._ids.pop(prompt + text, None) for text in texts]
        known = [row for row in ids if row is not None]
        if not texts or len(known) < len(texts):
            return preprocess(texts, **how)
        made = self._padded(known)
        if how == self._how:
            return self._beside | {name: made[name] for name in self._read}
        features = preprocess(texts, **how)
        self._learn(features, made)
        self._how = how
        return features

    def _learn(self, features: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """Which of its features ids make, and which are the same for all texts."""
        import torch

        self._read = tuple(name for name, value in features.items() if torch.is_tensor(value))
        self._beside = {name: features[name] for name in features if name not in self._read}
        is_alike = all(
            name in made
            and made[name].dtype == features[name].dtype
            and torch.equal(made[name], features[name])
            for name in self._read
        )
        if not is_alike or not all(isinstance(x, str | int) for x in self._beside.values()):
            self._ids = {}

    def _padded(self, ids: Sequence[Ints]) -> dict[str, Any]:
        """What models read of these texts: one after another where they have no padding."""
        import torch

        if self._is_bare:
            return in_a_row(ids)
        lengths = np.array([len(row) for row in ids])
        mask = np.arange(lengths.max()) < lengths[:, None]
        if getattr(self._tokenizer, "padding_side", "right") == "left":
            mask = mask[:, ::-1].copy()
        padded = np.full(mask.shape, getattr(self._tokenizer, "pad_token_id", None) or 0)
        padded[mask] = np.concatenate(ids)
        made = {"input_ids": padded, "attention_mask": mask.astype(np.int64)}
        made["token_type_ids"] = np.zeros_like(padded)
        return {name: torch.from_numpy(value) for name, value in made.items()}

    def _find_unknown(self) -> int:
        if self._is_bare:
            token = getattr(self._tokenizer.model, "unk_token", None)
            number = None if token is None else self._tokenizer.token_to_id(token)
        else:
            number = getattr(self._tokenizer, "unk_token_id", None)
        return NO_TOKEN if number is None else int(number)


def in_a_row(ids: Sequence[Ints]) -> dict[str, Any]:
    """The texts one after another, and where each begins: what a table of word vectors reads."""
    import torch

    lengths = np.array([len(row) for row in ids])
    return {
        "input_ids": torch.from_numpy(np.concatenate(ids).astype(np.int64)),
        "offsets": torch.from_numpy(np.cumsum(lengths) - lengths),
    }


def token_ids(tokenizer: Any, texts: list[str], special: bool) -> list[list[int]]:
    """The tokens of each text, with those that stand around it or without; a bare tokenizer cuts if it is set to."""
    if not texts:  # at which transformers fails
        return []
    if is_bare(tokenizer):
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]
    if not callable(tokenizer):
        return [list(tokenizer.tokenize(text)) for text in texts]
    unused = dict.fromkeys(("return_attention_mask", "return_token_type_ids", "verbose"), False)
    uncut = {"truncation": False, "padding": False}
    encoded = tokenizer(texts, add_special_tokens=special, **uncut, **unused)
    return list(encoded["input_ids"])


def is_bare(tokenizer: Any) -> bool:
    """Whether it is one of the library `tokenizers` itself."""
    return hasattr(tokenizer, "no_truncation")

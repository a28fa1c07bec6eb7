"""Counts tokens with a model's own tokenizer, and gives the ids to the model, which then need not tokenise again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.errors import InputError
from xlir_bench.records import Ints, TokenCounts

COUNTED_AT_ONCE = 2048
REMEMBERED = 1 << 25
"""How many ids are kept until they are used, at most: 134 MB."""
NO_TOKEN = -1
"""The id of the unknown token where a tokenizer has none."""


class ModelTokens:
    """The tokenizer of a model's first module, and the ids of texts that it has counted.

    A model reads more than ids: a mask, for example. So the first batch whose ids are known is tokenised by the model
    as well, to see whether `_padded` makes the same inputs from the ids. If it does not, the model tokenises all other
    batches, too. It always tokenises a batch with a text that has to be cut.
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
        self._learnt_for: dict[str, Any] | None = None
        """The arguments of `features` for which the following two are known."""
        self._constant: dict[str, Any] = {}
        """The inputs that are the same for all texts."""
        self._tensors: tuple[str, ...] = ()
        """The names of the inputs that are made from ids."""

    def count(self, texts: Sequence[str], prompt: str) -> TokenCounts:
        """Tokens of the prompt and each text, with special tokens, before any cut; ids of earlier texts are forgotten."""
        self._ids, self._learnt_for = {}, None
        tokens, unknown, room = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], REMEMBERED
        for page in slices(len(texts), COUNTED_AT_ONCE):
            prompted = [prompt + text for text in texts[page]]
            rows = token_ids(self._tokenizer, prompted, special=not self._is_bare)
            tokens.append(np.array([len(row) for row in rows]))
            unknown.append(np.array([row.count(self._unknown_id) for row in rows]))
            for text, row in zip(prompted, rows, strict=True):
                if len(row) <= min(self._limit, room):
                    self._ids[text] = np.array(row, np.int32)
                    room -= len(row)
        return TokenCounts(np.concatenate(tokens), np.concatenate(unknown))

    def features(
        self, preprocess: Callable[..., Mapping[str, Any]], texts: Sequence[str], **how: Any
    ) -> Mapping[str, Any]:
        """The inputs that `preprocess` makes of a batch: from the ids, if all are known. Ids are used once."""
        prompt = how.get("prompt") or ""
        ids = [self._ids.pop(prompt + text, None) for text in texts]
        known = [row for row in ids if row is not None]
        if not texts or len(known) < len(texts):
            return preprocess(texts, **how)
        from_ids = self._padded(known)
        if how == self._learnt_for:
            return self._constant | {name: from_ids[name] for name in self._tensors}
        features = preprocess(texts, **how)
        self._learn(features, from_ids)
        self._learnt_for = how
        return features

    def _learn(self, features: Mapping[str, Any], from_ids: Mapping[str, Any]) -> None:
        """Note which inputs are made from ids and which are constant; forget all ids if they make other inputs."""
        import torch

        self._tensors = tuple(name for name, value in features.items() if torch.is_tensor(value))
        self._constant = {name: features[name] for name in features if name not in self._tensors}
        is_alike = all(
            name in from_ids
            and from_ids[name].dtype == features[name].dtype
            and torch.equal(from_ids[name], features[name])
            for name in self._tensors
        )
        if not is_alike or not all(isinstance(x, str | int) for x in self._constant.values()):
            self._ids = {}

    def _padded(self, ids: Sequence[Ints]) -> dict[str, Any]:
        """The inputs of a model from ids: padded, or one text after another for a tokenizer without padding."""
        import torch

        if self._is_bare:
            return in_a_row(ids)
        lengths = np.array([len(row) for row in ids])
        mask = np.arange(lengths.max()) < lengths[:, None]
        if getattr(self._tokenizer, "padding_side", "right") == "left":
            mask = mask[:, ::-1].copy()
        padded = np.full(mask.shape, getattr(self._tokenizer, "pad_token_id", None) or 0)
        padded[mask] = np.concatenate(ids)
        inputs = {"input_ids": padded, "attention_mask": mask.astype(np.int64)}
        inputs["token_type_ids"] = np.zeros_like(padded)
        return {name: torch.from_numpy(value) for name, value in inputs.items()}

    def _find_unknown(self) -> int:
        if self._is_bare:
            token = getattr(self._tokenizer.model, "unk_token", None)
            number = None if token is None else self._tokenizer.token_to_id(token)
        else:
            number = getattr(self._tokenizer, "unk_token_id", None)
        return NO_TOKEN if number is None else int(number)


def in_a_row(ids: Sequence[Ints]) -> dict[str, Any]:
    """The ids of the texts one after another, and where each text begins: the input of a table of word vectors."""
    import torch

    lengths = np.array([len(row) for row in ids])
    return {
        "input_ids": torch.from_numpy(np.concatenate(ids).astype(np.int64)),
        "offsets": torch.from_numpy(np.cumsum(lengths) - lengths),
    }


def token_ids(tokenizer: Any, texts: list[str], special: bool) -> list[list[int]]:
    """The ids of the tokens of each text, with or without special tokens; uncut, unless a bare tokenizer is set to cut."""
    if not texts:  # transformers fails on an empty list
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
    """Whether this is a tokenizer of the library `tokenizers`, not one of transformers."""
    return hasattr(tokenizer, "no_truncation")

"""A sentence-transformers model that someone has in memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xlir_bench.encoders.digest import fingerprint, package_versions, short
from xlir_bench.encoders.options import DEFAULT_OPTIONS, given, unused_notes
from xlir_bench.encoders.prompts import chosen
from xlir_bench.encoders.protocol import EncoderCard
from xlir_bench.encoders.session import Session
from xlir_bench.encoders.slugs import slug
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.stating import check_bounds
from xlir_bench.records import Floats, Role, TokenCounts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LIVE_OPTIONS = ("query_prompt", "passage_prompt", "truncate_dim")
"""The options that a model takes which is loaded already."""


class LiveEncoder:
    """A `SentenceTransformer` that someone has in memory, perhaps in the middle of its training."""

    kind = "sentence-transformers"

    def __init__(
        self, model: SentenceTransformer, options: EncoderOptions = DEFAULT_OPTIONS
    ) -> None:
        check_bounds(options)
        data = getattr(model, "model_card_data", None)
        config = getattr(getattr(model, "transformers_model", None), "config", None)
        ancestors = [getattr(data, "base_model", None), getattr(config, "_name_or_path", None)]
        named = [str(name) for name in (getattr(data, "model_id", None), *ancestors) if name]
        self._model = model
        self._options = options
        self._prompts = chosen(options, model.prompts, model.default_prompt_name, named)
        self._session = Session(model, self._prompts, options.truncate_dim)
        self.name = named[0] if named else "model in memory"

    @cached_property
    def weights_digest(self) -> str:
        """Of the weights as they were when it was first asked for."""
        import torch

        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return "sha256:" + digest.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """Of weights, tokenizer, modules, prompts and versions."""
        tokenizer: Any = getattr(self._model[0], "tokenizer", None)
        backend: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
        return fingerprint(
            {
                "kind": self.kind,
                "weights": self.weights_digest,
                "modules": str(self._model),
                "tokenizer": backend.to_str() if hasattr(backend, "to_str") else repr(backend),
                "max_tokens": _finite(self._model.max_seq_length),
                "truncate_dim": self._options.truncate_dim,
                "prompts": [self._prompts.query, self._prompts.passage],
                "device": self._model.device.type,
                "versions": package_versions(),
            }
        )

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        stem = f"{self.name.rstrip('/').split('/')[-1]}-{short(self.weights_digest)}"
        return EncoderCard(
            name=self.name,
            kind=self.kind,
            slug=slug(stem, given(self._options, LIVE_OPTIONS)),
            fingerprint=self.fingerprint,
            dtype=str(self._model.dtype).removeprefix("torch."),
            max_tokens=_finite(self._model.max_seq_length),
            query_prompt=self._prompts.query,
            passage_prompt=self._prompts.passage,
            weights_digest=self.weights_digest,
            parameters=sum(p.numel() for p in self._model.parameters()),
            notes=(*self._prompts.notes, *unused_notes(self._options, "live", LIVE_OPTIONS)),
        )

    @property
    def device(self) -> str:
        """Where it runs now: batches are larger on a GPU."""
        return str(self._model.device)

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return self._session.dimension

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row a text."""
        return self._session.encode(texts, role)

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens and unknown tokens of each text."""
        return self._session.count_tokens(texts, role)


def _finite(length: float | None) -> int | None:
    """A static embedding says that it takes infinitely many tokens."""
    return None if length is None or math.isinf(length) or length > 1_000_000 else int(length)

"""Rerankers score a pair of a query and a passage by reading both together."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xlir_bench.encoders.check import as_floats, quoted
from xlir_bench.encoders.devices import default_device, require_device
from xlir_bench.encoders.digest import fingerprint, short, slug
from xlir_bench.encoders.hub import Place, locate
from xlir_bench.encoders.layout import CROSS
from xlir_bench.encoders.libraries import load
from xlir_bench.encoders.protocol import EncoderCard, changed_options
from xlir_bench.encoders.python import in_one_line, python_target
from xlir_bench.encoders.refusal import refuse_unsafe
from xlir_bench.encoders.tokens import token_ids
from xlir_bench.errors import BadVectorsError, InputError, XlirError
from xlir_bench.extras import require
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.places import expanded
from xlir_bench.records import Floats, Role, TokenCounts

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

Pair = tuple[str, str]
"""A query and a passage."""


class Reranker(Protocol):
    """Scores pairs; it may also be `Tokenizing`."""

    @property
    def card(self) -> EncoderCard:
        """What a result records of it; found without loading any weights."""

    @property
    def device(self) -> str:
        """Where it runs; batches are larger on a GPU."""

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """One float32 per pair; higher is better. Called with one planned batch at a time."""


class CrossEncoderReranker:
    """A cross encoder in a folder. Its card is read from its files; everything else loads the model."""

    def __init__(self, place: Place, options: EncoderOptions) -> None:
        refuse_unsafe(place, options.trust_remote_code, CROSS)
        self.device = options.device or default_device()
        self._place = place
        self._options = options

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it. It cuts pairs at a limit of its own: `--max-length` is for the first stage."""
        place, options, kind = self._place, self._options, "cross-encoder"
        parts = {"kind": kind, "max_tokens": place.layout.max_tokens}
        return EncoderCard(
            name=place.name,
            kind=kind,
            slug=slug(place.slug_stem, changed_options(options, ["dtype"])),
            fingerprint=fingerprint(parts | place.decisive(options, self.device)),
            dtype=options.dtype,
            max_tokens=place.layout.max_tokens,
            weights_digest=place.weights_digest,
            parameters=place.layout.parameters,
            notes=place.notes,
        )

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """The library's scores, with the model's own activation function; loads the model."""
        scores = self._model.predict(
            list(pairs), batch_size=len(pairs), show_progress_bar=False, convert_to_numpy=True
        )
        return as_floats(scores, "the reranker")

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """How many tokens each text adds to a pair, before any cut; the tokens that all pairs have count with the query."""
        tokenizer = self._model.tokenizer
        of_all_pairs = 0
        if role == "query":
            prompts: dict[str | None, str] = dict(self._model.prompts)
            prompt = prompts.get(self._model.default_prompt_name) or ""
            (tokens,) = token_ids(tokenizer, [prompt], special=False)
            of_all_pairs = tokenizer.num_special_tokens_to_add(pair=True) + len(tokens)
        rows = token_ids(tokenizer, list(texts), special=False)
        lengths = np.array([len(row) + of_all_pairs for row in rows], np.int64)
        return TokenCounts(lengths, np.zeros_like(lengths))

    @cached_property
    def _model(self) -> CrossEncoder:
        place, options = self._place, self._options
        model: CrossEncoder = load(CROSS, place.name, str(place.folder), self.device, options)
        if place.layout.max_tokens is not None:
            model.max_seq_length = place.layout.max_tokens
        return model.eval()


class PythonReranker:
    """Calls a function of pairs. If `target` is a class, an instance is made at the first call, and called."""

    device = "cpu"

    def __init__(self, name: str, target: Any, source: str) -> None:
        if not callable(target):
            raise InputError(f"{name} is no function of pairs, but {type(target).__name__}")
        self._target = target
        digest = fingerprint({"kind": "python-reranker", "name": name, "source": source})
        self.card = EncoderCard(
            name=name,
            kind="python",
            slug=slug(f"py-{name}-{short(digest)}"),
            fingerprint=digest,
            notes=(f"{name} is known by the digest of its file",),
        )

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """The scores that the user's code gives, as float32."""
        try:
            scores = self._call(list(pairs))
        except Exception as error:
            raise XlirError(f"{self.card.name} failed: {in_one_line(error)}") from error
        return as_floats(scores, "the reranker")

    @cached_property
    def _call(self) -> Any:
        return self._target() if inspect.isclass(self._target) else self._target


def load_reranker(spec: str, options: EncoderOptions) -> Reranker:
    """The reranker that `spec` names: ``py:``, a folder or a hub id."""
    prefix, colon, rest = spec.partition(":")
    if colon and prefix == "py":
        return PythonReranker(*python_target(rest))
    if not spec.strip() or (colon and not expanded(spec).exists()):
        raise InputError(f"{spec!r} is no cross encoder: give a folder, a hub id or py:FILE:NAME")
    require("models", spec)
    if options.device is not None:  # refused now, not after all texts are encoded
        require_device(options.device)
    return CrossEncoderReranker(locate(spec, replace(options, revision=None)), options)


def checked_scores(scores: Floats, pairs: Sequence[Pair]) -> Floats:
    """The scores, one finite number per pair; an error names the first pair without one."""
    if scores.shape != (len(pairs),):
        raise BadVectorsError(
            f"the reranker gave an array of shape {scores.shape} for {len(pairs)} pairs, not one number a pair"
        )
    finite = np.isfinite(scores)
    if not finite.all():
        query, passage = pairs[int(np.argmin(finite))]
        raise BadVectorsError(
            f"the reranker gave {scores[np.argmin(finite)]} for the pair {quoted(query)}, {quoted(passage)}"
            f" ({int((~finite).sum())} of {len(pairs)} pairs): nothing can be ranked by that"
        )
    return scores

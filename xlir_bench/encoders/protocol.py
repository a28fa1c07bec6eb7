"""The interface of every encoder, and what a result records of an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.stating import MODEL, options_of
from xlir_bench.records import Floats, Role, TokenCounts

DEFAULT_OPTIONS = EncoderOptions()
MODEL_OPTIONS = tuple(option.name for option in options_of(EncoderOptions) if option.group == MODEL)
"""The options that say how a model is loaded and used."""


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors, and knows nothing of tasks. It may also have a `card` (`EncoderCard`) and a `device`."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of everything that changes its vectors; found without loading any weights."""

    @property
    def dimension(self) -> int:
        """Length of its vectors; may load the model."""

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row per text, not normalised. Called with one planned batch at a time."""


@runtime_checkable
class Tokenizing(Protocol):
    """An encoder that can say how its tokenizer sees a text."""

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens and unknown tokens of each text, before any cut."""


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """What a result records of an encoder; found without loading any weights."""

    name: str
    kind: str
    """``sentence-transformers``, ``sparse``, ``late-interaction``, ``builtin``, ``python``, ``vectors`` or ``http``;
    ``fused`` or ``reranked``: several."""
    slug: str
    """Its folder's name: safe in any file system, different for different weights or options."""
    fingerprint: str
    dtype: str = "float32"
    max_tokens: int | None = None
    """After how many tokens a text is cut."""
    max_query_tokens: int | None = None
    """After how many tokens a query is cut, if that differs from passages."""
    fills_queries: bool = False
    """Whether every query is filled up to the number of tokens at which it is cut."""
    query_prompt: str = ""
    passage_prompt: str = ""
    weights_digest: str | None = None
    parameters: int | None = None
    """Number of weights, if the files tell it."""
    weights_bytes: int | None = None
    """The memory that the weights take, if that is not their number times the width of the dtype."""
    similarity: str | None = None
    """How vectors are compared: by a retriever, or, in an encoder's card, what the model registers, if anything."""
    chosen_on: tuple[str, ...] = ()
    """Tasks that its settings were chosen on: a score on them says less than one on others."""
    notes: tuple[str, ...] = ()
    """Which prompts were used and why, and what else a reader should know."""
    reranker: str | None = None
    """The reranker of the best passages: its name, and a piece of the digest of its weights."""
    transform: str | None = None
    """How vectors are moved, and the text on which that was estimated, with a piece of the text's digest."""
    fused: tuple[tuple[str, str], ...] = ()
    """The retrievers that are fused, the model first: name and fingerprint of each."""

    def cut(self, role: Role) -> int | None:
        """After how many tokens a text of this role is cut."""
        own_cut = self.max_query_tokens if role == "query" else None
        return self.max_tokens if own_cut is None else own_cut


def changed_options(options: EncoderOptions, names: Iterable[str]) -> dict[str, Any]:
    """The options of these names that differ from their defaults."""
    return {n: x for n in names if (x := getattr(options, n)) != getattr(DEFAULT_OPTIONS, n)}


def unused_notes(
    options: EncoderOptions, kind: str, used: Iterable[str] = (), also: Iterable[str] = ()
) -> tuple[str, ...]:
    """A note for each option that was given although this kind of encoder has no use for it."""
    unused = [*(name for name in MODEL_OPTIONS if name not in set(used)), *also]
    return tuple(
        f"--{name.replace('_', '-')} has no effect on a {kind} encoder and was ignored"
        for name in changed_options(options, unused)
    )

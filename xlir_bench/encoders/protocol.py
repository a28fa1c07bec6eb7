"""The seam between the harness and any encoder: four names, and two powers an encoder may have besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from xlir_bench.records import Floats, Role, TokenCounts


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors; knows nothing of tasks."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of everything that changes its vectors; found without loading any weights."""

    @property
    def dimension(self) -> int:
        """Length of its vectors; may load the model."""

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row a text, not normalised. Called with one planned batch at a time."""


@runtime_checkable
class Tokenizing(Protocol):
    """An encoder that can say how its tokenizer sees a text."""

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens and unknown tokens of each text, before any cut."""


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """What a result records of an encoder."""

    name: str
    kind: str
    """``sentence-transformers``, ``builtin``, ``python``, ``vectors`` or ``http``."""
    slug: str
    """Its folder's name: safe in any file system, different for different weights or options."""
    fingerprint: str
    dtype: str = "float32"
    max_tokens: int | None = None
    query_prompt: str = ""
    passage_prompt: str = ""
    weights_digest: str | None = None
    parameters: int | None = None
    """Number of weights, where the files tell it."""
    weights_bytes: int | None = None
    """What they take in memory, where that is not their number times the width of the dtype."""
    chosen_on: tuple[str, ...] = ()
    """Tasks that its settings were chosen on: a score on them says less than one on others."""
    notes: tuple[str, ...] = ()
    """Which prompts were used and why, and what else a reader should know."""


@runtime_checkable
class Described(Protocol):
    """An encoder that says more of itself than its name."""

    @property
    def card(self) -> EncoderCard:
        """What a result records of it; found without loading any weights."""

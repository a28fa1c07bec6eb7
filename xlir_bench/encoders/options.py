"""Which options were given, and which of them mean nothing to an encoder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.stating import MODEL, options_of

DEFAULT_OPTIONS = EncoderOptions()

LOADING = tuple(o.name for o in options_of(EncoderOptions) if o.group == MODEL)
"""The options that say how a model is loaded and used."""


def given(options: EncoderOptions, names: Iterable[str]) -> dict[str, Any]:
    """Those of the named options that are not left at their default."""
    defaults = {f.name: f.default for f in fields(EncoderOptions)}
    return {n: getattr(options, n) for n in names if getattr(options, n) != defaults[n]}


def unused_notes(options: EncoderOptions, kind: str, used: Iterable[str] = ()) -> tuple[str, ...]:
    """A note for each option that was given and means nothing to this kind of encoder."""
    unused = [name for name in LOADING if name not in set(used)]
    return tuple(
        f"--{name.replace('_', '-')} means nothing to a {kind} encoder and was left out"
        for name in given(options, unused)
    )

"""What a static model is made like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from xlir_bench.errors import InputError

PREFIX = "builtin:static"


def is_static_spec(spec: str) -> bool:
    """Whether this names a static model that is yet to be made."""
    return spec == PREFIX or spec.startswith(f"{PREFIX}:")


def static_dimension(spec: str) -> int:
    """The dimension that ``builtin:static:<dim>`` names."""
    text = spec.removeprefix(PREFIX).removeprefix(":") or "256"
    if not text.isdecimal() or not 1 <= int(text) <= 8192:
        raise InputError(f"{spec}: {PREFIX}:<dim> wants a dimension, such as {PREFIX}:256")
    return int(text)


@dataclass(frozen=True, slots=True)
class StaticOptions:
    """What a static model is made like, but for its dimension, which its name says."""

    vocabulary: int = 32_000
    """Sub-words; fewer where the training text has no more."""
    smoothing: float = 1e-3
    """A sub-word of frequency p weighs a / (a + p)."""
    romanise: bool = False
    """Whether Greek, Cyrillic and Devanagari are read in Latin letters."""
    identity: int = 0
    """Random dimensions beside the trained ones, each sub-word's own."""
    identity_weight: float = 0.4
    """How long a vector is in these, beside what it is in the trained ones, over the training text."""
    int8: bool = False
    """Whether it is stored as int8."""

    def chosen(self) -> Mapping[str, Any]:
        """What is not left at its default."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    def check(self, model: str) -> None:
        """Refuse numbers that make no model, and a model that is not made here."""
        positive = {
            "vocabulary": self.vocabulary,
            "smoothing": self.smoothing,
            "identity-weight": self.identity_weight,
        }
        for name, value in positive.items():
            if not (value > 0 and math.isfinite(value)):
                raise InputError(f"--{name} {value} wants a number above 0")
        if self.identity < 0:
            raise InputError(f"--identity {self.identity} wants a number of dimensions")
        if "identity_weight" in self.chosen() and not self.identity:
            raise InputError("--identity-weight says how much the dimensions of --identity count")
        if is_static_spec(model):
            static_dimension(model)
            return
        if self.chosen():
            said = ", ".join(f"--{name.replace('_', '-')}" for name in self.chosen())
            raise InputError(f"{said} is for {PREFIX} models; {model} is none")

    def made_of(self) -> Mapping[str, Any]:
        """What decides about the model that training starts from.

        What is at its default is left out: models that were made before it could be said keep their
        digests.
        """
        return {
            k: v for k, v in self.chosen().items() if k in ("vocabulary", "smoothing", "romanise")
        }

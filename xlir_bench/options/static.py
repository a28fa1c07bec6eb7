"""How a static model (`builtin:static:DIM`) is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from xlir_bench.errors import InputError
from xlir_bench.options.stating import option

PREFIX = "builtin:static"
GROUP = "Static models"


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
    """How a static model is made; its dimension is in its name."""

    vocabulary: int = option(
        "Sub-words of builtin:static, learnt from the rows; fewer if the rows have fewer.",
        32_000, group=GROUP, metavar="N", above=0,
    )  # fmt: skip
    smoothing: float = option(
        "A sub-word of frequency p weighs A / (A + p) in builtin:static: the smaller A, the more rare ones count.",
        1e-3, group=GROUP, metavar="A", above=0,
    )  # fmt: skip
    romanise: bool = option(
        "Let builtin:static read Greek, Cyrillic and Devanagari in Latin letters, so that names match across scripts.",
        False, group=GROUP,
    )  # fmt: skip
    identity: int = option(
        "Add N dimensions to the trained ones of builtin:static, random for each sub-word: finds more within a"
        " language, a little less across languages.",
        0, group=GROUP, metavar="N", least=0,
    )  # fmt: skip
    identity_weight: float = option(
        "How much the dimensions of --identity count beside the trained ones.",
        0.4, group=GROUP, metavar="W", above=0,
    )  # fmt: skip
    int8: bool = option("Store a static model as int8.", False, group=GROUP)

    def chosen(self) -> Mapping[str, Any]:
        """The options that are not at their defaults."""
        return {f.name: x for f in fields(self) if (x := getattr(self, f.name)) != f.default}

    def check(self, model: str) -> None:
        """Refuse an impossible dimension, and these options for a model of another kind."""
        if "identity_weight" in self.chosen() and not self.identity:
            raise InputError(
                "--identity-weight is the weight of the dimensions that --identity adds: give both"
            )
        if is_static_spec(model):
            static_dimension(model)
            return
        if self.chosen():
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in self.chosen())
            raise InputError(f"{flags} is for {PREFIX} models, and {model} is not one")

    def made_of(self) -> Mapping[str, Any]:
        """The options that decide the model before training; without defaults, so that digests stay the same."""
        decisive = ("vocabulary", "smoothing", "romanise")
        return {name: value for name, value in self.chosen().items() if name in decisive}

"""What is compared: the variants of a recipe's grid, and a cell for each of their seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xlir_bench.options.static import is_static_spec
from xlir_bench.recipe.rows import HYBRID, UNTRAINED, Choice


@dataclass(frozen=True, slots=True)
class Variant:
    """A training but for its seed; or an untrained base."""

    model: str
    data: str
    strategy: str
    alpha: float | None = None
    """Of hybrid batches alone, as the next two are of trained models alone."""
    batch_size: int | None = None
    loss: str | None = None
    encoding: str | None = None
    """How its model is encoded, where the recipe says it: it decides no weight."""

    @property
    def trained(self) -> bool:
        """Whether it is no base."""
        return self.strategy != UNTRAINED

    @property
    def seeded(self) -> bool:
        """Whether seeds differ in it: in every training, and in a base of random vectors."""
        return self.trained or is_static_spec(self.model)

    def has(self, choice: Choice) -> bool:
        """Whether it has everything that a choice says; bases only where they are asked for."""
        if not self.trained and choice.strategy != UNTRAINED:
            return False
        return all(getattr(self, name) == value for name, value in choice.said.items())

    def opponents(self, choices: Iterable[Choice], among: Iterable[Variant]) -> list[Variant]:
        """Those that have a choice, and for the rest are like this one."""
        among = [v for v in among if v.model == self.model and v != self]
        found = [v for c in choices for v in among if v.has(c) and self._alike(v, c)]
        return list(dict.fromkeys(found))

    def _alike(self, other: Variant, choice: Choice) -> bool:
        if not other.trained:
            same_rows = not is_static_spec(self.model) or other.data == self.data
            return same_rows and ("encoding" in choice.said or other.encoding == self.encoding)
        open_to = {"data", "strategy", "batch_size", "loss", "encoding"} - choice.said.keys()
        if self.strategy == other.strategy == HYBRID and choice.alpha is None:
            open_to.add("alpha")
        return all(getattr(self, name) == getattr(other, name) for name in open_to)


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its evaluations."""

    variant: Variant
    seed: int
    digest: str

    @property
    def name(self) -> str:
        """Readable, and of one cell alone."""
        encoding = self.variant.encoding
        return self.training if encoding is None else f"{self.training}-{encoding}"

    @property
    def training(self) -> str:
        """The name of its training, which cells share that are encoded in several ways; the model is in the digest."""
        v = self.variant
        alpha = "" if v.alpha is None else f"a{v.alpha:g}"
        size = "" if v.batch_size is None else f"b{v.batch_size}"
        parts = [v.strategy, alpha, size, v.loss, f"s{self.seed}", self.digest[:8]]
        return "-".join(part for part in parts if part)

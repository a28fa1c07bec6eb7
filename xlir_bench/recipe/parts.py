"""The tables of a recipe, and the grid of trainings that they span.

Tables state how models are trained and evaluated, and what is claimed about them. The grid consists of variants, with
a cell for each seed of a variant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    create_model,
    model_validator,
)

from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.profiling import CostOptions
from xlir_bench.options.running import RunOptions
from xlir_bench.options.static import is_static_spec
from xlir_bench.options.stating import Option, RecipeTable, options_of
from xlir_bench.options.training import Loss, Strategy, TrainOptions
from xlir_bench.records import Kind

DATA = "{data}"
"""Stands for the data root in a recipe."""
HYBRID, UNTRAINED = "hybrid", "untrained"
RANK_DISTANCE = "rank_distance"
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
T = TypeVar("T")
Several = Annotated[tuple[T, ...], Field(min_length=1)]
"""One or more."""
_FINITE = ConfigDict(allow_inf_nan=False)


class Section(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        **_FINITE,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )


def _stated_in(table: RecipeTable) -> dict[str, Option]:
    """The options that a table of a recipe may state, by their names there: in [training], these are the flags."""
    records = (TrainOptions, EncoderOptions, RunOptions, CostOptions)
    marked = [o for record in records for o in options_of(record) if o.in_recipes == table]
    return {o.flag.replace("-", "_") if table == "training" else o.name: o for o in marked}


OF_TRAINING, OF_RECIPE = _stated_in("training"), _stated_in("recipe")
IN_EVERY_DIGEST = (
    "language_sampling", "pairs_per_batch", "langs", "lr", "weight_decay", "warmup", "schedule", "temperature",
    "mini_batch_size", "max_length", "pooling", "query_prompt", "passage_prompt", "precision",
)  # fmt: skip
"""The oldest options. A newer one is in a digest only if it is not at its default: older cells keep their digests."""
Table = TypeVar("Table", bound=type[Section])


def with_options(table: RecipeTable) -> Callable[[Table], Table]:
    """Add the options that a table may state as fields, with their types, bounds and defaults."""

    def extended(base: Table) -> Table:
        fields: dict[str, Any] = {name: _field(o) for name, o in _stated_in(table).items()}
        name, doc, module = base.__name__, base.__doc__, base.__module__
        made = create_model(name, __base__=base, __doc__=doc, __module__=module, **fields)
        return cast(Table, made)

    return extended


def _field(option: Option) -> tuple[Any, Any]:
    """An option as a field of a recipe: its type, with its bounds, and its default."""
    bounds = Field(gt=option.above, ge=option.least, lt=option.below, le=option.most)
    kind: Any = Annotated[option.one, bounds]
    if option.is_list:
        kind = tuple[kind, ...] if option.default in (None, ()) else Several[kind]
    if option.name == "lr":
        # With a union, pydantic would add the branch to the place of an error: a reader looks for training.lr.
        one, several = (TypeAdapter(t, config=_FINITE) for t in (kind, dict[Strategy, kind]))
        kind = Annotated[
            Any,
            PlainValidator(
                lambda rate: (several if isinstance(rate, dict) else one).validate_python(rate)
            ),
        ]
    return (kind | None if option.default is None else kind), option.default


@with_options("training")
class Training(Section):
    """Options of every training of a recipe; those not stated have the defaults of ``train-hybrid``."""

    def of(self, strategy: str) -> dict[str, Any]:
        """The options for a strategy, which may have its own learning rate, by their names in a recipe."""
        given = self.model_dump()
        if isinstance(given["lr"], dict):
            given["lr"] = given["lr"].get(strategy)
        return given

    def options(self, strategy: str, loss: str | None) -> dict[str, Any]:
        """The options for a strategy by the fields of `TrainOptions`, without options of other losses."""
        given = self.of(strategy)
        return {o.name: given[name] for name, o in OF_TRAINING.items() if o.loss in (None, loss)}


class Look(Section):
    """A task on which models are evaluated during training, for the plot over steps; it selects no step."""

    task: str
    every: Count


@with_options("encodings")
class EncodingChoice(Section):
    """How texts are encoded when models are evaluated; options not stated have the defaults of `run`."""


@with_options("cost")
class Cost(Section):
    """What models cost in use, measured for the first seed and the first encoding of every training."""

    task: str

    @property
    def options(self) -> CostOptions:
        """What is measured, and how long."""
        return CostOptions(**self.model_dump(exclude={"task"}))


class Choice(Section):
    """Some of the trainings of a recipe: those with all values stated here."""

    model: str | None = None
    data: str | None = None
    strategy: Strategy | Literal["untrained"] | None = None
    alpha: Share | None = None
    batch_size: Count | None = None
    loss: Loss | None = None
    encoding: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_strategy(cls, stated: Any) -> Any:
        return {"strategy": stated} if isinstance(stated, str) else stated

    @property
    def stated(self) -> dict[str, Any]:
        """The values that are stated, by field."""
        return self.model_dump(exclude_none=True)

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', '-')} {value}" for name, value in self.stated.items())


class Claim(Section):
    """A claim that a training is better than one or several others, in one kind of setting of a task."""

    text: str
    better: Choice
    than: tuple[Choice, ...]
    """`better` has to exceed each of these. Values that a choice leaves open are those of `better`."""
    task: str
    kind: Kind = Kind.MULTILINGUAL
    measure: str = "map"
    margin: Annotated[float, Field(ge=0)] = 0.0
    """If above 0, `better` only has to be no worse than the others by more than this."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, stated: Any) -> Any:
        if isinstance(stated, dict) and not isinstance(stated.get("than", []), list | tuple):
            return stated | {"than": [stated["than"]]}
        return stated


@dataclass(frozen=True, slots=True)
class Variant:
    """A training with any seed, or an untrained base."""

    model: str
    data: str
    strategy: str
    alpha: float | None = None
    """None unless batches are hybrid; the next two are None for an untrained base."""
    batch_size: int | None = None
    loss: str | None = None
    encoding: str | None = None
    """The name of an encoding, if the recipe has any. It changes no weights."""

    @property
    def trained(self) -> bool:
        """Whether it is a training, and not an untrained base."""
        return self.strategy != UNTRAINED

    @property
    def seeded(self) -> bool:
        """Whether its seed matters: for every training, and for a base of random vectors."""
        return self.trained or is_static_spec(self.model)

    def has(self, choice: Choice) -> bool:
        """Whether it has all values of a choice; a base matches only a choice of ``untrained``."""
        if not self.trained and choice.strategy != UNTRAINED:
            return False
        return all(getattr(self, name) == value for name, value in choice.stated.items())

    def opponents(self, choices: Iterable[Choice], among: Iterable[Variant]) -> list[Variant]:
        """The variants that have one of these choices and are otherwise equal to this one."""
        among = [v for v in among if v.model == self.model and v != self]
        matching = [v for c in choices for v in among if v.has(c) and self._alike(v, c)]
        return list(dict.fromkeys(matching))

    def _alike(self, other: Variant, choice: Choice) -> bool:
        if not other.trained:
            same_rows = not is_static_spec(self.model) or other.data == self.data
            return same_rows and ("encoding" in choice.stated or other.encoding == self.encoding)
        must_equal = {"data", "strategy", "batch_size", "loss", "encoding"} - choice.stated.keys()
        if self.strategy == other.strategy == HYBRID and choice.alpha is None:
            must_equal.add("alpha")
        return all(getattr(self, name) == getattr(other, name) for name in must_equal)


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its evaluations."""

    variant: Variant
    seed: int
    digest: str

    @property
    def name(self) -> str:
        """A readable name that no other cell has."""
        encoding = self.variant.encoding
        return self.training if encoding is None else f"{self.training}-{encoding}"

    @property
    def training(self) -> str:
        """The name of its training, shared by cells that differ only in encoding; the digest stands for the model."""
        v = self.variant
        alpha = "" if v.alpha is None else f"a{v.alpha:g}"
        size = "" if v.batch_size is None else f"b{v.batch_size}"
        parts = [v.strategy, alpha, size, v.loss, f"s{self.seed}", self.digest[:8]]
        return "-".join(part for part in parts if part)


class Part(Section):
    """Which part of a task is evaluated, and for which trainings and seeds."""

    langs: Several[str] | None = None
    of: Several[Choice] | None = None
    """Only these trainings are evaluated on the task."""
    seeds: Several[int] | None = None

    def has(self, cell: Cell) -> bool:
        """Whether a cell is evaluated on the task."""
        chosen = self.of is None or any(cell.variant.has(choice) for choice in self.of)
        seeded = self.seeds is None or not cell.variant.seeded or cell.seed in self.seeds
        return chosen and seeded

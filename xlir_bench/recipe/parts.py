"""What a recipe states, table by table, and the grid that it spans.

Tables say how trainings learn, how their models are encoded, and what is claimed of them; the grid has variants, and
a cell for each of their seeds.
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
"""Stands in a recipe where the data root would."""
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
    """The options that a table of a recipe may state, by their names in it: training's are those of flags."""
    records = (TrainOptions, EncoderOptions, RunOptions, CostOptions)
    marked = [o for record in records for o in options_of(record) if o.in_recipes == table]
    return {o.flag.replace("-", "_") if table == "training" else o.name: o for o in marked}


OF_TRAINING, OF_RECIPE = _stated_in("training"), _stated_in("recipe")
IN_EVERY_DIGEST = (
    "language_sampling", "pairs_per_batch", "langs", "lr", "weight_decay", "warmup", "schedule", "temperature",
    "mini_batch_size", "max_length", "pooling", "query_prompt", "passage_prompt", "precision",
)  # fmt: skip
"""The first options there were; a later one is in a digest only where it is given, so that older cells keep theirs."""
Table = TypeVar("Table", bound=type[Section])


def with_options(table: RecipeTable) -> Callable[[Table], Table]:
    """Adds the options that a table may state as fields: with their types, bounds and defaults."""

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
        # A union would put its branch into the place of a fault: training.lr is all that a recipe has.
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
    """What every training of a recipe is told, where it is not the default of ``train-hybrid``."""

    def of(self, strategy: str) -> dict[str, Any]:
        """The options of a strategy, by their names in a recipe; a learning rate may be its own."""
        given = self.model_dump()
        if isinstance(given["lr"], dict):
            given["lr"] = given["lr"].get(strategy)
        return given

    def options(self, strategy: str, loss: str | None) -> dict[str, Any]:
        """The same by the fields of `TrainOptions`, without those of other losses."""
        given = self.of(strategy)
        return {o.name: given[name] for name, o in OF_TRAINING.items() if o.loss in (None, loss)}


class Look(Section):
    """A task that is looked at while a model trains, for the plot over steps; it chooses nothing."""

    task: str
    every: Count


@with_options("encodings")
class EncodingChoice(Section):
    """How the models of an experiment are encoded when they are evaluated; what is not said is as in `run`."""


@with_options("cost")
class Cost(Section):
    """What models cost in use: measured once, of the first seed of every training, in its first encoding."""

    task: str

    @property
    def options(self) -> CostOptions:
        """What is measured."""
        return CostOptions(**self.model_dump(exclude={"task"}))


class Choice(Section):
    """Some of the trainings of a recipe: those that have what is said here."""

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
    def said(self) -> dict[str, Any]:
        """What it says."""
        return self.model_dump(exclude_none=True)

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', '-')} {value}" for name, value in self.said.items())


class Claim(Section):
    """That some training is better than another in one kind of setting of a task."""

    text: str
    better: Choice
    than: tuple[Choice, ...]
    """One, or several, each of which it has to be better than; whatever it leaves open is as in `better`."""
    task: str
    kind: Kind = Kind.MULTILINGUAL
    measure: str = "map"
    margin: Annotated[float, Field(ge=0)] = 0.0
    """Not better, but worse by no more than this."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, stated: Any) -> Any:
        if isinstance(stated, dict) and not isinstance(stated.get("than", []), list | tuple):
            return stated | {"than": [stated["than"]]}
        return stated


@dataclass(frozen=True, slots=True)
class Variant:
    """A training but for its seed; or an untrained base."""

    model: str
    data: str
    strategy: str
    alpha: float | None = None
    """For hybrid batches only; the next two are for trained models only."""
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
        """The variants that have one of these choices and are else like this one."""
        among = [v for v in among if v.model == self.model and v != self]
        matching = [v for c in choices for v in among if v.has(c) and self._alike(v, c)]
        return list(dict.fromkeys(matching))

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


class Part(Section):
    """What of a task is evaluated, where it is not all of it for every training."""

    langs: Several[str] | None = None
    of: Several[Choice] | None = None
    """The trainings that are evaluated on it; the others are not."""
    seeds: Several[int] | None = None

    def has(self, cell: Cell) -> bool:
        """Whether a training is evaluated on it."""
        chosen = self.of is None or any(cell.variant.has(choice) for choice in self.of)
        seeded = self.seeds is None or not cell.variant.seeded or cell.seed in self.seeds
        return chosen and seeded

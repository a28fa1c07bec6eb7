"""Recipes: which trainings are to be compared, and what is claimed of them; read from inert TOML files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from xlir_bench.options.static import is_static_spec
from xlir_bench.options.stating import Option, options_of
from xlir_bench.options.training import Loss, Strategy, TrainOptions
from xlir_bench.records import Kind
from xlir_bench.untrusted import parse_toml, validated

DATA = "{data}"
"""Stands in a recipe where the data root would."""
HYBRID, UNTRAINED = "hybrid", "untrained"
RANK_DISTANCE = "rank_distance"
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


_FINITE = ConfigDict(allow_inf_nan=False)


class _Row(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        **_FINITE,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )


_OF_TRAINING = {o.flag.replace("-", "_"): o for o in options_of(TrainOptions) if o.in_recipes}
_ADDED = (
    "freeze", "prune_vocabulary", "cached", "lakda_weight", "vrn_weight", "teacher", "teacher_lang", "infonce_weight",
)  # fmt: skip
"""Left out of digests where they are not given: cells of before they were options keep theirs."""


class _Training(_Row):
    """What every training of a recipe is told, where it is not the default of ``train-hybrid``."""

    def of(self, strategy: str) -> dict[str, Any]:
        """The options of a strategy, by their names in a recipe; a learning rate may be its own."""
        given = self.model_dump()
        if isinstance(given["lr"], dict):
            given["lr"] = given["lr"].get(strategy)
        return given

    def options(self, strategy: str) -> dict[str, Any]:
        """The same by the fields of `TrainOptions`."""
        given = self.of(strategy)
        return {option.name: given[name] for name, option in _OF_TRAINING.items()}


def _field(option: Option) -> tuple[Any, Any]:
    """An option as a field of a recipe: its type, with its bounds, and its default."""
    bounds = Field(gt=option.above, ge=option.least, lt=option.below, le=option.most)
    kind: Any = Annotated[option.base, bounds]
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


if TYPE_CHECKING:
    Training = _Training
else:
    fields = {name: _field(option) for name, option in _OF_TRAINING.items()}
    Training = create_model("Training", __base__=_Training, **fields)


class Look(_Row):
    """A task that is looked at while a model trains, for the plot over steps; it chooses nothing."""

    task: str
    every: Count


class Choice(_Row):
    """Some of the trainings of a recipe: those that have what is said here."""

    model: str | None = None
    data: str | None = None
    strategy: Strategy | Literal["untrained"] | None = None
    alpha: Share | None = None
    batch_size: Count | None = None
    loss: Loss | None = None

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


class Claim(_Row):
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


class Part(_Row):
    """What of a task is evaluated, where it is not all of it for every training."""

    langs: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    of: Annotated[tuple[Choice, ...], Field(min_length=1)] | None = None
    """The trainings that are evaluated on it; the others are not."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] | None = None

    def has(self, cell: Cell) -> bool:
        """Whether a training is evaluated on it."""
        chosen = self.of is None or any(cell.variant.has(choice) for choice in self.of)
        seeded = self.seeds is None or not cell.variant.seeded or cell.seed in self.seeds
        return chosen and seeded


class Recipe(_Row):
    """The grid of trainings, the tasks they are evaluated on, and what is claimed."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    description: str = ""
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    data: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    """Training rows by the name of their mixture, as ``train-hybrid --train`` takes them."""
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)]
    alphas: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5,)
    """Of hybrid batches alone."""
    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (100,)
    losses: Annotated[tuple[Loss, ...], Field(min_length=1)] = ("infonce",)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    steps: Count
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    parts: dict[str, Part] = {}
    """By task, where it is not evaluated whole."""
    measures: tuple[str, ...] | None = None
    """Those of each task, if they are not said."""
    rerank: str | None = None
    """What re-orders the best passages that each model finds, as ``run --rerank`` takes it."""
    rerank_depth: Count = EncoderOptions().rerank_depth
    training: Training = Training()
    look: Look | None = None
    baselines: tuple[Choice, ...] = ()
    """Every other training is set against each of these that differs from it in nothing else."""
    published: tuple[str, ...] | None = None
    """Initial models whose published rows stand beside; all, if none are said."""
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Recipe:
        lists = ("models", "strategies", "alphas", "batch_sizes", "losses", "seeds", "tasks")
        faults = [
            f"{name.replace('_', '-')} says something twice"
            for name in lists
            if len(set(getattr(self, name))) < len(getattr(self, name))
        ]
        if any(not rows for rows in self.data.values()):
            faults.append("data: a mixture wants a source or more")
        faults += [f for n, c in enumerate(self.claims, 1) for f in self._claim_faults(n, c)]
        faults += self._part_faults()
        if self.rerank is None and self.rerank_depth != EncoderOptions().rerank_depth:
            faults.append("rerank-depth is of the reranker that rerank names, and there is none")
        rates = self.training.model_dump()["lr"]
        if isinstance(rates, dict) and (unrated := [s for s in self.strategies if s not in rates]):
            faults.append(f"training.lr names no rate of {', '.join(unrated)}")
        for choice in self.baselines:
            if not any(v.has(choice) for v in self.variants()):
                faults.append(f"baselines: no training has {choice}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _part_faults(self) -> list[str]:
        faults = []
        for task, part in self.parts.items():
            if task not in self.tasks:
                faults.append(f"parts.{task}: it is not among the tasks")
            for choice in part.of or ():
                if not any(v.has(choice) for v in self.variants()):
                    faults.append(f"parts.{task}: no training has {choice}")
            if part.seeds and (unknown := sorted({*part.seeds} - {*self.seeds})):
                faults.append(f"parts.{task}: {', '.join(map(str, unknown))} is no seed")
            if (part.of or part.seeds) and any(c.task == task for c in self.claims):
                faults.append(f"parts.{task}: a claim wants all trainings and seeds of its task")
        return faults

    def _claim_faults(self, number: int, claim: Claim) -> list[str]:
        faults = []
        if claim.measure != RANK_DISTANCE and claim.margin >= 1:
            faults.append(
                f"claim {number} cannot fail: no {claim.measure} is worse than another by more than 1;"
                " give a smaller margin"
            )
        if claim.task not in self.tasks:
            faults.append(f"claim {number}: its task {claim.task} is not among the tasks")
        for model in self.models:
            variants = [v for v in self.variants() if v.model == model]
            better = [v for v in variants if v.has(claim.better)]
            if claim.better.model in (None, model) and len(better) != 1:
                faults.append(
                    f"claim {number}: {len(better)} trainings of {model} have {claim.better};"
                    " say what is one of them"
                )
            for choice in claim.than if len(better) == 1 else ():
                if not better[0].opponents([choice], variants):
                    faults.append(f"claim {number}: nothing to set it against has {choice}")
        return faults

    def variants(self) -> tuple[Variant, ...]:
        """What is compared: each is trained once a seed; the untrained bases come first."""
        bases = [Variant(m, data, UNTRAINED) for m in self.models for data in self._bases_of(m)]
        grid = product(self.models, self.data, self.strategies, self.batch_sizes, self.losses)
        trained = [
            Variant(model, data, strategy, alpha, size, loss)
            for model, data, strategy, size, loss in grid
            for alpha in (self.alphas if strategy == HYBRID else (None,))
        ]
        return (*bases, *trained)

    def cells(self) -> tuple[Cell, ...]:
        """Everything that is to be trained and evaluated; an untrained base once, unless it is random."""
        return tuple(
            Cell(variant, seed, self._digest(variant, seed))
            for variant in self.variants()
            for seed in (self.seeds if variant.seeded else self.seeds[:1])
        )

    def tasks_of(self, cell: Cell) -> list[str]:
        """The tasks that a training is evaluated on."""
        return [t for t in self.tasks if t not in self.parts or self.parts[t].has(cell)]

    def label(self, variant: Variant) -> str:
        """What a variant is called in tables: what tells it from the others of its model."""
        parts = [variant.strategy]
        if variant.alpha is not None and len(self.alphas) > 1:
            parts.append(f"alpha {variant.alpha:g}")
        if variant.batch_size is not None and len(self.batch_sizes) > 1:
            parts.append(f"batch {variant.batch_size}")
        if variant.loss is not None and len(self.losses) > 1:
            parts.append(variant.loss)
        if len(self.data) > 1 and (variant.trained or len(self._bases_of(variant.model)) > 1):
            parts.append(variant.data)
        return ", ".join(parts)

    def _bases_of(self, model: str) -> tuple[str, ...]:
        """The mixtures that give an untrained model of their own: a static one learns its vocabulary."""
        names = tuple(self.data)
        return names if is_static_spec(model) else names[:1]

    def _digest(self, variant: Variant, seed: int) -> str:
        """Of everything that decides about the weights, as far as the recipe says it."""
        stated: dict[str, Any] = asdict(variant) | {"seed": seed}
        depends_on_rows = variant.trained or is_static_spec(variant.model)
        stated["data"] = self.data[variant.data] if depends_on_rows else ()
        training = self.training.of(variant.strategy)
        stated["training"] = {
            name: value
            for name, value in training.items()
            if name not in _ADDED or value != _OF_TRAINING[name].default
        }
        stated["steps"] = self.steps if variant.trained else 0
        text = json.dumps(stated, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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
            return not is_static_spec(self.model) or other.data == self.data
        open_to = {"data", "strategy", "batch_size", "loss"} - choice.said.keys()
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
        """Readable, and of one cell alone; the model is in its digest."""
        v = self.variant
        alpha = "" if v.alpha is None else f"a{v.alpha:g}"
        size = "" if v.batch_size is None else f"b{v.batch_size}"
        parts = [v.strategy, alpha, size, v.loss, f"s{self.seed}", self.digest[:8]]
        return "-".join(part for part in parts if part)


def parse_recipe(text: str | bytes, where: str) -> Recipe:
    """A recipe from TOML; its first faults are named at once."""
    stated = parse_toml(text, f"recipe {where}")
    return validated(Recipe, stated, f"recipe {where}", "a recipe")

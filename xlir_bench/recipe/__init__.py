"""Recipes: which trainings are to be compared, and what is claimed of them; read from inert TOML files."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import product
from typing import Annotated, Any

from pydantic import Field, model_validator

from xlir_bench.files import text_digest
from xlir_bench.options.static import is_static_spec
from xlir_bench.options.training import Loss, Strategy
from xlir_bench.recipe.parts import (
    DATA,
    HYBRID,
    IN_EVERY_DIGEST,
    OF_RECIPE,
    OF_TRAINING,
    RANK_DISTANCE,
    UNTRAINED,
    Cell,
    Choice,
    Claim,
    Cost,
    Count,
    EncodingChoice,
    Look,
    Part,
    Section,
    Several,
    Share,
    Training,
    Variant,
    with_options,
)
from xlir_bench.untrusted import parse_toml, validated

__all__ = ["DATA", "HYBRID", "Cell", "Choice", "Claim", "Recipe", "Variant", "parse_recipe"]


@with_options("recipe")
class Recipe(Section):
    """The grid of trainings, the tasks they are evaluated on, and what is claimed."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    description: str = ""
    answer: str = ""
    """What the figures say, in two sentences; written after they were computed."""
    doubts: str = ""
    """What would change the answer."""
    models: Several[str]
    data: Annotated[dict[str, Several[str]], Field(min_length=1)]
    """Training rows by the name of their mixture, as ``train-hybrid --train`` takes them."""
    strategies: Several[Strategy]
    alphas: Several[Share] = (0.5,)
    """Shares of monolingual batches, for hybrid batches only."""
    batch_sizes: Several[Annotated[int, Field(ge=2)]] = (100,)
    losses: Several[Loss] = ("infonce",)
    encodings: dict[str, EncodingChoice] = Field(default={})
    """Every model is evaluated with each of these encodings; without any, as in `run`."""
    only: tuple[Choice, ...] = ()
    """The part of the grid that is trained and evaluated, untrained bases included; if empty, the whole grid."""
    seeds: Several[Annotated[int, Field(ge=0)]]
    steps: Count
    tasks: Several[str]
    parts: dict[str, Part] = Field(default={})
    """For tasks of which only a part is evaluated, by task."""
    relative: bool = False
    """Whether differences are also shown as shares of the figures of the baselines, in one table for all tasks."""
    cost: Cost | None = None
    training: Training = Training()
    look: Look | None = None
    baselines: tuple[Choice, ...] = ()
    """Every other training is compared with each baseline that is otherwise equal to it."""
    published: tuple[str, ...] | None = None
    """Initial models whose published figures are shown beside the results; None: all."""
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Recipe:
        lists = ("models", "strategies", "alphas", "batch_sizes", "losses", "seeds", "tasks")
        faults = [
            f"{name.replace('_', '-')} has a value twice"
            for name in lists
            if len(set(getattr(self, name))) < len(getattr(self, name))
        ]
        faults += [f for n, c in enumerate(self.claims, 1) for f in self._claim_faults(n, c)]
        faults += self._part_faults()
        faults += [
            f"encodings: {name!r} is part of the names of folders: use lower-case letters, digits and hyphens"
            for name in self.encodings
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
        ]
        if self.cost is not None and self.cost.task not in self.tasks:
            faults.append(f"cost.task: {self.cost.task} is not among the tasks")
        faults += [
            f"only: nothing in the grid has {choice}"
            for choice in self.only
            if not any(v.has(choice) for v in self._grid())
        ]
        options = self.evaluation()
        if (
            options["rerank"] is None
            and options["rerank_depth"] != OF_RECIPE["rerank_depth"].default
        ):
            faults.append("rerank-depth needs rerank, which names a reranker")
        faults += [
            f"training.{name.replace('_', '-')} is for the loss {o.loss}, which is not among the losses"
            for name, o in OF_TRAINING.items()
            if o.loss not in (None, *self.losses) and getattr(self.training, name) != o.default
        ]
        rates = self.training.model_dump()["lr"]
        if isinstance(rates, dict) and (unrated := [s for s in self.strategies if s not in rates]):
            faults.append(f"training.lr has no rate for {', '.join(unrated)}")
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
                    " state values that only one of them has"
                )
            for choice in claim.than if len(better) == 1 else ():
                if not better[0].opponents([choice], variants):
                    faults.append(f"claim {number}: no training to compare with has {choice}")
        return faults

    def variants(self) -> tuple[Variant, ...]:
        """What is compared: each is trained once for each seed; the untrained bases come first."""
        grid = self._grid()
        return tuple(v for v in grid if not self.only or any(v.has(choice) for choice in self.only))

    def _grid(self) -> list[Variant]:
        encodings = tuple(self.encodings) or (None,)
        bases = [
            Variant(model, data, UNTRAINED, encoding=encoding)
            for model in self.models
            for data in self._bases_of(model)
            for encoding in encodings
        ]
        grid = product(self.models, self.data, self.strategies, self.batch_sizes, self.losses)
        trained = [
            Variant(model, data, strategy, alpha, size, loss, encoding)
            for model, data, strategy, size, loss in grid
            for alpha in (self.alphas if strategy == HYBRID else (None,))
            for encoding in encodings
        ]
        return [*bases, *trained]

    def evaluation(self, encoding: str | None = None) -> dict[str, Any]:
        """The options of evaluations with an encoding, by the fields of `RunOptions` and `EncoderOptions`."""
        options = {name: getattr(self, name) for name in OF_RECIPE}
        return options | (self.encodings[encoding].model_dump() if encoding is not None else {})

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
        """The name of a variant in tables: what distinguishes it from the other variants of its model."""
        parts = [variant.strategy]
        if variant.alpha is not None and len(self.alphas) > 1:
            parts.append(f"alpha {variant.alpha:g}")
        if variant.batch_size is not None and len(self.batch_sizes) > 1:
            parts.append(f"batch {variant.batch_size}")
        if variant.loss is not None and len(self.losses) > 1:
            parts.append(variant.loss)
        if len(self.data) > 1 and (variant.trained or len(self._bases_of(variant.model)) > 1):
            parts.append(variant.data)
        if variant.encoding is not None and len(self.encodings) > 1:
            parts.append(variant.encoding)
        return ", ".join(parts)

    def _bases_of(self, model: str) -> tuple[str, ...]:
        """The mixtures with an untrained base of their own: a static model learns its vocabulary from the rows."""
        names = tuple(self.data)
        return names if is_static_spec(model) else names[:1]

    def _digest(self, variant: Variant, seed: int) -> str:
        """A digest of everything in the recipe that decides the weights."""
        stated: dict[str, Any] = asdict(variant) | {"seed": seed}
        del stated["encoding"]
        depends_on_rows = variant.trained or is_static_spec(variant.model)
        stated["data"] = self.data[variant.data] if depends_on_rows else ()
        training = self.training.of(variant.strategy)
        stated["training"] = {
            name: value
            for name, value in training.items()
            if name in IN_EVERY_DIGEST or value != OF_TRAINING[name].default
        }
        stated["steps"] = self.steps if variant.trained else 0
        return text_digest(json.dumps(stated, sort_keys=True))


def parse_recipe(text: str | bytes, where: str) -> Recipe:
    """Read a recipe from TOML; an error names the first faults together."""
    stated = parse_toml(text, f"recipe {where}")
    return validated(Recipe, stated, f"recipe {where}", "a recipe")

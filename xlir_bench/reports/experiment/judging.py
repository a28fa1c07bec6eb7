"""Differences between trainings: averaged over seeds question by question, then tested; and seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xlir_bench.errors import NotComparableError
from xlir_bench.recipe import Claim, Recipe, Variant
from xlir_bench.records import Kind
from xlir_bench.reports.experiment.stored import Experiment
from xlir_bench.reports.pairing import (
    RANK_DISTANCE,
    Difference,
    Pairing,
    QueryValues,
    holm,
    pair,
    query_values,
)
from xlir_bench.results import Result

LEVEL = 0.05
"""A corrected p below this is a difference that chance does not explain."""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a task."""

    kind: Kind
    measure: str

    @property
    def low_is_good(self) -> bool:
        """Whether less of it is better."""
        return self.measure == RANK_DISTANCE

    def of(self, result: Result) -> float | None:
        """Its mean in a result."""
        if self.measure == RANK_DISTANCE:
            part = result.record.bias.get(RANK_DISTANCE)
            return part.mean if part is not None and isinstance(part.mean, float) else None
        interval = result.summary.get(self.kind, {}).get(self.measure)
        return None if interval is None else interval.mean


@dataclass(frozen=True, slots=True)
class Tested:
    """One training minus another."""

    test: Difference
    """Of the per-question means over seeds."""
    by_seed: Mapping[int, float]
    p_holm: float = 1.0

    def agreeing(self, sign: float) -> int:
        """How many seeds differ in this direction."""
        return sum(change * sign > 0 for change in self.by_seed.values())


@dataclass(frozen=True, slots=True)
class Against:
    """A training beside the best baseline, on one figure."""

    variant: Variant
    column: Column
    baseline: Variant
    tested: Tested


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim about one model, and what became of it."""

    claim: Claim
    model: str
    outcome: str
    """``holds``, ``does not hold`` or ``not shown``."""
    why: str
    against: Variant | None = None
    tested: Tested | None = None


class Contrasts:
    """Differences between the trainings of an experiment; the values of each are read once."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._values: dict[tuple[Variant, str, str], dict[int, QueryValues]] = {}

    def mean(self, variant: Variant, task: str, column: Column) -> float | None:
        """Its mean over seeds."""
        found = [column.of(r) for r in self.experiment.of(variant, task).values()]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if known else None

    def best(self, variants: Sequence[Variant], task: str, column: Column) -> Variant | None:
        """The one with the best mean over seeds."""
        means = {v: m for v in variants if (m := self.mean(v, task, column)) is not None}
        if not means:
            return None
        return (min if column.low_is_good else max)(means, key=lambda v: means[v])

    def difference(
        self,
        first: Variant,
        second: Variant,
        task: str,
        column: Column,
        shift: float = 0.0,
        family: int = 1,
    ) -> Tested:
        """Second minus first, plus `shift`, over the seeds that both have."""
        ours, theirs = (self._of(v, task, column.measure) for v in (second, first))
        # An untrained base was measured once, and stands beside every seed.
        seeds = sorted(
            set(ours if second.trained else theirs) & set(theirs if first.trained else ours)
        )
        if not seeds:
            raise NotComparableError(f"{task}: two trainings share no seed")
        pairings = [_pairing(_seeded(theirs, s), _seeded(ours, s), shift) for s in seeds]
        by_seed = {
            seed: _change(pairing, pairing.of_kind(column.kind))
            for seed, pairing in zip(seeds, pairings, strict=True)
        }
        whole = _pairing(
            averaged([_seeded(theirs, s) for s in seeds]),
            averaged([_seeded(ours, s) for s in seeds]),
            shift,
        )
        return Tested(whole.test([whole.of_kind(column.kind)], family=family)[0], by_seed)

    def _of(self, variant: Variant, task: str, measure: str) -> dict[int, QueryValues]:
        key = (variant, task, measure)
        if key not in self._values:
            results = self.experiment.of(variant, task)
            self._values[key] = {s: query_values(r, measure) for s, r in results.items()}
        return self._values[key]


def averaged(values: Sequence[QueryValues]) -> QueryValues:
    """The mean over seeds of every question in every setting."""
    first = values[0]
    pairs = [pair(first, other) for other in values]
    if any(len(p.second) != len(first.value) for p in pairs):
        raise NotComparableError(
            "the seeds of a training were not scored on the same questions; evaluate them again"
        )
    return replace(first, value=np.mean([p.second for p in pairs], axis=0))


def columns(experiment: Experiment, task: str) -> list[Column]:
    """The figures that differences are tested on: the measure in each kind, and rank distance."""
    found = [Column(kind, experiment.measure(task)) for kind in experiment.kinds(task)]
    result = experiment.any_result(task)
    if result is not None and RANK_DISTANCE in result.record.bias:
        found.append(Column(Kind.MULTILINGUAL, RANK_DISTANCE))
    return found


def against_baselines(contrasts: Contrasts, task: str) -> list[Against]:
    """Every training that is no baseline beside the best one; Holm over all of them."""
    experiment, recipe = contrasts.experiment, contrasts.experiment.recipe
    variants = recipe.variants()
    subjects = [v for v in variants if v.trained and not any(v.has(b) for b in recipe.baselines)]
    found: list[tuple[Variant, Column, Variant]] = []
    for variant in subjects:
        for column in columns(experiment, task):
            rivals = [
                v
                for v in variant.opponents(recipe.baselines, variants)
                if _shared(experiment, variant, v, task)
            ]
            best = contrasts.best(rivals, task, column)
            if best is not None:
                found.append((variant, column, best))
    tests = [contrasts.difference(b, v, task, c, family=len(found)) for v, c, b in found]
    corrected = holm([t.test.p for t in tests])
    return [
        Against(variant, column, baseline, replace(tested, p_holm=float(p)))
        for (variant, column, baseline), tested, p in zip(found, tests, corrected, strict=True)
    ]


def judge(contrasts: Contrasts) -> list[Judged]:
    """Every claim for every model that it is of; Holm over all that could be tested."""
    recipe = contrasts.experiment.recipe
    asked = [
        (claim, model)
        for claim in recipe.claims
        for model in recipe.models
        if claim.better.model in (None, model)
    ]
    found = [_tested(contrasts, claim, model, len(asked)) for claim, model in asked]
    corrected = iter(holm([j.tested.test.p for j in found if j.tested is not None]))
    return [
        j if j.tested is None else _decided(replace(j, tested=replace(j.tested, p_holm=float(p))))
        for j in found
        for p in ([0.0] if j.tested is None else [next(corrected)])
    ]


def _tested(contrasts: Contrasts, claim: Claim, model: str, family: int) -> Judged:
    experiment, recipe = contrasts.experiment, contrasts.experiment.recipe
    column = Column(
        Kind.MULTILINGUAL if claim.measure == RANK_DISTANCE else claim.kind, claim.measure
    )
    mine = [v for v in recipe.variants() if v.model == model]
    better = next(v for v in mine if v.has(claim.better))
    rivals = better.opponents(claim.than, mine)
    why = _why_not(experiment, recipe, [better, *rivals], claim.task, column)
    if why:
        return Judged(claim, model, "not shown", why)
    rival = contrasts.best(rivals, claim.task, column)
    if rival is None:
        return Judged(claim, model, "not shown", "nothing was measured to set it against")
    shift = -claim.margin if column.low_is_good else claim.margin
    tested = contrasts.difference(rival, better, claim.task, column, shift, family)
    return Judged(claim, model, "", "", rival, tested)


def _why_not(
    experiment: Experiment, recipe: Recipe, variants: Sequence[Variant], task: str, column: Column
) -> str:
    """Why a claim cannot be tested yet, or at all; empty if it can."""
    lacking = [c.name for c in experiment.lacking(task) if c.variant in variants]
    if lacking:
        return f"{len(lacking)} of its trainings are not there, or not evaluated on {task}"
    if len(recipe.seeds) < 2:
        return "one seed shows nothing: the next one may say the opposite"
    if any(column.of(r) is None for v in variants for r in experiment.of(v, task).values()):
        return f"no {column.kind.value} {column.measure} was measured"
    return ""


def _decided(judged: Judged) -> Judged:
    tested, claim = judged.tested, judged.claim
    if tested is None:
        return judged
    sign = -1.0 if claim.measure == RANK_DISTANCE else 1.0
    seeds, agreeing = len(tested.by_seed), tested.agreeing(sign)
    faults = []
    if tested.test.difference * sign <= 0:
        faults.append("it loses more" if claim.margin else "the difference is the other way")
    elif tested.p_holm >= LEVEL:
        faults.append("chance may explain the difference")
    if agreeing < seeds:
        faults.append(f"{agreeing} of {seeds} seeds agree")
    if faults:
        return replace(judged, outcome="does not hold", why="; ".join(faults))
    return replace(judged, outcome="holds", why=f"all {seeds} seeds agree")


def _seeded(values: Mapping[int, QueryValues], seed: int) -> QueryValues:
    return values[seed] if seed in values else next(iter(values.values()))


def _shared(experiment: Experiment, one: Variant, two: Variant, task: str) -> bool:
    return bool(experiment.of(one, task)) and bool(experiment.of(two, task))


def _pairing(first: QueryValues, second: QueryValues, shift: float) -> Pairing:
    pairing = pair(first, second)
    return replace(pairing, second=pairing.second + shift) if shift else pairing


def _change(pairing: Pairing, group: Sequence[int]) -> float:
    ((first, second),) = pairing.means([group])
    return second - first

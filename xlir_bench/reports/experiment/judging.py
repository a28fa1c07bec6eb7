"""Differences between trainings, paired by seed and article; and what they say of a recipe's claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xlir_bench.errors import NotComparableError
from xlir_bench.measures.seeds import SeedTest, by_article, seed_test, seeds_to_show
from xlir_bench.measures.significance import holm
from xlir_bench.recipe import Claim, Recipe, Variant
from xlir_bench.records import Floats, Kind
from xlir_bench.reports.experiment.questions import Questions
from xlir_bench.reports.experiment.stored import Experiment
from xlir_bench.reports.tables import big, number
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE

LEVEL = 0.05
"""A corrected p below this is a difference that chance does not explain."""
HOLDS, FAILS, NOT_SHOWN, CANNOT_FAIL = "holds", "fails", "not shown", "cannot fail"


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

    test: SeedTest
    by_seed: Mapping[int, float]
    p_holm: float = 1.0

    def agreeing(self, sign: float) -> int:
        """How many seeds differ in this direction."""
        return sum(change * sign > 0 for change in self.by_seed.values())

    def shown(self, sign: float) -> bool:
        """Whether it differs in this direction: chance does not explain it, and every seed agrees."""
        right = self.p_holm < LEVEL and self.test.difference * sign > 0
        return right and self.agreeing(sign) == len(self.by_seed)


@dataclass(frozen=True, slots=True)
class Against:
    """A training beside a baseline, on one figure."""

    variant: Variant
    column: Column
    baseline: Variant
    tested: Tested

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``not shown``."""
        sign = -1.0 if self.column.low_is_good else 1.0
        if self.tested.shown(sign):
            return "better"
        return "worse" if self.tested.shown(-sign) else NOT_SHOWN


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim about one model, and what became of it."""

    claim: Claim
    model: str
    outcome: str
    """``holds``, ``fails``, ``not shown`` or ``cannot fail``."""
    why: str
    against: Variant | None = None
    """Of several, the one that it was least better than."""
    tested: Tested | None = None


class Contrasts:
    """Differences between the trainings of an experiment; the values of each are read once."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._values: dict[tuple[Variant, str], dict[int, Questions]] = {}

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
        self, first: Variant, second: Variant, task: str, column: Column, shift: float = 0.0
    ) -> Tested:
        """Second minus first, plus `shift`, over the seeds that both have."""
        ours, theirs = (self._of(v, task) for v in (second, first))
        # A base that no seed changes was measured once, and stands beside every seed.
        seeds = sorted(
            set(ours if second.seeded else theirs) & set(theirs if first.seeded else ours)
        )
        if not seeds:
            raise NotComparableError(f"{task}: two trainings share no seed")
        if len({values.asked for values in (*ours.values(), *theirs.values())}) > 1:
            raise NotComparableError(
                f"{task}: trainings were not scored on the same questions; evaluate them again"
            )
        rows = [_row(_seeded(theirs, s), _seeded(ours, s), column, shift) for s in seeds]
        by_seed = {seed: float(row.mean()) for seed, row in zip(seeds, rows, strict=True)}
        return Tested(seed_test(np.stack(rows)), by_seed)

    def _of(self, variant: Variant, task: str) -> dict[int, Questions]:
        if (variant, task) not in self._values:
            self._values[variant, task] = self.experiment.questions(variant, task)
        return self._values[variant, task]


def columns(experiment: Experiment, task: str) -> list[Column]:
    """The figures that differences are tested on: the measure in each kind, and rank distance."""
    found = [Column(kind, experiment.measure(task)) for kind in experiment.kinds(task)]
    result = experiment.any_result(task)
    if result is not None and RANK_DISTANCE in result.record.bias:
        found.append(Column(Kind.MULTILINGUAL, RANK_DISTANCE))
    return found


def against_baselines(contrasts: Contrasts, task: str) -> list[Against]:
    """Every training that is no baseline beside each that the recipe names; Holm over all of them."""
    experiment, recipe = contrasts.experiment, contrasts.experiment.recipe
    variants = recipe.variants()
    subjects = [v for v in variants if v.trained and not any(v.has(b) for b in recipe.baselines)]
    found = [
        Against(variant, column, rival, contrasts.difference(rival, variant, task, column))
        for variant in subjects
        for column in columns(experiment, task)
        for rival in variant.opponents(recipe.baselines, variants)
        if experiment.of(variant, task) and experiment.of(rival, task)
    ]
    corrected = holm([a.tested.test.p for a in found])
    return [
        replace(a, tested=replace(a.tested, p_holm=float(p)))
        for a, p in zip(found, corrected, strict=True)
    ]


def judge(contrasts: Contrasts) -> list[Judged]:
    """Every claim for every model that it is of; Holm over all of them, tested or not."""
    recipe = contrasts.experiment.recipe
    asked = [
        _Asked(contrasts, claim, model)
        for claim in recipe.claims
        for model in recipe.models
        if claim.better.model in (None, model)
    ]
    corrected = holm([a.p for a in asked])
    return [a.judged(float(p), len(asked)) for a, p in zip(asked, corrected, strict=True)]


class _Asked:
    """A claim about one model, and the difference from each training that it is set against."""

    def __init__(self, contrasts: Contrasts, claim: Claim, model: str) -> None:
        self.claim, self.model = claim, model
        recipe = contrasts.experiment.recipe
        pooled = claim.measure == RANK_DISTANCE
        column = Column(Kind.MULTILINGUAL if pooled else claim.kind, claim.measure)
        mine = [v for v in recipe.variants() if v.model == model]
        better = next(v for v in mine if v.has(claim.better))
        rivals = better.opponents(claim.than, mine)
        self.sign = -1.0 if column.low_is_good else 1.0
        self.tests: dict[Variant, Tested] = {}
        self.no_choice = ""
        self.why_not = _why_not(contrasts.experiment, recipe, [better, *rivals], claim.task, column)
        if not self.why_not:
            shift = self.sign * claim.margin
            self.tests = {
                v: contrasts.difference(v, better, claim.task, column, shift) for v in rivals
            }
            others = [v for v in mine if v.trained and v not in (better, *rivals)]
            if others and claim.margin:
                self.no_choice = _no_choice(
                    contrasts, claim, [v for v in mine if v.trained], column
                )

    def _one_sided(self, tested: Tested, sign: float) -> float:
        return tested.test.greater if sign > 0 else tested.test.less

    @property
    def p_holds(self) -> float:
        """It has to be better than each."""
        return max((self._one_sided(t, self.sign) for t in self.tests.values()), default=1.0)

    @property
    def p_fails(self) -> float:
        """To be worse than one of them is enough, with a correction for how many they are."""
        found = [self._one_sided(t, -self.sign) for t in self.tests.values()]
        return min(1.0, len(found) * min(found, default=1.0))

    @property
    def p(self) -> float:
        """Two-sided."""
        return min(1.0, 2 * min(self.p_holds, self.p_fails))

    def judged(self, p_holm: float, family: int) -> Judged:
        """What became of it."""
        if not self.tests:
            return Judged(self.claim, self.model, NOT_SHOWN, self.why_not)
        rival = max(self.tests, key=lambda v: self._one_sided(self.tests[v], self.sign))
        tests = {v: replace(t, p_holm=p_holm) for v, t in self.tests.items()}
        outcome, why = self._decided(list(tests.values()), tests[rival], family)
        return Judged(self.claim, self.model, outcome, why, rival, tests[rival])

    def _decided(self, tests: Sequence[Tested], least: Tested, family: int) -> tuple[str, str]:
        if self.no_choice:
            return CANNOT_FAIL, self.no_choice
        seeds = len(least.by_seed)
        if all(t.shown(self.sign) for t in tests):
            return HOLDS, f"all {seeds} seeds agree"
        if least.shown(-self.sign):
            return FAILS, f"the opposite is shown; all {seeds} seeds agree"
        right = least.test.difference * self.sign > 0
        decisive, sign = (tests, self.sign) if right else ([least], -self.sign)
        if least.p_holm < LEVEL:
            return NOT_SHOWN, f"{min(t.agreeing(sign) for t in decisive)} of {seeds} seeds agree"
        wanted = [seeds_to_show(t.test, LEVEL / family) for t in decisive]
        what = "it" if right else "the opposite"
        if any(count is None for count in wanted):
            told = f"no number of seeds would show {what}, more articles might"
        else:
            told = f"about {max(c for c in wanted if c is not None)} seeds would show {what}"
        return NOT_SHOWN, f"chance may explain the difference; {told}"


def _no_choice(
    contrasts: Contrasts, claim: Claim, trained: Sequence[Variant], column: Column
) -> str:
    """Why a claim could not fail: all trainings of the recipe, the others too, lie within its margin."""
    means = [m for v in trained if (m := contrasts.mean(v, claim.task, column)) is not None]
    spread = max(means) - min(means)
    if spread > claim.margin:
        return ""
    figure = big(spread) if column.low_is_good else number(spread)
    return f"all trainings lie within {figure} of each other, and its margin is wider"


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


def _seeded(values: Mapping[int, Questions], seed: int) -> Questions:
    return values[seed] if seed in values else next(iter(values.values()))


def _row(first: Questions, second: Questions, column: Column, shift: float) -> Floats:
    """The differences of one seed by article."""
    one, two = (q.means[column.kind, column.measure] for q in (first, second))
    return by_article(
        two.mean - one.mean, two.expected - one.expected, one.weight, one.cluster, shift
    )

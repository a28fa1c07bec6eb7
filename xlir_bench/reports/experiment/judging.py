"""Differences between trainings, paired by seed and article, and the outcome of a recipe's claims."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xlir_bench.errors import NotComparableError
from xlir_bench.measures.significance import (
    SIGNIFICANT,
    SeedTest,
    by_article,
    holm,
    seed_test,
    seeds_to_show,
)
from xlir_bench.recipe import Claim, Variant
from xlir_bench.reports.experiment.stored import Experiment
from xlir_bench.reports.scores import DISTANCE, Score

Outcome = Literal["holds", "fails", "not shown", "cannot fail"]


@dataclass(frozen=True, slots=True)
class Tested:
    """The difference between two trainings: the second minus the first."""

    test: SeedTest
    by_seed: Mapping[int, float]
    p_holm: float = 1.0

    def one_sided(self, sign: float) -> float:
        """p of a difference in this direction, not corrected."""
        return self.test.greater if sign > 0 else self.test.less

    def agreeing(self, sign: float) -> int:
        """How many seeds differ in this direction."""
        return sum(change * sign > 0 for change in self.by_seed.values())

    def shown(self, sign: float) -> bool:
        """Whether a difference in this direction is shown: it is significant, and every seed agrees."""
        right = self.p_holm < SIGNIFICANT and self.test.difference * sign > 0
        return right and self.agreeing(sign) == len(self.by_seed)


@dataclass(frozen=True, slots=True)
class VersusBaseline:
    """A training compared with a baseline by one score."""

    variant: Variant
    column: Score
    baseline: Variant
    tested: Tested

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``not shown``."""
        sign = -1.0 if self.column.lower_is_better else 1.0
        if self.tested.shown(sign):
            return "better"
        return "worse" if self.tested.shown(-sign) else "not shown"


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim about one model, and its outcome."""

    claim: Claim
    model: str
    outcome: Outcome
    why: str
    against: Variant | None = None
    """The rival against which the evidence is weakest."""
    tested: Tested | None = None


def difference(
    experiment: Experiment,
    first: Variant,
    second: Variant,
    task: str,
    column: Score,
    shift: float = 0.0,
) -> Tested:
    """The difference, second minus first, plus `shift`, over the seeds that both have."""
    before, after = (experiment.questions(variant, task) for variant in (first, second))
    # A base that does not depend on the seed was measured once, and is compared with every seed.
    seeds = sorted(set(after if second.seeded else before) & set(before if first.seeded else after))
    if not seeds:
        raise NotComparableError(f"{task}: two trainings share no seed")
    if len({questions.asked for questions in (*before.values(), *after.values())}) > 1:
        raise NotComparableError(
            f"{task}: trainings were not scored on the same questions; evaluate them again"
        )
    rows = {}
    for seed in seeds:
        old, new = (
            by_seed.get(seed, next(iter(by_seed.values()))).means[column]
            for by_seed in (before, after)
        )
        change, expected = new.mean - old.mean, new.expected - old.expected
        rows[seed] = by_article(change, expected, old.weight, old.cluster, shift)
    means = {seed: float(row.mean()) for seed, row in rows.items()}
    return Tested(seed_test(np.stack(list(rows.values()))), means)


def against_baselines(experiment: Experiment, task: str) -> list[VersusBaseline]:
    """Every training compared with each baseline of the recipe; Holm's correction over all comparisons."""
    recipe, variants = experiment.recipe, experiment.recipe.variants()
    subjects = [v for v in variants if v.trained and not any(v.has(b) for b in recipe.baselines)]
    comparisons = [
        VersusBaseline(
            variant, column, baseline, difference(experiment, baseline, variant, task, column)
        )
        for variant in subjects
        for column in experiment.columns(task)
        for baseline in variant.opponents(recipe.baselines, variants)
        if experiment.evaluated(variant, task) and experiment.evaluated(baseline, task)
    ]
    corrected = holm([each.tested.test.p for each in comparisons])
    return [
        replace(each, tested=replace(each.tested, p_holm=float(p)))
        for each, p in zip(comparisons, corrected, strict=True)
    ]


def judge(experiment: Experiment) -> list[Judged]:
    """Every claim, for each model that it is about; Holm's correction counts all of them, testable or not."""
    recipe = experiment.recipe
    tests = [
        _ClaimTest(experiment, claim, model)
        for claim in recipe.claims
        for model in recipe.models
        if claim.better.model in (None, model)
    ]
    corrected = holm([test.p for test in tests])
    return [test.judged(float(p), len(tests)) for test, p in zip(tests, corrected, strict=True)]


class _ClaimTest:
    """A claim about one model, and the differences that decide it."""

    def __init__(self, experiment: Experiment, claim: Claim, model: str) -> None:
        self.claim, self.model = claim, model
        variants = [v for v in experiment.recipe.variants() if v.model == model]
        better = next(v for v in variants if v.has(claim.better))
        rivals = better.opponents(claim.than, variants)
        is_distance = claim.measure == DISTANCE.measure
        column = DISTANCE if is_distance else Score(claim.kind, claim.measure)
        self.sign = -1.0 if is_distance else 1.0
        self.tests: dict[Variant, Tested] = {}
        """Better minus rival; empty where the claim cannot be tested."""
        self.cannot_fail = ""
        self.why_not = _why_not_testable(experiment, [better, *rivals], claim.task, column)
        if self.why_not:
            return
        shift = self.sign * claim.margin
        for rival in rivals:
            self.tests[rival] = difference(experiment, rival, better, claim.task, column, shift)
        trained = [v for v in variants if v.trained]
        if claim.margin and set(trained) - {better, *rivals}:
            untrained = [v for v in rivals if not v.trained]
            self.cannot_fail = _why_it_cannot_fail(
                experiment, claim, [*trained, *untrained], column
            )

    @property
    def p(self) -> float:
        """The two-sided p of the claim."""
        tests = self.tests.values()
        # It holds if it is better than every rival. It fails if it is worse than one: corrected for their number.
        holds = max((test.one_sided(self.sign) for test in tests), default=1.0)
        fails = len(tests) * min((test.one_sided(-self.sign) for test in tests), default=1.0)
        return min(1.0, 2 * min(holds, fails)) if tests else 1.0

    def judged(self, p_holm: float, family: int) -> Judged:
        """The outcome; `family`: how many claims were corrected together."""
        if not self.tests:
            return Judged(self.claim, self.model, "not shown", self.why_not)
        rival = max(self.tests, key=lambda v: self.tests[v].one_sided(self.sign))
        tests = {v: replace(test, p_holm=p_holm) for v, test in self.tests.items()}
        outcome, why = self._outcome(tests.values(), tests[rival], family)
        return Judged(self.claim, self.model, outcome, why, rival, tests[rival])

    def _outcome(
        self, tests: Collection[Tested], weakest: Tested, family: int
    ) -> tuple[Outcome, str]:
        """The outcome, and why; `weakest`: the test against the rival where the evidence is weakest."""
        if self.cannot_fail:
            return "cannot fail", self.cannot_fail
        seeds = len(weakest.by_seed)
        if all(test.shown(self.sign) for test in tests):
            return "holds", f"all {seeds} seeds agree"
        if weakest.shown(-self.sign):
            return "fails", f"the opposite is shown; all {seeds} seeds agree"
        right = weakest.test.difference * self.sign > 0
        decisive, sign = (tests, self.sign) if right else ([weakest], -self.sign)
        if weakest.p_holm < SIGNIFICANT:
            return "not shown", f"{min(t.agreeing(sign) for t in decisive)} of {seeds} seeds agree"
        wanted = [seeds_to_show(test.test, SIGNIFICANT / family) for test in decisive]
        what = "it" if right else "the opposite"
        hint = f"no number of seeds would show {what}, more articles might"
        if None not in wanted:
            hint = f"about {max(filter(None, wanted))} seeds would show {what}"
        return "not shown", f"chance may explain the difference; {hint}"


def _why_it_cannot_fail(
    experiment: Experiment, claim: Claim, variants: Sequence[Variant], column: Score
) -> str:
    """Why a claim cannot fail: the means of all trainings of its model and of its rivals lie within its margin; empty if
    they do not.
    """
    values = [experiment.values(variant, claim.task, column) for variant in variants]
    means = [float(np.mean(by_seed)) for by_seed in values if by_seed]
    spread = max(means) - min(means)
    if spread > claim.margin:
        return ""
    return f"all trainings lie within {column.text(spread)} of each other, and its margin is wider"


def _why_not_testable(
    experiment: Experiment, variants: Sequence[Variant], task: str, column: Score
) -> str:
    """Why a claim cannot be tested yet, or at all; empty if it can."""
    lacking = [cell for cell in experiment.lacking(task) if cell.variant in variants]
    if lacking:
        return f"{len(lacking)} of its trainings are missing, or not evaluated on {task}"
    if len(experiment.recipe.seeds) < 2:
        return "one seed shows nothing: the next one may say the opposite"
    results = [result for v in variants for result in experiment.evaluated(v, task).values()]
    if any(column.value(result.record) is None for result in results):
        return f"no {column.name} was measured"
    return ""

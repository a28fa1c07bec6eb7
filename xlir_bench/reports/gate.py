"""The gate: is this candidate worse than the baseline, by the rules of a policy?

Each rule asks for one test or more. A test fails if the loss is larger than allowed and significant (p is corrected
for all tests of the policy). It passes if the loss is no larger than allowed, with 95 % certainty. Otherwise it is
undecided: a loss that is not shown is never reported as a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.measures.bootstrap import Alternative
from xlir_bench.measures.significance import (
    Difference,
    clusters_to_see,
    holm,
    least_p,
    visible_loss,
)
from xlir_bench.records import POOL, Kind
from xlir_bench.rendering.numbers import number
from xlir_bench.reports.pairing import SAME, Pairing, labels, pair, require_comparable
from xlir_bench.reports.policy import Drop, Floor, Policy, Rise
from xlir_bench.results import Result
from xlir_bench.results.baseline import HISTORY, Update
from xlir_bench.results.values import RANK_DISTANCE

AGAIN = "make the baseline again with the options of the candidate, or the other way round"


class Outcome(StrEnum):
    """The outcome of a test, or of the whole gate; the worst is last."""

    PASS = "pass"  # noqa: S105
    UNDECIDED = "undecided"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of one rule, or one floor."""

    rule: str
    """``drop``, ``rise`` or ``floor``, with its number in the policy: ``drop 2``."""
    decides: bool
    """Whether the gate passes only if this test passes; a test that does not decide can still fail the gate."""
    measure: str
    subject: str
    """What the mean is over, such as ``cross-lingual, query language th``."""
    baseline: float
    candidate: float
    change: float
    """Candidate minus baseline."""
    allowed: float
    """The largest allowed change for the worse; for a floor, the smallest allowed value."""
    low: float | None
    high: float | None
    """The 95 % interval of the change."""
    most: float | None
    """One-sided 95 % bound: the loss is no larger than this; below 0 for a certain gain."""
    p: float | None
    """The one-sided p of no change; None for a floor."""
    p_holm: float | None
    """`p`, corrected (Holm) for every test of the policy."""
    visible: float | None
    """The smallest loss that this test finds in 95 % of cases; None if it can find none."""
    needed: int | None
    """How many clusters would find the allowed loss in 95 % of cases; None if no number would, or if the standard error is
    not known."""
    outcome: Outcome

    @property
    def floor(self) -> bool:
        """Whether this is a floor, and not a test."""
        return self.p is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Pass, undecided or fail, and why."""

    outcome: Outcome
    task: str
    baseline: str
    candidate: str
    findings: tuple[Finding, ...]
    """The worst first."""
    alpha: float
    tests: int
    """How many p-values were corrected together."""
    cluster: str
    clusters: int
    undecided: Literal["pass", "fail"]
    """What an undecided gate counts as, by the policy."""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the candidate is accepted: the gate passes, or is undecided and the policy accepts that."""
        undecided_passes = self.undecided == "pass" and self.outcome == Outcome.UNDECIDED
        return self.outcome == Outcome.PASS or undecided_passes

    @property
    def exit_code(self) -> int:
        """0 if the candidate is accepted, else 1."""
        return 0 if self.passed else 1

    def of(self, outcome: Outcome, decides: bool | None = None) -> list[Finding]:
        """The findings with this outcome, the worst first; `decides`: only those that decide, or only those that do not."""
        return [f for f in self.findings if f.outcome == outcome and decides in (None, f.decides)]

    def to_record(self) -> dict[str, Any]:
        """The verdict for programs; `verdict` says the same as `outcome`, for older scripts."""
        return {"verdict": self.outcome.value, "passed": self.passed, **asdict(self)}


@dataclass(frozen=True, slots=True)
class _Test:
    """A test, or a floor, that a rule asks for: a mean over settings."""

    name: str
    rule: Drop | Floor
    subject: str
    settings: list[int]


def gate(baseline: Result, candidate: Result, policy: Policy) -> Verdict:
    """The verdict on a candidate; an error if it was not measured in the same way as the baseline."""
    notes = require_comparable([baseline, candidate], False, AGAIN)
    record, task = baseline.record, baseline.record.task
    measures = sorted({rule.measure for rule in policy.rules.values()})
    known = [*record.options.measures, RANK_DISTANCE]
    if unknown := [measure for measure in measures if measure not in known]:
        raise UnknownNameError("measure in the policy", unknown, known)
    if not record.scored(Kind.MULTILINGUAL):
        measures = [measure for measure in measures if measure != RANK_DISTANCE]
    findings, untested = judge({m: _paired(baseline, candidate, m) for m in measures}, policy)
    notes += untested
    tests = sum(not finding.floor for finding in findings)
    if tests and (least := least_p(task.clusters, tests)) >= policy.alpha:
        notes.append(
            f"this gate can hardly fail: with {task.clusters} {task.cluster}s and {tests} tests no corrected p can be"
            f' under {least:.2g}; use more data, fewer rules, or undecided = "fail"'
        )
    if policy.drift is not None:
        notes.append(
            f'drift = "{policy.drift}" in the policy is an old setting: it is read as undecided ='
            f' "{policy.undecided}", which --print-policy explains'
        )
    fused_now = dict(candidate.record.encoder.fused[1:])
    notes += [
        f"{name}, which the model is fused with, is not what it was in the baseline: its weights or options changed"
        for name, fingerprint in record.encoder.fused[1:]
        if fused_now.get(name, fingerprint) != fingerprint
    ]
    names = labels([baseline, candidate])
    return Verdict(
        outcome=overall(findings),
        task=task.title,
        baseline=names[0],
        candidate=names[1],
        findings=tuple(findings),
        alpha=policy.alpha,
        tests=tests,
        cluster=task.cluster,
        clusters=task.clusters,
        undecided=policy.undecided,
        notes=tuple(notes),
    )


def _paired(baseline: Result, candidate: Result, measure: str) -> Pairing:
    """The values of both results, query by query; an error if one lacks queries: a loss in them would go unseen."""
    first, second = baseline.values(measure), candidate.values(measure)
    pairing = pair(first, second)
    lacking = max(len(first.value), len(second.value)) - len(pairing.first.value)
    if lacking:
        raise NotComparableError(
            f"{lacking} values of {measure} are in only one of the two results; run both again"
        )
    return pairing


def overall(findings: Sequence[Finding]) -> Outcome:
    """The gate fails if any finding fails; it passes if all findings that decide pass."""
    if any(f.outcome == Outcome.FAIL for f in findings):
        return Outcome.FAIL
    deciding = [f for f in findings if f.decides] or findings
    passed = all(f.outcome == Outcome.PASS for f in deciding)
    return Outcome.PASS if passed else Outcome.UNDECIDED


def judge(pairings: Mapping[str, Pairing], policy: Policy) -> tuple[list[Finding], list[str]]:
    """All findings, the worst first, and a note on each rule with nothing to test; `pairings`: both results, by measure."""
    tests: list[_Test] = []
    notes = []
    for name, rule in policy.rules.items():
        pairing = pairings.get(rule.measure)
        of_rule = [] if pairing is None else list(_tests(name, rule, pairing))
        tests += of_rule
        if not of_rule:
            kinds = [Kind.MULTILINGUAL] if isinstance(rule, Rise) else rule.kinds or list(Kind)
            lacking = f"these results have no {' or '.join(kinds)} setting"
            notes.append(f"{name} ({rule.measure}) tests nothing: {lacking}")
    if not tests:
        raise InputError(f"no rule of the policy tests anything: {'; '.join(notes)}")
    measured: list[tuple[_Test, tuple[float, float], Difference]] = []
    for measure, pairing in pairings.items():
        of_measure = [test for test in tests if test.rule.measure == measure]
        groups = [test.settings for test in of_measure]
        for_the_worse: Alternative = "greater" if measure == RANK_DISTANCE else "less"
        differences = pairing.test(groups, for_the_worse, len(tests))
        measured += zip(of_measure, pairing.means(groups), differences, strict=True)
    p_values = [change.p for test, _, change in measured if not isinstance(test.rule, Floor)]
    corrected = iter(holm(p_values).tolist())
    unlike = {measure: pairing.unlike for measure, pairing in pairings.items()}
    findings = []
    for test, means, change in measured:
        identical = unlike[test.rule.measure].isdisjoint(test.settings)
        p_holm = None if isinstance(test.rule, Floor) else next(corrected)
        findings.append(_finding(test, means, change, identical, p_holm, len(p_values), policy))

    def urgency(finding: Finding) -> tuple[float, ...]:
        """Small for what to list first: the worst outcome, rules that decide, the smallest p, the largest change."""
        excess = abs(finding.change) / (finding.allowed or 1.0)
        worst_first = -list(Outcome).index(finding.outcome)
        return worst_first, not finding.decides, finding.p_holm or 0.0, -excess

    return sorted(findings, key=urgency), notes


def _tests(name: str, rule: Drop | Floor, pairing: Pairing) -> Iterator[_Test]:
    """The tests of a rule: one for each group of settings that it asks for."""
    chosen = pairing.first.of_kinds(rule.kinds or Kind)
    settings = [pairing.first.settings[i] for i in chosen]
    known = {lang for s in settings for lang in (s.query_lang, *s.passage_langs)}
    if known and (unknown := [lang for lang in rule.langs or [] if lang not in known]):
        raise UnknownNameError("language in the policy", unknown, known)
    groups: dict[str, list[int]] = {}
    for i, setting in zip(chosen, settings, strict=True):
        lang = setting.passage_lang if rule.per == "passage-language" else setting.query_lang
        if lang == POOL or (rule.langs is not None and lang not in rule.langs):
            continue
        group = {
            "kind": f", {' '.join(rule.langs)}" if rule.langs else "",
            "query-language": f", query language {lang}",
            "passage-language": f", passage language {lang}",
            "setting": f" {setting.query_lang}-{setting.passage_lang.replace(POOL, 'all')}",
        }[rule.per]
        groups.setdefault(f"{setting.kind.value}{group}", []).append(i)
    for subject, members in groups.items():
        yield _Test(name, rule, subject, members)


def _finding(
    test: _Test,
    means: tuple[float, float],
    change: Difference,
    identical: bool,
    p_holm: float | None,
    tests: int,
    policy: Policy,
) -> Finding:
    """A test and its outcome; a floor has no p: it is compared with the candidate's value.

    `identical`: no value in the settings of the test differs. `tests`: how many p-values were corrected.
    """
    rule, (baseline, candidate) = test.rule, means
    most = visible = needed = None
    outcome = Outcome.UNDECIDED
    if isinstance(rule, Floor):
        allowed = rule.least
        outcome = Outcome.FAIL if candidate < allowed - SAME else Outcome.PASS
    else:
        allowed = rule.allowed(baseline)
        if isinstance(rule, Rise):
            loss, most = change.difference, change.at_most
        else:
            loss = -change.difference
            most = None if change.at_least is None else -change.at_least
        if change.error is not None:
            spread = (change.error, change.clusters, tests, policy.alpha)
            visible, needed = visible_loss(*spread, allowed), clusters_to_see(allowed, *spread)
        if loss > allowed + SAME and p_holm is not None and p_holm < policy.alpha:
            outcome = Outcome.FAIL
        elif identical or (most is not None and most < allowed):
            outcome = Outcome.PASS
    return Finding(
        rule=test.name,
        decides=policy.decides(rule),
        measure=rule.measure,
        subject=test.subject,
        baseline=baseline,
        candidate=candidate,
        change=change.difference,
        allowed=allowed,
        low=change.low,
        high=change.high,
        most=most,
        p=None if p_holm is None else change.p,
        p_holm=p_holm,
        visible=visible,
        needed=needed,
        outcome=outcome,
    )


def accumulated_losses(history: Sequence[Update], candidate: Result, policy: Policy) -> list[str]:
    """Warnings where small losses, each allowed, add up to more than the policy allows in one step."""
    updates = [u for u in history if u.new.task == candidate.record.task.digest]
    warnings = []
    for rule in policy.drop:
        if rule.per != "kind" or rule.langs is not None:
            continue
        for kind in rule.kinds or list(Kind):
            average = candidate.record.average(kind, rule.measure)
            scores = [side.scores.get(kind, {}) for u in updates for side in (u.old, u.new)]
            best = max((s[rule.measure] for s in scores if rule.measure in s), default=None)
            if average and best is not None and best - average.mean > rule.allowed(best):
                warnings.append(
                    f"{kind.value} {rule.measure} is {number(best - average.mean)} below the best"
                    f" earlier baseline ({number(best)}; updates in {HISTORY}: {len(updates)})"
                )
    return warnings

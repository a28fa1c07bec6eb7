"""The gate: is this candidate worse than the baseline, by the rules of a policy?

Each rule becomes one test or more. A test fails if the loss is larger than allowed and chance alone would
rarely give as much (all tests of a policy are corrected together); it passes if the loss is surely no
larger than allowed; else it is undecided. No finding of "worse" is never told as "as good".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.measures.bootstrap import Alternative
from xlir_bench.measures.significance import (
    Difference,
    clusters_to_see,
    holm,
    least_p,
    visible_loss,
)
from xlir_bench.records import POOL, Kind, Setting
from xlir_bench.reports.comparable import labels, require_comparable
from xlir_bench.reports.pairing import SAME, Pairing, pair
from xlir_bench.reports.policy import Drop, Floor, Policy, Rise
from xlir_bench.reports.verdict import Finding, Outcome, Verdict
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

AGAIN = "make the baseline again with the options of the candidate, or the other way round"
Rule = Drop | Rise | Floor


@dataclass(frozen=True, slots=True)
class Planned:
    """One test that a rule asks for."""

    name: str
    rule: Rule
    subject: str
    settings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tested:
    """A planned test and what it found; a floor has a difference too, but no p that counts."""

    plan: Planned
    baseline: float
    candidate: float
    difference: Difference
    same: bool
    """Whether no value differs at all."""

    @property
    def loss(self) -> float:
        """By how much the candidate is worse."""
        d = self.difference.difference
        return d if isinstance(self.plan.rule, Rise) else -d

    @property
    def most(self) -> float | None:
        """The largest loss that there may be, with 95 % certainty; a gain is below 0."""
        d = self.difference
        if isinstance(self.plan.rule, Rise):
            return d.at_most
        return None if d.at_least is None else -d.at_least


def gate(baseline: Result, candidate: Result, policy: Policy) -> Verdict:
    """The verdict on a candidate; refused if it was not measured like the baseline."""
    unchecked = require_comparable([baseline, candidate], False, AGAIN)
    measures = sorted({rule.measure for _, rule in rules(policy)})
    _require_measures(measures, baseline)
    pairings = {
        m: _paired(baseline.values(m), candidate.values(m))
        for m in measures
        if m != RANK_DISTANCE or _has_pool(baseline)
    }
    names = labels([baseline, candidate])
    findings, notes = judge(pairings, policy)
    tests = sum(not f.floor for f in findings)
    task = baseline.record.task
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
        notes=(
            *unchecked,
            *notes,
            *_powerless(tests, task.clusters, policy.alpha, task.cluster),
            *_drift(policy),
        ),
    )


def overall(findings: Sequence[Finding]) -> Outcome:
    """One that fails, fails the gate; it passes if all that decide pass."""
    if any(f.outcome == Outcome.FAIL for f in findings):
        return Outcome.FAIL
    deciding = [f for f in findings if f.decides] or findings
    passed = all(f.outcome == Outcome.PASS for f in deciding)
    return Outcome.PASS if passed else Outcome.UNDECIDED


def judge(pairings: Mapping[str, Pairing], policy: Policy) -> tuple[list[Finding], list[str]]:
    """Every finding, the worst first, and the rules that nothing was there for; pairings by measure."""
    plans = []
    notes: list[str] = []
    for name, rule in rules(policy):
        there = pairings.get(rule.measure)
        planned = [] if there is None else list(plan(name, rule, there))
        plans += planned
        notes += [] if planned else [_not_applied(name, rule)]
    if not plans:
        raise InputError("no rule of the policy has anything to test in these results")
    tested = [
        t
        for measure, pairing in pairings.items()
        if (mine := [p for p in plans if p.rule.measure == measure])
        for t in _tested(pairing, mine, len(plans))
    ]
    return _findings(tested, policy), notes


def _paired(baseline: QueryValues, candidate: QueryValues) -> Pairing:
    """Both sides; a candidate that lost some of the queries would be judged by the others."""
    pairing = pair(baseline, candidate)
    lacking = max(len(baseline.value), len(candidate.value)) - len(pairing.setting)
    if lacking:
        raise NotComparableError(
            f"{lacking} values of {baseline.measure} are in the tables of one result alone;"
            " run the evaluation again"
        )
    return pairing


def rules(policy: Policy) -> list[tuple[str, Rule]]:
    """Every rule with its name: its table and its number in the file."""
    tables: dict[str, Sequence[Rule]] = {
        "drop": policy.drop, "rise": policy.rise, "floor": policy.floor,
    }  # fmt: skip
    return [
        (f"{name} {i}", rule) for name, rows in tables.items() for i, rule in enumerate(rows, 1)
    ]


def plan(name: str, rule: Rule, pairing: Pairing) -> Iterable[Planned]:
    """The tests of a rule: the settings it speaks of, in the groups it asks for."""
    groups: dict[tuple[Kind, str], list[int]] = {}
    there = pairing.where(lambda s: rule.kinds is None or s.kind in rule.kinds)
    _require_langs(rule, [pairing.settings[i] for i in there])
    for i in there:
        setting = pairing.settings[i]
        lang = setting.passage_lang if rule.per == "passage-language" else setting.query_lang
        if lang == POOL or (rule.langs is not None and lang not in rule.langs):
            continue
        over = {
            "kind": "",
            "query-language": f", query language {lang}",
            "passage-language": f", passage language {lang}",
            "setting": f" {setting.query_lang}-{setting.passage_lang.replace(POOL, 'all')}",
        }[rule.per]
        groups.setdefault((setting.kind, over), []).append(i)
    chosen = f", {' '.join(rule.langs)}" if rule.langs and rule.per == "kind" else ""
    for (kind, over), settings in groups.items():
        yield Planned(name, rule, f"{kind.value}{over}{chosen}", tuple(settings))


def _tested(pairing: Pairing, plans: Sequence[Planned], family: int) -> list[Tested]:
    groups = [p.settings for p in plans]
    alternative: Alternative = "greater" if pairing.measure == RANK_DISTANCE else "less"
    found = pairing.test(groups, alternative, family)
    unlike = pairing.unlike
    return [
        Tested(p, *means, difference, unlike.isdisjoint(p.settings))
        for p, means, difference in zip(plans, pairing.means(groups), found, strict=True)
    ]


def _findings(tested: Sequence[Tested], policy: Policy) -> list[Finding]:
    """Holm over all that are tests; floors are held against their value alone."""
    tests = [t for t in tested if not isinstance(t.plan.rule, Floor)]
    corrected = holm([t.difference.p for t in tests]).tolist()
    found = [_floor(t, t.plan.rule, policy) for t in tested if isinstance(t.plan.rule, Floor)]
    found += [
        _finding(t, t.plan.rule, p, len(tests), policy)
        for t, p in zip(tests, corrected, strict=True)
        if not isinstance(t.plan.rule, Floor)
    ]
    worst = list(Outcome)
    return sorted(found, key=lambda f: (-worst.index(f.outcome), not f.decides, _badness(f)))


def _badness(finding: Finding) -> tuple[float, float]:
    """Small for what a reader wants to see first: the surest, then the largest against its allowance."""
    over = abs(finding.change) / (finding.allowed or 1.0)
    return finding.p_holm or 0.0, -over


def _floor(tested: Tested, rule: Floor, policy: Policy) -> Finding:
    d = tested.difference
    return Finding(
        rule=tested.plan.name,
        decides=policy.decides(rule),
        measure=rule.measure,
        subject=tested.plan.subject,
        baseline=tested.baseline,
        candidate=tested.candidate,
        change=d.difference,
        allowed=rule.least,
        low=d.low,
        high=d.high,
        most=None,
        p=None,
        p_holm=None,
        visible=None,
        needed=None,
        outcome=Outcome.FAIL if tested.candidate < rule.least - SAME else Outcome.PASS,
    )


def _finding(
    tested: Tested, rule: Drop | Rise, p_holm: float, tests: int, policy: Policy
) -> Finding:
    d, allowed = tested.difference, rule.allowed(tested.baseline)
    sight = (d.error or 0.0, d.clusters, tests, policy.alpha)
    if tested.loss > allowed + SAME and p_holm < policy.alpha:
        outcome = Outcome.FAIL
    elif tested.same or (tested.most is not None and tested.most < allowed):
        outcome = Outcome.PASS
    else:
        outcome = Outcome.UNDECIDED
    return Finding(
        rule=tested.plan.name,
        decides=policy.decides(rule),
        measure=rule.measure,
        subject=tested.plan.subject,
        baseline=tested.baseline,
        candidate=tested.candidate,
        change=d.difference,
        allowed=allowed,
        low=d.low,
        high=d.high,
        most=tested.most,
        p=d.p,
        p_holm=p_holm,
        visible=visible_loss(*sight, allowed),
        needed=clusters_to_see(allowed, *sight),
        outcome=outcome,
    )


def _require_measures(measures: Sequence[str], result: Result) -> None:
    known = [*result.record.options.measures, RANK_DISTANCE]
    unknown = [m for m in measures if m not in known]
    if unknown:
        raise UnknownNameError("measure in the policy", unknown, known)


def _require_langs(rule: Rule, settings: Sequence[Setting]) -> None:
    known = {s.query_lang for s in settings} | {lang for s in settings for lang in s.passage_langs}
    unknown = [lang for lang in rule.langs or [] if lang not in known]
    if known and unknown:
        raise UnknownNameError("language in the policy", unknown, known)


def _has_pool(result: Result) -> bool:
    return any(s.kind == Kind.MULTILINGUAL and s.queries for s in result.record.settings)


def _not_applied(name: str, rule: Rule) -> str:
    kinds = [Kind.MULTILINGUAL] if isinstance(rule, Rise) else rule.kinds or list(Kind)
    return (
        f"{name} ({rule.measure}) tests nothing: these results have no {' or '.join(kinds)} setting"
    )


def _powerless(tests: int, clusters: int, alpha: float, cluster: str) -> list[str]:
    """A gate that cannot fail has to say so."""
    least = least_p(clusters, tests)
    if not tests or least < alpha:
        return []
    return [
        f"this gate can hardly fail: with {clusters} {cluster}s and {tests} tests no corrected p is"
        f' under {least:.2g}; use more data, fewer rules, or undecided = "fail"'
    ]


def _drift(policy: Policy) -> list[str]:
    if policy.drift is None:
        return []
    return [
        f'the policy says drift = "{policy.drift}", which is no more; it is read as undecided ='
        f' "{policy.undecided}": --print-policy says what that is'
    ]

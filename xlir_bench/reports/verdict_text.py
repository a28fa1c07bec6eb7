"""A verdict as people and build servers read it: blocks of a report, JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from xlir_bench.reports.compare_text import bounds, p_value, signed
from xlir_bench.reports.document import Block, Table, Text, Title
from xlir_bench.reports.tables import big, number
from xlir_bench.reports.verdict import Finding, Outcome, Verdict
from xlir_bench.results.values import RANK_DISTANCE

SHOWN = 10
"""How many findings of an outcome are listed; JUnit and JSON have them all."""
HEADERS = ("rule", "baseline", "candidate", "change", "95 % interval", "allowed", "p (Holm)")
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def verdict_blocks(verdict: Verdict) -> list[Block]:
    """The verdict, the tests that led to it, and what an undecided gate could have seen."""
    blocks: list[Block] = [Title(headline(verdict), main=True)]
    if failed := verdict.of(Outcome.FAIL):
        blocks += _listed("worse than allowed, and more than chance", failed)
    elif verdict.outcome == Outcome.UNDECIDED:
        deciding = verdict.of(Outcome.UNDECIDED, decides=True)
        blocks += [*_listed("neither shown worse nor shown as good", deciding), sights(verdict)]
    else:
        blocks += _listed("nearest to a limit", _nearest(verdict))
    if foot := _foot(verdict):
        blocks.append(Text.of(foot))
    return [*blocks, *notes(verdict)]


def notes(verdict: Verdict) -> list[Block]:
    """What is to note besides."""
    return [Text(tuple(f"note: {note}" for note in verdict.notes))] if verdict.notes else []


def headline(verdict: Verdict) -> str:
    """The verdict in a line."""
    who = f"{verdict.candidate} against {verdict.baseline} on {verdict.task}"
    word = verdict.outcome.value.upper()
    if verdict.outcome == Outcome.UNDECIDED:
        word += f" (a {verdict.undecided}, by the policy)"
    return f"{word}: {who}: {_counted(verdict)}"


def _counted(verdict: Verdict) -> str:
    """How many tests came to what; those that decide and the others apart."""
    undecided = len(verdict.of(Outcome.UNDECIDED))
    if failed := len(verdict.of(Outcome.FAIL)):
        told = f"{failed} of {len(verdict.findings)} tests failed"
        return f"{told}, {undecided} undecided" if undecided else told
    deciding = [f for f in verdict.findings if f.decides]
    open_ones = len(verdict.of(Outcome.UNDECIDED, decides=True))
    told = f"{open_ones or 'all'} of {len(deciding)} tests that decide "
    told += "are undecided" if open_ones else "passed"
    if others := len(verdict.findings) - len(deciding):
        told += f"; of {others} others, {undecided - open_ones} are undecided"
    return told


def sights(verdict: Verdict) -> Table:
    """How large a loss each rule finds in 95 % of cases, and how many clusters would show what is allowed."""
    rows = [
        [
            f"{found[0].rule}: {_measure(found[0])}{_over(found)}",
            _range([f.allowed for f in found], found[0]),
            _range([f.visible for f in found], found[0]),
            _range([f.needed for f in found], None),
        ]
        for found in _by_rule(verdict)
    ]
    title = "smallest loss found in 95 % of cases"
    return Table(["rule", "allowed", title, f"{verdict.cluster}s to see what is allowed"], rows)


def plan_blocks(verdict: Verdict) -> list[Block]:
    """What a gate would see of candidates that differ as this one does."""
    told = (
        f"plan: candidates of {verdict.baseline} that differ from it as {verdict.candidate}"
        f" does, on {verdict.task} ({verdict.clusters} {verdict.cluster}s, {verdict.tests} tests)"
    )
    return [Text.of(told), sights(verdict), *notes(verdict)]


def plan_record(verdict: Verdict) -> dict[str, Any]:
    """What each test would see, for programs."""
    keys = ("rule", "decides", "measure", "subject", "baseline", "allowed", "visible", "needed")
    tests = [{key: getattr(f, key) for key in keys} for f in verdict.findings if not f.floor]
    return {
        "task": verdict.task,
        "baseline": verdict.baseline,
        "like": verdict.candidate,
        "alpha": verdict.alpha,
        "tests": tests,
        "cluster": verdict.cluster,
        "clusters": verdict.clusters,
        "notes": list(verdict.notes),
    }


def _by_rule(verdict: Verdict) -> list[list[Finding]]:
    """The tests of each rule, in the order of the policy; those over a whole kind one by one."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for f in sorted(verdict.findings, key=lambda f: f.rule):
        if not f.floor:
            groups.setdefault((f.rule, f.subject if "," not in f.subject else ""), []).append(f)
    return list(groups.values())


def _over(found: Sequence[Finding]) -> str:
    return f", {found[0].subject}" if len(found) == 1 else f", {len(found)} tests"


def _range(values: Sequence[float | None], of: Finding | None) -> str:
    """The least and the most of some values, as people write them."""
    known = [v for v in values if v is not None]
    figure = (
        (lambda v: f"{v:,.0f}") if of is None else big if of.measure == RANK_DISTANCE else number
    )
    ends = [figure(v) for v in ([min(known), max(known)] if known else [])]
    if len(known) < len(values):
        ends = [*ends[:1], "none"]
    return " to ".join(dict.fromkeys(ends))


def junit_xml(verdict: Verdict) -> str:
    """A test case for each finding: a failure where it failed, skipped where it is undecided."""
    failed = [f for f in verdict.findings if _fails(f, verdict)]
    skipped = [f for f in verdict.of(Outcome.UNDECIDED) if f not in failed]
    counts = {
        "tests": str(len(verdict.findings)),
        "failures": str(len(failed)),
        "errors": "0",
        "skipped": str(len(skipped)),
    }
    # The schema of JUnit knows `skipped` of a suite alone.
    root = Element("testsuites", {k: v for k, v in counts.items() if k != "skipped"})
    suite = SubElement(
        root, "testsuite", {"name": _xml(f"xlir-bench gate: {verdict.task}"), **counts}
    )
    properties = SubElement(suite, "properties")
    for key, value in {"baseline": verdict.baseline, "candidate": verdict.candidate}.items():
        SubElement(properties, "property", {"name": key, "value": _xml(value)})
    for finding in verdict.findings:
        name = f"{finding.rule}: {finding.measure}, {finding.subject}"
        case = SubElement(
            suite, "testcase", {"classname": _xml(f"gate.{verdict.task}"), "name": _xml(name)}
        )
        told = _xml(_sentence(finding))
        if _fails(finding, verdict):
            SubElement(
                case, "failure", {"message": told, "type": finding.outcome.value}
            ).text = told
        elif finding.outcome == Outcome.UNDECIDED:
            SubElement(case, "skipped", {"message": f"undecided: {told}"})
        else:
            SubElement(case, "system-out").text = f"{finding.outcome.value}: {told}"
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, "unicode") + "\n"


def _fails(finding: Finding, verdict: Verdict) -> bool:
    """Also one that leaves the gate undecided, if the policy fails that."""
    return finding.outcome == Outcome.FAIL or (
        finding.outcome == Outcome.UNDECIDED and finding.decides and not verdict.passed
        and verdict.outcome == Outcome.UNDECIDED
    )  # fmt: skip


def _listed(title: str, findings: Sequence[Finding]) -> list[Block]:
    rows = [_row(f) for f in findings[:SHOWN]]
    blocks: list[Block] = [Title(title), Table(HEADERS, rows, spare=("p (Holm)", "candidate"))]
    if more := len(findings) - len(rows):
        blocks.append(Text.of(f"(and {more} more: --json and --junit have them all)"))
    return blocks


def _row(finding: Finding) -> list[str]:
    distance = finding.measure == RANK_DISTANCE
    figure = big if distance else number
    return [
        f"{_measure(finding)}, {finding.subject}",
        figure(finding.baseline),
        figure(finding.candidate),
        signed(finding.change, distance),
        bounds(finding.low, finding.high, distance),
        _allowed(finding),
        "-" if finding.p_holm is None else p_value(finding.p_holm),
    ]


def _allowed(finding: Finding) -> str:
    if finding.floor:
        return f"floor {number(finding.allowed)}"
    distance = finding.measure == RANK_DISTANCE
    return signed(finding.allowed if distance else -finding.allowed, distance)


def _sentence(finding: Finding) -> str:
    """A finding in words."""
    cells = dict(zip(HEADERS, _row(finding), strict=True))
    told = (
        f"{cells['rule']}: {cells['baseline']} to {cells['candidate']}, {cells['change']}"
        f" (95 % {cells['95 % interval']}), allowed {cells['allowed']}, p (Holm) {cells['p (Holm)']}"
    )
    if finding.outcome != Outcome.UNDECIDED:
        return told
    seen = (
        "no loss" if finding.visible is None else f"a loss of {_range([finding.visible], finding)}"
    )
    return f"{told}; in 95 % of cases this test finds {seen}"


def _measure(finding: Finding) -> str:
    return "rank distance" if finding.measure == RANK_DISTANCE else finding.measure


def _nearest(verdict: Verdict) -> list[Finding]:
    """The rules that a worse candidate would break first."""

    def room(finding: Finding) -> float:
        if finding.floor:
            return finding.candidate - finding.allowed
        worse = finding.change if finding.measure == RANK_DISTANCE else -finding.change
        scale = abs(finding.baseline) if finding.measure == RANK_DISTANCE else 1.0
        return (finding.allowed - worse) / (scale or 1.0)

    return sorted(verdict.findings, key=room)[:3]


def _foot(verdict: Verdict) -> str:
    if not verdict.tests:
        return ""
    return (
        f"A test fails if the loss is larger than allowed and p is under {number(verdict.alpha, 2)}"
        f" (one-sided, by {verdict.cluster}: {verdict.clusters}; Holm over {verdict.tests} tests). It passes"
        " if the loss is no larger than allowed with 95 % certainty. Else it is undecided."
    )


def _xml(text: str) -> str:
    """Without the characters that no XML file may hold; the writer escapes the others."""
    return NOT_XML.sub("�", text)

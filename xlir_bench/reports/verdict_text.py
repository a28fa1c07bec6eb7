"""A verdict as people and build servers read it: terminal, Markdown, JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from xlir_bench.escaping import visible
from xlir_bench.reports.compare_text import bounds, p_value, signed
from xlir_bench.reports.markup import escape, named
from xlir_bench.reports.pairing import RANK_DISTANCE
from xlir_bench.reports.tables import big, number, table
from xlir_bench.reports.verdict import Finding, Outcome, Verdict

SHOWN = 10
"""How many findings of an outcome are listed; JUnit and JSON have them all."""
WORDS = {Outcome.PASS: "PASS", Outcome.DRIFT: "PASS with drift", Outcome.FAIL: "FAIL"}
HEADERS = ("rule", "baseline", "candidate", "change", "95 % interval", "allowed", "p (Holm)")
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def verdict_text(verdict: Verdict, markdown: bool = False) -> str:
    """The outcome, which rules were broken and by how much, and how sure that is."""
    parts = [headline(verdict, markdown)]
    titles = {
        Outcome.FAIL: "worse than allowed",
        Outcome.DRIFT: "drift: worse than allowed, but chance may explain it",
    }
    parts += [
        _listed(title, found, markdown)
        for outcome, title in titles.items()
        if (found := verdict.of(outcome))
    ]
    if not verdict.of(Outcome.FAIL) and not verdict.of(Outcome.DRIFT):
        parts.append(_listed("nearest to a limit", _nearest(verdict), markdown))
    parts.append(_foot(verdict))
    mark = "- " if markdown else "note: "
    parts += ["\n".join(mark + named(n, markdown) for n in verdict.notes)]
    return "\n\n".join(part for part in parts if part)


def headline(verdict: Verdict, markdown: bool = False) -> str:
    """The verdict in a line."""
    name = escape if markdown else visible
    counts = verdict.counts
    word = WORDS[verdict.outcome]
    if verdict.outcome == Outcome.DRIFT and not verdict.passed:
        word = "FAIL (drift)"
    total = len(verdict.findings)
    told = [f"{counts[Outcome.FAIL]} of {total} checks failed"] if counts[Outcome.FAIL] else []
    told += [f"{counts[Outcome.DRIFT]} drifted"] if counts[Outcome.DRIFT] else []
    told = told or [f"all {total} checks kept"]
    who = f"{name(verdict.candidate)} against {name(verdict.baseline)} on {name(verdict.task)}"
    return f"{'### ' if markdown else ''}{word}: {who}: {', '.join(told)}"


def junit_xml(verdict: Verdict) -> str:
    """A test case for each finding; a failure where the rule failed, or drifted and may not."""
    failed = [f for f in verdict.findings if _fails(f, verdict)]
    counts = {"tests": str(len(verdict.findings)), "failures": str(len(failed)), "errors": "0"}
    root = Element("testsuites", counts)
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
        else:
            SubElement(case, "system-out").text = f"{finding.outcome.value}: {told}"
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, "unicode") + "\n"


def _fails(finding: Finding, verdict: Verdict) -> bool:
    return finding.outcome == Outcome.FAIL or (
        finding.outcome == Outcome.DRIFT and verdict.drift == "fail"
    )


def _listed(title: str, findings: Sequence[Finding], markdown: bool) -> str:
    rows = [_row(f, markdown) for f in findings[:SHOWN]]
    more = len(findings) - len(rows)
    rest = f"\n\n(and {more} more: --json and --junit have them all)" if more else ""
    return f"{title}\n\n{table(rows, HEADERS, markdown)}{rest}"


def _row(finding: Finding, markdown: bool) -> list[str]:
    name = escape if markdown else visible
    distance = finding.measure == RANK_DISTANCE
    figure = big if distance else number
    return [
        name(f"{_measure(finding)}, {finding.subject}"),
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
    cells = dict(zip(HEADERS, _row(finding, markdown=False), strict=True))
    return (
        f"{cells['rule']}: {cells['baseline']} to {cells['candidate']}, {cells['change']}"
        f" (95 % {cells['95 % interval']}), allowed {cells['allowed']}, p (Holm) {cells['p (Holm)']}"
    )


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
    kept = verdict.counts[Outcome.PASS]
    told = f"{kept} of {len(verdict.findings)} checks kept. "
    if verdict.tests:
        told += (
            f"p: one-sided, signs flipped by {verdict.cluster} ({verdict.clusters}), Holm over"
            f" {verdict.tests} tests; a rule fails under {number(verdict.alpha, 2)}."
        )
    return told


def _xml(text: str) -> str:
    """Without the characters that no XML file may hold; the writer escapes the others."""
    return NOT_XML.sub("�", text)

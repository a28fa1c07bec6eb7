"""A verdict as people and build servers read it: blocks of a report, JUnit XML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from xlir_bench.rendering.document import Block, Lines, Table
from xlir_bench.rendering.numbers import Written, bounds, number, p_value, signed
from xlir_bench.reports.gate import Finding, Outcome, Verdict
from xlir_bench.reports.scores import name_of, written
from xlir_bench.results.values import RANK_DISTANCE

SHOWN = 10
"""How many findings of an outcome are listed; JUnit and JSON have them all."""
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def verdict_blocks(verdict: Verdict) -> list[Block]:
    """The verdict, the tests that led to it, and the smallest losses that an undecided gate would have detected."""
    if failed := verdict.of(Outcome.FAIL):
        blocks = _listed("worse than allowed, and the loss is significant", failed)
    elif verdict.outcome == Outcome.UNDECIDED:
        left = verdict.of(Outcome.UNDECIDED, decides=True)
        blocks = _listed("shown neither to be worse nor to be as good", left)
        blocks.append(_detectable_losses(verdict))
    else:
        blocks = _listed("nearest to a limit", sorted(verdict.findings, key=_margin)[:3])
    if verdict.tests:
        blocks.append(Lines(
            f"A test fails if the loss is larger than allowed and p is under {number(verdict.alpha, 2)}"
            f" (one-sided, by {verdict.cluster}: {verdict.clusters}; Holm over {verdict.tests} tests). It passes"
            " if the loss is no larger than allowed with 95 % certainty. Otherwise it is undecided."
        ))  # fmt: skip
    return [Lines(headline(verdict), heading=True), *blocks, _notes(verdict)]


def _notes(verdict: Verdict) -> Lines:
    return Lines(*(f"note: {note}" for note in verdict.notes))


def headline(verdict: Verdict) -> str:
    """The verdict in a line, with the number of tests of each outcome."""
    who = f"{verdict.candidate} against {verdict.baseline} on {verdict.task}"
    word = verdict.outcome.value.upper()
    if verdict.outcome == Outcome.UNDECIDED:
        word += f" (a {verdict.undecided}, by the policy)"
    total, undecided = len(verdict.findings), len(verdict.of(Outcome.UNDECIDED))
    if failed := len(verdict.of(Outcome.FAIL)):
        counts = f"{failed} of {total} tests failed"
        return f"{word}: {who}: {counts}" + (f", {undecided} undecided" if undecided else "")
    deciding = sum(finding.decides for finding in verdict.findings)
    still_open = len(verdict.of(Outcome.UNDECIDED, decides=True))
    counts = f"{still_open or 'all'} of {deciding} tests that decide "
    counts += "are undecided" if still_open else "passed"
    if total > deciding:
        counts += f"; of {total - deciding} others, {undecided - still_open} are undecided"
    return f"{word}: {who}: {counts}"


def _margin(finding: Finding) -> float:
    """How much worse the candidate could be before this finding fails; a share of the baseline for rank distance."""
    if finding.floor:
        return finding.candidate - finding.allowed
    if finding.measure == RANK_DISTANCE:
        return (finding.allowed - finding.change) / (abs(finding.baseline) or 1.0)
    return finding.allowed + finding.change


def _listed(title: str, findings: Sequence[Finding]) -> list[Block]:
    rows = [_cells(finding) for finding in findings[:SHOWN]]
    blocks: list[Block] = [Lines(title), Table.of(rows, spare=("p (Holm)", "candidate"))]
    if more := len(findings) - len(rows):
        blocks.append(Lines(f"(and {more} more: --json and --junit have them all)"))
    return blocks


def _cells(finding: Finding) -> dict[str, str]:
    text, sign = written(finding.measure), 1 if finding.measure == RANK_DISTANCE else -1
    allowed = signed(sign * finding.allowed, text)
    return {
        "rule": f"{name_of(finding.measure)}, {finding.subject}",
        "baseline": text(finding.baseline),
        "candidate": text(finding.candidate),
        "change": signed(finding.change, text),
        "95 % interval": bounds(finding.low, finding.high, text),
        "allowed": f"floor {number(finding.allowed)}" if finding.floor else allowed,
        "p (Holm)": "-" if finding.p_holm is None else p_value(finding.p_holm),
    }


def _detectable_losses(verdict: Verdict) -> Table:
    """The smallest loss that each rule finds in 95 % of cases, and how many clusters would show the allowed one."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(verdict.findings, key=lambda finding: finding.rule):
        if not finding.floor:
            # A test over a whole kind has a row of its own; the other tests of a rule share one.
            subject = "" if "," in finding.subject else finding.subject
            groups.setdefault((finding.rule, subject), []).append(finding)
    rows = []
    for tests in groups.values():
        first, text = tests[0], written(tests[0].measure)
        over = first.subject if len(tests) == 1 else f"{len(tests)} tests"
        rows.append({
            "rule": f"{first.rule}: {name_of(first.measure)}, {over}",
            "allowed": _range([test.allowed for test in tests], text),
            "smallest loss found in 95 % of cases": _range([test.visible for test in tests], text),
            f"{verdict.cluster}s to find the allowed loss": _range([test.needed for test in tests], "{:,.0f}".format),
        })  # fmt: skip
    return Table.of(rows)


def plan_blocks(verdict: Verdict) -> list[Block]:
    """Which losses a gate would detect in candidates that differ from the baseline as this one does."""
    about = (
        f"plan: for candidates that differ from {verdict.baseline} as {verdict.candidate}"
        f" does, on {verdict.task} ({verdict.clusters} {verdict.cluster}s, {verdict.tests} tests)"
    )
    return [Lines(about), _detectable_losses(verdict), _notes(verdict)]


def plan_record(verdict: Verdict) -> dict[str, Any]:
    """The losses that each test would detect, for programs."""
    keys = ("rule", "decides", "measure", "subject", "baseline", "allowed", "visible", "needed")
    tests = [{key: getattr(f, key) for key in keys} for f in verdict.findings if not f.floor]
    names = ("task", "baseline", "alpha", "cluster", "clusters", "notes")
    about = {name: getattr(verdict, name) for name in names}
    return about | {"like": verdict.candidate, "tests": tests}


def _range(values: Sequence[float | None], text: Written) -> str:
    """The smallest and the largest value, written by `text`; ``none`` if a test has no value."""
    known = [value for value in values if value is not None]
    ends = [text(min(known)), text(max(known))] if known else []
    if len(known) < len(values):
        ends = [*ends[:1], "none"]
    return " to ".join(dict.fromkeys(ends))


def worst(verdicts: Iterable[Verdict]) -> Outcome:
    """The worst outcome of several gates."""
    return max((verdict.outcome for verdict in verdicts), key=list(Outcome).index)


def junit_xml(verdicts: Sequence[Verdict]) -> str:
    """A suite for each verdict."""
    root = Element("testsuites")
    for verdict in verdicts:
        _add_suite(root, verdict)
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, 0)) for suite in root)))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, "unicode") + "\n"


def _add_suite(root: Element, verdict: Verdict) -> None:
    """A test case for each finding: a failure where it failed, skipped where it is undecided.

    A finding that leaves the gate undecided is a failure too, if the policy fails an undecided gate.
    """
    strict = verdict.outcome == Outcome.UNDECIDED and not verdict.passed

    def state(finding: Finding) -> str:
        if finding.outcome == Outcome.UNDECIDED:
            return "failure" if strict and finding.decides else "skipped"
        return "failure" if finding.outcome == Outcome.FAIL else "system-out"

    states = {finding: state(finding) for finding in verdict.findings}
    counts = Counter(states.values())
    totals = {"tests": str(len(states)), "failures": str(counts["failure"]), "errors": "0"}
    # The schema of JUnit allows `skipped` on a suite, and not on the root.
    name = {"name": _xml(f"xlir-bench gate: {verdict.task}")}
    suite = SubElement(root, "testsuite", name | totals | {"skipped": str(counts["skipped"])})
    properties = SubElement(suite, "properties")
    for key, value in {"baseline": verdict.baseline, "candidate": verdict.candidate}.items():
        SubElement(properties, "property", {"name": key, "value": _xml(value)})
    for finding, result in states.items():
        name = {
            "classname": _xml(f"gate.{verdict.task}"),
            "name": _xml(f"{finding.rule}: {finding.measure}, {finding.subject}"),
        }
        sentence = _xml(_sentence(finding))
        detail = SubElement(SubElement(suite, "testcase", name), result)
        if result == "failure":
            detail.attrib |= {"message": sentence, "type": finding.outcome.value}
            detail.text = sentence
        elif result == "skipped":
            detail.set("message", f"undecided: {sentence}")
        else:
            detail.text = f"{finding.outcome.value}: {sentence}"


def _sentence(finding: Finding) -> str:
    rule, baseline, candidate, change, interval, allowed, p = _cells(finding).values()
    sentence = f"{rule}: {baseline} to {candidate}, {change} (95 % {interval}), allowed {allowed}, p (Holm) {p}"
    if finding.outcome != Outcome.UNDECIDED:
        return sentence
    visible = finding.visible
    loss = "no loss" if visible is None else f"a loss of {written(finding.measure)(visible)}"
    return f"{sentence}; in 95 % of cases this test finds {loss}"


def _xml(text: str) -> str:
    """The text with characters that XML does not allow replaced; the writer escapes the others."""
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)

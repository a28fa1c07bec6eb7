"""How a verdict is told: terminal, Markdown, JUnit XML, JSON."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from changed import a_little_worse, changed, drop, evaluated, times

from xlir_bench.reports.gate import gate
from xlir_bench.reports.policy import default_policy
from xlir_bench.reports.verdict import Outcome
from xlir_bench.reports.verdict_text import headline, junit_xml, verdict_text


@pytest.fixture(scope="module")
def failed():
    return gate(evaluated(), changed(evaluated(), times(0.5)), default_policy())


def test_the_first_line_is_the_verdict(failed):
    line = verdict_text(failed).splitlines()[0]
    assert line.startswith("FAIL: changed against builtin:ngram on mini: ")
    assert "checks failed" in line


def test_no_more_than_ten_findings_are_listed(failed):
    text = verdict_text(failed)
    assert text.count("map, ") <= 20
    assert len(text.splitlines()) < 45


def test_a_pass_shows_what_came_nearest_to_a_limit():
    candidate = changed(evaluated(), lambda frame: frame["value"] - 0.004)
    text = verdict_text(gate(evaluated(), candidate, default_policy()))
    assert text.startswith("PASS: ")
    assert "nearest to a limit" in text
    assert "-.0040" in text


def test_drift_is_a_pass_with_a_warning_or_a_failure():
    candidate = changed(evaluated(), a_little_worse)
    rules = drop(kinds=["monolingual"])
    assert headline(gate(evaluated(), candidate, rules)).startswith("PASS with drift")
    strict = rules.model_copy(update={"drift": "fail"})
    assert headline(gate(evaluated(), candidate, strict)).startswith("FAIL (drift)")


def test_json_has_every_finding(failed):
    record = json.loads(json.dumps(failed.to_record()))
    assert record["outcome"] == "fail"
    assert record["passed"] is False
    assert len(record["findings"]) == len(failed.findings)


def test_junit_has_a_case_for_each_finding(failed):
    root = ElementTree.fromstring(junit_xml(failed))
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(failed.findings) == int(root.get("tests"))
    broken = [case for case in cases if case.find("failure") is not None]
    assert len(broken) == failed.counts[Outcome.FAIL] == int(root.get("failures"))


def test_names_from_outside_break_no_format():
    name = "]]>\"'<failure/>&\x00\x1b[31m|`$\ud800\n</testsuites>"
    verdict = gate(evaluated(), changed(evaluated(), times(0.5), name), default_policy())
    root = ElementTree.fromstring(junit_xml(verdict))
    candidate = root.find("testsuite/properties/property[@name='candidate']")
    assert "<failure/>" in candidate.get("value")
    markdown = verdict_text(verdict, markdown=True)
    assert "<failure" not in markdown
    assert len(markdown.splitlines()[0]) > len("### FAIL: ")

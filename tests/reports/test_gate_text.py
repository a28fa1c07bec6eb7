"""A verdict as text: terminal, Markdown, JUnit XML, JSON."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from changed import a_little_worse, changed, drop, evaluated, times

from xlir_bench.rendering.document import render
from xlir_bench.rendering.numbers import number
from xlir_bench.reports.gate import Outcome, gate
from xlir_bench.reports.gate_text import headline, junit_xml, verdict_blocks
from xlir_bench.reports.policy import Policy, default_policy


@pytest.fixture(scope="module")
def failed():
    return gate(evaluated(), changed(evaluated(), times(0.5)), default_policy())


def test_the_first_line_is_the_verdict(failed):
    line = render(verdict_blocks(failed)).splitlines()[0]
    assert line.startswith("FAIL: ")
    assert re.search(r"changed\b.*\bbuiltin:ngram\b.*\bmini:", line)
    lost = len(failed.of(Outcome.FAIL))
    assert re.search(rf" {lost} of {len(failed.findings)} tests failed", line)


def test_no_more_than_ten_findings_are_listed(failed):
    text = render(verdict_blocks(failed))
    assert text.count("map, ") <= 20
    assert len(text.splitlines()) < 45


def test_a_pass_shows_what_came_nearest_to_a_limit():
    candidate = changed(evaluated(), lambda frame: frame["value"] - 0.004)
    text = render(verdict_blocks(gate(evaluated(), candidate, default_policy())))
    assert text.startswith("PASS: ")
    assert "nearest to a limit" in text
    assert "-.0040" in text


def undecided(**update):
    rules = drop(kinds=["monolingual"]).model_copy(update=update)
    return gate(evaluated(), changed(evaluated(), a_little_worse), rules)


def test_undecided_says_what_it_counts_as_and_what_it_would_have_found():
    verdict = undecided()
    assert re.match(r"UNDECIDED \(.*\bpass\b.*policy\)", headline(verdict))
    assert re.match(r"UNDECIDED \(.*\bfail\b.*policy\)", headline(undecided(undecided="fail")))
    for form in ("terminal", "markdown"):
        text = render(verdict_blocks(verdict), form)
        assert "95 % of cases" in text
        assert number(verdict.findings[0].visible) in text


def test_the_first_line_counts_the_undecided_of_the_other_rules():
    candidate = changed(evaluated(), lambda f: f["value"] * 1.3 - 0.01 * (f["query_lang"] == "th"))
    verdict = gate(evaluated(), candidate, default_policy())
    open_ones = len(verdict.of(Outcome.UNDECIDED, decides=False))
    assert f"{open_ones} are undecided" in headline(verdict)


def test_a_policy_of_before_is_read_and_told():
    rules = Policy.model_validate({"drift": "fail", "drop": [{"absolute": 0.0}]})
    verdict = gate(evaluated(), changed(evaluated(), a_little_worse), rules)
    assert verdict.exit_code == 1
    assert any('drift = "fail"' in note for note in verdict.notes)


@pytest.mark.parametrize(("by_policy", "broken"), [("pass", 0), ("fail", 1)])
def test_junit_skips_what_is_undecided_with_its_reason(by_policy, broken):
    root = ElementTree.fromstring(junit_xml([undecided(undecided=by_policy)]))
    (case,) = root.findall("testsuite/testcase")
    assert int(root.get("failures")) == broken
    assert (case.find("failure") is not None) == bool(broken)
    if not broken:
        assert int(root.find("testsuite").get("skipped")) == 1
        assert "in 95 % of cases" in case.find("skipped").get("message")


def test_json_has_every_finding(failed):
    record = json.loads(json.dumps(failed.to_record()))
    assert record["verdict"] == record["outcome"] == "fail"
    assert record["passed"] is False
    assert len(record["findings"]) == len(failed.findings)


def test_junit_has_a_case_for_each_finding(failed):
    root = ElementTree.fromstring(junit_xml([failed]))
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(failed.findings) == int(root.get("tests"))
    broken = [case for case in cases if case.find("failure") is not None]
    assert len(broken) == len(failed.of(Outcome.FAIL)) == int(root.get("failures"))


def test_names_from_outside_break_no_format():
    name = "]]>\"'<failure/>&\x00\x1b[31m|`$\ud800\n</testsuites>"
    verdict = gate(evaluated(), changed(evaluated(), times(0.5), name), default_policy())
    root = ElementTree.fromstring(junit_xml([verdict]))
    candidate = root.find("testsuite/properties/property[@name='candidate']")
    assert "<failure/>" in candidate.get("value")
    markdown = render(verdict_blocks(verdict), "markdown")
    assert "<failure" not in markdown
    assert len(markdown.splitlines()[0]) > len("### FAIL: ")

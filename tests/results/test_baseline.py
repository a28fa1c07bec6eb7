"""The baseline: replaced only by a candidate that passed, only with a reason, never without a trace."""

from __future__ import annotations

import json
import os
import re

import pytest
from changed import changed, evaluated, times
from kills.operations import kills

from xlir_bench.errors import InputError, XlirError
from xlir_bench.rendering.numbers import number
from xlir_bench.reports.gate import Outcome, accumulated_losses, gate
from xlir_bench.reports.policy import default_policy
from xlir_bench.results import Result
from xlir_bench.results.baseline import HISTORY, read_history, update_baseline

NGRAM = "builtin:ngram"


@pytest.fixture
def baseline(tmp_path):
    folder = tmp_path / "baselines" / "mini"
    evaluated().save(folder)
    (folder / "README.txt").write_text("kept")
    return Result.load(folder)


def update(baseline, candidate, reason="why not", rules=None):
    verdict = gate(baseline, candidate, rules or default_policy())
    return update_baseline(baseline, candidate, verdict, reason)


def test_a_pass_takes_its_place_and_leaves_a_trace(baseline):
    better = changed(evaluated(), times(1.1), "better")
    folder = update(baseline, better, "trained\nlonger")
    again = Result.load(folder)
    assert again.record.encoder.name == "better"
    assert gate(again, better, default_policy()).outcome == Outcome.PASS
    line = json.loads((folder / HISTORY).read_text())
    assert line["reason"] == "trained longer"
    assert line["old"]["encoder"] == NGRAM
    assert line["old"]["fingerprint"] == evaluated().record.encoder.fingerprint
    assert line["new"]["scores"]["monolingual"]["map"] == better.score("monolingual")
    assert line["when"]


def test_other_files_stay_and_none_are_left_behind(baseline):
    folder = update(baseline, evaluated())
    assert (folder / "README.txt").read_text() == "kept"
    assert [p.name for p in folder.parent.iterdir()] == ["mini"]
    assert "best" in evaluated().tables
    assert "best" not in Result.load(folder).tables


def test_the_history_grows(baseline):
    for reason in ("one", "two"):
        update(baseline, evaluated(), reason)
    assert [u.reason for u in read_history(baseline.folder)] == ["one", "two"]


def test_a_regression_never_becomes_the_baseline(baseline):
    before = (baseline.folder / "result.json").read_bytes()
    with pytest.raises(InputError, match=r"baseline.*passed"):
        update(baseline, changed(evaluated(), times(0.5)))
    assert (baseline.folder / "result.json").read_bytes() == before


def test_without_a_reason_nothing_is_replaced(baseline):
    with pytest.raises(InputError, match="--reason"):
        update(baseline, evaluated(), "  ")


def test_a_fault_in_between_leaves_the_old_baseline(baseline, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Result, "save", full)
    with pytest.raises(XlirError, match=r"disk.*full") as error:
        update(baseline, changed(evaluated(), times(1.1)))
    assert error.value.exit_code == 4
    assert Result.load(baseline.folder).record.encoder.name == NGRAM
    assert [p.name for p in baseline.folder.parent.iterdir()] == ["mini"]
    assert read_history(baseline.folder) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="wants fork")
def test_whenever_an_update_is_killed_baseline_and_history_belong_together(baseline):
    first, second = (
        short(changed(evaluated(), times(f), name)) for f, name in ((1.1, "a"), (1.2, "b"))
    )
    verdict = gate(evaluated(), changed(evaluated(), times(1.1)), default_policy())
    update_baseline(baseline, first, verdict, "first")
    folder, seen = baseline.folder, set()
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    for _ in kills(lambda: update_baseline(Result.load(folder), second, verdict, "second")):
        now = Result.load(folder)
        name, reasons = now.record.encoder.name, [u.reason for u in read_history(folder)]
        assert (name, reasons) in [("a", ["first"]), ("b", ["first", "second"])]
        assert now.table("queries").num_rows == 9
        seen.add(name)
        # Another try in the state that the kill left is as good as one that was never killed.
        update_baseline(now, second, verdict, "second")
        assert [u.reason for u in read_history(folder)][:2] == ["first", "second"]
        assert not {p.name for p in folder.iterdir()} - {
            "result.json", "README.txt", HISTORY, *Result.load(folder).record.tables.values(),
        }  # fmt: skip
        for path in folder.iterdir():
            path.unlink()
        for file, content in before.items():
            (folder / file).write_bytes(content)
    assert seen == {"a", "b"}
    assert [u.reason for u in read_history(folder)] == ["first", "second"]
    assert {p.name for p in folder.iterdir()} == {
        "result.json", "README.txt", HISTORY, *Result.load(folder).record.tables.values(),
    }  # fmt: skip


def short(result):
    return Result(result.record, {n: result.tables[n].slice(0, 9) for n in ("ranks", "queries")})


def test_many_small_steps_down_are_told(baseline):
    steps = [changed(evaluated(), lambda f, d=d: f["value"] - d) for d in (0.004, 0.008)]
    assert accumulated_losses(read_history(baseline.folder), steps[0], default_policy()) == []
    folder = update(baseline, steps[0])
    verdict = gate(Result.load(folder), steps[1], default_policy())
    assert verdict.outcome == Outcome.PASS
    told = accumulated_losses(read_history(folder), steps[1], default_policy())
    best = re.escape(number(evaluated().score("monolingual")))
    assert re.match(
        rf"monolingual map\b.* \.0080 .*\bbest.*{best}; .*{re.escape(HISTORY)}: 1\)", told[0]
    )


def test_a_damaged_history_is_told(baseline):
    (baseline.folder / HISTORY).write_text('{"when": 1}\n')
    with pytest.raises(InputError, match=r"history\.jsonl line 1"):
        read_history(baseline.folder)


def test_a_name_that_would_end_a_line_of_text_is_kept_in_one_line(baseline):
    folder = update(baseline, changed(evaluated(), times(1.1), "a\u2028b\x85c"), "no \udc80 UTF-8")
    (line,) = read_history(folder)
    assert line.reason.startswith("no \ufffd")
    assert "a\u2028b\x85c" in (folder / HISTORY).read_text("utf-8")

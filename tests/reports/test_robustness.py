"""`robustness`: what holds on one task and on others."""

from __future__ import annotations

import re

import numpy as np
import pytest
from changed import changed, evaluated, times

from xlir_bench import Kind, Result
from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.rendering.document import render
from xlir_bench.reports.robustness import robustness_blocks, robustness_record, shifts


def on(result: Result, task: str) -> Result:
    """The same result, as if it were of another task."""
    record = result.record
    there = record.task.model_copy(update={"name": task, "domain": f"{task}s"})
    return Result(record.model_copy(update={"task": there}), result.tables)


@pytest.fixture(scope="module")
def ngram() -> Result:
    return evaluated("builtin:ngram")


def test_a_task_stands_beside_the_reference_of_its_own_encoder(ngram) -> None:
    half = on(changed(ngram, times(0.5), "builtin-ngram"), "news")
    moved = shifts([ngram, half], reference="mini")
    assert [s.kind for s in moved] == list(Kind)
    for shift in moved:
        assert (shift.task, shift.domain) == ("news", "newss")
        assert shift.change == pytest.approx(-0.5, abs=1e-6)
        assert shift.low < -0.5 < shift.high < 0
        assert shift.verdict == "lower"


def test_beside_a_baseline_the_same_queries_are_drawn_together(ngram) -> None:
    """All values a tenth higher: whatever is drawn, the gain is a tenth."""
    better = changed(ngram, times(1.1))
    for shift in shifts([ngram, better], baseline="builtin-ngram"):
        assert shift.change == pytest.approx(0.1, abs=1e-6)
        assert shift.low == pytest.approx(0.1, abs=1e-6)
        assert shift.verdict == "higher"


def test_a_change_that_chance_may_explain_is_unclear(ngram) -> None:
    moved = shifts([ngram, on(ngram, "news")], reference="mini")
    assert {s.verdict for s in moved} == {"unclear"}
    assert {s.change for s in moved} == {0}


def test_what_cannot_be_set_side_by_side_is_said(ngram) -> None:
    news, random = on(ngram, "news"), evaluated("builtin:random")
    with pytest.raises(UnknownNameError, match="newz"):
        shifts([ngram, news], reference="newz")
    with pytest.raises(UnknownNameError, match="builtin-ngrams"):
        shifts([ngram, random], baseline="builtin-ngrams")
    with pytest.raises(InputError, match=r"no result\b.*builtin-random.*\bmini\b"):
        shifts([ngram, on(random, "news")], reference="mini")
    with pytest.raises(InputError, match=r"no result\b.*builtin-ngram.*\bnews\b"):
        shifts([ngram, on(random, "news")], baseline="builtin-ngram")
    with pytest.raises(InputError, match=r"two results\b.*builtin-ngram.*\bmini\b"):
        shifts([ngram, ngram, news], reference="mini")
    other = random.record.task.model_copy(update={"digest": "sha256:" + "0" * 64})
    moved = Result(random.record.model_copy(update={"task": other}), random.tables)
    with pytest.raises(NotComparableError):
        shifts([ngram, moved], baseline="builtin-ngram")


def test_the_table_and_the_record_say_the_same(ngram) -> None:
    moved = shifts(
        [ngram, on(changed(ngram, times(0.5), "builtin-ngram"), "news|s")], reference="mini"
    )
    text = render(robustness_blocks(moved, "mini", "map"))
    assert "map beside mini" in text
    assert "-50.0%" in text
    assert "lower" in text
    assert "news\\|s" in render(robustness_blocks(moved, "mini", "map"), "markdown")
    record = robustness_record(moved, "mini", "map")
    assert record["beside"] == "mini"
    assert [s["verdict"] for s in record["shifts"]] == ["lower"] * 3


def test_a_picture_has_a_line_for_each_encoder_and_task(ngram) -> None:
    pytest.importorskip("matplotlib")
    from xlir_bench.reports.plots import draw_robustness

    moved = shifts(
        [ngram, on(changed(ngram, times(0.5), "builtin-ngram"), "news")], reference="mini"
    )
    figure = draw_robustness(moved, "mini", "map")
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    (label,) = labels
    assert re.fullmatch(r"builtin-ngram,.*\bnews\b.*\bpart\b.*", label)
    marks = [x for line in figure.axes[0].lines for x in np.atleast_1d(line.get_xdata())]
    assert any(mark == pytest.approx(0.5, abs=1e-5) for mark in marks)
    with pytest.raises(InputError, match="nothing to draw"):
        draw_robustness([], "mini", "map")

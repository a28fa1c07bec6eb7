"""Turns are taken, and percentiles are those of numpy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from xlir_bench.evaluation.cost import in_turns, latency


def test_every_run_has_its_turn_with_every_item_and_another_one_begins_each():
    calls: list[str] = []

    def run(name: str, item: int) -> int:
        calls.append(f"{name}{item}")
        return len(calls)

    done: list[int] = []
    runs = [partial(run, n) for n in "abc"]
    found = in_turns(runs, [7, 8], 2, lambda _count: done.append(len(calls)))
    assert calls == ["a7", "b7", "c7", "b8", "c8", "a8", "b7", "c7", "a7", "c8", "a8", "b8"]
    assert found == [[[1, 6], [9, 11]], [[2, 4], [7, 12]], [[3, 5], [8, 10]]]
    assert done == [6, 12]


def test_latency_tells_percentiles_of_all_rounds_and_the_medians_of_the_fastest_and_slowest():
    rng = np.random.default_rng(0)
    rounds = [rng.exponential(0.01, 40) * slower for slower in (1.0, 1.3, 0.8)]
    found = latency(rounds)
    everything = sorted(1000 * np.concatenate(rounds))
    assert found.p50 == pytest.approx((everything[59] + everything[60]) / 2)
    assert found.p95 == pytest.approx(np.quantile(everything, 0.95))
    assert found.p99 == pytest.approx(np.quantile(everything, 0.99))
    medians = [1000 * np.median(r) for r in rounds]
    assert found.rounds == pytest.approx(medians)

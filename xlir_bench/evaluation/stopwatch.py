"""Times that can be compared: what is timed takes turns, text by text and round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from xlir_bench.records import Floats
from xlir_bench.results.schema import LatencyPart

Item = TypeVar("Item")
Given = TypeVar("Given")


def in_turns(
    runs: Sequence[Callable[[Item], Given]],
    items: Sequence[Item],
    rounds: int,
    done: Callable[[], None] = lambda: None,
) -> list[list[list[Given]]]:
    """What each run gives for each item, by run and round; `done` is called after a round.

    Every run takes each item before the next item comes, and another run goes first each time: a machine that is slower
    for a while is slower for all of them.
    """
    given: list[list[list[Given]]] = [[[] for _ in range(rounds)] for _ in runs]
    for number in range(rounds):
        for place, item in enumerate(items):
            for step in range(len(runs)):
                turn = (number + place + step) % len(runs)
                given[turn][number].append(runs[turn](item))
        done()
    return given


def latency(rounds: Sequence[Floats]) -> LatencyPart:
    """Percentiles of the seconds of all rounds, and the median of each."""
    p50, p95, p99 = (float(v) for v in 1000 * np.percentile(np.concatenate(rounds), [50, 95, 99]))
    medians = [1000 * float(np.median(seconds)) for seconds in rounds]
    return LatencyPart(p50=p50, p95=p95, p99=p99, rounds=medians)

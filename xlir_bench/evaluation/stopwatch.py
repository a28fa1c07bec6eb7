"""Times that can be compared: turns are taken round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from xlir_bench.records import Floats
from xlir_bench.results.schema import LatencyPart

Found = TypeVar("Found")


def in_turns(
    runs: Sequence[Callable[[], Found]], rounds: int, done: Callable[[], None] = lambda: None
) -> list[list[Found]]:
    """What each run gave, round by round; in every round each has its turn, another one first.

    A machine that is slower for a while is so for all of them.
    """
    found: list[list[Found]] = [[] for _ in runs]
    for number in range(rounds):
        for step in range(len(runs)):
            turn = (number + step) % len(runs)
            found[turn].append(runs[turn]())
            done()
    return found


def latency(rounds: Sequence[Floats]) -> LatencyPart:
    """Percentiles of the seconds of all rounds, and how far apart the rounds lie."""
    p50, p95, p99 = (float(v) for v in 1000 * np.percentile(np.concatenate(rounds), [50, 95, 99]))
    medians = [1000 * float(np.median(seconds)) for seconds in rounds]
    return LatencyPart(p50=p50, p95=p95, p99=p99, low=min(medians), high=max(medians))

"""How often 95 % intervals contain the true value, with clusters as few and as uneven as in real data.

The clusters (articles) of a real result are taken for the whole population: its macro averages are the true
values. A simulated data set draws as many clusters with replacement, and each figure's interval contains the
true value or not. Figures: two encoders and their difference, by kind of setting.

    python -m tests.benchmarks.coverage                 mini, XQuAD-R and MLQA-R
    python -m tests.benchmarks.coverage A B             two stored results of one task
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from tests.benchmarks.targets import two_results
from xlir_bench.measures.bootstrap import ClusterSums, intervals
from xlir_bench.records import Kind
from xlir_bench.reports.pairing import pair
from xlir_bench.results import Result

SIMULATIONS = 4_000
OF_OTHERS = 500
"""Simulations of measures other than the first."""
RESAMPLES = 1_000
TARGETS = {"mini": (0.935, 0.965), "xquad-r": (0.94, 0.96), "mlqa-r": (0.94, 0.96)}


def figures(
    first: Result, second: Result, measures: Sequence[str]
) -> tuple[ClusterSums, dict[tuple[str, str, str], list[int]]]:
    """Sums of every setting for each encoder and their difference, and the columns of each figure."""
    parts, groups, start = [], {}, 0
    for measure in measures:
        pairing = pair(first.values(measure), second.values(measure))
        sides = {"A": pairing.first, "B": pairing.second, "B - A": pairing.change}
        for side, values in sides.items():
            parts.append(values.sums())
            for kind in Kind:
                if group := pairing.first.of_kinds([kind]):
                    groups[measure, kind.value, side] = [start + i for i in group]
            start += len(pairing.first.settings)
    sums, sizes = (np.hstack([getattr(part, name) for part in parts]) for name in ("sums", "sizes"))
    return ClusterSums(sums, sizes), groups


def covered(data: ClusterSums, groups: Sequence[Sequence[int]], simulations: int) -> np.ndarray:
    """For each group: how often its interval lay above the true value, contained it, and lay below it."""
    rng = np.random.default_rng(0)
    seen = np.flatnonzero(data.sizes.any(axis=1))
    means = data.sums.sum(axis=0) / np.maximum(data.sizes.sum(axis=0), 1)
    truth = np.array([means[list(group)].mean() for group in groups])
    found = np.zeros((3, len(groups)))
    for seed in range(simulations):
        drawn = rng.choice(seen, len(seen))
        sample = ClusterSums(data.sums[drawn], data.sizes[drawn])
        got = intervals(sample, groups, seed, resamples=RESAMPLES)
        low, high = (np.array([getattr(i, end) for i in got]) for end in ("low", "high"))
        found += [low > truth, (low <= truth) & (truth <= high), high < truth]
    return found / simulations


def report(first: Result, second: Result) -> None:
    """Print a row per figure; only the first measure has a target."""
    task, measures = first.record.task, first.record.options.measures
    print(
        f"{task.title}: {task.clusters} {task.cluster}s, A = {first.record.encoder.name},", end=""
    )
    print(f" B = {second.record.encoder.name}; misses: interval too high, too low")
    for chosen, simulations in ((measures[:1], SIMULATIONS), (measures[1:], OF_OTHERS)):
        began = time.perf_counter()
        data, groups = figures(first, second, chosen)
        over, held, under = covered(data, list(groups.values()), simulations)
        low, high = TARGETS[task.name] if chosen == measures[:1] else (0, 1)
        for i, (measure, kind, side) in enumerate(groups):
            word = "" if (low, high) == (0, 1) else "ok  " if low <= held[i] <= high else "MISS"
            print(
                f"  {word:4} {measure:<10} {kind:<14} {side:<6} {held[i]:.4f}"
                f"   {over[i]:.4f} {under[i]:.4f}"
            )
        error = (0.05 * 0.95 / simulations) ** 0.5
        print(
            f"  {simulations} simulations, +- {error:.4f} (one standard error);"
            f" {time.perf_counter() - began:.0f} s",
            flush=True,
        )


def main(named: list[str] | None = None) -> None:
    """Print the coverage."""
    if named:
        report(Result.load(named[0]), Result.load(named[1]))
        return
    for task in TARGETS:
        report(*two_results(task, "builtin:multilingual", "builtin:ngram"))


if __name__ == "__main__":
    main(sys.argv[1:])

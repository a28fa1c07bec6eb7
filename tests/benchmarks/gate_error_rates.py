"""How often the gate errs at its default policy, and what it finds, on ranks of real encoders.

False alarms are failures where no side is worse. Such sides are made in three ways:

- exchangeable: for each article, each side takes one of two encoders at random;
- flipped: for each article, the difference of the two encoders gets a random sign;
- skewed: the difference, minus its mean, is added to one encoder, and articles are drawn with replacement;
  in both directions, since a difference is skewed to one side.

True losses: one of two exchangeable sides loses a known amount of map, spread over a random half of its
questions. Beside the share of losses found stands the loss that the gate says it finds in 95 % of cases.

Trainings that differ only in the seed do differ in quality, so their rate has no target.

    python -m tests.benchmarks.gate_error_rates            mini and XQuAD-R, and six pairs of seeds
    python -m tests.benchmarks.gate_error_rates A B        two stored results
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np

from tests.benchmarks.targets import Measured, two_results
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.records import Kind
from xlir_bench.reports.gate import Finding, Outcome, gate, judge, overall
from xlir_bench.reports.pairing import Pairing, pair
from xlir_bench.reports.policy import default_policy
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

REPEATS = 1_000
DAMAGED = 100
DROPS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06)
POLICY = default_policy()
OTHER = """
from xlir_bench.encoders.builtin import NgramEncoder

class Other(NgramEncoder):
    name = "ngram of 2 to 5 characters"
    sizes = (2, 3, 4, 5)
"""
TRAINING = ["--train", "mini-train", "--steps", "100", "--batch-size", "64", "--lr", "0.05"]

Pair = Mapping[str, Pairing]
"""Two results, by measure."""
Rng = np.random.Generator


def of_results(first: Result, second: Result) -> Pair:
    """The two results, paired by each measure of the default policy."""
    measures = ("map", RANK_DISTANCE)
    return {m: pair(first.values(m), second.values(m)) for m in measures}


def exchangeable(both: Pair, rng: Rng) -> Pair:
    """Two sides, each with one of the two encoders at random for each article."""
    coins = rng.random((2, len(both["map"].first.clusters))) < 0.5
    return {m: Pairing(_side(p, coins[0]), _side(p, coins[1])) for m, p in both.items()}


def _side(p: Pairing, heads: np.ndarray) -> QueryValues:
    """The values of the first encoder in articles with heads, and of the second in all others."""
    value = np.where(heads[p.first.cluster], p.first.value, p.second.value)
    return replace(p.first, value=value)


def flipped(both: Pair, rng: Rng) -> Pair:
    """The two encoders, swapped in half of the articles."""
    heads = rng.random(len(both["map"].first.clusters)) < 0.5
    return {m: Pairing(_side(p, ~heads), _side(p, heads)) for m, p in both.items()}


def skewed(both: Pair, rng: Rng, sign: float = 1.0) -> Pair:
    """Articles drawn with replacement; the differences have mean 0 in each setting."""
    values = both["map"].first
    drawn = rng.choice(np.unique(values.cluster), len(values.clusters))
    found = {}
    for measure, p in both.items():
        first, change = p.first, p.change.value
        order = np.argsort(first.cluster, kind="stable")
        start = np.searchsorted(first.cluster[order], [drawn, drawn + 1])
        rows = [order[a:b] for a, b in start.T]
        cluster = np.repeat(np.arange(len(drawn)), [len(r) for r in rows])
        row = np.concatenate(rows)
        mean = np.bincount(first.setting, change, len(p.first.settings)) / np.maximum(
            np.bincount(first.setting, minlength=len(p.first.settings)), 1
        )
        change = sign * (change - mean[first.setting])
        side = replace(
            first,
            setting=first.setting[row],
            query=first.query[row],
            cluster=cluster,
            value=first.value[row],
        )
        found[measure] = Pairing(side, replace(side, value=(first.value + change)[row]))
    return found


NULLS: dict[str, Callable[[Pair, Rng], Pair]] = {
    "exchangeable": exchangeable,
    "flipped": flipped,
    "skewed": skewed,
    "skewed to the other side": lambda both, rng: skewed(both, rng, -1.0),
}


def false_alarms(both: Pair) -> None:
    """Print the share of failures for each way in which no side is worse."""
    for name, null in NULLS.items():
        rng = np.random.default_rng(0)
        found = Counter(overall(judge(null(both, rng), POLICY)[0]) for _ in range(REPEATS))
        rate = found[Outcome.FAIL] / REPEATS
        error = (rate * (1 - rate) / REPEATS) ** 0.5
        detail = f"+- {error:.3f} in {REPEATS}; passes {found[Outcome.PASS] / REPEATS:.2f}"
        Measured(f"false alarms, {name}", rate, "<= 0.06", detail).show()


def damaged(both: Pair, kind: Kind, lang: str | None, drop: float, rng: Rng) -> Pair:
    """The second side with exactly this much less map in a kind (or one query language of it)."""
    p = both["map"]
    value, hit = p.second.value.copy(), rng.random(len(p.second.query_ids)) < 0.5
    for i, setting in enumerate(p.first.settings):
        if setting.kind == kind and lang in (None, setting.query_lang):
            in_setting = p.second.setting == i
            chosen = in_setting & hit[p.second.query]
            # All that these questions score can be lost, and no more.
            value[chosen] *= max(0.0, 1 - drop * in_setting.sum() / value[chosen].sum())
    return {**both, "map": replace(p, second=replace(p.second, value=value))}


def found_in(both: Pair, kind: Kind, lang: str | None, drop: float) -> float:
    """The share of such losses that fail the gate."""
    rng = np.random.default_rng(1)
    failed = 0
    for _ in range(DAMAGED):
        worse = damaged(exchangeable(both, rng), kind, lang, drop, rng)
        failed += overall(judge(worse, POLICY)[0]) == Outcome.FAIL
    return failed / DAMAGED


def stated_loss(both: Pair, subject: str) -> float:
    """The loss that the gate says it finds in 95 % of cases: the median over exchangeable pairs."""
    rng = np.random.default_rng(2)

    def one(findings: Sequence[Finding]) -> float:
        mine = [f for f in findings if f.measure == "map" and f.subject == subject]
        return mine[0].visible or np.nan

    return float(np.median([one(judge(exchangeable(both, rng), POLICY)[0]) for _ in range(15)]))


def power(both: Pair) -> None:
    """The share of losses found, by where they are and how large."""
    places = [(Kind.MONOLINGUAL, None), (Kind.CROSS_LINGUAL, None), (Kind.MONOLINGUAL, "th")]
    print(
        "share of losses found"
        + " " * 25
        + "".join(f"{drop:>7}" for drop in DROPS)
        + "   as stated"
    )
    for kind, lang in places:
        subject = f"{kind.value}, query language {lang}" if lang else kind.value
        stated = stated_loss(both, subject)
        rates = [found_in(both, kind, lang, drop) for drop in (*DROPS, stated)]
        cells = "".join(f"{rate:>7.2f}" for rate in rates[:-1])
        print(f"  {subject:<44}{cells}   {stated:.4f}: {rates[-1]:.2f}", flush=True)


def seeds(count: int = 4) -> None:
    """Every pair of seeds of one training, both ways."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / str(seed)) for seed in range(count)]
        for seed, output in enumerate(outputs):
            command = ["-m", "xlir_bench", "train-hybrid", *TRAINING, "--no-eval"]
            command += ["--seed", str(seed), "--output", output]
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
        results = [evaluate("mini", output, RunOptions(cache=None)) for output in outputs]
    print("seeds of one training, mini: verdict, and what the test of cross-lingual map finds")
    for a, b in permutations(range(count), 2):
        found = gate(results[a], results[b], POLICY)
        cross = next(f for f in found.findings if f.subject == Kind.CROSS_LINGUAL)
        counts = ", ".join(f"{len(found.of(o))} {o.value}" for o in Outcome if found.of(o))
        print(f"  {b} against {a}: {found.outcome.value:<10} ({counts}); {cross.visible:.4f}")


def report(first: Result, second: Result) -> None:
    """Error rates and power of one pair of encoders."""
    began = time.perf_counter()
    for result in (first, second):
        scores = ", ".join(f"{kind} {result.score(kind):.4f}" for kind in result.summary)
        print(f"{result.record.encoder.name} on {result.record.task.title}: map {scores}")
    both = of_results(first, second)
    false_alarms(both)
    power(both)
    print(f"{time.perf_counter() - began:.0f} s", flush=True)


def main(named: list[str] | None = None) -> None:
    """Print the rates."""
    if named:
        report(Result.load(named[0]), Result.load(named[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "other.py"
        code.write_text(OTHER)
        for task in ("mini", "xquad-r"):
            for other in (f"py:{code}:Other", "builtin:multilingual"):
                report(*two_results(task, "builtin:ngram", other))
    seeds()


if __name__ == "__main__":
    main(sys.argv[1:])

"""How often the gate errs at its default policy, on the ranks of two encoders of about equal strength.

No change: the two encoders' values are swapped at random, a coin for each article; both sides are then
draws of the same thing, and a failure is a false alarm. A true drop: one of two such sides loses a known
amount of map, spread over half of its questions drawn at random; shown is the share of drops found.

    python -m tests.benchmarks.gate_error_rates            two n-gram encoders, evaluated on XQuAD-R
    python -m tests.benchmarks.gate_error_rates A B        two stored results
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.benchmarks.targets import Measured, data_root
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.records import Kind
from xlir_bench.reports.gate import judge
from xlir_bench.reports.pairing import RANK_DISTANCE, QueryValues, query_values
from xlir_bench.reports.policy import default_policy
from xlir_bench.reports.verdict import Outcome
from xlir_bench.results import Result

REPEATS = 400
DAMAGED = 40
DROPS = (0.002, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04)
OTHER = """
from xlir_bench.encoders.builtin import NgramEncoder

class Other(NgramEncoder):
    name = "ngram of 2 to 5 characters"
    sizes = (2, 3, 4, 5)
"""

Side = Mapping[str, QueryValues]


def two_results(named: list[str]) -> tuple[Result, Result]:
    """The results named, or those of two n-gram encoders."""
    if named:
        return Result.load(named[0]), Result.load(named[1])
    options = RunOptions(data=data_root(), measures=("map",))
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "other.py"
        code.write_text(OTHER)
        return (
            evaluate("xquad-r", "builtin:ngram", options),
            evaluate("xquad-r", f"py:{code}:Other", options),
        )


def swapped(first: Side, second: Side, rng: np.random.Generator) -> tuple[Side, Side]:
    """Both sides with the values of some articles, drawn at random, exchanged: translations together."""
    heads = rng.random(len(first["map"].clusters)) < 0.5
    sides: tuple[dict[str, QueryValues], dict[str, QueryValues]] = ({}, {})
    for measure, a in first.items():
        b, swap = second[measure], heads[a.cluster]
        sides[0][measure] = replace(a, value=np.where(swap, b.value, a.value))
        sides[1][measure] = replace(b, value=np.where(swap, a.value, b.value))
    return sides


def damaged(
    side: Side, kind: Kind, lang: str | None, drop: float, rng: np.random.Generator
) -> Side:
    """The side with exactly this much less map in a kind (or one query language of it)."""
    values = side["map"]
    wanted = [s.kind == kind and lang in (None, s.query_lang) for s in values.settings]
    hit = rng.random(len(values.query_ids)) < 0.5
    value = values.value.copy()
    for i in np.flatnonzero(wanted):
        mine = values.setting == i
        chosen = mine & hit[values.query]
        # All that these questions score can be lost, and no more.
        value[chosen] *= max(0.0, 1 - drop * mine.sum() / value[chosen].sum())
    return {**side, "map": replace(values, value=value)}


def verdict(first: Side, second: Side) -> Outcome:
    """What the default policy says."""
    findings, _ = judge(first, second, default_policy(), intervals=False)
    return max((f.outcome for f in findings), key=list(Outcome).index)


def false_alarms(first: Side, second: Side) -> Measured:
    """The share of failures where nothing changed."""
    rng = np.random.default_rng(0)
    found = [verdict(*swapped(first, second, rng)) for _ in range(REPEATS)]
    drift = np.mean([f == Outcome.DRIFT for f in found])
    rate = float(np.mean([f == Outcome.FAIL for f in found]))
    error = (rate * (1 - rate) / REPEATS) ** 0.5
    detail = (
        f"{REPEATS} repeats, +- {error:.3f}; drift, which passes with a warning, in {drift:.2f}"
    )
    return Measured("false alarms", rate, "<= 0.05", detail)


def power(first: Side, second: Side) -> None:
    """The share of drops found, by where they are and how large."""
    kinds = {
        "monolingual": (Kind.MONOLINGUAL, None),
        "cross-lingual": (Kind.CROSS_LINGUAL, None),
        "monolingual, Thai alone": (Kind.MONOLINGUAL, "th"),
    }
    print("share of drops found" + " " * 16 + "".join(f"{drop:>8}" for drop in DROPS))
    for name, (kind, lang) in kinds.items():
        rates = [_found(first, second, kind, lang, drop) for drop in DROPS]
        sure = [drop for drop, rate in zip(DROPS, rates, strict=True) if rate >= 0.95]
        smallest = f"   found in 95 %: {min(sure)}" if sure else "   found in 95 %: none of these"
        print(f"  {name:<34}" + "".join(f"{rate:>8.2f}" for rate in rates) + smallest, flush=True)


def _found(first: Side, second: Side, kind: Kind, lang: str | None, drop: float) -> float:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(DAMAGED):
        a, b = swapped(first, second, rng)
        found.append(verdict(a, damaged(b, kind, lang, drop, rng)) == Outcome.FAIL)
    return float(np.mean(found))


def main(named: list[str] | None = None) -> None:
    """Print the rates."""
    began = time.perf_counter()
    results = two_results(named or [])
    for result in results:
        scores = ", ".join(f"{kind} {result.score(kind):.4f}" for kind in result.summary)
        print(f"{result.record.encoder.name} on {result.record.task.title}: map {scores}")
    first, second = (
        {m: query_values(result, m) for m in ("map", RANK_DISTANCE)} for result in results
    )
    false_alarms(first, second).show()
    power(first, second)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])

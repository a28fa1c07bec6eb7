"""Exact search on a GPU and on the CPU: the ratio of their times, and whether both give the same bits."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median

import numpy as np

from tests.benchmarks.targets import Measured
from xlir_bench.encoders.devices import default_device
from xlir_bench.records import Collection, Passages, Queries, Relevance, Setting, Silent
from xlir_bench.retrieval import VectorIndex, Vectors, Want
from xlir_bench.retrieval.elsewhere import engine_for

PASSAGES, QUERIES, DIMENSION, DEPTH = 500_000, 1000, 384, 100
ROUNDS = 3


def main(device: str = "") -> None:
    """Print the ratio; the vectors are random and in memory."""
    device = device or default_device()
    if device == "cpu":
        print("skipped: torch finds no GPU here")
        return
    seconds: dict[str, list[float]] = {"cpu": [], device: []}
    found = {}
    large, small = asked(QUERIES, PASSAGES), asked(10, 1000)
    for _ in range(ROUNDS):
        for name in seconds:
            # Compiles the kernels and wakes the device before the clock starts.
            search(*small, name)
            began = time.perf_counter()
            found[name] = search(*large, name)
            seconds[name].append(time.perf_counter() - began)
    ours, theirs = (median(seconds[name]) for name in (device, "cpu"))
    same = all(map(np.array_equal, *found.values()))
    Measured(
        f"time on {device} / on the CPU", ours / theirs, "<= 0.5",
        f"{ours:.2f} s and {theirs:.2f} s for {QUERIES:,} queries and {PASSAGES:,} passages",
    ).show()  # fmt: skip
    Measured("ranks, best passages and scores are equal to the bit", float(same), ">= 1").show()


def search(index: VectorIndex, want: Want, device: str) -> list[np.ndarray]:
    """Counts before the relevant passages, and the best passages with their scores."""
    (partial,) = replace(index, engine=engine_for(device)).search([want], Silent())
    (best,) = partial.best.values()
    return [partial.before[False], best.positions, best.scores]


def asked(count: int, pool: int) -> tuple[VectorIndex, Want]:
    """Random vectors, and three relevant passages a query."""
    rng = np.random.default_rng(0)
    queries, passages = (
        rng.standard_normal((size, DIMENSION), dtype=np.float32) for size in (count, pool)
    )
    passage = np.sort(rng.integers(0, pool, (count, 3)), axis=1).ravel()
    judged = Relevance(np.repeat(np.arange(count), 3), passage, np.ones(len(passage), np.int64))
    names = tuple(map(str, range(count)))
    collection = Collection(
        queries={"en": Queries(names, names, names)},
        passages={"en": Passages(range(pool), range(pool))},  # type: ignore[arg-type]
        relevance={("en", "en"): judged},
        cluster="question",
        parallel=False,
        digests={},
    )
    index = VectorIndex.of(
        {("query", "en"): Vectors.of(queries), ("passage", "en"): Vectors.of(passages)}
    )
    return index, Want.of(collection, [Setting("en", ("en",))], pair_depth=DEPTH)

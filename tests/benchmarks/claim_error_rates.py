"""How often a claim of an experiment is called true where there is no effect, over articles and seeds.

Articles, seeds and their interaction are drawn anew for each table, with a mean of 0. The seeds' standard
deviation is given as a multiple of the standard error over articles; the largest rate for a number
of seeds has a target. For comparison, a last row averages the seeds of the same tables and tests articles alone.

    python -m tests.benchmarks.claim_error_rates            4,000 tables a cell
    python -m tests.benchmarks.claim_error_rates 1000
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import product

import numpy as np

from tests.benchmarks.targets import Measured
from xlir_bench.measures.significance import seed_test
from xlir_bench.records import Floats

TABLES = 4_000
RATIOS = (0, 1, 2, 4)
SEEDS, ARTICLES, INTERACTIONS = (2, 3, 5), (24, 48), (0.5, 1.5)
SHAPES = ("normal", "skewed")
SKEWNESS = 1.35
"""The largest skewness, over articles, of differences between trainings of `mini`. Any t-test errs more often if few
articles are more skewed: with 24 articles and a skewness of 2, in up to 7 % of tables."""


def drawn(rng: np.random.Generator, shape: str, size: tuple[int, int]) -> Floats:
    """Values of mean 0 and variance 1."""
    if shape == "normal":
        return rng.standard_normal(size)
    gamma = (2 / SKEWNESS) ** 2
    return (rng.gamma(gamma, size=size) - gamma) / gamma**0.5


def tables(
    seeds: int, articles: int, interaction: float, shape: str, ratio: float, count: int
) -> Iterator[Floats]:
    """Tables of differences without an effect."""
    rng = np.random.default_rng([seeds, articles, round(10 * interaction), len(shape), ratio])
    error = np.sqrt((1 + interaction**2 / seeds) / articles)
    for _ in range(count):
        of_articles = drawn(rng, shape, (1, articles))
        of_both = interaction * drawn(rng, shape, (seeds, articles))
        yield of_articles + of_both + ratio * error * rng.standard_normal((seeds, 1))


def error_rate(
    seeds: int, articles: int, interaction: float, shape: str, ratio: float, count: int
) -> float:
    """The share of tables in which either side is called at .05."""
    found = tables(seeds, articles, interaction, shape, ratio, count)
    return sum(seed_test(table).p < 0.05 for table in found) / count


def articles_alone(
    seeds: int, articles: int, interaction: float, ratio: float, count: int
) -> float:
    """The same share for a t-test that averages the seeds and takes only the articles as a sample."""
    from scipy.stats import ttest_1samp

    found = np.array(
        [t.mean(0) for t in tables(seeds, articles, interaction, "normal", ratio, count)]
    )
    return float((ttest_1samp(found, 0, axis=1).pvalue < 0.05).mean())


def main(count: int = TABLES) -> None:
    """Print the rates."""
    began = time.perf_counter()
    for seeds in SEEDS:
        print(f"{seeds} seeds: seed SD / article SE" + "".join(f"{r:>8}" for r in RATIOS))
        worst = [0.0] * len(RATIOS)
        for articles, interaction, shape in product(ARTICLES, INTERACTIONS, SHAPES):
            rates = [error_rate(seeds, articles, interaction, shape, r, count) for r in RATIOS]
            worst = [max(pair) for pair in zip(worst, rates, strict=True)]
            name = f"{articles} articles, {shape}, interaction {interaction}"
            print(f"  {name:<39}" + "".join(f"{rate:>8.3f}" for rate in rates), flush=True)
        alone = [articles_alone(seeds, 24, 0.5, r, count) for r in RATIOS]
        print(f"  {'articles alone tested':<39}" + "".join(f"{rate:>8.3f}" for rate in alone))
        error = (0.05 * 0.95 / count) ** 0.5
        detail = f"worst of all cells above; {count:,} tables a cell, +- {error:.4f}"
        Measured(f"false claims, {seeds} seeds", max(worst), "<= 0.06", detail).show()
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))

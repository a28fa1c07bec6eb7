"""A difference between two trainings, tested over articles and seeds at once.

Both are samples: other articles, or other seeds, would have given another difference. The table has a row a seed and a
column an article (whatever the task's clusters are); the mean of a row is the difference of that seed. The variance of
the whole mean has two random effects and their interaction,

    s2_A / A + s2_S / S - s2_AS / (A S),

where s2_A and s2_S are the variances of the columns' and of the rows' means, and s2_AS is the residual mean square. It
is never taken to be less than its first part, that of the articles alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xlir_bench.measures.bootstrap import student_quantile, student_tail
from xlir_bench.records import Floats, Ints

BOUND = 0.8
"""Degrees of freedom are counted with this upper bound of the seeds' mean square. Two or three seeds often
spread far less than they should; counted as they are, an effect of 0 is called one in 7 to 12 % of cases."""
MOST_SEEDS = 1000
"""The most seeds that are tried in a search for how many would be enough."""


@dataclass(frozen=True, slots=True)
class SeedTest:
    """A mean over articles and seeds, its 95 % interval and its p-values."""

    difference: float
    low: float | None
    high: float | None
    """No interval with one seed, or one article."""
    greater: float
    """One-sided p: small where the difference is above 0."""
    less: float
    """One-sided p: small where the difference is below 0."""
    spread: Spread | None

    @property
    def p(self) -> float:
        """Two-sided; not yet corrected for other tests."""
        return min(1.0, 2 * min(self.greater, self.less))


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean squares of a table of seeds and articles."""

    articles: float
    seeds: float
    rest: float
    shape: tuple[int, int]
    """How many seeds and articles."""

    @classmethod
    def of(cls, table: Floats) -> Spread:
        """Of a table with two seeds or more (rows) and two articles or more (columns)."""
        seeds, articles = table.shape
        mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
        rest = table - rows[:, None] - columns + mean
        return cls(
            articles=float(seeds * columns.var(ddof=1)),
            seeds=float(articles * rows.var(ddof=1)),
            rest=float((rest**2).sum() / ((seeds - 1) * (articles - 1))),
            shape=(seeds, articles),
        )

    @property
    def error(self) -> float:
        """The standard error of the whole mean."""
        seeds, articles = self.shape
        square = max(self.articles, self.articles + self.seeds - self.rest)
        return float(np.sqrt(square / (seeds * articles)))

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom, with an upper bound of what seeds contribute."""
        from scipy.special import chdtri

        seeds, articles = self.shape
        bound = self.seeds * (seeds - 1) / float(chdtri(seeds - 1, BOUND))
        if not self.articles + bound:
            return float(articles - 1)
        parts = self.articles**2 / (articles - 1) + bound**2 / (seeds - 1)
        return float((self.articles + bound) ** 2 / parts)

    def with_seeds(self, count: int) -> Spread:
        """What is to be expected of so many seeds, if they spread as these do."""
        seeds, articles = self.shape
        of_articles = max(0.0, (self.articles - self.rest) / seeds)
        of_seeds = max(0.0, (self.seeds - self.rest) / articles)
        return Spread(
            count * of_articles + self.rest,
            articles * of_seeds + self.rest,
            self.rest,
            (count, articles),
        )


def by_article(
    difference: Floats, expected: Floats, weight: Floats, cluster: Ints, shift: float = 0.0
) -> Floats:
    """The row of one seed, from one value a question: its mean is the macro average of the differences, plus `shift`.

    `weight` is a question's part of the macro average; `expected` the difference it would have if all questions of a
    setting were alike. An article's value is the macro average plus what its questions add to it or take from it: the
    sum of their weighted distances from `expected` (the average linearised).
    """
    _, place = np.unique(cluster, return_inverse=True)
    parts = np.bincount(place, weight * (difference - expected))
    row: Floats = len(parts) * parts + float(weight @ difference) + shift
    return row


def seed_test(table: Floats) -> SeedTest:
    """Whether the mean of a table (rows: seeds, columns: articles) differs from 0.

    >>> found = seed_test(np.array([[1.0, 2.0, 3.0, 2.0], [2.0, 3.0, 4.0, 3.0]]))
    >>> found.difference, round(found.p, 2)
    (2.5, 0.15)
    """
    mean = float(table.mean())
    if min(table.shape) < 2:
        return SeedTest(mean, None, None, 1.0, 1.0, None)
    spread = Spread.of(table)
    error, freedom = spread.error, spread.freedom
    # Sums in another order differ in their last bits: that is no variance.
    if error <= 1e-12 * max(abs(mean), float(np.abs(table).max())):
        return SeedTest(mean, mean, mean, float(mean <= 0), float(mean >= 0), spread)
    reach = student_quantile(0.975, freedom) * error
    t = mean / error
    return SeedTest(
        mean,
        mean - reach,
        mean + reach,
        student_tail(-t, freedom),
        student_tail(t, freedom),
        spread,
    )


def seeds_to_show(test: SeedTest, level: float) -> int | None:
    """How many seeds would show a difference of this size, if they spread as these do; None: no number would."""
    if test.spread is None:
        return None
    for count in range(test.spread.shape[0] + 1, MOST_SEEDS + 1):
        spread = test.spread.with_seeds(count)
        error = spread.error
        if not error or 2 * student_tail(-abs(test.difference) / error, spread.freedom) < level:
            return count
    return None

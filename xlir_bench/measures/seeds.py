"""A difference between two trainings, tested over articles and seeds at once.

Both are samples: another set of articles, or other seeds, would have given another difference. The table has
a row a seed and a column an article (whatever the task's clusters are); its rows' means are the differences
of the seeds. Two random effects and their interaction make up its variance,

    s2_A / A + s2_S / S - s2_AS / (A S),

where s2_A and s2_S are the variances of the columns' and of the rows' means, and s2_AS is the residual mean
square. It is never taken to be below its first part, that of the articles alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xlir_bench.records import Floats, Ints

BOUND = 0.8
"""Degrees of freedom are counted with this upper bound of the seeds' mean square. Two or three seeds often
spread far less than they should; counted as they are, an effect of 0 is called one in 7 to 12 % of cases."""
MOST_SEEDS = 1000
"""More than these are not asked for."""


@dataclass(frozen=True, slots=True)
class SeedTest:
    """A mean over articles and seeds, its 95 % interval and how likely chance alone gives as much."""

    difference: float
    low: float | None
    high: float | None
    """No interval with one seed, or one article."""
    greater: float
    """One-sided p: small where the difference is above 0."""
    less: float
    """The same for below 0."""
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
    """The row of one seed: its mean is the macro average of the differences, plus `shift`.

    All are one value a question. `weight` is its part of the macro average; `expected` the difference that
    it would have if all questions of a setting were alike. What an article adds to the average or takes from
    it is the sum of its questions' weighted distances from that: the average linearised.
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
    from scipy.special import stdtr, stdtrit

    mean = float(table.mean())
    if min(table.shape) < 2:
        return SeedTest(mean, None, None, 1.0, 1.0, None)
    spread = Spread.of(table)
    error, freedom = spread.error, spread.freedom
    # Sums in another order differ in their last bits: that is no variance.
    if error <= 1e-12 * max(abs(mean), float(np.abs(table).max())):
        return SeedTest(mean, mean, mean, float(mean <= 0), float(mean >= 0), spread)
    reach = float(stdtrit(freedom, 0.975)) * error
    t = mean / error
    greater, less = float(stdtr(freedom, -t)), float(stdtr(freedom, t))
    return SeedTest(mean, mean - reach, mean + reach, greater, less, spread)


def seeds_to_show(test: SeedTest, level: float) -> int | None:
    """How many seeds would show a difference of this size, if all stays as it is; None: no number would."""
    from scipy.special import stdtr

    if test.spread is None:
        return None
    for count in range(test.spread.shape[0] + 1, MOST_SEEDS + 1):
        spread = test.spread.with_seeds(count)
        error = spread.error
        if not error or 2 * stdtr(spread.freedom, -abs(test.difference) / error) < level:
            return count
    return None

from __future__ import annotations

import numpy as np
import pytest

from xlir_bench.measures.bias import expected_range
from xlir_bench.measures.retrieval import expected_map

DRAWS = 20_000


def random_ranks(candidates: int, relevant: int) -> np.ndarray:
    """Sorted ranks of the relevant passages in rankings drawn at random, one row a draw."""
    rng = np.random.default_rng(candidates * 100 + relevant)
    return np.sort(rng.random((DRAWS, candidates)).argsort(axis=1)[:, :relevant] + 1, axis=1)


def within_noise(expected: float, drawn: np.ndarray) -> bool:
    return bool(abs(expected - drawn.mean()) <= 4 * drawn.std() / np.sqrt(len(drawn)) + 1e-12)


@pytest.mark.parametrize("candidates", [3, 10, 57])
@pytest.mark.parametrize("relevant", [1, 2, 3])
def test_chance_levels_are_the_means_of_random_rankings(candidates: int, relevant: int) -> None:
    ranks = random_ranks(candidates, relevant)
    found = (np.arange(1, relevant + 1) / ranks).mean(axis=1)
    counts = np.array([relevant])
    assert within_noise(expected_map(candidates, counts)[0], found)
    assert within_noise(expected_range(candidates, counts)[0], ranks[:, -1] - ranks[:, 0])


@pytest.mark.parametrize("candidates", [1, 2, 9])
def test_where_everything_is_relevant_every_ranking_is_perfect(candidates: int) -> None:
    np.testing.assert_allclose(expected_map(candidates, np.array([candidates])), 1)
    np.testing.assert_allclose(expected_range(candidates, np.array([candidates])), candidates - 1)


def test_queries_with_different_numbers_of_answers_each_have_their_own_level() -> None:
    together = expected_map(40, np.array([1, 5, 2]))
    assert together.tolist() == [expected_map(40, np.array([n]))[0] for n in (1, 5, 2)]


def test_the_range_of_xquad_r_is_the_one_of_the_documentation() -> None:
    assert round(float(expected_range(13_014, np.array([11]))[0])) == 10_846

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xlir_bench.train.cycles import Lane, Rounds, Share, shuffled


@given(st.integers(1, 5000), st.integers(0, 2**31))
@settings(deadline=None)
def test_a_shuffle_is_a_permutation_and_its_seed_names_it(size: int, seed: int) -> None:
    places = shuffled(np.arange(size), size, seed)
    assert sorted(places.tolist()) == list(range(size))
    some = np.arange(0, size, 3)
    assert shuffled(some, size, seed).tolist() == places[some].tolist()


def test_shuffles_of_different_seeds_differ_and_leave_no_order() -> None:
    one, two = (shuffled(np.arange(10_000), 10_000, seed) for seed in (1, 2))
    assert np.mean(one == two) < 0.001
    assert abs(np.corrcoef(one, np.arange(10_000))[0, 1]) < 0.05
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.05


def test_ten_million_rows_are_shuffled_without_a_table() -> None:
    places = shuffled(np.arange(9_999_000, 10_000_000), 10_000_000, 0)
    assert len(set(places.tolist())) == 1000
    assert places.max() < 10_000_000


@given(st.integers(2, 300), st.integers(0, 99), st.integers(1, 4))
@settings(deadline=None)
def test_a_lane_gives_each_eligible_row_once_a_round(size: int, seed: int, step: int) -> None:
    eligible = range(0, size, step)
    lane = Lane(Rounds((Share(0, size, size),)), lambda rows: rows % step == 0, len(eligible), seed)
    rounds = [lane.take(len(eligible)) for _ in range(3)]
    assert all(sorted(found) == list(eligible) for found in rounds)


def test_weights_say_how_often_the_rows_of_a_source_come_in_a_round() -> None:
    rounds = Rounds((Share(0, 10, 25), Share(10, 100, 50)))
    lane = Lane(rounds, lambda rows: rows >= 0, 110, seed=3)
    first = Counter(lane.take(75))
    second = Counter(lane.take(75))
    assert sum(count for row, count in first.items() if row < 10) == 25
    assert {count for row, count in first.items() if row < 10} == {2, 3}
    assert {count for row, count in first.items() if row >= 10} == {1}
    assert all((first + second)[row] for row in range(110)), "every row is met in the end"

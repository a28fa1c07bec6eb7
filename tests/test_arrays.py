from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xlir_bench.arrays import Shared, equal_pairs, groups

numbers = st.lists(st.integers(0, 5), max_size=12)


@given(numbers, numbers)
def test_every_pair_of_equal_numbers_is_found_in_order(first, second) -> None:
    found = equal_pairs(np.array(first, int), np.array(second, int))
    wanted = [(i, j) for i, a in enumerate(first) for j, b in enumerate(second) if a == b]
    assert list(zip(*(side.tolist() for side in found), strict=True)) == wanted


@given(numbers, st.booleans())
def test_groups_are_those_of_numpy_whether_sorted_or_not(found, is_sorted) -> None:
    some = np.array(sorted(found) if is_sorted else found, np.int32)
    wanted = np.unique(some, return_inverse=True, return_counts=True)
    assert [x.tolist() for x in groups(some)] == [x.tolist() for x in wanted]


def test_equal_arrays_are_held_once_and_those_of_another_type_apart() -> None:
    shared = Shared()
    first = shared.of(np.array([1, 2]))
    assert shared.of(np.array([1, 2])) is first
    assert shared.of(np.array([1, 2], np.int32)).dtype == np.int32
    assert shared.of(np.array([2, 1])).tolist() == [2, 1]

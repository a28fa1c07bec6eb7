from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xlir_bench.arrays import equal_pairs

numbers = st.lists(st.integers(0, 5), max_size=12)


@given(numbers, numbers)
def test_every_pair_of_equal_numbers_is_found_in_order(first, second) -> None:
    found = equal_pairs(np.array(first, int), np.array(second, int))
    wanted = [(i, j) for i, a in enumerate(first) for j, b in enumerate(second) if a == b]
    assert list(zip(*(side.tolist() for side in found), strict=True)) == wanted

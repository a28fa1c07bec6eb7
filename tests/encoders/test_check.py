from __future__ import annotations

import numpy as np
import pytest

from xlir_bench.encoders import checked
from xlir_bench.errors import BadVectorsError

TEXTS = ["first", "a second text that is so long " + "x" * 100, "third"]


def test_good_vectors_come_back_as_contiguous_float32() -> None:
    vectors = checked(np.asfortranarray(np.ones((3, 4), np.float64)), TEXTS, 4)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous


def test_nested_lists_and_tensors_are_vectors_too() -> None:
    import torch

    assert checked([[1, 2], [3, 4], [5, 6]], TEXTS).shape == (3, 2)
    assert checked(torch.ones(3, 2, dtype=torch.bfloat16, requires_grad=True), TEXTS).sum() == 6


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (1e300, "infinite")])
def test_the_first_text_with_a_bad_number_is_named_in_60_characters(bad: float, word: str) -> None:
    vectors = np.ones((3, 4))
    vectors[1:, 2] = bad
    with pytest.raises(BadVectorsError, match=word) as caught:
        checked(vectors, TEXTS)
    assert "'a second text that is so long " in str(caught.value)
    assert "2 of 3 texts" in str(caught.value)
    assert "x" * 40 not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 4), (3,), (3, 4, 1), (3, 0)])
def test_a_wrong_shape_is_an_error_that_names_the_first_text(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadVectorsError, match="'first'"):
        checked(np.ones(shape), TEXTS)


def test_a_wrong_dimension_names_both_numbers() -> None:
    with pytest.raises(BadVectorsError, match=r"4 numbers.*5 numbers"):
        checked(np.ones((3, 4)), TEXTS, 5)


def test_what_is_not_numbers_is_an_error() -> None:
    with pytest.raises(BadVectorsError, match="not numbers"):
        checked([[1, 2], [3]], ["a", "b"])


def test_no_texts_have_no_vectors() -> None:
    assert checked(np.zeros(0), [], 4).shape == (0, 4)


def test_an_error_of_vectors_exits_with_4() -> None:
    assert BadVectorsError.exit_code == 4

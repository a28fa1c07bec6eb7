"""How numbers are written."""

from __future__ import annotations

import pytest

from xlir_bench.rendering.numbers import big, bounds, number, signed


@pytest.mark.parametrize(
    ("value", "distance", "text"),
    [
        (0.0123, False, "+.0123"),
        (-0.0123, False, "-.0123"),
        (-0.00006, False, "-.0001"),
        (-1e-9, False, ".0000"),
        (1e-9, False, ".0000"),
        (0.0, False, ".0000"),
        (-1.0, False, "-1.0000"),
        (-0.04, True, "0.0"),
        (0.06, True, "+0.1"),
        (-10.0, True, "-10.0"),
        (1000.0, True, "+1,000"),
    ],
)
def test_a_change_has_a_sign_where_it_does_not_round_to_nothing(
    value: float, distance: bool, text: str
) -> None:
    assert signed(value, big if distance else number) == text


def test_the_bounds_of_a_change_have_signs_as_it_has() -> None:
    assert bounds(-1e-9, 0.002) == ".0000 to +.0020"
    assert bounds(None, None) == "-"


@pytest.mark.parametrize(
    ("value", "text"), [(-1e-9, ".0000"), (-0.5, "-.5000"), (1.0, "1.0000"), (None, "-")]
)
def test_a_score_of_nothing_has_no_sign(value: float | None, text: str) -> None:
    assert number(value) == text

"""Which variants nobody beats: on points made by hand, ties among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlir_bench.evaluation.cost import unbeaten

Offer = tuple[float, tuple[float, ...]]
"""Quality, and its cost in each round."""


def marks(*offers: Offer) -> list[bool]:
    return unbeaten([quality for quality, _ in offers], [costs for _, costs in offers])


def exact(quality: float, cost: float) -> Offer:
    return quality, (cost,)


def beats(one: Offer, other: Offer) -> bool:
    cheaper, dearer = (
        all(x < y for x, y in zip(*pair, strict=True))
        for pair in ((one[1], other[1]), (other[1], one[1]))
    )
    return one[0] >= other[0] and not dearer and (one[0] > other[0] or cheaper)


def test_a_better_one_that_costs_less_beats():
    assert marks(exact(0.5, 10), exact(0.4, 20)) == [True, False]


def test_what_is_worse_but_costs_less_stays():
    assert marks(exact(0.5, 10), exact(0.4, 5), exact(0.3, 1)) == [True] * 3


@pytest.mark.parametrize(
    ("one", "other"), [((0.5, 10), (0.5, 11)), ((0.5, 10), (0.4, 10))], ids=["dearer", "worse"]
)
def test_being_equal_in_one_and_worse_in_the_other_is_being_beaten(one, other):
    assert marks(exact(*one), exact(*other)) == [True, False]


def test_twins_are_both_unbeaten():
    assert marks(exact(0.5, 10), exact(0.5, 10), exact(0.4, 10)) == [True, True, False]


def test_what_is_cheaper_in_some_rounds_alone_costs_the_same():
    good, bad = (0.5, (1.0, 1.2, 1.1)), (0.4, (0.9, 1.3, 1.0))
    assert marks(good, bad) == [True, False]
    assert marks(good, (0.5, (0.9, 1.3, 1.0))) == [True, True]


def test_what_is_cheaper_in_every_round_is_cheaper_however_busy_the_machine_was():
    good, fast = (0.5, (1.0, 9.0, 2.0)), (0.4, (0.9, 8.0, 1.9))
    assert marks(good, fast) == [True, True]
    assert marks(good, (0.5, fast[1])) == [False, True]


def test_a_chain_of_equals_hides_nobody_who_is_clearly_cheaper_than_the_best():
    chain = [(0.5, (3.0, 4.0)), (0.4, (2.0, 4.1)), (0.3, (2.1, 3.0))]
    assert beats(chain[0], chain[1])
    assert beats(chain[1], chain[2])
    assert marks(*chain) == [True, False, True]


def test_one_alone_is_unbeaten_and_nothing_is_nothing():
    assert marks(exact(0.0, 0)) == [True]
    assert marks() == []


OFFERS = st.lists(st.tuples(st.integers(0, 4), st.tuples(*[st.integers(0, 4)] * 3)), max_size=8)


@given(OFFERS)
def test_no_unbeaten_one_beats_another_and_each_beaten_one_is_beaten_by_one_of_them(offers):
    kept = marks(*offers)
    best = [o for o, mark in zip(offers, kept, strict=True) if mark]
    assert not any(beats(one, other) for one in best for other in best)
    for offer, mark in zip(offers, kept, strict=True):
        assert mark or any(beats(one, offer) for one in best)

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xlir_bench.retrieval.encoding import MAX_BATCH_TEXTS, plan_batches, token_counts

lengths_of = st.lists(st.integers(0, 600), max_size=300)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(lengths=lengths_of, budget=st.integers(1, 5000))
def test_every_text_is_in_exactly_one_batch_within_the_budget(lengths, budget) -> None:
    batches = plan_batches(np.array(lengths, np.int64), budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(1, *(lengths[row] for row in batch))
        assert len(batch) * longest <= budget or len(batch) == 1
        assert len(batch) <= MAX_BATCH_TEXTS


@settings(max_examples=50, deadline=None, derandomize=True)
@given(lengths=lengths_of, budget=st.integers(1, 5000))
def test_the_longest_texts_come_first_and_a_batch_is_as_large_as_it_may_be(lengths, budget) -> None:
    batches = plan_batches(np.array(lengths, np.int64), budget)
    order = [row for batch in batches for row in batch]
    assert order == sorted(range(len(lengths)), key=lambda row: -lengths[row])
    for batch in batches[:-1]:
        longest = max(1, lengths[batch[0]])
        assert (len(batch) + 1) * longest > budget or len(batch) == MAX_BATCH_TEXTS


def test_a_text_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    batches = plan_batches(np.array([10, 900, 5, 800]), 500)
    assert [batch.tolist() for batch in batches] == [[1], [3], [0, 2]]


def test_very_short_texts_do_not_make_endless_batches() -> None:
    batches = plan_batches(np.ones(2000, np.int64), 10**9)
    assert [len(batch) for batch in batches] == [512, 512, 512, 464]


def test_no_texts_make_no_batch() -> None:
    assert plan_batches(np.empty(0, np.int64), 4096) == []


def test_lengths_are_guessed_from_characters_and_never_zero() -> None:
    counts = token_counts(object(), ["", "abc", "a" * 30], "query")
    assert (counts.tokens.tolist(), counts.unknown.tolist()) == ([2, 3, 12], [0, 0, 0])

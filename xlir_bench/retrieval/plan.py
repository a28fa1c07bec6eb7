"""Which texts share a batch: sorted by length, longest first, under a budget of padded tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xlir_bench.records import Ints

MAX_BATCH_TEXTS = 512


def plan_batches(lengths: Ints, budget: int) -> list[Ints]:
    """Batches of row numbers; within each, count times the longest is at most `budget`.

    Depends on the lengths alone, so the same list of texts is always encoded in the same company: a
    vector changes in its last bits with its batch. A text longer than the budget is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[Ints] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = min(MAX_BATCH_TEXTS, max(1, budget // longest))
        batches.append(order[start : start + size])
        start += size
    return batches


def guessed_lengths(texts: Sequence[str]) -> Ints:
    """Rough token counts for an encoder without a tokenizer: a token is about three characters."""
    return np.array([len(text) // 3 + 2 for text in texts], np.int64)

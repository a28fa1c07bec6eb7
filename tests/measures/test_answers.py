from __future__ import annotations

import numpy as np
import pytest

from xlir_bench.measures.retrieval import score_answers, token_budget, tokens_of
from xlir_bench.records import Ranking, Setting

NONE = np.empty(0, np.int64)
TEXTS = ["The city, founded in 1850.", "x " * 1990, "It is called Portland (Oregon).", "end"]


def ranking(*tops: list[int]) -> Ranking:
    """The best passages of queries, of which no passage was judged."""
    setting = Setting("fi", ("en",))
    rows = np.arange(len(tops))
    return Ranking(setting, len(TEXTS), NONE, NONE, NONE, NONE, np.array(tops), rows)


@pytest.mark.parametrize(
    ("measure", "budget"),
    [
        ("recall@2kt", 2000),
        ("recall@5kt", 5000),
        ("recall@10", None),
        ("map@2kt", None),
        ("recall@0kt", None),
    ],
)
def test_a_budget_is_told_by_the_measures_name(measure: str, budget: int | None) -> None:
    assert token_budget(measure) == budget


def test_an_answer_counts_if_it_stands_within_the_first_tokens_of_what_was_ranked() -> None:
    answers = [("Portland",), ("Portland",)]
    found = score_answers(
        ranking([2, 1, 0, 3], [0, 1, 2, 3]), answers, tokens_of(TEXTS), ["recall@2kt", "recall@5kt"]
    )
    # Behind 7 and 1,990 tokens and "It is called" it would be the 2,001st.
    assert found.values["recall@2kt"].tolist() == [1, 0]
    assert found.values["recall@5kt"].tolist() == [1, 1]


def test_any_of_several_answers_will_do_and_it_is_looked_for_in_the_joined_tokens() -> None:
    answers = [("Salem", "Portland ( Oregon )"), ("Portland (Oregon)",), ("PORTLAND",)]
    found = score_answers(
        ranking([2, 0, 1, 3], [2, 0, 1, 3], [2, 0, 1, 3]), answers, tokens_of(TEXTS), ["recall@2kt"]
    )
    assert found.values["recall@2kt"].tolist() == [1, 0, 0]


def test_an_answer_may_begin_in_one_passage_and_end_in_the_next() -> None:
    texts = ["so he went to New", "York at last"]
    found = score_answers(ranking([0, 1]), [("New York",)], tokens_of(texts), ["recall@2kt"])
    assert found.values["recall@2kt"].tolist() == [1]


def test_places_that_hold_no_passage_are_passed_over() -> None:
    found = score_answers(ranking([3, -1, -1]), [("end",)], tokens_of(TEXTS), ["recall@2kt"])
    assert found.values["recall@2kt"].tolist() == [1]


def test_tokens_are_taken_up_to_the_budget_and_no_passage_is_cut_in_vain() -> None:
    asked: list[int] = []

    def told(position: int) -> list[str]:
        asked.append(position)
        return TEXTS[position].split()

    score_answers(ranking([0, 1, 2]), [("end",)], told, ["recall@1kt"])
    assert asked == [0, 1]

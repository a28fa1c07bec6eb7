from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train.rowfiles import row, stored

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.options.stating import check_bounds
from xlir_bench.options.training import BatchOptions, Strategy
from xlir_bench.train.batches import Batch, Planner, Share, endless_order, kinds_of, shuffled
from xlir_bench.train.row_store import ANSWER, QUESTION, RowStore

LANGS = ("aa", "bb", "cc")
TEXTS = st.dictionaries(st.sampled_from(LANGS), st.sampled_from("uvwxyz"), min_size=1)
DISTINCT = [row(n, "aa bb cc") for n in range(8)]
STATED = st.fixed_dictionaries(
    {"question": TEXTS, "answer": TEXTS}, optional={"id": st.sampled_from(["r", "s"])}
)
OPTIONS = st.builds(
    BatchOptions,
    strategy=st.sampled_from(Strategy),
    batch_size=st.integers(2, 12),
    alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    language_sampling=st.sampled_from(["uniform", "proportional"]),
    pairs_per_batch=st.sampled_from(["one", "many"]),
    seed=st.integers(0, 5),
    whole_answers=st.booleans(),
)


def plan(store: RowStore, options: BatchOptions, steps: int = 12) -> list[Batch]:
    return list(Planner(store, options).batches(steps))


@given(st.lists(STATED, max_size=12), OPTIONS)
@settings(max_examples=120, deadline=None)
def test_no_batch_holds_a_false_negative_nor_a_text_that_is_not_there(
    odd: list[dict[str, Any]], options: BatchOptions
) -> None:
    store = stored(DISTINCT + odd)
    for batch in plan(store, options):
        questions = store.keys[batch.rows, QUESTION, batch.question]
        answers = store.keys[batch.rows, ANSWER, batch.answer]
        assert questions.all()
        assert answers.all()
        assert 2 <= len(batch.rows) <= options.batch_size
        assert len(set(store.ids[batch.rows].tolist())) == len(batch.rows)
        mine = [{int(q), int(a)} for q, a in zip(questions, answers, strict=True)]
        if options.whole_answers:
            whole = store.keys[batch.rows, ANSWER]
            mine = [m | (set(w.tolist()) - {0}) for m, w in zip(mine, whole, strict=True)]
        assert sum(map(len, mine)) == len(set().union(*mine)), "texts of two rows are equal"
        same = batch.question == batch.answer
        if batch.kind == "monolingual":
            assert len(set(batch.question.tolist())) == 1
        assert same.all() if batch.kind != "cross-lingual" else not same.any()
        assert batch.kind == "cross-lingual" or (questions != answers).all()


@given(OPTIONS)
@settings(max_examples=40, deadline=None)
def test_the_same_seed_plans_the_same_batches_and_another_others(options: BatchOptions) -> None:
    store = stored([row(n, "aa bb cc") for n in range(40)])
    said = [
        (b.kind, b.rows.tolist(), b.question.tolist(), b.answer.tolist())
        for b in plan(store, options)
    ]
    again = [
        (b.kind, b.rows.tolist(), b.question.tolist(), b.answer.tolist())
        for b in plan(store, options)
    ]
    other = plan(store, replace(options, seed=options.seed + 1))
    assert said == again
    assert said != [
        (b.kind, b.rows.tolist(), b.question.tolist(), b.answer.tolist()) for b in other
    ]


@given(
    st.integers(1, 400),
    st.floats(0, 1, allow_nan=False),
    st.none() | st.floats(0, 1, allow_nan=False),
)
def test_the_share_of_monolingual_batches_is_exact(
    steps: int, alpha: float, end: float | None
) -> None:
    kinds = kinds_of(BatchOptions(alpha=alpha, alpha_end=end), steps)
    wanted = np.linspace(alpha, alpha if end is None else end, steps).sum()
    assert abs(kinds.count("monolingual") - wanted) <= 0.5 + 1e-5
    for stop in range(1, steps + 1):
        so_far = np.linspace(alpha, alpha if end is None else end, steps)[:stop].sum()
        assert abs(kinds[:stop].count("monolingual") - so_far) <= 0.5 + 1e-5


def test_half_and_half_alternates_and_the_share_can_move() -> None:
    assert Counter(kinds_of(BatchOptions(alpha=0.5), 1000))["monolingual"] == 500
    moving = kinds_of(BatchOptions(alpha=1.0, alpha_end=0.0), 1000)
    assert moving[:100].count("monolingual") > 90
    assert moving[-100:].count("monolingual") < 10
    assert moving.count("monolingual") == 500


@pytest.mark.parametrize("strategy", [Strategy.MONOLINGUAL, Strategy.MIXED, Strategy.CROSS_LINGUAL])
def test_every_row_is_met_in_every_language(strategy: Strategy) -> None:
    store = stored([row(n, "aa bb cc") for n in range(50)])
    planner = Planner(store, BatchOptions(strategy=strategy, batch_size=10))
    assert planner.epoch == 5
    met = Counter(
        (r, q)
        for batch in planner.batches(15 * planner.epoch)
        for r, q in zip(batch.rows.tolist(), batch.question.tolist(), strict=True)
    )
    assert len(met) == 150
    by_lang = {lang: [met[r, lang] for r in range(50)] for lang in range(3)}
    assert all(max(counts) - min(counts) <= 2 for counts in by_lang.values())


def test_an_epoch_is_the_rows_by_the_batch_size_rounded_up() -> None:
    store = stored([row(n) for n in range(21)])
    assert Planner(store, BatchOptions(batch_size=10)).epoch == 3
    assert (
        Planner(stored([row(n) for n in range(21)], weight=2.0), BatchOptions(batch_size=10)).epoch
        == 5
    )


def test_languages_are_drawn_evenly_or_by_their_rows() -> None:
    store = stored([row(n, "aa bb" if n < 20 else "aa") for n in range(100)])
    options = BatchOptions(strategy=Strategy.MONOLINGUAL, batch_size=5)
    even = Counter(int(b.question[0]) for b in plan(store, options, 1000))
    proportional = replace(options, language_sampling="proportional")
    by_rows = Counter(int(b.question[0]) for b in plan(store, proportional, 1000))
    assert 0.45 < even[0] / 1000 < 0.55
    assert 0.79 < by_rows[0] / 1000 < 0.87  # 100 rows against 20


def test_a_cross_lingual_batch_holds_one_pair_or_many() -> None:
    store = stored([row(n, "aa bb cc") for n in range(200)])
    options = BatchOptions(strategy=Strategy.CROSS_LINGUAL, batch_size=60)

    def pairs(batch: Batch) -> set[tuple[int, int]]:
        return set(zip(batch.question.tolist(), batch.answer.tolist(), strict=True))

    assert all(len(pairs(b)) == 6 for b in plan(store, options))
    one = plan(store, replace(options, pairs_per_batch="one"), 60)
    assert all(len(pairs(b)) == 1 for b in one)
    assert len(set().union(*map(pairs, one))) == 6


def test_a_mixed_batch_holds_many_languages_each_within_itself() -> None:
    store = stored([row(n, "aa bb cc") for n in range(200)])
    for batch in plan(store, BatchOptions(strategy=Strategy.MIXED, batch_size=60)):
        assert len(set(batch.question.tolist())) == 3
        assert (batch.question == batch.answer).all()


def test_fewer_rows_than_a_batch_make_smaller_batches_that_hold_each_once() -> None:
    store = stored([row(n, "aa bb") for n in range(7)])
    for strategy in Strategy:
        for batch in plan(store, BatchOptions(strategy=strategy, batch_size=100), 30):
            assert len(batch.rows) == 7
            assert len(set(batch.rows.tolist())) == 7


def test_a_text_that_half_of_the_rows_share_comes_once_a_batch_and_all_rows_are_met() -> None:
    rows = [
        row(n, "aa", question={"aa": "again"} if n % 2 else {"aa": f"q {n}"}) for n in range(60)
    ]
    store = stored(rows)
    options = BatchOptions(strategy=Strategy.MONOLINGUAL, batch_size=10)
    batches = plan(store, options, 60)
    assert all(np.count_nonzero(batch.rows % 2) <= 1 for batch in batches)
    assert len({r for batch in batches for r in batch.rows.tolist()}) == 60


def test_a_source_can_be_for_one_kind_of_batch() -> None:
    store = stored([row(n) for n in range(20)], use="cross-lingual")
    assert {b.kind for b in plan(store, BatchOptions(strategy=Strategy.CROSS_LINGUAL))} == {
        "cross-lingual"
    }
    with pytest.raises(InputError, match=r"hybrid .*two .*different answer"):
        Planner(store, BatchOptions())


def test_what_the_rows_do_not_carry_is_refused_by_name() -> None:
    one = stored([row(n, "aa") for n in range(9)])
    with pytest.raises(InputError, match=r"hybrid .*different languages.*\baa$"):
        Planner(one, BatchOptions())
    assert {batch.kind for batch in plan(one, BatchOptions(alpha=1.0))} == {"monolingual"}
    same = stored([row(n, "aa", answer={"aa": f"question {n} in aa"}) for n in range(9)])
    with pytest.raises(InputError, match=r"monolingual .*different answer .*\baa$"):
        Planner(same, BatchOptions(strategy=Strategy.MONOLINGUAL))
    few = stored([*(row(n, "aa") for n in range(9)), row(9, "bb")])
    with pytest.raises(InputError, match=r"monolingual: .*two rows .*\bbb;.*--langs"):
        Planner(few, BatchOptions(strategy=Strategy.MONOLINGUAL, langs=("aa", "bb")))
    with pytest.raises(UnknownNameError, match="'zz'"):
        Planner(few, BatchOptions(langs=("zz",)))
    alike = stored([row(n, "aa", question={"aa": "x"}) for n in range(9)])
    with pytest.raises(InputError, match=r"monolingual .*too few"):
        plan(alike, BatchOptions(strategy=Strategy.MONOLINGUAL))


@pytest.mark.parametrize(
    "options", [BatchOptions(batch_size=1), BatchOptions(alpha=1.5), BatchOptions(alpha_end=-0.1)]
)
def test_options_that_make_no_batch_are_refused(options: BatchOptions) -> None:
    with pytest.raises(InputError):
        check_bounds(options)


@given(OPTIONS)
@settings(max_examples=30, deadline=None)
def test_a_row_and_its_augmented_copies_never_meet(options: BatchOptions) -> None:
    langs = "aa bb cc"
    rows = [row(n, langs) for n in range(12)]
    copies = [
        {**row(f"{n} switched", langs), "id": f"row-{n}", "origin": "code-switched"}
        for n in range(12)
    ]
    store = stored(
        [*rows, *copies, *({**c, "answer": r["answer"]} for c, r in zip(copies, rows, strict=True))]
    )
    for batch in plan(store, options):
        assert len({r % 12 for r in batch.rows.tolist()}) == len(batch.rows)


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
def test_an_order_gives_each_eligible_row_once_a_round(size: int, seed: int, step: int) -> None:
    eligible = range(0, size, step)
    order = endless_order([Share(0, size, size)], lambda rows: rows % step == 0, seed)
    rounds = [list(islice(order, len(eligible))) for _ in range(3)]
    assert all(sorted(found) == list(eligible) for found in rounds)


def test_weights_say_how_often_the_rows_of_a_source_come_in_a_round() -> None:
    shares = [Share(0, 10, 25), Share(10, 100, 50)]
    order = endless_order(shares, lambda rows: rows >= 0, seed=3)
    first = Counter(islice(order, 75))
    second = Counter(islice(order, 75))
    assert sum(count for row, count in first.items() if row < 10) == 25
    assert {count for row, count in first.items() if row < 10} == {2, 3}
    assert {count for row, count in first.items() if row >= 10} == {1}
    assert all((first + second)[row] for row in range(110)), "every row is met in the end"

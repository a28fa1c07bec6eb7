from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from worlds import in_parts, random_world

from xlir_bench.records import Setting
from xlir_bench.retrieval import Pool, Want, normalised


def test_rows_become_unit_length_in_float32() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 7)) * 1000
    unit = normalised(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit.astype(float), axis=1), 1, atol=1e-6)


def test_a_zero_row_stays_zero() -> None:
    assert normalised(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [
        [0.0, 0.0],
        [np.float32(0.6), np.float32(0.8)],
    ]


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e18, 8e37])
def test_rows_whose_squares_leave_float32_are_normalised_too(scale: float) -> None:
    unit = normalised(np.array([[3, 0, 4]], np.float32) * np.float32(scale))
    np.testing.assert_allclose(unit, [[0.6, 0, 0.8]], atol=1e-4)


def test_half_precision_and_strided_rows_are_taken() -> None:
    rows = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float16)
    np.testing.assert_array_equal(normalised(rows[::2, ::2]), normalised(rows[::2, ::2].copy()))
    assert normalised(rows.T).flags.c_contiguous


@pytest.mark.parametrize("dimension", [3, 384, 1000])
def test_equal_rows_are_equal_afterwards_wherever_they_stand(dimension: int) -> None:
    rng = np.random.default_rng(0)
    row = rng.standard_normal(dimension).astype(np.float32)
    rows = rng.standard_normal((1500, dimension)).astype(np.float32)
    rows[::3] = row
    assert len(np.unique(normalised(rows)[::3], axis=0)) == 1


def test_a_pool_lays_languages_end_to_end_by_code() -> None:
    pool = Pool.of({"zh": 2, "ar": 4, "de": 1})
    assert pool.langs == ("ar", "de", "zh")
    assert pool.bounds == {"ar": slice(0, 4), "de": slice(4, 5), "zh": slice(5, 7)}


def test_a_language_without_passages_takes_no_rows() -> None:
    pool = Pool.of({"ar": 2, "de": 0, "en": 1})
    assert pool.rows(Setting("en", ("de",))) == slice(2, 2)
    assert pool.rows(Setting("en", ("ar", "de", "en"))) == slice(0, 3)


def test_a_setting_is_one_language_or_the_whole_pool() -> None:
    pool = Pool.of({"ar": 2, "de": 2, "en": 2})
    assert pool.rows(Setting("en", ("de",))) == slice(2, 4)
    assert pool.rows(Setting("en", ("ar", "de", "en"))) == slice(0, 6)
    with pytest.raises(ValueError, match="wants a pool of"):
        pool.rows(Setting("en", ("ar", "de")))


def test_relevant_passages_are_positions_in_the_pool_sorted_by_query() -> None:
    world = random_world(3, {"en": 9}, {"en": 5, "de": 7, "ar": 4})
    pool = world.index().pool
    found = Want.of(world.collection, world.settings("en")).relevant
    wanted = sorted(
        (int(q), pool.bounds[lang].start + int(p), int(g), world.langs.index(lang))
        for lang in world.langs
        if ("en", lang) in world.collection.relevance
        for r in [world.collection.relevance["en", lang]]
        for q, p, g in zip(r.query, r.passage, r.grade, strict=True)
    )
    assert wanted
    assert list(zip(found.query, found.position, found.grade, found.lang, strict=True)) == wanted


def test_a_language_whose_questions_have_no_answer_anywhere_has_no_rows() -> None:
    world = random_world(3, {"en": 2}, {"en": 5})
    collection = replace(world.collection, relevance={})
    want = Want.of(collection, [Setting("en", ("en",))])
    assert len(want.relevant.query) == 0


def test_rows_in_parts_come_in_the_order_asked_for() -> None:
    rows = np.arange(22, dtype=np.float32).reshape(11, 2)
    vectors = in_parts(rows, 4)
    wanted = np.array([10, 0, 4, 4, 3])
    assert len(vectors) == 11
    assert (vectors.rows(wanted) == rows[wanted]).all()
    assert (np.asarray(vectors) == rows).all()
    blocks = [vectors.rows(some) for some in vectors.spans(3)]
    assert [len(block) for block in blocks] == [3, 3, 3, 2]
    assert (np.concatenate(blocks) == rows).all()

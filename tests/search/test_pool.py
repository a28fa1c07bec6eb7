from __future__ import annotations

import numpy as np
import pytest
from worlds import random_world

from xlir_bench.records import Setting
from xlir_bench.search import Pool, normalised
from xlir_bench.search.pool import relevant_rows


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
    rng = np.random.default_rng(0)
    passages = {
        lang: rng.standard_normal((n, 3)) for lang, n in {"zh": 2, "ar": 4, "de": 1}.items()
    }
    pool = Pool.of(passages)
    assert pool.layout.langs == ("ar", "de", "zh")
    assert pool.layout.bounds == {"ar": slice(0, 4), "de": slice(4, 5), "zh": slice(5, 7)}
    for lang, rows in pool.layout.bounds.items():
        np.testing.assert_array_equal(pool.vectors[rows], normalised(passages[lang]))


def test_a_language_without_passages_takes_no_rows() -> None:
    pool = Pool.of({"ar": np.ones((2, 3)), "de": np.empty((0, 3)), "en": np.ones((1, 3))})
    assert pool.layout.rows(Setting("en", ("de",))) == slice(2, 2)
    assert pool.layout.rows(Setting("en", ("ar", "de", "en"))) == slice(0, 3)


def test_a_setting_is_one_language_or_the_whole_pool() -> None:
    pool = Pool.of({lang: np.ones((2, 3)) for lang in ("ar", "de", "en")})
    assert pool.layout.rows(Setting("en", ("de",))) == slice(2, 4)
    assert pool.layout.rows(Setting("en", ("ar", "de", "en"))) == slice(0, 6)
    with pytest.raises(ValueError, match="wants a pool of"):
        pool.layout.rows(Setting("en", ("ar", "de")))


def test_relevant_passages_are_positions_in_the_pool_sorted_by_query() -> None:
    world = random_world(3, {"en": 9}, {"en": 5, "de": 7, "ar": 4})
    found = relevant_rows(world.collection, "en", world.pool.layout)
    wanted = sorted(
        (int(q), world.pool.layout.bounds[lang].start + int(p), int(g), world.langs.index(lang))
        for lang in world.langs
        if ("en", lang) in world.collection.relevance
        for r in [world.collection.relevance["en", lang]]
        for q, p, g in zip(r.query, r.passage, r.grade, strict=True)
    )
    assert wanted
    assert list(zip(found.query, found.position, found.grade, found.lang, strict=True)) == wanted


def test_a_language_whose_questions_have_no_answer_anywhere_has_no_rows() -> None:
    world = random_world(3, {"en": 2}, {"en": 5})
    assert len(relevant_rows(world.collection, "xx", world.pool.layout).query) == 0

from __future__ import annotations

import re

import numpy as np
import pytest
from worlds import World, plain_order, random_world

from xlir_bench.errors import InputError
from xlir_bench.records import Ranking, Setting, Silent
from xlir_bench.retrieval import faiss_index, recall_of_exact


@pytest.fixture(scope="module")
def world() -> World:
    """Questions near their answers: a passage of each language, so that an index has something to find."""
    made = random_world(0, {"de": 40, "en": 60}, {"de": 300, "en": 350}, dimension=32)
    rng = np.random.default_rng(1)
    for (asked, there), relevance in made.collection.relevance.items():
        near = made.vectors["passage", there][relevance.passage]
        made.vectors["query", asked][relevance.query] = near + 0.6 * rng.standard_normal(near.shape)
    return made


def approximately(world: World, factory: str) -> list[Ranking]:
    index = world.index().by_faiss(factory, faiss_index.DEPTH)
    assert index is not None
    found = index.search(world.wants(pair_depth=100), Silent())
    return [ranking for of_language in found for ranking in of_language.rankings()]


def exactly(world: World) -> list[Ranking]:
    return world.rankings(pair_depth=100)


def test_a_flat_index_finds_what_exact_search_finds(world: World) -> None:
    for found, exact in zip(approximately(world, "Flat"), exactly(world), strict=True):
        assert (found.setting, found.candidates) == (exact.setting, exact.candidates)
        np.testing.assert_array_equal(found.rank, exact.rank)
        np.testing.assert_array_equal(found.passage, exact.passage)
        np.testing.assert_array_equal(found.top, exact.top)
        assert recall_of_exact(exact, found) == (1 if len(exact.scored) else 0)


@pytest.mark.parametrize("factory", ["HNSW32", "IVF8,Flat", "PQ4x4", "SQ8", "PCA16,Flat"])
def test_any_factory_string_gives_ranks_that_agree_with_its_own_best_passages(
    world: World, factory: str
) -> None:
    for found in approximately(world, factory):
        assert found.top is not None
        place = {int(q): i for i, q in enumerate(found.scored)}
        for query, passage, rank in zip(found.query, found.passage, found.rank, strict=True):
            top = found.top[place[int(query)]].tolist()
            assert 0 <= rank <= found.candidates
            assert (
                (top.index(passage) + 1 == rank)
                if passage in top
                else rank in (0, *range(101, 1001))
            )


def test_a_passage_that_is_not_retrieved_has_no_rank(world: World) -> None:
    """One list of eight is looked at: most passages are in another."""
    missed = [found for found in approximately(world, "IVF8,Flat") if (found.rank == 0).any()]
    assert missed
    for found in missed:
        assert found.top is not None
        assert (found.top[:, -1] == -1).any()
        padded = found.top == -1
        assert (padded[:, 1:] >= padded[:, :-1]).all(), "padding stands last"


def test_passages_beyond_the_depth_count_as_not_retrieved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "DEPTH", 20)
    for found, exact in zip(approximately(world, "Flat"), exactly(world), strict=True):
        np.testing.assert_array_equal(found.rank, np.where(exact.rank <= 20, exact.rank, 0))
        assert found.top is not None
        assert (found.top[:, 20:] == -1).all()
        assert (found.top[:, :20] >= 0).all()


def test_equal_scores_stand_in_pool_order() -> None:
    world = random_world(0, {"en": 5}, {"en": 40}, distinct=3)
    (found,) = approximately(world, "Flat")
    assert found.top is not None
    queries = world.vectors["query", "en"][found.scored]
    for query, top in zip(queries, found.top, strict=True):
        assert top.tolist() == plain_order(query, world.vectors["passage", "en"])


@pytest.mark.parametrize(("factory", "clusters"), [("PQ4", "256"), ("IVF512,Flat", "512")])
def test_too_few_vectors_to_train_is_said_with_their_number(factory: str, clusters: str) -> None:
    world = random_world(0, {"de": 4}, {"de": 200}, dimension=32)
    with pytest.raises(InputError) as error:
        approximately(world, factory)
    message = str(error.value)
    assert re.match(rf"--index {factory!r} .*\b200 candidates .*\bde-de\b", message)
    assert clusters in message
    assert "'Flat'" in message
    assert "\n" not in message


@pytest.mark.parametrize("factory", ["", "flat", "HNSW32,Foo", "IVF", "PQ7", "no such index", "💥"])
def test_a_string_that_faiss_cannot_read_is_an_error_with_examples(
    world: World, factory: str
) -> None:
    with pytest.raises(InputError, match=r"FAISS .*32 dimensions") as error:
        approximately(world, factory)
    assert repr(factory) in str(error.value)
    assert "HNSW32" in str(error.value)
    assert "\n" not in str(error.value)


def test_recall_of_exact_is_the_share_of_the_best_that_was_found() -> None:
    def ranking(top: list[list[int]]) -> Ranking:
        none = np.empty(0, int)
        return Ranking(Setting("en", ("en",)), 9, none, none, none, none, np.array(top))

    exact = ranking([[1, 2, 3, 4], [5, 6, 7, 8]])
    found = ranking([[1, 3, 0, -1], [8, 7, 6, 5]])
    assert recall_of_exact(exact, found, 4) == (2 / 4 + 1) / 2
    assert recall_of_exact(exact, found, 2) == (1 / 2 + 0) / 2
    with pytest.raises(ValueError, match="must keep"):
        recall_of_exact(exact, Ranking(exact.setting, 9, *[exact.query] * 4))

"""Re-ordered rankings against a plain computation, and what is kept of the scores of pairs."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import read_only
from processes import begin
from retrieval.test_fusion import index_scores, plain_fused
from retrieval.test_vector_index import rows, sizes
from worlds import World, plain_rows, random_world

from xlir_bench.encoders import EncoderCard
from xlir_bench.errors import BadVectorsError
from xlir_bench.records import Collection, Relevance, Role, Setting, Silent, TokenCounts
from xlir_bench.retrieval import EmbedRequest, Partial, Want, pairs, prune
from xlir_bench.retrieval.fusion import FusedIndex
from xlir_bench.retrieval.pairs import PairScores
from xlir_bench.retrieval.reranking import RerankedIndex

CARD = EncoderCard("letters", "python", "letters", "sha256:" + "0" * 64, max_tokens=30)


@dataclass
class Letters:
    """A reranker whose scores tell pairs apart; or, of few `values`, make many of them equal."""

    values: int = 10**6
    card: EncoderCard = CARD
    device: str = "cpu"
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: list[list[tuple[str, str]]] = field(default_factory=list)
    disturb: Callable[[np.ndarray], np.ndarray] = lambda scores: scores

    def scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.seen.update(pairs)
        self.batches.append(list(pairs))
        return self.disturb(np.array([self.score(*pair) for pair in pairs], np.float32))

    def score(self, query: str, passage: str) -> float:
        return hash_of(f"{query} > {passage}") % self.values - self.values // 2

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        lengths = np.array([len(text) + 3 * (role == "query") for text in texts], np.int64)
        return TokenCounts(lengths, np.zeros(len(texts), np.int64))


def hash_of(text: str) -> int:
    return sum((7 + i) * ord(c) for i, c in enumerate(text)) * 7919


def passage_texts(collection: Collection, setting: Setting) -> list[str]:
    return [text for lang in setting.passage_langs for text in collection.passages[lang].texts]


def plain_order(
    first: Sequence[int], reranker: Letters, world: World, setting: Setting, query: int, depth: int
) -> list[int]:
    """The whole pool: the best of the first stage by the scores of pairs, the others as they were."""
    text = world.collection.queries[setting.query_lang].texts[query]
    passages = passage_texts(world.collection, setting)
    head = sorted(first[:depth], key=lambda p: -reranker.score(text, passages[p]))
    return [*head, *first[depth:]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    distinct=st.sampled_from([None, 2, 5]),
    values=st.sampled_from([1, 3, 10**6]),
    depth=st.sampled_from([1, 2, 5, 10, 1000]),
    kept=st.sampled_from([0, 4]),
    fused=st.sampled_from([None, 2, 6]),
)
def test_ranks_are_those_of_the_whole_pool_in_its_new_order(
    seed, queries, passages, distinct, values, depth, kept, fused
) -> None:
    world, reranker = random_world(seed, queries, passages, distinct), Letters(values)
    second = World(world.collection, random_world(seed + 1, queries, passages, distinct).vectors)
    first = world.index() if fused is None else FusedIndex((world.index(), second.index()), fused)

    def plain(setting: Setting, query: int) -> list[int]:
        if fused is None:
            scores = index_scores(world, setting, query)
            order = sorted(range(len(scores)), key=lambda p: (-scores[p], p))
        else:
            order = plain_fused((world, second), setting, query, fused, None)
        return plain_order(order, reranker, world, setting, query, depth)

    pairs = PairScores(Letters(values), EmbedRequest(None), world.collection)
    index = RerankedIndex(first, pairs, depth)
    for ranking in (r for p in index.search(world.wants(kept), Silent()) for r in p.rankings()):
        orders = {q: plain(ranking.setting, q) for q in np.unique(ranking.query)}
        assert rows(ranking) == sorted(
            (q, p, grade, orders[q].index(p) + 1)
            for q, p, grade, _ in plain_rows(world, ranking.setting)
        )
        if ranking.top is not None:
            for top, order in zip(ranking.top, orders.values(), strict=True):
                assert list(top) == order[: len(top)]
            assert (ranking.top_scores[:, :-1] >= ranking.top_scores[:, 1:]).all()


def searched(
    reranker: Letters,
    cache: Path | None = None,
    world: World | None = None,
    batch_tokens: int | None = None,
    depth: int = 5,
) -> tuple[list[Partial], RerankedIndex]:
    """All settings of a world."""
    world = world or random_world(3, {"de": 4, "en": 4}, {"de": 9, "en": 9})
    first = world.index()
    pairs = PairScores(reranker, EmbedRequest(cache, batch_tokens), world.collection)
    index = RerankedIndex(first, pairs, depth)
    return list(index.search(world.wants(), Silent())), index


def test_a_pair_is_scored_once_and_only_where_its_score_can_change_a_rank(tmp_path: Path) -> None:
    reranker = Letters()
    found, index = searched(reranker, tmp_path)
    assert set(reranker.seen.values()) == {1}
    # Of the pool the best are kept, of pairs of languages only the ranks of relevant passages.
    for ranking in (r for p in found for r in p.rankings()):
        texts = passage_texts(index.pairs.collection, ranking.setting)
        asked = index.pairs.collection.queries[ranking.setting.query_lang].texts
        for query, passage, rank in zip(ranking.query, ranking.passage, ranking.rank, strict=True):
            assert ((asked[query], texts[passage]) in reranker.seen) or rank > 5
    again = Letters()
    searched(again, tmp_path)
    assert not again.seen
    deeper = Letters()
    searched(deeper, tmp_path, depth=9)
    assert deeper.seen
    assert not reranker.seen.keys() & deeper.seen.keys()
    assert [entry.encoder for entry in prune(tmp_path, max_bytes=0).in_use] == ["letters"]


def test_equal_texts_are_one_pair_and_keep_the_order_of_the_first_stage() -> None:
    world = random_world(5, {"en": 1}, {"en": 6})
    passages = replace(world.collection.passages["en"], texts=["one", "", "one", "two", "", "one"])
    collection = replace(
        world.collection,
        passages={"en": passages},
        relevance={("en", "en"): Relevance(*np.array([[0] * 6, range(6), [1] * 6]))},
    )
    reranker = Letters()
    ((found,), _) = searched(reranker, world=World(collection, world.vectors), depth=6)
    assert len(reranker.seen) == 3
    (ranking,) = found.rankings()
    scores = index_scores(world, ranking.setting, 0)
    query = collection.queries["en"].texts[0]
    order = sorted(range(6), key=lambda p: (-reranker.score(query, passages.texts[p]), -scores[p]))
    assert [order.index(p) + 1 for p in range(6)] == ranking.rank.tolist()


def test_a_passage_that_is_the_query_itself_stays_out() -> None:
    world = random_world(8, {"en": 5}, {"en": 5})
    relevance = Relevance(*np.array([[0, 1, 2], [1, 2, 0], [1, 1, 1]]))
    collection = replace(
        world.collection, own={"en": np.arange(5)}, relevance={("en", "en"): relevance}
    )
    reranker = Letters()
    index = world.index()
    pairs = PairScores(reranker, EmbedRequest(None), collection)
    want = Want.of(collection, [Setting("en", ("en",))], pair_depth=10)
    (found,) = RerankedIndex(index, pairs, 10).search([want], Silent())
    (ranking,) = found.rankings()
    assert sorted(map(sorted, ranking.top)) == [[0, 1, 3, 4], [0, 2, 3, 4], [1, 2, 3, 4]]
    assert not any((f"en question {q}", f"en passage {q}") in reranker.seen for q in range(5))


def test_where_answers_decide_the_questions_that_have_any_are_re_ordered() -> None:
    world, reranker = random_world(2, {"de": 4}, {"en": 7}), Letters()
    answers = {"de": [["one"], [], ["two", "three"], []]}
    collection = replace(world.collection, relevance={}, answers=answers)
    index = world.index()
    pairs = PairScores(reranker, EmbedRequest(None), collection)
    setting = Setting("de", ("en",))
    want = Want.of(collection, [setting], pair_depth=7)
    reordered = RerankedIndex(index, pairs, 3)
    ((ranking,),) = (found.rankings() for found in reordered.search([want], Silent()))
    assert ranking.scored.tolist() == [0, 2]
    for query, top in zip((0, 2), ranking.top, strict=True):
        scores = index_scores(world, setting, query)
        first = sorted(range(7), key=lambda p: (-scores[p], p))
        assert list(top) == plain_order(first, reranker, world, setting, query, 3)
    assert len(reranker.seen) == 6
    assert reordered.notes == []


def test_batches_are_planned_by_length_under_the_budget() -> None:
    reranker = Letters()
    searched(reranker, batch_tokens=70)

    def length(pair: tuple[str, str]) -> int:
        return min(30, sum(map(len, pair)) + 3)

    for batch in reranker.batches:
        assert len(batch) * max(map(length, batch)) <= 70
        assert list(map(length, batch)) == sorted(map(length, batch), reverse=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_an_error_that_names_the_pair(bad: float) -> None:
    def disturb(scores: np.ndarray) -> np.ndarray:
        scores[0] = bad
        return scores

    with pytest.raises(BadVectorsError, match=rf"\b{bad} .*'.. question .', '.. p"):
        searched(Letters(disturb=disturb))
    with pytest.raises(BadVectorsError, match="one number a pair"):
        searched(Letters(disturb=lambda scores: scores[:, None]))


def test_notes_say_what_the_best_hold_and_how_much_was_cut() -> None:
    world = random_world(3, {"de": 6, "en": 6}, {"de": 9, "en": 9})
    _, index = searched(Letters(card=replace(CARD, max_tokens=25)), world=world, depth=3)
    shares: dict[str, list[float]] = {}
    for ranking in world.rankings():
        by_query: dict[int, list[bool]] = {}
        for query, _, _, rank in rows(ranking):
            by_query.setdefault(query, []).append(rank <= 3)
        if by_query:
            mean = float(np.mean([np.mean(found) for found in by_query.values()]))
            shares.setdefault(ranking.setting.kind.value, []).append(mean)
    told = ", ".join(
        f"{np.mean(shares[kind]):.1%} ({kind})"
        for kind in ("monolingual", "cross-lingual", "multilingual")
    )
    assert f"best 3: {told};" in index.notes[0]
    assert re.match(r"100\.0% .*pairs .*\b25 tokens", index.notes[1])


def test_a_damaged_block_is_scored_again_and_a_cache_that_takes_nothing_is_told(
    tmp_path: Path,
) -> None:
    whole, _ = searched(Letters(), tmp_path / "cache")
    (block, *_) = (tmp_path / "cache").rglob("pair/*.safetensors")
    block.write_bytes(block.read_bytes()[:-1] + b"x")
    reranker = Letters()
    again, index = searched(reranker, tmp_path / "cache")
    assert reranker.seen
    assert any("damaged" in note for note in index.notes)
    closed = tmp_path / "closed"
    closed.mkdir()
    with read_only(closed):
        third, index = searched(Letters(), closed / "cache")
    assert any("not kept" in note for note in index.notes)
    for found in (again, third):
        for a, b in zip(whole, found, strict=True):
            assert [r.rank.tolist() for r in a.rankings()] == [
                r.rank.tolist() for r in b.rankings()
            ]


def scored(cache: Path, said: Path, last: int) -> int:
    """Everything, unless it is killed after so many batches: the ranks and the batches."""
    pairs.BLOCK_PAIRS = 8

    def disturb(scores: np.ndarray) -> np.ndarray:
        if len(reranker.batches) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return scores

    reranker = Letters(disturb=disturb)
    found, _ = searched(reranker, cache, batch_tokens=90)
    ranks = [r.rank.tolist() for p in found for r in p.rankings()]
    said.write_text(json.dumps([ranks, reranker.batches]), encoding="utf-8")
    return 0


def test_a_run_that_is_killed_goes_on_where_it_was_with_the_same_batches(tmp_path: Path) -> None:
    told = tmp_path / "told.json"

    def run(last: int, cache: str) -> int | None:
        process = begin(partial(scored, tmp_path / cache, told, last), tmp_path / "said")
        process.join()
        return process.exitcode

    assert run(-1, "whole") == 0, (tmp_path / "said").read_text(encoding="utf-8")
    ranks, batches = json.loads(told.read_text(encoding="utf-8"))
    assert run(7, "killed") == -signal.SIGKILL
    assert run(-1, "killed") == 0
    ranks_of_rest, batches_of_rest = json.loads(told.read_text(encoding="utf-8"))
    assert ranks_of_rest == ranks
    # Whole batches are left: what was written is not scored again, and the others are planned alike.
    assert 0 < len(batches_of_rest) < len(batches)
    assert batches_of_rest == batches[-len(batches_of_rest) :]
    assert len(batches_of_rest) >= len(batches) - 7

"""Search by torch finds what search by numba finds, to the bit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval.test_vector_index import cut, cuts, rows, sizes
from worlds import World, in_parts, plain_rows, random_world

from xlir_bench import RunOptions, evaluate, load_encoder
from xlir_bench.errors import InputError
from xlir_bench.evaluation import as_retriever
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Ranking, Relevance, Setting, Silent
from xlir_bench.retrieval import (
    Dense,
    EmbedRequest,
    Similarity,
    VectorIndex,
    VectorRetriever,
    Vectors,
    Want,
    tiles,
)
from xlir_bench.retrieval.elsewhere import engine_for
from xlir_bench.retrieval.similarity import COSINE, Sparse
from xlir_bench.retrieval.tiles import NUMBA, Engine

torch = pytest.importorskip("torch")

from xlir_bench.retrieval import on_device  # noqa: E402  # it imports torch
from xlir_bench.retrieval.on_device import TorchEngine  # noqa: E402


def here(share: int | None = 1024) -> TorchEngine:
    """The way of a device, on this machine's processors."""
    return TorchEngine(share, device=torch.device("cpu"))


@pytest.fixture(params=["cpu", "cuda", "mps"])
def engine(request: pytest.FixtureRequest) -> TorchEngine:
    """Every device that there is."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[request.param]:
        pytest.skip(f"torch finds no {request.param} device here")
    return TorchEngine.of(request.param)


def found(
    world: World,
    engine: Engine,
    similarity: Similarity = COSINE,
    depths: tuple[int, int] = (7, 11),
    part: int = 1000,
) -> list[Ranking]:
    """The rankings of every setting."""
    index = replace(world.index(part), engine=engine, similarity=similarity)
    return [r for p in index.search(world.wants(*depths), Silent()) for r in p.rankings()]


def same(some: list[Ranking], others: list[Ranking]) -> None:
    """Ranks, ties, best passages and their scores are equal to the bit."""
    assert [r.setting for r in some] == [r.setting for r in others]
    for one, other in zip(some, others, strict=True):
        assert rows(one) == rows(other)
        for name in ("top", "top_scores"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    distinct=st.sampled_from([None, 1, 2, 5, 12]),
    depths=st.tuples(st.integers(1, 12), st.integers(1, 30)),
    cosine=st.booleans(),
    pieces=cuts,
    share=st.integers(1, 9),
    piece=st.integers(1, 60),
)
def test_ranks_and_best_lists_are_those_of_numba_however_a_pool_is_cut(
    seed, queries, passages, distinct, depths, cosine, pieces, share, piece
) -> None:
    world = random_world(seed, queries, passages, distinct)
    with cut(*pieces[:4]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_device, "PIECE", piece)
        torch_found = found(world, here(share), Dense(cosine), depths, pieces[4])
    same(torch_found, found(world, NUMBA, Dense(cosine), depths))
    for ranking in torch_found if cosine else []:
        assert rows(ranking) == sorted(plain_rows(world, ranking.setting))


@pytest.mark.parametrize("kind", ["random", "duplicated", "constant", "zero", "alike"])
@pytest.mark.parametrize("cosine", [True, False])
def test_many_passages_of_every_kind_are_ranked_alike(kind, cosine, engine, monkeypatch) -> None:
    world = random_world(3, {"de": 40, "en": 70}, {"de": 1500, "en": 2300}, dimension=48)
    table = np.random.default_rng(5).standard_normal((60, 48)).astype(np.float32)
    for vectors in world.vectors.values():
        rng = np.random.default_rng(len(vectors))
        if kind == "duplicated":
            vectors[:] = table[rng.integers(0, 60, len(vectors))] * 100
        elif kind == "alike":  # nearer to each other than a float32 product can tell
            vectors[:] = table[0] + 1e-6 * rng.standard_normal(vectors.shape)
        elif kind != "random":
            vectors[:] = 0 if kind == "zero" else table[0]
    monkeypatch.setattr("xlir_bench.retrieval.vector_index.BLOCK", 1024)
    same(
        found(world, replace(engine, share=32), Dense(cosine), (10, 100), 700),
        found(world, NUMBA, Dense(cosine), (10, 100)),
    )


def test_lists_are_no_longer_than_what_is_settled_together(monkeypatch) -> None:
    lengths: list[int] = []
    exact = Dense.exact

    def watched(self, queries, query, passages, passage):
        lengths.append(len(query))
        return exact(self, queries, query, passages, passage)

    world = random_world(1, {"en": 30}, {"en": 500}, distinct=1)
    monkeypatch.setattr(tiles, "LISTED", 2000)
    monkeypatch.setattr(Dense, "exact", watched)
    found(world, here())
    assert max(lengths) == 2000
    assert sum(lengths) > 30 * 500


def test_a_query_that_is_a_passage_itself_is_none_of_its_candidates() -> None:
    world = random_world(1, {"en": 6}, {"en": 6, "de": 5})
    others = Relevance(np.arange(6), (np.arange(6) + 2) % 6, np.ones(6, np.int64))
    collection = replace(
        world.collection, relevance={("en", "en"): others}, own={"en": np.arange(6)}
    )
    vectors = {**world.vectors, ("query", "en"): world.vectors["passage", "en"]}
    world = World(collection, vectors)
    assert [r.candidates for r in found(world, here())] == [5, 5, 10]
    same(found(world, here(2), depths=(9, 9)), found(world, NUMBA, depths=(9, 9)))


def test_parts_on_disk_that_cannot_be_written_to_are_searched(tmp_path) -> None:
    world = random_world(2, {"en": 9}, {"en": 50})
    held = np.ascontiguousarray(world.vectors["passage", "en"])
    held.flags.writeable = False
    vectors = {
        ("query", "en"): Vectors.of(world.vectors["query", "en"]),
        ("passage", "en"): in_parts(held, 1000),
    }
    for engine in (here(), NUMBA):
        index = VectorIndex.of(vectors, Dense(cosine=False), engine=engine)
        want = Want.of(world.collection, [Setting("en", ("en",))])
        (partial,) = index.search([want], Silent())
        before = partial.before[False]
        assert before.tolist() == [r - 1 for *_, r in rows(partial.rankings()[0])]


def test_mini_has_the_same_tables_and_figures() -> None:
    options = RunOptions(cache=None, data=None, save_run=20, alignment=True)
    encoder = load_encoder("builtin:ngram")
    by_numba, by_torch = (
        evaluate("mini", VectorRetriever(encoder, EmbedRequest(None, engine=engine)), options)
        for engine in (NUMBA, here())
    )
    assert by_numba.record.settings == by_torch.record.settings
    assert by_numba.record.bias == by_torch.record.bias
    for name in ("ranks", "run"):
        assert by_numba.table(name).equals(by_torch.table(name))


def test_an_index_of_faiss_is_held_against_the_search_on_the_device() -> None:
    seen = []

    class Seen(TorchEngine):
        def tile(self, similarity, queries, passages):
            seen.append(queries.shape[0])
            return super().tile(similarity, queries, passages)

    options = RunOptions(cache=None, data=None, langs=("de", "en"), index="SQ8")
    encoder = load_encoder("builtin:ngram")
    engines = (NUMBA, Seen(device=torch.device("cpu")))
    by_numba, by_torch = (
        evaluate("mini", VectorRetriever(encoder, EmbedRequest(None, engine=e)), options)
        for e in engines
    )
    assert seen
    assert by_numba.record.profile.index == by_torch.record.profile.index
    assert by_numba.table("ranks").equals(by_torch.table("ranks"))


def test_products_are_never_rounded_and_the_setting_of_others_stays(monkeypatch) -> None:
    matmul = torch.backends.cuda.matmul
    seen = []
    product = torch.Tensor.__matmul__

    def watched(one, other):
        seen.append(matmul.fp32_precision)
        return product(one, other)

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    torch.set_float32_matmul_precision("high")
    try:
        found(random_world(0, {"en": 3}, {"en": 9}), here())
        assert torch.get_float32_matmul_precision() == "high"
        assert set(seen) == {"ieee"}
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("bits", [7, 10, 16])
def test_a_device_that_rounds_what_it_multiplies_is_refused(monkeypatch, bits) -> None:
    product = torch.Tensor.__matmul__

    def rounding(one, other):
        parts = [
            ((x.contiguous().view(torch.int32) + (1 << 22 - bits)) >> 23 - bits << 23 - bits)
            for x in (one, other)
        ]
        return product(*(part.view(torch.float32) for part in parts))

    TorchEngine.of("cpu")
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    with pytest.raises(InputError, match=r"--search-device cpu: .*float32"):
        TorchEngine.of("cpu")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("gpu", "'gpu': .*cpu, cuda"),
        ("meta", "--search-device meta: torch "),
        ("cuda:99", "GPU|cuda:99: torch "),
    ],
)
def test_a_device_that_is_not_there_is_told_before_anything_is_encoded(device, words) -> None:
    with pytest.raises(InputError, match=words) as raised:
        evaluate("mini", "builtin:ngram", RunOptions(search_device=device))
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_words_are_not_compared_on_a_device() -> None:
    options = RunOptions(search_device="cuda")
    with pytest.raises(InputError, match=r"--search-device cuda .*dense.*builtin:bm25"):
        as_retriever("builtin:bm25", EncoderOptions(), options)
    with pytest.raises(InputError, match=r"--search-device .*\bdense\b"):
        here().tile(Sparse(), here().placed(np.eye(2, dtype="f4")), here().placed(np.eye(2)))


def test_torch_is_not_imported_for_the_processor() -> None:
    code = (
        "import sys, xlir_bench as xb\n"
        "options = xb.RunOptions(cache=None, data=None, langs=('en',), search_device='cpu')\n"
        "xb.evaluate('mini', 'builtin:ngram', options)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    assert engine_for("cpu") is NUMBA

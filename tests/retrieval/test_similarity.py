"""Cosine and inner product against plain computations, and against sentence-transformers' own evaluator."""

from __future__ import annotations

import json
import re
from math import fsum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import save_static_embedding, save_tiny_colbert, save_tiny_splade
from retrieval.test_embedding import COLLECTION, Letters
from retrieval.test_vector_index import cut, cuts, rows, sizes
from worlds import evaluator_texts, in_parts, plain_rows, random_world

import xlir_bench as xb
from xlir_bench import EncoderOptions, RunOptions
from xlir_bench.encoders import describe
from xlir_bench.errors import BadVectorsError, InputError
from xlir_bench.options.encoding import SimilarityName
from xlir_bench.records import ROLES, Setting, Silent
from xlir_bench.reports.compare import compare
from xlir_bench.reports.export import write
from xlir_bench.retrieval import Dense, EmbedRequest, VectorIndex, embed, normalised
from xlir_bench.retrieval.similarity import rounded
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

DOT = Dense(cosine=False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    distinct=st.sampled_from([None, 1, 5]),
    spread=st.sampled_from([0.0, 1.0, 6.0, 18.0]),
    pieces=cuts,
)
def test_ranks_by_inner_product_are_those_of_a_full_stable_sort(
    seed, queries, passages, distinct, spread, pieces
) -> None:
    world = random_world(seed, queries, passages, distinct, dimension=8)
    rng = np.random.default_rng(seed)
    for vectors in world.vectors.values():
        length = 10 ** rng.uniform(-spread, min(spread, 16), len(vectors))
        vectors *= length[:, None].astype(np.float32)
        if distinct:
            vectors[:] = vectors[rng.integers(0, max(1, len(vectors) // 2), len(vectors))]
    index = VectorIndex.of({k: in_parts(v, pieces[4]) for k, v in world.vectors.items()}, DOT)
    with cut(*pieces[:4]):
        partials = index.search(world.wants(pair_depth=3), Silent())
    for found in (r for p in partials for r in p.rankings()):
        lang, there = found.setting.query_lang, found.setting.passage_langs
        pool = np.concatenate([world.vectors["passage", x] for x in there]).astype(float)
        scores = np.array(
            [[fsum(q * p) for p in pool] for q in world.vectors["query", lang].astype(float)]
        )
        order = np.argsort(-scores, axis=1, kind="stable")
        assert rows(found) == sorted(
            (q, p, g, int(np.flatnonzero(order[q] == p)[0]) + 1)
            for q, p, g, _ in plain_rows(world, found.setting)
        )
        if found.top is not None:
            scored = np.unique(found.query)
            assert (found.top == order[scored, : found.top.shape[1]]).all()


def test_products_too_small_for_float32_are_told_apart() -> None:
    world = random_world(1, {"en": 3}, {"en": 40}, dimension=8)
    for vectors in world.vectors.values():
        vectors *= np.float32(3e-22)
    index = VectorIndex.of({k: in_parts(v, 9) for k, v in world.vectors.items()}, DOT)
    (found,) = index.search(world.wants(pair_depth=40), Silent())
    (ranking,) = found.rankings()
    true = world.vectors["query", "en"].astype(float) @ world.vectors["passage", "en"].T.astype(
        float
    )
    best = np.argsort(-true, axis=1, kind="stable")
    assert ranking.top is not None
    assert (ranking.top == best[np.unique(ranking.query)]).all()


@pytest.mark.parametrize("dimension", [1, 100, 128, 129, 1000])
@pytest.mark.parametrize("similarity", [Dense(), DOT])
def test_fast_scores_are_no_further_from_the_true_ones_than_they_say(
    similarity: Dense, dimension: int
) -> None:
    rng = np.random.default_rng(dimension)
    queries, passages = (
        similarity.prepared(rng.standard_normal((count, dimension)) * 30) for count in (7, 900)
    )
    scores, error = similarity.scores(queries, passages)
    assert scores.dtype == np.float32
    true = similarity.table(queries, passages)
    assert (np.abs(scores - true) <= error[:, None]).all()


def test_vectors_too_long_for_float32_are_refused() -> None:
    with pytest.raises(BadVectorsError, match="length 2e"):
        DOT.prepared(np.full((1, 4), 1e18, np.float32))


def test_a_flat_index_finds_by_inner_product_what_exact_search_finds() -> None:
    world = random_world(3, {"de": 10, "en": 9}, {"de": 60, "en": 50}, dimension=8)
    for vectors in world.vectors.values():
        vectors *= np.linspace(0.1, 30, len(vectors), dtype=np.float32)[:, None]
    index = VectorIndex.of({k: in_parts(v, 20) for k, v in world.vectors.items()}, DOT)
    wants = world.wants(pair_depth=50)
    exact, approximate = (
        [r for partial in each.search(wants, Silent()) for r in partial.rankings()]
        for each in (index, index.by_faiss("Flat", 1000))
    )
    for one, other in zip(exact, approximate, strict=True):
        np.testing.assert_array_equal(one.rank, other.rank)
        np.testing.assert_array_equal(one.top, other.top)


def test_vectors_of_half_precision_keep_their_length(tmp_path: Path) -> None:
    kept = {
        similarity: embed(
            COLLECTION,
            Letters(),
            EmbedRequest(tmp_path, vectors="float16", similarity=similarity),
            Silent(),
        )
        for similarity in (Dense(), DOT)
    }
    texts = COLLECTION.texts("passage", "de")
    whole = Letters().encode(texts, "passage")
    assert kept[DOT].encoded == 10, "unit rows of before are not taken"
    np.testing.assert_allclose((kept[DOT].vectors or {})["passage", "de"], whole, rtol=1e-3)
    unit = np.asarray((kept[Dense()].vectors or {})["passage", "de"])
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-3)


def test_what_keeps_no_length_is_refused() -> None:
    with pytest.raises(InputError, match=r"--vectors int8 .*dot"):
        EmbedRequest(None, vectors="int8", similarity=DOT)
    with pytest.raises(BadVectorsError, match=r"float16 .*\b65,504\b.*\b70000$"):
        rounded(np.array([[7e4, 1]], np.float32), "float16", DOT)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that registers the inner product, and whose vectors are of very different length."""
    return save_static_embedding(tmp_path_factory.mktemp("model") / "uneven", similarity="dot")


OPTIONS = RunOptions(
    langs=("de", "en"), cache=None, measures=("map", "ndcg@10", "recall@5"), save_run=5
)


def test_scores_by_inner_product_are_those_of_sentence_transformers(uneven: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import dot_score

    dot = xb.evaluate(
        "mini", str(uneven), OPTIONS, encoder_options=EncoderOptions(similarity="dot")
    )
    cosine = xb.evaluate("mini", str(uneven), OPTIONS)
    collection = load_collection(catalogue().get(["mini"])[0], OPTIONS, Silent())
    model = SentenceTransformer(str(uneven), device="cpu")
    changed = 0
    for setting, other in zip(dot.record.settings, cosine.record.settings, strict=True):
        asked = Setting(setting.query_lang, tuple(setting.passage_langs))
        queries, texts, relevant = evaluator_texts(collection, asked)
        evaluator = InformationRetrievalEvaluator(
            queries, texts, relevant, score_functions={"dot": dot_score},
            ndcg_at_k=[10], map_at_k=[len(texts)], precision_recall_at_k=[5], mrr_at_k=[1], accuracy_at_k=[1],
        )  # fmt: skip
        scores = evaluator(model)
        figures = [scores[f"dot_{name}"] for name in (f"map@{len(texts)}", "ndcg@10", "recall@5")]
        assert list(setting.measures.values()) == pytest.approx(figures, abs=1e-6)
        changed += setting.measures != pytest.approx(other.measures, abs=1e-3)
    assert changed == len(dot.record.settings)


def test_a_model_is_compared_as_asked_and_the_result_says_how(uneven: Path, tmp_path: Path) -> None:
    usual, dot, model = (
        xb.evaluate("mini", str(uneven), OPTIONS, encoder_options=EncoderOptions(similarity=asked))
        for asked in ("cosine", "dot", "model")
    )
    encoders = [each.record.encoder for each in (usual, dot, model)]
    assert [e.options.similarity for e in encoders if e.options] == ["cosine", "dot", "model"]
    assert encoders[1].slug == encoders[2].slug == f"{encoders[0].slug}~dot"
    assert [e.similarity for e in encoders] == ["cosine", "dot", "dot"]
    assert dot.record.settings == model.record.settings
    assert re.search("cosine.* registers dot .*--similarity model", usual.record.notes[-1])
    assert re.search("inner product .*dot", dot.record.notes[-1])
    assert re.search("fingerprint.* cosine .*dot$", compare(usual, dot).notes[-1])
    files = write("mteb", [usual, dot], tmp_path)
    about = [json.loads(f.read_bytes()) for f in files if f.name == "model_meta.json"]
    assert [(a["similarity_fn_name"], a["revision"][16:]) for a in about] == [
        ("cosine", ""),
        ("dot", "-dot"),
    ]


def test_a_distance_is_none_of_the_similarities(uneven: Path, tmp_path: Path) -> None:
    folder = save_static_embedding(tmp_path / "far", similarity="euclidean")
    with pytest.raises(InputError, match=r"far .*'euclidean'.* cosine .*dot$"):
        xb.evaluate("mini", str(folder), encoder_options=EncoderOptions(similarity="model"))
    assert "registers euclidean" in xb.evaluate("mini", str(folder), OPTIONS).record.notes[-1]


def test_stored_vectors_are_compared_as_asked_and_register_nothing(tmp_path: Path) -> None:
    collection = load_collection(catalogue().get(["mini"])[0], OPTIONS, Silent())
    ngram = xb.load_encoder("builtin:ngram")
    for lang, length in {"en": 1000.0, "de": 1.0}.items():
        for role in ROLES:
            vectors = ngram.encode(collection.texts(role, lang), role)
            np.save(tmp_path / f"{role}.{lang}.npy", normalised(vectors) * length)
    cosine, dot, model = (
        xb.evaluate(
            "mini", f"npy:{tmp_path}", OPTIONS, encoder_options=EncoderOptions(similarity=x)
        )
        for x in ("cosine", "dot", "model")
    )
    assert model.record.encoder.slug == cosine.record.encoder.slug != dot.record.encoder.slug
    assert model.record.settings == cosine.record.settings
    best = dot.table("run").to_pandas().query("query_lang == 'de' and kind == 'multilingual'")
    assert best["passage_id"].str.startswith("en:").all(), "its vectors are so much longer"


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_alignment_says_by_what_it_is_measured(uneven: Path, similarity: SimilarityName) -> None:
    few = RunOptions(langs=("de", "en"), cache=None, limit=5, alignment=True)
    how = EncoderOptions(similarity=similarity)
    notes = xb.evaluate("mini", str(uneven), few, encoder_options=how).record.notes
    assert any(re.search("^alignment .*cosine.*dot$", n) for n in notes) == (similarity == "dot")


def test_what_is_compared_in_its_own_way_leaves_a_similarity_out_and_says_so(
    tmp_path: Path,
) -> None:
    options = EncoderOptions(similarity="dot")
    sparse, late = save_tiny_splade(tmp_path / "sparse"), save_tiny_colbert(tmp_path / "late")
    for spec in (str(sparse), str(late)):
        notes = describe(xb.load_encoder(spec, options)).notes
        assert any(note.startswith("--similarity has no effect") for note in notes)
    result = xb.evaluate("mini", "builtin:bm25", OPTIONS, encoder_options=options)
    assert any(note.startswith("--similarity has no effect") for note in result.record.notes)

"""Late interaction against plain numpy and sentence-transformers' own evaluator."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import save_static_embedding, save_tiny_bert, save_tiny_colbert
from retrieval.stable import LANGS, assert_stable, options
from retrieval.test_embedding import COLLECTION
from retrieval.test_vector_index import cut, cuts, rows, sizes
from worlds import evaluator_texts, plain_rows, random_world

import xlir_bench as xb
from xlir_bench import EncoderOptions, Result, RunOptions
from xlir_bench.encoders.multivector import TokenVectors
from xlir_bench.errors import InputError
from xlir_bench.records import Role, Setting, Silent
from xlir_bench.retrieval import (
    EmbedRequest,
    Represented,
    VectorIndex,
    Vectors,
    embed,
    embedding,
    similarity,
)
from xlir_bench.retrieval.encoding import PlannedTexts
from xlir_bench.retrieval.similarity import NOTHING, MaxSim
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

TEXTS = ["Hello world, is this it?", "", "zwei drei!"]


def plain_scores(queries: TokenVectors, passages: TokenVectors) -> np.ndarray:
    """In float64, rounded so that sums in another order are equal."""
    scores = np.full((queries.shape[0], passages.shape[0]), NOTHING)
    some = np.flatnonzero(passages.lengths)
    first = (np.cumsum(passages.lengths) - passages.lengths)[some]
    tokens = passages.vectors.astype(float).T
    for q in range(queries.shape[0]):
        products = queries[q : q + 1].vectors.astype(float) @ tokens
        scores[q, some] = np.maximum.reduceat(products, first, axis=1).sum(axis=0)
    return np.round(scores, 10)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    queries=sizes,
    passages=sizes,
    tokens=st.sampled_from([1, 3, 7]),
    ties=st.booleans(),
    at_once=st.sampled_from([1, 5, 2048]),
    pieces=cuts,
)
def test_ranks_are_those_of_a_full_stable_sort(
    seed, queries, passages, tokens, ties, at_once, pieces
) -> None:
    """Texts have up to so many tokens, some none at all."""
    world, rng = random_world(seed, queries, passages), np.random.default_rng(seed)
    stored, whole = {}, {}
    for key, vectors in world.vectors.items():
        lengths = rng.integers(0, tokens + 1, len(vectors))
        made = rng.standard_normal((lengths.sum(), 4)).astype(np.float32)
        if ties:  # eighths: their sums are exact in any order
            made = np.round(made * 2) / 8
        whole[key] = TokenVectors(made, np.concatenate([[0], np.cumsum(lengths)]))
        parts = [whole[key][i : i + pieces[4]] for i in range(0, len(vectors), pieces[4])]
        stored[key] = Vectors.of(*parts)
    index = VectorIndex.of(stored, MaxSim(), block=pieces[0])
    with cut(*pieces[:4]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "TOKENS", at_once)
        partials = index.search(world.wants(pair_depth=3), Silent())
    for found in (r for p in partials for r in p.rankings()):
        lang, there = found.setting.query_lang, found.setting.passage_langs
        pool = TokenVectors.stacked([whole["passage", x] for x in there])
        scores = plain_scores(whole["query", lang], pool)
        order = np.argsort(-scores, axis=1, kind="stable")
        assert rows(found) == sorted(
            (q, p, g, int(np.flatnonzero(order[q] == p)[0]) + 1)
            for q, p, g, _ in plain_rows(world, found.setting)
        )
        if found.top is not None:
            scored = np.unique(found.query)
            assert (found.top == order[scored, : found.top.shape[1]]).all()


def test_fast_scores_are_as_near_as_they_say() -> None:
    rng = np.random.default_rng(0)
    queries, passages = (
        TokenVectors(
            (rng.standard_normal((400, 64)) * 10).astype(np.float32), np.arange(0, 401, step)
        )
        for step in (8, 20)
    )
    scores, error = MaxSim().scores(queries, passages)
    pairs = [x.ravel() for x in np.indices(scores.shape)]
    true = MaxSim().exact(queries, pairs[0], passages, pairs[1]).reshape(scores.shape)
    assert (np.abs(scores - true) <= error[:, None]).all()
    np.testing.assert_allclose(true, plain_scores(queries, passages), atol=1e-9)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=[None, 24])
def colbert(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose queries are as long as they are, and one whose queries are filled up."""
    folder = tmp_path_factory.mktemp("models") / "colbert"
    return save_tiny_colbert(folder, expansion=request.param)


@pytest.fixture(scope="module")
def result(colbert: Path, cache: Path) -> Result:
    return xb.evaluate("mini", str(colbert), options(cache))


@pytest.mark.filterwarnings("ignore")
def test_a_run_is_what_sentence_transformers_and_a_stable_sort_say(
    result: Result, colbert: Path, cache: Path
) -> None:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.evaluation import (
        MultiVectorInformationRetrievalEvaluator,
    )

    assert len(result.record.settings) == 12
    assert "scores" not in result.tables, "to score them once more takes minutes"
    assert_stable(result, colbert, cache, MaxSim(), plain_scores)
    collection = load_collection(catalogue().get(["mini"])[0], options(), Silent())
    model = MultiVectorEncoder(str(colbert), device="cpu")
    for langs in (("de",), LANGS):
        queries, texts, relevant = evaluator_texts(collection, Setting("de", langs))
        evaluator = MultiVectorInformationRetrievalEvaluator(
            queries, texts, relevant, ndcg_at_k=[10], map_at_k=[len(texts)],
            precision_recall_at_k=[5], mrr_at_k=[1], accuracy_at_k=[1], write_csv=False,
        )  # fmt: skip
        scores = evaluator(model)
        figures = [
            scores[f"maxsim_{name}"] for name in (f"map@{len(texts)}", "ndcg@10", "recall@5")
        ]
        ours = next(
            s
            for s in result.record.settings
            if s.query_lang == "de" and s.passage_langs == list(langs)
        )
        assert list(ours.measures.values()) == pytest.approx(figures, abs=1e-6)


def test_a_second_run_encodes_nothing_and_says_the_same(
    result: Result, colbert: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "IN_MEMORY", 1)
    again = xb.evaluate("mini", str(colbert), options(cache))
    assert (again.record.profile.encoded_texts, again.record.settings) == (
        0,
        result.record.settings,
    )
    encoder = result.record.encoder
    assert (encoder.kind, encoder.dimension, encoder.max_tokens) == ("late-interaction", 8, 40)
    assert encoder.similarity == "maxsim"
    assert (encoder.query_prompt, encoder.passage_prompt) == ("[Q] ", "[D] ")
    filled = xb.load_encoder(str(colbert)).card.fills_queries
    assert any(" 24.0 of a query" in note for note in again.record.notes) == filled


def test_vectors_of_half_precision_have_exact_ranks_too(colbert: Path, tmp_path: Path) -> None:
    half = replace(options(tmp_path), vectors="float16")
    found = xb.evaluate("mini", str(colbert), half)
    assert_stable(found, colbert, tmp_path, MaxSim(), plain_scores, "float16")


def as_pylate(folder: Path, model: Path) -> Path:
    """The same model as PyLate saves it."""
    shutil.copytree(model, folder)
    modules = [
        ("sentence_transformers.models.Transformer", ""),
        ("pylate.models.Dense.Dense", "1_Dense"),
    ]
    stated = [{"idx": i, "name": str(i), "path": p, "type": t} for i, (t, p) in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(stated))
    (folder / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 39, "do_lower_case": false}'
    )
    dense = {"in_features": 32, "out_features": 8, "bias": False}
    identity = {"activation_function": "torch.nn.modules.linear.Identity"}
    (folder / "1_Dense" / "config.json").write_text(json.dumps(dense | identity))
    config = {
        "prompts": {}, "similarity_fn_name": "MaxSim", "query_prefix": "[Q] ", "document_prefix": "[D] ",
        "query_length": 24, "document_length": 40, "attend_to_expansion_tokens": False,
        "skiplist_words": list("?!.,;"),
    }  # fmt: skip
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    return folder


def test_models_of_pylate_are_read_as_sentence_transformers_reads_them(
    colbert: Path, tmp_path: Path
) -> None:
    from sentence_transformers import MultiVectorEncoder

    folder = as_pylate(tmp_path / "pylate", colbert)
    encoder = xb.load_encoder(str(folder))
    card = xb.load_encoder(f"colbert:{folder}").card
    assert (card.query_prompt, card.passage_prompt, card.max_tokens) == ("[Q] ", "[D] ", 40)
    assert any(re.search(r"^queries .*\b24 tokens", note) for note in card.notes)
    model = MultiVectorEncoder(str(folder), device="cpu")
    for role, encode in (("query", model.encode_query), ("passage", model.encode_document)):
        texts = [*TEXTS, "long " * 60]
        expected = TokenVectors.of(encode(texts, batch_size=4, convert_to_numpy=True))
        found = encoder.encode(texts, role)
        assert found.lengths.tolist() == expected.lengths.tolist()
        np.testing.assert_array_equal(found.vectors, expected.vectors)


def test_max_length_cuts_passages(colbert: Path) -> None:
    encoder = xb.load_encoder(str(colbert), EncoderOptions(max_length=9))
    assert encoder.encode(["abcdefghijklmnop"], "passage").lengths.tolist() == [9]


OWN = ("query_length", "document_length", "query_expansion")


def expanding(strategy: str, length: int) -> dict[str, object]:
    return {"query_expansion": {"strategy": strategy, "attend": False, "length": length}}


@pytest.mark.parametrize(("own", "older", "asked", "cut"), [
    (expanding("fixed", 24), {}, None, 24),
    (expanding("fixed", 24), {}, 9, 24),
    (expanding("min", 24), {}, None, 128),
    (expanding("min", 24) | {"query_length": 30}, {}, None, 30),
    (expanding("min", 24) | {"query_length": 30}, {}, 9, 24),
    ({"query_length": 12}, {}, None, 12),
    ({"query_length": 12}, {}, 9, 9),
    ({"query_length": 12, "processing_kwargs": {"text": {"max_length": 20}}}, {}, None, 20),
    ({"query_length": 12, "processing_kwargs": {"text": {"max_length": 20}}}, {}, 16, 12),
    ({"processing_kwargs": {"text": {"max_length": 20}}}, {}, 100, 100),
    ({"query_length": 500}, {}, None, 128),
    ({"max_seq_length": 15}, {}, None, 15),
    ({}, {}, None, 128),
    ({}, {}, 9, 9),
    (None, {"query_prefix": "[Q] ", "document_prefix": "[D] "}, None, 32),
    (None, {"query_length": 16, "document_length": 20}, None, 16),
    (None, {"query_length": 16, "document_length": 20}, 9, 16),
    (None, {"query_length": 16, "do_query_expansion": False}, None, 16),
    (None, {"query_length": 16, "do_query_expansion": False}, 9, 9),
    (None, {"skiplist_words": ["!"]}, None, 32),
    (None, expanding("fixed", 14), None, 14),
    (None, {"query_length": 16, "query_expansion": None}, None, 16),
])  # fmt: skip
def test_queries_are_cut_where_the_library_cuts_them(
    tmp_path: Path, own: dict[str, Any] | None, older: dict[str, Any], asked: int | None, cut: int
) -> None:
    from sentence_transformers import MultiVectorEncoder

    folder = save_tiny_colbert(tmp_path / "colbert")
    for name, stated in (("sentence_bert_config", own), ("config_sentence_transformers", older)):
        file = folder / f"{name}.json"
        before = json.loads(file.read_text())
        if stated is None:  # as a file of before had it
            before = {key: value for key, value in before.items() if key not in OWN}
        file.write_text(json.dumps(before | (stated or {})))
    encoder = xb.load_encoder(str(folder), EncoderOptions(max_length=asked))
    long, short = "a " * 150, "a"
    lengths = encoder.encode([long, short], "query").lengths.tolist()
    assert lengths[0] == encoder.card.cut("query") == encoder.card.max_query_tokens == cut
    assert lengths[1] == cut or not encoder.card.fills_queries
    assert any(re.search(rf"^queries .*\b{cut} tokens", note) for note in encoder.card.notes)
    assert encoder.encode([long], "passage").lengths.tolist() == [encoder.card.cut("passage")]
    if asked is None and own != {"query_length": 500}:  # more than there are positions: it fails
        library = MultiVectorEncoder(str(folder), device="cpu")
        assert [len(x) for x in library.encode_query([long, short])] == lengths
        assert len(library.encode_document([long])[0]) == encoder.card.cut("passage")


def test_what_was_counted_changes_no_query_that_is_cut(tmp_path: Path) -> None:
    folder = save_tiny_colbert(tmp_path / "colbert")
    file = folder / "sentence_bert_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"query_length": 12}))
    encoder, short, long = xb.load_encoder(str(folder)), ["a b", "c d"], ["a " * 30]
    encoder.count_tokens(short + long, "query")
    encoder.encode(short, "query")
    found = encoder.encode(long, "query")
    assert found.lengths.tolist() == [12]
    alone = xb.load_encoder(str(folder)).encode(long, "query")
    np.testing.assert_array_equal(found.vectors, alone.vectors)


def test_batches_of_queries_that_are_filled_up_are_planned_as_they_are(tmp_path: Path) -> None:
    encoder = xb.load_encoder(str(save_tiny_colbert(tmp_path / "colbert", expansion=24)))
    request = EmbedRequest(None, batch_tokens=240)
    for role, texts in (("query", ["a"] * 25), ("passage", ["a " * 60] * 25)):
        batches = PlannedTexts.of(encoder, request, role, texts).batches
        assert [len(batch) for batch in batches] == (
            [10, 10, 5] if role == "query" else [6] * 4 + [1]
        )


def test_a_kind_that_the_library_does_not_have_is_one_line(
    colbert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sentence_transformers

    monkeypatch.delattr(sentence_transformers, "MultiVectorEncoder")
    with pytest.raises(InputError, match=r"colbert .*MultiVectorEncoder.*sentence-transformers"):
        xb.load_encoder(str(colbert)).encode(["a"], "query")


def test_texts_cut_are_counted_by_where_their_role_is_cut(tmp_path: Path) -> None:
    folder = save_tiny_colbert(tmp_path / "colbert", expansion=24)
    encoder = xb.load_encoder(str(folder), EncoderOptions(max_length=100))
    found = xb.evaluate("mini", encoder, options(), langs=("de",))
    collection = load_collection(catalogue().get(["mini"])[0], options(), Silent())
    longer = [
        encoder.count_tokens(collection.texts(role, "de"), role).tokens > limit
        for role, limit in (("query", 24), ("passage", 100))
    ]
    share = found.record.texts["de"].truncated_share
    assert share == pytest.approx(np.concatenate(longer).mean())
    assert longer[1].mean() < share < 1


def test_what_has_no_vectors_of_tokens_is_refused_in_one_line(
    colbert: Path, tmp_path: Path
) -> None:
    static = save_static_embedding(tmp_path / "static")
    with pytest.raises(InputError, match=r"static .*SentenceTransformer, .*each token"):
        xb.load_encoder(f"colbert:{static}")
    bert = save_tiny_bert(tmp_path / "bert")
    with pytest.raises(InputError, match=r"^colbert:bert .*bare transformers"):
        xb.load_encoder(f"colbert:{bert}")
    with pytest.raises(InputError, match=r"colbert .*MultiVectorEncoder, .*sparse"):
        xb.load_encoder(f"sparse:{colbert}")
    with pytest.raises(InputError, match=r"--vectors int8 .*dot"):
        xb.evaluate("mini", str(colbert), RunOptions(vectors="int8", cache=None))
    spoiled = Path(shutil.copytree(colbert, tmp_path / "spoiled"))
    (spoiled / "1_Dense" / "model.safetensors").rename(spoiled / "1_Dense" / "pytorch_model.bin")
    with pytest.raises(InputError, match="only as a pickle"):
        xb.load_encoder(str(spoiled))


@dataclass
class Letters:
    """A vector for each letter, of which the spaces have none; it may be stopped."""

    name: str = "letters"
    fingerprint: str = "sha256:" + "0" * 64
    dimension: int = 4
    stop_at: int = 0
    batches: list[list[str]] = field(default_factory=list)

    def encode(self, texts: Sequence[str], role: Role) -> TokenVectors:
        self.batches.append(list(texts))
        if len(self.batches) == self.stop_at:
            raise KeyboardInterrupt
        codes = [[ord(letter) for letter in text if letter != "O"] for text in texts]
        return TokenVectors.of(
            [np.cos(np.outer(c, np.arange(1, 5))).astype(np.float32).reshape(-1, 4) for c in codes]
        )


@pytest.mark.parametrize("held", [1, 1000])
@pytest.mark.parametrize("cached", [True, False])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, held: int, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "IN_MEMORY", held)

    def run(encoder: Letters, cache: Path | None) -> Represented:
        return embed(COLLECTION, encoder, EmbedRequest(cache, 3, similarity=MaxSim()), Silent())

    first, second, whole = Letters(stop_at=4), Letters(), Letters()
    with pytest.raises(KeyboardInterrupt):
        run(first, tmp_path if cached else None)
    found = run(second, tmp_path if cached else None)
    run(whole, None)
    assert second.batches == whole.batches[3 * cached :]
    for lang in ("de", "en"):
        texts = COLLECTION.texts("passage", lang)
        there = found.index.passages[lang].rows(np.arange(len(texts))[::-1])
        expected = Letters().encode(texts[::-1], "passage")
        assert there.lengths.tolist() == expected.lengths.tolist()
        assert np.array_equal(there.vectors, expected.vectors)

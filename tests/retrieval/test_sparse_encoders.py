"""Sparse encoders against sentence-transformers' own evaluator and a full stable sort."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from models import save_static_embedding, save_tiny_bert, save_tiny_splade
from retrieval.stable import LANGS, assert_stable, options
from retrieval.test_embedding import COLLECTION
from scipy.sparse import csr_array
from worlds import evaluator_texts

import xlir_bench as xb
from xlir_bench import EncoderOptions, Result, RunOptions
from xlir_bench.encoders import describe
from xlir_bench.encoders.check import check_finite
from xlir_bench.encoders.hub import locate
from xlir_bench.encoders.transformer import TransformerEncoder
from xlir_bench.errors import BadVectorsError, InputError
from xlir_bench.evaluation import load_models
from xlir_bench.options.profiling import CostOptions
from xlir_bench.records import Role, Setting, Silent
from xlir_bench.retrieval import EmbedRequest, Represented, embed, embedding
from xlir_bench.retrieval.similarity import Sparse
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_splade(tmp_path_factory.mktemp("models") / "splade")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def result(splade: Path, cache: Path) -> Result:
    return xb.evaluate("mini", str(splade), options(cache))


def plain_scores(queries: csr_array, passages: csr_array) -> np.ndarray:
    """Products added up in float64 word by word, in the order of the vocabulary, and rounded once."""
    queries, passages = queries.toarray().astype(float), passages.toarray().astype(float)
    scores = np.zeros((len(queries), len(passages)))
    for word in np.flatnonzero(queries.any(axis=0) & passages.any(axis=0)):
        scores += np.outer(queries[:, word], passages[:, word])
    return scores.astype(np.float32)


def test_ranks_are_those_of_a_full_stable_sort(result: Result, splade: Path, cache: Path) -> None:
    assert len(result.record.settings) == 12
    assert_stable(result, splade, cache, Sparse(), plain_scores)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_scores_are_those_of_sentence_transformers(result: Result, splade: Path) -> None:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator

    collection = load_collection(catalogue().get(["mini"])[0], options(), Silent())
    model = SparseEncoder(str(splade), device="cpu")
    for langs in (("de",), ("en",), LANGS):
        queries, texts, relevant = evaluator_texts(collection, Setting("de", langs))
        evaluator = SparseInformationRetrievalEvaluator(
            queries, texts, relevant, ndcg_at_k=[10], map_at_k=[len(texts)],
            precision_recall_at_k=[5], mrr_at_k=[1], accuracy_at_k=[1], write_csv=False,
        )  # fmt: skip
        scores = evaluator(model)
        figures = [scores[f"dot_{name}"] for name in (f"map@{len(texts)}", "ndcg@10", "recall@5")]
        ours = next(
            s
            for s in result.record.settings
            if s.query_lang == "de" and s.passage_langs == list(langs)
        )
        assert list(ours.measures.values()) == pytest.approx(figures, abs=1e-6)


def test_a_second_run_encodes_nothing_and_a_corpus_on_disk_has_the_same_ranks(
    result: Result, splade: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "IN_MEMORY", 1)
    again = xb.evaluate("mini", str(splade), options(cache))
    assert result.record.profile.encoded_texts == again.record.profile.cached_texts > 0
    assert again.record.profile.encoded_texts == 0
    assert again.record.settings == result.record.settings


def test_the_result_says_what_was_compared(result: Result) -> None:
    encoder = result.record.encoder
    assert (encoder.kind, encoder.dimension, encoder.max_tokens) == ("sparse", 3367, 128)
    assert "~" not in encoder.slug
    assert encoder.similarity == "dot"
    assert any(re.search(r"weights .* \d+\.\d of a query", note) for note in result.record.notes)
    assert result.record.texts["de"].tokens_mean


def test_a_bare_masked_language_model_is_named_by_its_prefix(splade: Path) -> None:
    bare = splade.with_name("splade-bare")
    assert (
        xb.load_encoder(f"sparse:{splade}").fingerprint == xb.load_encoder(str(splade)).fingerprint
    )
    rows = [
        xb.load_encoder(x).encode(["ab cd", ""], "query") for x in (f"sparse:{bare}", str(splade))
    ]
    assert (rows[0] != rows[1]).nnz == 0
    assert xb.load_encoder(str(bare)).dimension == 32, "without the prefix it is a dense model"
    slugs = {describe(xb.load_encoder(spec)).slug for spec in (str(bare), f"sparse:{bare}")}
    assert len(slugs) == 2, "one's result does not replace the other's"


def test_texts_before_a_router_are_encoded_by_their_role(tmp_path: Path, splade: Path) -> None:
    """Without inference for queries: their words have weights that were learned."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    whole = SparseEncoder(str(splade), device="cpu")
    with pytest.raises(InputError, match=r"SparseEncoder in memory.*save"):
        xb.evaluate("mini", whole)
    words = torch.linspace(0.1, 2, len(whole.tokenizer))
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(whole.tokenizer, weight=words)],
        document_modules=list(whole),
    )
    model = SparseEncoder(modules=[router], device="cpu", similarity_fn_name="cosine")
    model.save(str(tmp_path / "routed"), create_model_card=False)
    encoder = xb.load_encoder(str(tmp_path / "routed"))
    for role, encode in (("query", model.encode_query), ("passage", model.encode_document)):
        rows = encoder.encode(["ab cd", "ef"], role)
        assert np.array_equal(rows.toarray(), encode(["ab cd", "ef"]).to_dense().numpy())
    told = xb.evaluate("mini", encoder, options(langs=("de",))).record.notes
    assert any(re.search("by dot.*registers cosine", note) for note in told)


def test_what_is_no_sparse_model_is_refused_in_one_line(splade: Path, tmp_path: Path) -> None:
    static = save_static_embedding(tmp_path / "static")
    with pytest.raises(InputError, match=r"static .*SentenceTransformer, .*sparse"):
        xb.load_encoder(f"sparse:{static}")
    bert = save_tiny_bert(tmp_path / "bert")
    with pytest.raises(InputError, match=r"^sparse:bert: .*ForMaskedLM"):
        xb.load_encoder(f"sparse:{bert}")
    folder = Path(shutil.copytree(splade, tmp_path / "pickled"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pickle .*pytorch_model\.bin.*SparseEncoder as S"):
        xb.load_encoder(str(folder))


def test_what_wants_dense_vectors_is_refused_in_one_line(splade: Path) -> None:
    with pytest.raises(InputError, match=r"--vectors float16 .*sparse"):
        xb.evaluate("mini", str(splade), RunOptions(vectors="float16", cache=None))
    with pytest.raises(InputError, match=r"'HNSW8' .*dense.*splade"):
        xb.evaluate("mini", str(splade), RunOptions(langs=("de",), index="HNSW8", cache=None))
    with pytest.raises(InputError, match=r"--search-device cuda .*dense.*splade"):
        xb.evaluate("mini", str(splade), RunOptions(search_device="cuda", cache=None))
    (task,) = catalogue().get(["mini"])
    with pytest.raises(InputError, match=r"splade .*no dense"):
        load_models(task, str(splade), CostOptions(), RunOptions(), EncoderOptions())
    with pytest.raises(InputError, match=r"splade .*SparseEncoder, .*dense"):
        TransformerEncoder(locate(str(splade), EncoderOptions()))  # as training does, to refuse it


def test_weights_that_are_no_numbers_name_their_text() -> None:
    with pytest.raises(BadVectorsError, match=r"NaN .*'two' \(1 of 2 "):
        check_finite(np.array([1, np.nan, np.nan]), np.array([0, 1, 1]), ["one", "two"])


@dataclass
class Words:
    """A sparse encoder that may be stopped; a text without "e" has no weight."""

    name: str = "words"
    fingerprint: str = "sha256:" + "0" * 64
    dimension: int = 300
    stop_at: int = 0
    batches: list[list[str]] = field(default_factory=list)

    def encode(self, texts: Sequence[str], role: Role) -> csr_array:
        self.batches.append(list(texts))
        if len(self.batches) == self.stop_at:
            raise KeyboardInterrupt
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for letter in text if "e" in text else "":
                rows[row, ord(letter)] += 0.1
        return csr_array(rows)


@pytest.mark.parametrize("held", [1, 1000])
@pytest.mark.parametrize("cached", [True, False])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, held: int, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "IN_MEMORY", held)

    def run(encoder: Words) -> Represented:
        request = EmbedRequest(tmp_path if cached else None, 3, similarity=Sparse())
        return embed(COLLECTION, encoder, request, Silent())

    first, second = Words(stop_at=4), Words()
    with pytest.raises(KeyboardInterrupt):
        run(first)
    found = run(second)
    whole = Words()
    embed(COLLECTION, whole, EmbedRequest(None, 3, similarity=Sparse()), Silent())
    assert second.batches == whole.batches[3 * cached :]
    assert found.vectors is None
    for lang in ("de", "en"):
        texts = COLLECTION.texts("passage", lang)
        rows = found.index.passages[lang].rows(np.arange(len(texts))[::-1])
        assert np.array_equal(rows.toarray(), Words().encode(texts[::-1], "passage").toarray())
    assert any(re.search("^1 passage .*zero vector", note) for note in found.notes)

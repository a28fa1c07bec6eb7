from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xlir_bench.encoders as encoders
from xlir_bench.encoders import Encoder, EncoderOptions, as_encoder, checked, describe, load_encoder
from xlir_bench.errors import InputError, UnknownNameError


class Lazy:
    """An encoder whose dimension must not be read before it is needed."""

    name = "lazy"
    fingerprint = "sha256:" + "0" * 64

    @property
    def dimension(self) -> int:
        raise AssertionError("read too early")

    def encode(self, texts, role):
        return np.ones((len(texts), 2), np.float32)


def test_the_public_names_are_these() -> None:
    assert sorted(encoders.__all__) == [
        "Encoder",
        "EncoderCard",
        "EncoderOptions",
        "Reranker",
        "StoredVectors",
        "Tokenizing",
        "as_encoder",
        "checked",
        "describe",
        "load_encoder",
        "load_reranker",
    ]


def test_importing_the_package_is_light() -> None:
    heavy = "{'torch', 'transformers', 'sentence_transformers', 'huggingface_hub', 'httpx', 'pandas', 'faiss'}"
    code = f"import sys, xlir_bench.encoders; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_prefix_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"'built:'.*'builtin:'.*npy:"):
        load_encoder("built:ngram")
    with pytest.raises(InputError, match="empty"):
        load_encoder("  ")


def test_a_spec_a_path_and_an_encoder_are_encoders(tiny_transformer: Path) -> None:
    assert as_encoder("builtin:random").name == "builtin:random"
    assert as_encoder(tiny_transformer).name == "tiny"
    lazy = Lazy()
    assert as_encoder(lazy) is lazy


def test_an_encoder_without_a_card_gets_one() -> None:
    card = describe(Lazy())
    assert (card.name, card.slug, card.kind) == ("lazy", "lazy-00000000", "python")


def test_a_function_is_known_by_the_vectors_of_a_few_texts() -> None:
    def made(scale: float):
        def encode(texts, role):
            return [[scale * len(text), 1.0] for text in texts]

        return encode

    one, same, other = (as_encoder(made(scale)) for scale in (1.0, 1.0, 2.0))
    assert isinstance(one, Encoder)
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.encode(["abc"], "query").tolist() == [[3, 1]]
    assert one.dimension == 2


def test_something_else_is_no_encoder() -> None:
    with pytest.raises(InputError, match=r"^int .*\bencoder\b"):
        as_encoder(7)


def test_a_model_in_memory_encodes_as_its_folder_does(prompted: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(prompted), device="cpu").train()
    live, stored = as_encoder(model), load_encoder(str(prompted))
    texts = ["one", "два", "三"]
    for role in ("query", "passage"):
        ours = checked(live.encode(texts, role), texts, 32)
        np.testing.assert_allclose(ours, stored.encode(texts, role), atol=1e-5)
    assert model.training
    assert live.dimension == 32
    card = describe(live)
    assert (card.kind, card.max_tokens) == ("sentence-transformers", 128)
    assert (card.query_prompt, card.passage_prompt) == ("query: ", "passage: ")
    assert card.parameters == describe(stored).parameters


def test_a_model_in_memory_is_known_by_its_weights_and_options(tiny_transformer: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_transformer), device="cpu")
    before = describe(as_encoder(model))
    assert before == describe(as_encoder(model))
    cut = as_encoder(model, EncoderOptions(truncate_dim=4, query_prompt="q: ", dtype="float16"))
    assert cut.dimension == 4
    assert cut.encode(["a"], "query").shape == (1, 4)
    assert describe(cut).slug.startswith(before.slug + "~")
    assert any(note.startswith("--dtype") for note in describe(cut).notes)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    after = describe(as_encoder(model))
    assert after.fingerprint != before.fingerprint
    assert after.slug != before.slug


def test_a_model_in_memory_says_where_it_runs(tiny_transformer: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from xlir_bench.retrieval import encoding

    model = SentenceTransformer(str(tiny_transformer), device="cpu")
    live = as_encoder(model)
    assert live.device == "cpu"  # type: ignore[attr-defined]
    assert encoding.device_budget(live) == encoding.CPU_BATCH_TOKENS
    model.to("meta")  # a device that every torch has
    assert live.device == "meta"  # type: ignore[attr-defined]
    assert encoding.device_budget(live) == encoding.GPU_BATCH_TOKENS


def test_a_static_embedding_in_memory_works_too(static_embedding: Path) -> None:
    from sentence_transformers import SentenceTransformer

    live = as_encoder(SentenceTransformer(str(static_embedding), device="cpu"))
    assert describe(live).max_tokens is None
    assert live.count_tokens(["abc"], "query").tokens.tolist() == [3]

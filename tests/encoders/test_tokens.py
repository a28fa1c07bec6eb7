"""What was tokenised to be counted is not tokenised again, and vectors keep their bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Copy, edit_json, save_tiny_transformer

from xlir_bench.encoders import EncoderOptions, load_encoder, tokens

SIZE = 3
TEXTS = [f"{'ab ' * (12 - n)}猫 слово {n}" for n in range(12)]
"""Longest first, as batches are planned."""
LONG = "ab " * 400


def encoded(encoder: Any, texts: list[str], counted: list[str]) -> tuple[np.ndarray, list[int]]:
    """Vectors of `texts`, batch by batch, and how many texts of each batch the model tokenised itself."""
    encoder.count_tokens(counted, "query")
    module, sizes = encoder._model[0], []
    original = module.preprocess

    def preprocess(inputs: list[str], **how: Any) -> Any:
        sizes[-1] = sizes[-1] or len(inputs)  # inside, a prompt is measured alone
        return original(inputs, **how)

    module.preprocess = preprocess
    try:
        parts = []
        for start in range(0, len(texts), SIZE):
            sizes.append(0)
            parts.append(encoder.encode(texts[start : start + SIZE], "query"))
    finally:
        module.preprocess = original
    return np.concatenate(parts), sizes


@pytest.fixture
def left_padded(tiny_transformer: Path, copy: Copy) -> Path:
    folder = copy(tiny_transformer)
    edit_json(folder / "tokenizer_config.json", padding_side="left")
    return folder


@pytest.fixture
def without_prompt(prompted: Path, copy: Copy) -> Path:
    """It leaves the tokens of the prompt out of the mean, so it reads how many they are."""
    folder = copy(prompted)
    edit_json(folder / "1_Pooling" / "config.json", include_prompt=False)
    return folder


@pytest.mark.parametrize(
    "model", ["tiny_transformer", "static_embedding", "prompted", "left_padded", "without_prompt"]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_only_the_first_batch_is_tokenised_again(
    model: str, dtype: str, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(model))
    options = EncoderOptions(dtype=dtype)
    again, sizes = encoded(load_encoder(folder, options), TEXTS, [])
    assert sizes == [SIZE] * 4
    once, sizes = encoded(load_encoder(folder, options), TEXTS, TEXTS)
    assert sizes == [SIZE, 0, 0, 0]
    assert np.array_equal(once, again)


def test_batches_with_a_text_that_is_cut_or_was_not_counted_are_tokenised(
    tiny_transformer: Path,
) -> None:
    texts = [LONG, *TEXTS[1:-1], "not counted"]
    again, _ = encoded(load_encoder(str(tiny_transformer)), texts, [])
    once, sizes = encoded(load_encoder(str(tiny_transformer)), texts, texts[:-1])
    assert sizes == [SIZE, SIZE, 0, SIZE]
    assert np.array_equal(once, again)


def test_no_more_ids_are_kept_than_there_is_room(
    tiny_transformer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED", 100)
    _, sizes = encoded(load_encoder(str(tiny_transformer)), TEXTS, TEXTS)
    assert sizes == [SIZE] * 4


def test_what_ids_alone_do_not_make_is_tokenised_again(tiny_transformer: Path, copy: Copy) -> None:
    folder = copy(tiny_transformer)
    of_one_length = {"text": {"padding": "max_length", "max_length": 128}}
    edit_json(folder / "sentence_bert_config.json", processing_kwargs=of_one_length)
    again, _ = encoded(load_encoder(str(folder)), TEXTS, [])
    once, sizes = encoded(load_encoder(str(folder)), TEXTS, TEXTS)
    assert sizes == [SIZE] * 4
    assert np.array_equal(once, again)


def test_a_model_in_memory_is_left_as_it_was(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from xlir_bench.encoders import as_encoder

    model = SentenceTransformer(str(save_tiny_transformer(tmp_path / "live")), device="cpu")
    once, sizes = encoded(as_encoder(model), TEXTS, TEXTS)
    assert sizes == [SIZE, 0, 0, 0]
    assert "preprocess" not in vars(model)

    def preprocess(inputs: list[str], **how: Any) -> Any:
        return type(model).preprocess(model, inputs, **how)

    model.preprocess = preprocess  # type: ignore[method-assign]
    assert np.array_equal(encoded(as_encoder(model), TEXTS, TEXTS)[0], once)
    assert vars(model)["preprocess"] is preprocess


def test_what_was_learnt_of_one_prompt_is_not_taken_for_another(without_prompt: Path) -> None:
    encoder = load_encoder(
        str(without_prompt), EncoderOptions(query_prompt="ab ", passage_prompt="")
    )
    encoder.count_tokens(TEXTS, "query")
    encoder.encode(TEXTS[:SIZE], "query")
    found = encoder.encode([f"ab {text}" for text in TEXTS[SIZE:]], "passage")
    alone = load_encoder(str(without_prompt), EncoderOptions(query_prompt="ab ", passage_prompt=""))
    assert np.array_equal(found, alone.encode([f"ab {text}" for text in TEXTS[SIZE:]], "passage"))

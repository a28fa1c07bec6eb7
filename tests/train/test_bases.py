"""`--freeze`: what is not trained stays as it was to the bit, and the rest moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from safetensors.numpy import load_file

from xlir_bench.errors import InputError
from xlir_bench.train.trainer import train

WORDS = "embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    ("stated", "still", "moves"),
    [
        ("embeddings", [WORDS], ["embeddings.position_embeddings.weight", "encoder.layer.0."]),
        ("layers:1", ["embeddings.", "encoder.layer.0."], ["encoder.layer.1."]),
    ],
)
def test_what_is_frozen_stays_and_the_rest_is_trained(
    asked, tiny_transformer, stated, still, moves
) -> None:
    done = train(replace(asked(str(tiny_transformer)), freeze=stated))
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_transformer, done.folder)
    )
    assert before.keys() == after.keys()
    for name in before:
        same = (before[name] == after[name]).all()
        if any(name.startswith(x) for x in still):
            assert same, name
        elif any(name.startswith(x) for x in moves) and "weight" in name:
            assert not same, name
    assert done.record["options"]["freeze"] == stated
    assert any(note.startswith("not trained: ") for note in done.record["base"]["notes"])


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("layers:2", "the model has 2 layers"),
        ("layers:0", "`embeddings`"),
        ("words", "`embeddings`"),
    ],
)
def test_what_cannot_be_frozen_is_refused(asked, tiny_transformer, stated, told) -> None:
    with pytest.raises(InputError, match=told):
        train(replace(asked(str(tiny_transformer)), freeze=stated))


def test_a_static_model_has_nothing_to_freeze(asked) -> None:
    with pytest.raises(InputError, match="transformers"):
        train(replace(asked("builtin:static:16"), freeze="embeddings"))


def test_texts_longer_than_the_positions_are_refused_before_training(asked, tmp_path) -> None:
    """RoBERTa's positions begin behind the padding id: 130 of them hold 128 tokens."""
    from models import wordpiece_tokenizer
    from transformers import RobertaConfig, RobertaModel

    tokenizer = wordpiece_tokenizer()
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=130,
        pad_token_id=1,
    )
    RobertaModel(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match="ends at 128 tokens"):
        train(asked(tmp_path / "base", max_length=129))

"""Fingerprints: what changes the vectors changes them, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import Copy, edit_json

from xlir_bench.encoders import EncoderOptions, describe, load_encoder


def test_the_fingerprint_follows_from_what_changes_vectors_alone(
    tiny_transformer: Path, copy: Copy
) -> None:
    folder = copy(tiny_transformer)
    before = load_encoder(str(folder)).fingerprint
    assert before == load_encoder(str(tiny_transformer)).fingerprint
    (folder / "README.md").write_text("# A model\n")
    (folder / "picture.png").write_bytes(b"png")
    (folder / "eval").mkdir()
    (folder / "eval" / "similarity.csv").write_text("1,2")
    (folder / "trainer_state.json").write_text("{}")
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "eval_results.json").write_text("{}")
    assert load_encoder(str(folder)).fingerprint == before
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode="cls")
    assert load_encoder(str(folder)).fingerprint != before


@pytest.mark.parametrize(
    "file", ["tokenizer.json", "config.json", "sentence_bert_config.json", "modules.json"]
)
def test_a_changed_file_of_the_model_changes_the_fingerprint(
    tiny_transformer: Path, copy: Copy, file: str
) -> None:
    folder = copy(tiny_transformer)
    with (folder / file).open("a") as stream:
        stream.write("\n")
    assert load_encoder(str(folder)).fingerprint != load_encoder(str(tiny_transformer)).fingerprint


@pytest.mark.parametrize(
    "options",
    [
        EncoderOptions(dtype="bfloat16"),
        EncoderOptions(max_length=64),
        EncoderOptions(truncate_dim=16),
        EncoderOptions(query_prompt="q"),
        EncoderOptions(passage_prompt="p"),
    ],
)
def test_every_option_that_changes_vectors_gives_another_fingerprint_and_slug(
    tiny_transformer: Path, options: EncoderOptions
) -> None:
    plain, other = (
        describe(load_encoder(str(tiny_transformer))),
        describe(load_encoder(str(tiny_transformer), options)),
    )
    assert plain.fingerprint != other.fingerprint
    assert plain.slug != other.slug
    assert plain.weights_digest == other.weights_digest


def test_the_device_changes_the_fingerprint_by_its_kind(tiny_transformer: Path) -> None:
    prints = [
        load_encoder(str(tiny_transformer), EncoderOptions(device=device)).fingerprint
        for device in ("cpu", "cuda", "cuda:1")
    ]
    assert prints[0] != prints[1] == prints[2]

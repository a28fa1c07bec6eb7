"""Fingerprints: what changes the vectors changes them, and nothing else does. Slugs: safe names of folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import Copy, edit_json

from xlir_bench.encoders import EncoderOptions, describe, load_encoder, transformer
from xlir_bench.encoders.digest import slug
from xlir_bench.files import safe_name

ADVERSARIAL = [
    "../../etc",
    "..",
    ".",
    "",
    "con",
    "CON.txt",
    "lpt1",
    "<script>alert(1)</script>",
    "x" * 5000,
    "نموذج عربي",
    "trailing.",
    "-rf",
    "a/b\\c:d*e?f|g",
    "tilde~0123abcd",
    "new\nline\0null",
    "\ud800 lone surrogate",
    "checkpoint-1000",
]


def is_safe(name: str) -> bool:
    return (
        re.fullmatch(r"[A-Za-z0-9._-]+(~[0-9a-f]{8})?", name) is not None
        and not name.startswith((".", "-"))
        and not name.endswith(".")
        and len(name) < 120
        and not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    )


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


def test_an_option_that_is_new_is_in_the_fingerprint_by_its_name(
    tiny_transformer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(transformer.OPTIONS_IN_SLUG) <= transformer.IN_PARTS
    monkeypatch.setattr(transformer, "OPTIONS_IN_SLUG", ("similarity",))
    prints = {
        load_encoder(str(tiny_transformer), EncoderOptions(similarity=name)).fingerprint
        for name in ("cosine", "dot")
    }
    assert len(prints) == 2


def test_the_device_changes_the_fingerprint_by_its_kind(tiny_transformer: Path) -> None:
    prints = [
        load_encoder(str(tiny_transformer), EncoderOptions(device=device)).fingerprint
        for device in ("cpu", "cuda", "cuda:1")
    ]
    assert prints[0] != prints[1] == prints[2]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_slug_is_safe_in_any_file_system(name: str) -> None:
    assert is_safe(slug(name))
    assert is_safe(slug(name, {"dtype": "float16"}))


@given(st.text())
def test_any_text_gives_a_safe_slug(name: str) -> None:
    assert is_safe(safe_name(name))


def test_adversarial_names_stay_apart() -> None:
    names = [*ADVERSARIAL, "x" * 5001, "نموذج عربى"]
    assert len({safe_name(name) for name in names}) == len(names)


def test_a_usual_name_stays_as_it_is() -> None:
    assert slug("intfloat__multilingual-e5-small") == "intfloat__multilingual-e5-small"


def test_options_add_a_tilde_and_eight_digits_of_their_digest() -> None:
    one, other = slug("m", {"dtype": "float16"}), slug("m", {"dtype": "bfloat16"})
    assert re.fullmatch("m~[0-9a-f]{8}", one)
    assert one != other
    assert slug("m", {}) == "m"

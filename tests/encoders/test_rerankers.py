"""Cross encoders and functions of pairs, and what is none of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models import Copy, edit_json, save_tiny_cross_encoder

from xlir_bench.encoders import EncoderOptions, load_encoder, load_reranker
from xlir_bench.encoders.rerankers import checked_scores
from xlir_bench.errors import BadVectorsError, InputError, XlirError

PAIRS = [
    ("Wer fand das?", "Это предложение немного длиннее других"),
    ("", ""),
    ("a", "猫 " * 300),
    ("b " * 300, ""),
    ("short", "one"),
]


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cross_encoder(tmp_path_factory.mktemp("models") / "cross")


@pytest.fixture(scope="module")
def bare_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cross_encoder(tmp_path_factory.mktemp("models") / "bare-cross", bare=True)


def test_scores_and_lengths_are_those_of_the_library_itself(
    cross_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sentence_transformers import CrossEncoder

    capfd.readouterr()
    reranker = load_reranker(str(cross_encoder), EncoderOptions(device="cpu"))
    ours = reranker.scores(PAIRS)
    assert capfd.readouterr() == ("", "")
    theirs = CrossEncoder(str(cross_encoder), device="cpu")
    np.testing.assert_allclose(ours, theirs.predict(PAIRS), rtol=1e-5)
    assert ours.dtype == np.float32
    assert len(np.unique(ours)) == len(PAIRS)
    assert reranker.card.max_tokens == theirs.max_seq_length == 128
    query, passage = zip(*PAIRS, strict=True)
    ids = theirs.tokenizer(list(query), list(passage), verbose=False)["input_ids"]
    lengths = [reranker.count_tokens(x, role).tokens for x, role in
               ((query, "query"), (passage, "passage"))]  # fmt: skip
    assert sum(lengths).tolist() == [len(row) for row in ids]


def test_a_prompt_that_the_model_registers_is_used_and_counted(
    cross_encoder: Path, copy: Copy
) -> None:
    folder = copy(cross_encoder)
    edit_json(
        folder / "config_sentence_transformers.json",
        prompts={"task": "find: "},
        default_prompt_name="task",
    )
    options = EncoderOptions(device="cpu")
    prompted, plain = (load_reranker(str(f), options) for f in (folder, cross_encoder))
    assert prompted.scores(PAIRS[:1]) != plain.scores(PAIRS[:1])
    more = prompted.count_tokens(["a"], "query").tokens - plain.count_tokens(["a"], "query").tokens
    assert more == len("find:")
    assert prompted.card.fingerprint != plain.card.fingerprint


def test_card_and_fingerprint_need_neither_torch_nor_the_library(bare_cross_encoder: Path) -> None:
    code = (
        "import sys; from xlir_bench.encoders import load_reranker, EncoderOptions\n"
        f"card = load_reranker({str(bare_cross_encoder)!r}, EncoderOptions()).card\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'huggingface_hub', 'pandas'}\n"
        "print(card.name, card.slug, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    card = load_reranker(str(bare_cross_encoder), EncoderOptions()).card
    assert done.stdout.split() == ["bare-cross", card.slug, "[]"]
    assert card.weights_digest is not None
    assert card.slug == f"bare-cross-{card.weights_digest.removeprefix('sha256:')[:8]}"
    half = load_reranker(str(bare_cross_encoder), EncoderOptions(dtype="float16")).card
    assert half.slug.startswith(card.slug + "~")
    assert half.fingerprint != card.fingerprint


def test_each_kind_of_model_that_stands_in_the_others_place_is_named(
    tiny_transformer: Path,
    bare_bert: Path,
    cross_encoder: Path,
    bare_cross_encoder: Path,
    tmp_path: Path,
) -> None:
    for folder in (cross_encoder, bare_cross_encoder):
        with pytest.raises(InputError, match=r"is a CrossEncoder.*--rerank"):
            load_encoder(str(folder))
    for folder, kind in ((tiny_transformer, "SentenceTransformer"), (bare_bert, "BertModel")):
        with pytest.raises(InputError, match=f"is a {kind}, not a CrossEncoder.*--model"):
            load_reranker(str(folder), EncoderOptions())
    labels = save_tiny_cross_encoder(tmp_path / "three", labels=3, bare=True)
    with pytest.raises(InputError, match="3 scores a pair"):
        load_reranker(str(labels), EncoderOptions())
    two = save_tiny_cross_encoder(tmp_path / "two", labels=2, bare=True)
    with pytest.raises(InputError, match="2 scores a pair"):
        load_reranker(str(two), EncoderOptions())
    for classifier in (labels, two):  # of NLI, say: no reranker, and pooled like any transformer
        encoder = load_encoder(str(classifier), EncoderOptions(device="cpu"))
        assert encoder.encode(["one", "two"], "query").shape == (2, 32)


def test_pickles_and_foreign_code_are_refused(cross_encoder: Path, copy: Copy) -> None:
    folder = copy(cross_encoder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pickle.*pytorch_model\.bin.*import CrossEncoder"):
        load_reranker(str(folder), EncoderOptions())
    folder = copy(cross_encoder)
    (folder / "modules.json").write_text('[{"type": "evil.Module", "path": ""}]')
    with pytest.raises(InputError, match="--trust-remote-code"):
        load_reranker(str(folder), EncoderOptions())


def test_a_device_that_is_not_there_is_told_before_anything_is_encoded(cross_encoder: Path) -> None:
    with pytest.raises(InputError, match="no device 'gpu'"):
        load_reranker(str(cross_encoder), EncoderOptions(device="gpu"))


@pytest.mark.parametrize("spec", ["builtin:bm25", "http://127.0.0.1#m", "npy:x", " "])
def test_other_specs_are_told_what_goes(spec: str) -> None:
    with pytest.raises(InputError, match=rf"^{re.escape(repr(spec))}.*py:FILE:NAME"):
        load_reranker(spec, EncoderOptions())


def test_a_function_of_pairs_is_a_reranker(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def scores(pairs):\n"
        "    return [len(q) - len(p) for q, p in pairs]\n"
        "class Made:\n"
        "    def __call__(self, pairs):\n"
        "        raise ValueError('no such pair')\n"
        "NUMBER = 3\n"
        "def words(pairs):\n"
        "    return ['high' for pair in pairs]\n"
    )
    mine = load_reranker(f"py:{file}:scores", EncoderOptions())
    assert mine.scores([("abc", "a"), ("", "ab")]).tolist() == [2.0, -2.0]
    assert (mine.card.name, mine.device) == ("mine.scores", "cpu")
    with pytest.raises(XlirError, match=r"mine\.Made .*ValueError: no such pair.*\bline 5\b"):
        load_reranker(f"py:{file}:Made", EncoderOptions()).scores([("a", "b")])
    with pytest.raises(BadVectorsError, match=r"reranker.*\blist\b"):
        load_reranker(f"py:{file}:words", EncoderOptions()).scores([("a", "b")])
    with pytest.raises(InputError, match=r"mine\.NUMBER .*\bint$"):
        load_reranker(f"py:{file}:NUMBER", EncoderOptions())
    before = mine.card.fingerprint
    file.write_text(file.read_text() + "\n")
    assert load_reranker(f"py:{file}:scores", EncoderOptions()).card.fingerprint != before


def test_scores_are_checked() -> None:
    assert checked_scores(np.zeros(2, np.float32), [("a", "b")] * 2).tolist() == [0, 0]
    with pytest.raises(BadVectorsError, match=r"\bnan\b.*'c', 'd'.*\b1 of 2\b"):
        checked_scores(np.array([1, np.nan]), [("a", "b"), ("c", "d")])

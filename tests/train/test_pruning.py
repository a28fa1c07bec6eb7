"""A vocabulary that is cut: what its texts keep, what others lose, and what is written of both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from models import save_tiny_bert, save_tiny_transformer
from train.rowfiles import row, write_rows
from train.trained import Asked, falling, same, weights

from xlir_bench.cli import exit_code
from xlir_bench.encoders import load_encoder
from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.options.training import TrainingSource, TrainOptions
from xlir_bench.tasks import catalogue
from xlir_bench.train.trainer import save_untrained, train

TEXTS = {
    "ar": "شربت القهوة مع جارتي قبل شروق الشمس، ثم ذهبنا إلى السوق.",
    "de": "Der Fährmann weigerte sich, bei Glatteis überzusetzen.",
    "el": "Η γιαγιά έκρυψε τα κλειδιά κάτω από τη γλάστρα με το βασιλικό.",
    "en": "Nobody told the beekeeper that the orchard had been sold twice.",
    "es": "El cartero perdió el paraguas en la estación de autobuses.",
    "hi": "बारिश रुकते ही बच्चे पतंग लेकर छत पर चढ़ गए।",
    "ko": "할머니는 장독대 옆에 감나무를 심으셨다.",
    "ru": "Сторож маяка записывал погоду в синюю тетрадь.",
    "th": "แม่ค้าขายมะม่วงที่ตลาดน้ำทุกเช้าวันเสาร์",
    "tr": "Balıkçılar fırtınadan önce ağlarını topladılar.",
    "zh": "木匠在院子里修好了祖父留下的那把旧椅子。",
}
"""Hand-written, one a language."""
AWAY = "Quietly zigzagging jellyfish vexed 3 wizards."
PIECES = ["unmet", "unseen", "1", "4", "12", "##23", "ab", "##c", "##d", "abc"]


def rows_of(folder: Path, texts: dict[str, str]) -> tuple[TrainingSource, ...]:
    sides = dict(texts)
    answers = {lang: text[::-1] for lang, text in texts.items()}
    path = write_rows(
        folder / "rows.jsonl", [row(0, question=sides, answer=answers), *map(row, range(3))]
    )
    return (TrainingSource(str(path)),)


def loaded(folder: Path | str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def as_bert(folder: Path, tokenizer: Any, **config: Any) -> Path:
    """A tiny transformer, of any architecture, with this tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModel

    stated = {
        "vocab_size": len(tokenizer) + 5, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 130, "initializer_range": 0.5,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind = config.pop("kind", "bert")
        AutoModel.from_config(AutoConfig.for_model(kind, **stated | config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained_tokenizer(kind: str) -> Any:
    """A tokenizer that the library learnt from the texts, with special tokens at odd places."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    corpus = [*TEXTS.values(), *(AWAY for _ in range(5)), *(text[::-1] for text in TEXTS.values())]
    if kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=420, special_tokens=special, unk_token="<unk>", show_progress=False
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>", additional_special_tokens=["<late>"],
    )  # fmt: skip


def wordpieces(place: int = 0) -> Any:
    """Characters and some pieces, so many of them before the special tokens."""
    from models import SPECIAL, wordpiece_tokenizer

    letters = sorted({c for text in TEXTS.values() for c in text.lower()} | set("abcdefghijklmnop"))
    words = list(dict.fromkeys([*PIECES, *letters, *("##" + c for c in letters)]))
    return wordpiece_tokenizer([*words[:place], *SPECIAL, *words[place:]])


MODELS: dict[str, Callable[[Path], Path]] = {
    "unigram bert": lambda folder: as_bert(folder, trained_tokenizer("Unigram")),
    "unigram xlm-roberta": lambda folder: as_bert(
        folder, trained_tokenizer("Unigram"), kind="xlm-roberta"
    ),
    "byte-level bpe roberta": lambda folder: as_bert(
        folder, trained_tokenizer("BPE"), kind="roberta"
    ),
    "wordpiece bert": lambda folder: as_bert(folder, wordpieces()),
    "special tokens further on": lambda folder: as_bert(folder, wordpieces(100)),
    "padding behind a piece that goes": lambda folder: as_bert(
        folder, wordpieces(2), kind="xlm-roberta"
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_texts_keep_their_pieces_and_vectors(name: str, asked: Asked, tmp_path: Path) -> None:
    base = MODELS[name](tmp_path / "base")
    # WordPiece: "123" is unknown, since "12" goes first; without that piece it would be "1", "##23".
    texts = TEXTS | {"en": TEXTS["en"] + " abcd 423 123 <mask> <late> ☃"}
    options = asked(base, sources=rows_of(tmp_path, texts), prune_vocabulary=("rows",))
    record = save_untrained(options).record
    whole, small = loaded(tmp_path / "base"), loaded(options.output)
    assert_same(whole, small, [*texts.values(), *(text[::-1] for text in texts.values())])
    before, after = record["pruning"]["pieces"]
    assert after < before
    assert small[0].auto_model.config.vocab_size == after == len(small[0].tokenizer)
    [table] = [x for key, x in weights(options.output).items() if "word_embeddings" in key]
    assert table.shape == (after, 32)
    assert small[0].auto_model.config.pad_token_id == small[0].tokenizer.pad_token_id


def assert_same(whole: Any, small: Any, texts: list[str]) -> None:
    """The same pieces, special tokens too, and the same vectors."""
    for text in texts:
        pieces = [
            m[0].tokenizer.convert_ids_to_tokens(m[0].tokenizer(text)["input_ids"])
            for m in (whole, small)
        ]
        assert pieces[0] == pieces[1], text
    one, two = (m.encode(texts, normalize_embeddings=True) for m in (whole, small))
    assert (one * two).sum(axis=1).min() > 1 - 1e-6


def test_special_tokens_and_single_characters_stay_and_order_is_kept(
    asked: Asked, tmp_path: Path
) -> None:
    base = MODELS["unigram xlm-roberta"](tmp_path / "base")
    options = asked(
        base, sources=rows_of(tmp_path, {"en": TEXTS["en"]}), prune_vocabulary=("rows",)
    )
    save_untrained(options)
    whole, small = loaded(base)[0].tokenizer, loaded(options.output)[0].tokenizer
    assert small.all_special_tokens == whole.all_special_tokens
    assert small.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    pieces = sorted(small.get_vocab(), key=small.get_vocab().get)
    assert pieces == sorted(pieces, key=whole.get_vocab().get)
    letters = set(whole.get_vocab()) & set(TEXTS["en"])
    assert letters <= set(pieces)
    assert not set(pieces) & set(TEXTS["zh"]), "of a language that is not among the rows"


# Ten seconds: half a gigabyte of weights is loaded twice, with 250,000 pieces.
def test_multilingual_e5_in_11_languages(
    asked: Asked, tmp_path: Path, packaged_e5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(packaged_e5))
    options = asked(
        "package:multilingual-e5-small",
        sources=rows_of(tmp_path, TEXTS),
        prune_vocabulary=("rows",),
    )
    record = save_untrained(options).record
    whole, small = load_encoder("package:multilingual-e5-small"), load_encoder(str(options.output))
    texts = [
        *TEXTS.values(),
        *("query: " + x for x in TEXTS.values()),
        *(f"passage: {x}" for x in TEXTS.values()),
    ]
    assert_same(whole._model, small._model, texts)  # type: ignore[attr-defined]
    pieces, megabytes = record["pruning"]["pieces"], record["pruning"]["megabytes"]
    assert pieces[0] == 250_002 > 100 * pieces[1] / 4
    assert megabytes[0] > 450 > 100 > megabytes[1]
    for role in ("query", "passage"):  # as `xlir-bench run --model` has it
        one, two = (encoder.encode(list(TEXTS.values()), role) for encoder in (whole, small))
        assert (one * two).sum(axis=1).min() > 1 - 1e-6


def test_a_real_bert_keeps_vectors(asked: Asked, minilm: Path, tmp_path: Path) -> None:
    english = {"en": f"{TEXTS['en']} {AWAY}", "de": TEXTS["de"], "zh": TEXTS["zh"]}
    options = asked(minilm, sources=rows_of(tmp_path, english), prune_vocabulary=("rows",))
    save_untrained(options)
    assert_same(loaded(minilm), loaded(options.output), list(english.values()))


def test_tasks_and_files_shape_it_too_and_the_card_names_them(asked: Asked, tmp_path: Path) -> None:
    base = MODELS["wordpiece bert"](tmp_path / "base")
    file = tmp_path / "more texts.txt"
    file.write_text("\n".join(TEXTS.values()), encoding="utf-8")
    rows = rows_of(tmp_path, {"en": TEXTS["en"]})
    tasks = catalogue().get(["mini"])
    plain, more = (
        train(
            asked(base, sources=rows, prune_vocabulary=names, output=tmp_path / out, steps=2),
            tasks=tasks,
        )
        for out, names in (("plain", ("rows",)), ("more", ("mini", str(file))))
    )
    assert_same(
        loaded(base), loaded(save(asked, base, rows, tasks, file, tmp_path)), list(TEXTS.values())
    )
    lost, kept = (done.record["pruning"] for done in (plain, more))
    assert lost["pieces"][1] < kept["pieces"][1]
    assert [t["name"] for t in kept["texts"]] == ["rows", "mini", "more texts.txt"]
    assert [t["texts"] for t in kept["texts"]] == [20, 11 * (72 + 145), 11]
    assert all(t["digest"].startswith("sha256:") for t in kept["texts"])
    assert kept["elsewhere"] == {"tasks": [], "languages": {}}
    assert lost["elsewhere"]["tasks"] == ["mini"]
    zh, en = (lost["elsewhere"]["languages"][lang] for lang in ("zh", "en"))
    assert zh["texts"] == 100
    assert zh["unknown"] > en["unknown"]
    assert zh["cosine"] < en["cosine"] <= 1
    cards = [(done.folder / "README.md").read_text(encoding="utf-8") for done in (plain, more)]
    assert "| zh | 100 |" in cards[0]
    assert "more texts.txt" in cards[1]
    assert str(tmp_path) not in cards[1]
    assert "was not measured" in cards[1]
    assert f"{kept['pieces'][0]:,} pieces to {kept['pieces'][1]:,}" in cards[1]


def save(asked: Asked, base: Path, rows: Any, tasks: Any, file: Path, folder: Path) -> Path:
    options = asked(
        base, sources=rows, prune_vocabulary=("mini", str(file)), output=folder / "untrained"
    )
    return save_untrained(options, tasks=tasks).folder


def test_an_interrupted_run_goes_on_with_the_same_pieces(asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text(TEXTS["en"])
    base = save_tiny_transformer(tmp_path / "base")
    stated: dict[str, Any] = {"steps": 20, "eval_steps": 5, "prune_vocabulary": (str(file),)}
    whole: TrainOptions = asked(base, output=tmp_path / "whole", **stated)
    train(whole, evaluate=falling)
    looks = []

    def interrupting(model: Any) -> dict[str, float]:
        looks.append(1)
        if len(looks) == 4:
            raise KeyboardInterrupt
        return falling(model)

    part = replace(whole, output=tmp_path / "part")
    with pytest.raises(KeyboardInterrupt):
        train(part, evaluate=interrupting)
    file.write_text(TEXTS["ru"])  # what was found is not looked for again
    done = train(replace(part, resume=True), evaluate=falling)
    assert done.record["outcome"]["resumed_from"] == 10
    assert same(weights(whole.output), weights(part.output))
    assert done.record["pruning"]["pieces"][1] == len(loaded(part.output)[0].tokenizer)


def test_another_model_is_not_cut_as_the_one_before(asked: Asked, tmp_path: Path) -> None:
    def interrupting(model: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    base = save_tiny_transformer(tmp_path / "base")
    options = asked(base, prune_vocabulary=("rows",))
    with pytest.raises(KeyboardInterrupt):
        train(options, evaluate=interrupting)
    save_tiny_transformer(base, seed=1)
    with pytest.raises(InputError, match=r"--resume: base .*pruned"):
        train(replace(options, resume=True), evaluate=interrupting)


def test_what_cannot_be_pruned_is_one_line(asked: Asked, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tasks = catalogue().get(["mini", "xquad-r"])
    base = save_tiny_bert(tmp_path / "base")
    with pytest.raises(InputError, match=r"--prune-vocabulary .*transformers.* --vocabulary "):
        train(asked(prune_vocabulary=("rows",)))
    with pytest.raises(UnknownNameError, match=r"'xquad'.*'xquad-r'"):
        train(asked(base, prune_vocabulary=("xquad",)), tasks=tasks)
    with pytest.raises(OutOfReachError, match="data fetch xquad-r"):
        train(asked(base, prune_vocabulary=("xquad-r",)), tasks=tasks, data=tmp_path)
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )
    with pytest.raises(InputError, match="not of WordLevel"):
        train(asked(as_bert(tmp_path / "words", words), prune_vocabulary=("rows",)))
    packed = tmp_path / "texts.gz"
    packed.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="cannot be read"):
        train(asked(base, prune_vocabulary=(str(packed),)))


def test_from_the_command_line_to_a_result(
    tiny_transformer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XLIR_DATA", raising=False)  # what is there would be read for its texts
    out = str(tmp_path / "out")
    stated = ["--model", str(tiny_transformer), "--train", "mini-train", "--output", out]
    brief = ["--steps", "2", "--eval-langs", "de,en", "--eval-limit", "5", "--device", "cpu"]
    assert exit_code(["train-hybrid", *stated, *brief, "--prune-vocabulary", "rows"]) == 0
    told = capsys.readouterr().out
    run = ["run", "--model", out, "--langs", "de,en", "--limit", "5", "--json", "--device", "cpu"]
    assert exit_code([*run, "--output", str(tmp_path / "results")]) == 0
    result = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    whole, left = record["pruning"]["pieces"]
    assert re.search(rf"\b{left:,} of {whole:,} pieces, .* MB.*model card", told)
    assert record["options"]["prune_vocabulary"] == ["rows"]
    after = record["after"]["mini.cross-lingual.map"]
    assert result["summary"]["cross-lingual"]["map"]["mean"] == pytest.approx(after, abs=1e-6)

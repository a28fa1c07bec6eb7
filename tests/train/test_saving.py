"""A model that is saved where another lies: readers find the old one, the new one, or are told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills.operations import kills
from models import save_tiny_bert
from train.trained import same, weights

from xlir_bench.encoders import load_encoder
from xlir_bench.errors import InputError
from xlir_bench.files import replacing_files
from xlir_bench.train.trainer import MARKS


def static(folder: Path, seed: int) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = transformer(folder.parent / f"{seed}-beside", seed)
    words = SentenceTransformer(str(tokenizer), device="cpu").tokenizer.backend_tokenizer
    table = np.random.default_rng(seed).normal(size=(words.get_vocab_size(), 8))
    module = StaticEmbedding(words, embedding_weights=table.astype(np.float32))
    SentenceTransformer(modules=[module]).save(str(folder), create_model_card=False)
    return folder


def transformer(folder: Path, seed: int) -> Path:
    """Its pooling is not the one that libraries add to a model without any, and has a layer behind it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    bare = Transformer(str(save_tiny_bert(folder.parent / f"{seed}-bare", seed=seed)))
    modules: list[Any] = [bare, Pooling(32, pooling_mode="cls"), Dense(32, 4 + seed)]
    SentenceTransformer(modules=modules).save(str(folder), create_model_card=False)
    return folder


def vectors(folder: Path) -> bytes:
    return load_encoder(str(folder)).encode(["one", "two words"], "query").tobytes()


def saving(new: Path, place: Path) -> Callable[[], None]:
    def save() -> None:
        with replacing_files(place, MARKS) as fresh:
            shutil.copytree(new, fresh, dirs_exist_ok=True)

    return save


@pytest.mark.parametrize("make", [static, transformer])
@pytest.mark.parametrize("over", [True, False])
def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one_or_none(
    tmp_path: Path, make: Callable[[Path, int], Path], over: bool
) -> None:
    old, new, place = make(tmp_path / "old", 0), make(tmp_path / "new", 1), tmp_path / "place"

    def begin() -> None:
        if over:
            shutil.copytree(old, place)
        else:
            place.mkdir()
        (place / "mine.txt").write_text("a file of the user's")

    known = {vectors(old): "old", vectors(new): "new"}
    found = []
    begin()
    for _ in kills(saving(new, place)):
        try:
            found.append(known[vectors(place)])
        except InputError:
            found.append("none")
        assert (place / "mine.txt").is_file()
        shutil.rmtree(place)
        begin()
    assert [*dict.fromkeys(found)] == ["old", "none", "new"][not over :]
    assert found == sorted(found, key=["old", "none", "new"].index)
    assert same(weights(place), weights(new))
    assert {p.name for p in place.iterdir()} == {"mine.txt", *(p.name for p in new.iterdir())}


def test_a_save_goes_on_after_one_that_was_killed(tmp_path: Path) -> None:
    new, place = static(tmp_path / "new", 1), static(tmp_path / "place", 0)
    for _ in kills(saving(new, place)):
        pass
    assert vectors(place) == vectors(new)
    assert not (place / ".building").exists()

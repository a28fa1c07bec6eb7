"""`builtin:static`, from its options to a model that loads as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import save_static_embedding
from safetensors.numpy import load_file
from train.trained import PICKLES, Asked, falling, same, weights

from xlir_bench.encoders import load_encoder
from xlir_bench.errors import InputError
from xlir_bench.train import save_untrained, train


def test_a_static_model_is_made_trained_and_loaded_as_any_other(asked: Asked) -> None:
    done = train(asked(steps=30, batches={"seed": 1}), evaluate=falling)
    assert (
        done.record["after"]["pair.monolingual.map"] > done.record["before"]["pair.monolingual.map"]
    )
    assert done.record["outcome"]["steps"] == 30
    encoder = load_encoder(str(done.folder))
    assert encoder.dimension == 16
    files = {p.relative_to(done.folder).as_posix() for p in done.folder.rglob("*") if p.is_file()}
    assert {"modules.json", "README.md", "log.jsonl", "training.json", "curves.png"} <= files
    assert not any(Path(name).suffix in PICKLES for name in files)
    assert not any(name.startswith("checkpoints") for name in files)


def test_a_static_model_can_be_trained_on(asked: Asked, tmp_path: Path) -> None:
    base = save_static_embedding(tmp_path / "base")
    done = train(asked(base, lr=0.01))
    assert not same(weights(base), weights(done.folder))


def test_what_learns_behind_a_table_is_trained_with_it(asked: Asked, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    table = SentenceTransformer(str(save_static_embedding(tmp_path / "table")), device="cpu")
    width = table.get_embedding_dimension()
    both = SentenceTransformer(modules=[table[0], Dense(width, 8)], device="cpu")
    both.save(str(tmp_path / "base"), create_model_card=False)
    before = weights(tmp_path / "base")
    after = weights(train(asked(tmp_path / "base", lr=0.01)).folder)
    assert all(not np.array_equal(before[name], after[name]) for name in before)


def test_gradients_of_a_table_are_clipped_where_that_is_asked_for(
    asked: Asked, tmp_path: Path
) -> None:
    plain = train(asked(output=tmp_path / "plain"))
    clipped = train(asked(output=tmp_path / "clipped", arguments={"max_grad_norm": 1e-4}))
    assert not same(weights(plain.folder), weights(clipped.folder))


def test_int8_loads_as_before_and_is_a_quarter_of_the_size(asked: Asked, tmp_path: Path) -> None:
    whole = train(asked(output=tmp_path / "whole"))
    small = train(asked(output=tmp_path / "small", static={"int8": True}))
    sizes = [(x.folder / "model.safetensors").stat().st_size for x in (whole, small)]
    assert sizes[1] < 0.4 * sizes[0]
    texts = ["question 1 in en", "answer 2 in de"]
    one, two = (load_encoder(str(x.folder)).encode(texts, "query") for x in (whole, small))
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert (cosine > 0.999).all()


@pytest.mark.parametrize("int8", [False, True])
def test_identity_stands_beside_what_was_trained(asked: Asked, tmp_path: Path, int8: bool) -> None:
    def looking(model: Any) -> dict[str, float]:
        widths.append(model.get_embedding_dimension())
        return falling(model)

    widths: list[int] = []
    plain = train(asked(output=tmp_path / "plain"))
    both = train(
        asked(output=tmp_path / "both", eval_steps=3, static={"identity": 8, "int8": int8}),
        evaluate=looking,
    )
    assert set(widths) == {24}  # before, on the way and after: what will be used
    assert load_encoder(str(both.folder)).dimension == 24
    assert "8 random dimensions" in (both.folder / "README.md").read_text()
    if not int8:
        [table], [trained] = (weights(x.folder).values() for x in (both, plain))
        assert np.array_equal(table[:, :16], trained)


def test_the_best_step_and_the_prompts_stand_beside_an_identity_too(
    asked: Asked, tmp_path: Path
) -> None:
    looks: list[int] = []

    def best_at_first(model: Any) -> dict[str, float]:
        looks.append(1)
        return {"pair.monolingual.map": 1 / len(looks)}

    options = asked(
        steps=6, eval_steps=3, query_prompt="q: ", keep_checkpoints=True, static={"identity": 8}
    )
    done = train(options, evaluate=best_at_first)
    assert done.record["outcome"]["chosen_step"] == 3
    table, kept = (
        load_file(folder / "model.safetensors")["embedding.weight"]
        for folder in (done.folder, done.folder / "checkpoints/checkpoint-3")
    )
    assert np.array_equal(table[:, :16], kept)
    card = load_encoder(str(done.folder)).card  # type: ignore[attr-defined]
    assert card.query_prompt == "q: "


def test_an_untrained_model_is_saved_as_it_would_be_used(asked: Asked, tmp_path: Path) -> None:
    done = save_untrained(asked(static={"identity": 8}))
    assert load_encoder(str(done.folder)).dimension == 24
    assert any("8 random dimensions" in note for note in done.record["base"]["notes"])


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ({"vocabulary": 0}, "--vocabulary 0 wants a number above 0"),
        ({"smoothing": 0.0}, "--smoothing 0.0 wants a number above 0"),
        ({"identity": -1}, "--identity -1 wants 0 or more"),
        ({"identity_weight": 0.0}, "--identity-weight 0.0 wants a number above 0"),
        ({"identity_weight": 0.7}, "the dimensions of --identity"),
    ],
)
def test_what_makes_no_model_is_refused(asked: Asked, stated: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        train(asked(static=stated))


@pytest.mark.parametrize(
    "stated",
    [
        {"vocabulary": 9}, {"smoothing": 1e-4}, {"romanise": True}, {"int8": True}, {"identity": 8},
    ],
)  # fmt: skip
def test_what_a_stored_model_decided_long_ago_is_refused(
    asked: Asked, stated: dict[str, Any]
) -> None:
    [name] = stated
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} is for builtin:static"):
        train(asked("no-such-folder", static=stated))


def test_a_dimension_is_a_number(asked: Asked) -> None:
    with pytest.raises(InputError, match="wants a dimension"):
        train(asked("builtin:static:x"))

"""`builtin:static`: its vocabulary and weights, its identity dimensions, and training it from options to a model.

Gradients of the rows that a batch met, and Adam over them, are held against torch's own over the whole table.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import save_static_embedding
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models
from torch import nn
from train.trained import PICKLES, Asked, falling, same, weights

from xlir_bench.encoders import load_encoder
from xlir_bench.errors import InputError
from xlir_bench.options.static import StaticOptions
from xlir_bench.train.static import (
    RowAdam,
    SparseTable,
    add_identity,
    clip_gradients,
    learn_tokenizer,
    token_shares,
    weights_of,
)
from xlir_bench.train.trainer import save_untrained, train

TEXTS = ["the cat sat on the mat", "the dog saw the cat", "η γάτα είδε τη γάτα", "แมวเห็นแมว"] * 3
WORDS = 40


@pytest.mark.parametrize("smoothing", [1e-3, 1e-4, 0.5])
def test_a_subword_weighs_less_the_more_often_it_stands(smoothing: float) -> None:
    tokenizer = learn_tokenizer(TEXTS, 300)
    ids = [i for text in TEXTS for i in tokenizer.encode(text, add_special_tokens=False).ids]
    share = {i: count / len(ids) for i, count in Counter(ids).items()}
    weights = weights_of(token_shares(tokenizer, iter(TEXTS)), smoothing)
    plain = [smoothing / (smoothing + share.get(i, 0)) for i in range(len(weights))]
    assert weights.dtype == np.float32
    assert weights == pytest.approx(plain, rel=1e-6)
    assert weights[0] == 1  # the unknown sub-word stands nowhere


def test_a_vocabulary_is_no_larger_than_asked_for_and_the_same_each_time() -> None:
    first, second = (learn_tokenizer(iter(TEXTS), 60) for _ in range(2))
    assert first.get_vocab_size() <= 60
    assert first.get_vocab() == second.get_vocab()
    assert first.encode("the CAT").tokens == second.encode("The cat").tokens


@pytest.mark.parametrize(
    ("written", "latin"),
    [
        ("Владимир Путин", "vladimir putin"),
        ("Зеленський", "zelenskii"),
        ("Μπάιντεν", "baiden"),
        ("Κούβα", "kuva"),
        ("नरेंद्र मोदी", "narendra modi"),
        ("भारत की", "bharata ki"),
        ("क़लम", "kalama"),
        ("Paris, 上海, القاهرة, ไทย", "paris, 上海, القاهرة, ไทย"),
    ],
)
def test_romanised_names_are_written_as_they_sound(written: str, latin: str) -> None:
    tokenizer = learn_tokenizer(TEXTS, 300, romanise=True)
    assert tokenizer.normalizer.normalize_str(written) == latin


def test_without_it_every_script_stays() -> None:
    assert learn_tokenizer(TEXTS, 300).normalizer.normalize_str("Путин") == "путин"


def model_of(table: np.ndarray) -> object:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = Tokenizer(models.WordLevel({f"w{n}": n for n in range(len(table))}, "w0"))
    module = StaticEmbedding(tokenizer, embedding_weights=table)
    return SentenceTransformer(modules=[module], device="cpu", prompts={"query": "q: "})


def beside(table: np.ndarray, weight: float = 0.5, seed: int = 3) -> np.ndarray:
    options = StaticOptions(identity=24, identity_weight=weight)
    made = add_identity(model_of(table), options, shares(), seed)
    assert made.prompts["query"] == "q: "
    found: np.ndarray = made[0].embedding.weight.detach().numpy()
    return found


def shares() -> np.ndarray:
    drawn = np.random.default_rng(0).exponential(size=WORDS).astype(np.float32) ** 4
    drawn[7] = 0  # a sub-word that no sampled text has
    return drawn / drawn.sum()


def alike() -> np.ndarray:
    """A table whose vectors all point the same way: the worst that training can do."""
    lengths = np.random.default_rng(1).uniform(0.1, 1, (WORDS, 1)).astype(np.float32)
    return lengths * np.ones((1, 8), np.float32)


def test_the_trained_numbers_stay_and_vectors_that_were_alike_are_told_apart() -> None:
    found = beside(alike())
    assert (found.shape, found.dtype) == ((WORDS, 32), np.float32)
    assert (found[:, :8] == alike()).all()
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert (unit @ unit.T)[~np.eye(WORDS, dtype=bool)].max() < 0.999


@pytest.mark.parametrize("weight", [0.2, 1.0])
def test_the_weight_is_a_ratio_of_lengths_over_the_running_text(weight: float) -> None:
    found = beside(alike(), weight)
    text = np.random.default_rng(2).choice(WORDS, 200_000, p=shares() / shares().sum())
    trained, own = (np.square(part).sum(axis=1) for part in (found[:, :8], found[:, 8:]))
    assert np.sqrt(own[text].mean() / trained[text].mean()) == pytest.approx(weight, rel=0.02)


def test_frequent_sub_words_count_less() -> None:
    own = np.linalg.norm(beside(alike())[:, 8:], axis=1)
    assert (np.diff(own[np.argsort(shares(), kind="stable")]) < 1e-5).all()
    assert own[7] == pytest.approx(own.max())
    assert own.min() < 0.01 * own.max()


def test_it_is_not_what_the_table_began_with_though_as_wide() -> None:
    began = np.random.default_rng([3, 24]).standard_normal((WORDS, 24), dtype=np.float32)
    found = beside(began)
    own, trained = found[:, 24:], found[:, :24]
    cosine = (own * trained).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(trained, axis=1)
    assert abs(cosine.mean()) < 0.2


def test_the_seed_decides() -> None:
    assert (beside(alike()) == beside(alike())).all()
    assert not (beside(alike()) == beside(alike(), seed=4)).all()


@pytest.mark.usefixtures("drawn")
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
        ({"vocabulary": 0}, "--vocabulary 0 .*above 0"),
        ({"smoothing": 0.0}, "--smoothing 0.0 .*above 0"),
        ({"identity": -1}, "--identity -1 .*0 or more"),
        ({"identity_weight": 0.0}, "--identity-weight 0.0 .*above 0"),
        ({"identity_weight": 0.7}, "the dimensions that --identity adds"),
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
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} .*builtin:static"):
        train(asked("no-such-folder", static=stated))


def test_a_dimension_is_a_number(asked: Asked) -> None:
    with pytest.raises(InputError, match="wants a dimension"):
        train(asked("builtin:static:x"))


SIZE, WIDTH = 30, 6


def tables() -> tuple[nn.EmbeddingBag, SparseTable]:
    torch.manual_seed(0)
    plain = nn.EmbeddingBag(SIZE, WIDTH, mode="mean")
    return plain, SparseTable.of(
        nn.EmbeddingBag(SIZE, WIDTH, mode="mean", _weight=plain.weight.data.clone())
    )


def some_texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Five texts; sub-words repeat within and across them, and one text is empty."""
    return torch.tensor([3, 3, 7, 21, 7, 2, 3, 29]), torch.tensor([0, 3, 3, 5, 7])


def loss(table: nn.Module) -> torch.Tensor:
    vectors = table(*some_texts())
    found: torch.Tensor = (
        vectors * torch.arange(vectors.numel()).reshape(vectors.shape)
    ).sum() ** 2
    return found


def test_vectors_and_gradients_are_those_of_the_whole_table() -> None:
    plain, sparse = tables()
    with torch.no_grad():
        assert torch.equal(plain(*some_texts()), sparse(*some_texts()))
    assert torch.allclose(plain(*some_texts()), sparse(*some_texts()))
    loss(plain).backward()
    loss(sparse).backward()
    assert sparse.weight.grad is not None
    assert sparse.weight.grad.is_sparse
    assert torch.allclose(plain.weight.grad, sparse.weight.grad.to_dense())  # type: ignore[arg-type]
    assert sorted(sparse.weight.grad.coalesce().indices()[0].tolist()) == [2, 3, 7, 21, 29]


def test_its_weights_are_those_it_was_made_of() -> None:
    plain, _ = tables()
    made = SparseTable.of(plain)
    assert made.weight.data_ptr() == plain.weight.data_ptr()
    assert made.state_dict().keys() == plain.state_dict().keys()


def test_rows_that_are_met_at_every_step_move_as_under_adam() -> None:
    plain, sparse = tables()
    adam = torch.optim.Adam(plain.parameters(), lr=0.01)
    lazy = RowAdam(sparse.parameters(), torch.ones(SIZE), lr=0.01)
    for _ in range(5):
        for table, optimizer in ((plain, adam), (sparse, lazy)):
            optimizer.zero_grad()
            loss(table).backward()
            optimizer.step()
    assert torch.allclose(plain.weight, sparse.weight, atol=1e-6)


def test_rows_that_are_not_met_stay_and_rates_scale_the_step() -> None:
    _, sparse = tables()
    before = sparse.weight.detach().clone()
    rates = torch.ones(SIZE)
    rates[7] = 0.25
    lazy = RowAdam(sparse.parameters(), rates, lr=0.01)
    loss(sparse).backward()
    lazy.step()
    moved = (sparse.weight.detach() - before).abs()
    assert set(moved.any(dim=1).nonzero().squeeze(1).tolist()) == {2, 3, 7, 21, 29}
    assert moved[7].max() == pytest.approx(0.25 * float(moved[3].max()), rel=1e-3)


def test_both_columns_of_a_batch_add_up() -> None:
    plain, sparse = tables()
    (loss(plain) + 3 * plain(torch.tensor([7, 8]), torch.tensor([0])).sum()).backward()
    (loss(sparse) + 3 * sparse(torch.tensor([7, 8]), torch.tensor([0])).sum()).backward()
    assert sparse.weight.grad is not None
    assert torch.allclose(plain.weight.grad, sparse.weight.grad.to_dense())  # type: ignore[arg-type]


@pytest.mark.parametrize("longest", [float("inf"), 1.0])
def test_gradients_are_clipped_as_those_of_the_whole_table(longest: float) -> None:
    plain, sparse = tables()
    for table in (plain, sparse):
        (loss(table) + loss(table)).backward()
    norm = nn.utils.clip_grad_norm_(plain.parameters(), longest)
    assert clip_gradients(sparse.parameters(), longest) == pytest.approx(float(norm), rel=1e-6)
    assert sparse.weight.grad is not None
    assert torch.allclose(plain.weight.grad, sparse.weight.grad.to_dense(), rtol=1e-5)  # type: ignore[arg-type]


def test_a_closure_is_refused() -> None:
    _, sparse = tables()
    with pytest.raises(TypeError, match="each batch once"):
        RowAdam(sparse.parameters(), torch.ones(SIZE), lr=0.01).step(lambda: 0.0)

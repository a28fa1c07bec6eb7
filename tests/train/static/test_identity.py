"""Dimensions in which every sub-word is itself alone."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from xlir_bench.train.static import Identity

WORDS = 40


def model_of(table: np.ndarray) -> object:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = Tokenizer(models.WordLevel({f"w{n}": n for n in range(len(table))}, "w0"))
    module = StaticEmbedding(tokenizer, embedding_weights=table)
    return SentenceTransformer(modules=[module], device="cpu", prompts={"query": "q: "})


def beside(table: np.ndarray, weight: float = 0.5, seed: int = 3) -> np.ndarray:
    made = Identity(24, weight, shares(), seed).beside(model_of(table))
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

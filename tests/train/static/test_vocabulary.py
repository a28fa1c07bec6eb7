"""The sub-words of a static model and what each weighs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from xlir_bench.train.static.vocabulary import learn_tokenizer, token_shares, weights_of

TEXTS = ["the cat sat on the mat", "the dog saw the cat", "η γάτα είδε τη γάτα", "แมวเห็นแมว"] * 3


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

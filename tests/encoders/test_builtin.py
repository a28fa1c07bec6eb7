from __future__ import annotations

import time
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlir_bench.encoders import EncoderOptions, checked, describe, load_encoder
from xlir_bench.errors import UnknownNameError

NGRAM = load_encoder("builtin:ngram")
RANDOM = load_encoder("builtin:random")
TEXTS = [
    "The Cat",
    "Η γάτα",
    "แมวนั่งบนเสื่อ",
    "猫坐在垫子上",
    "बिल्ली",
    "القط",
    "x",
    "The cat sat on the mat.",
]
MASK = (1 << 64) - 1


def splitmix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def ngram_by_the_formula(text: str) -> np.ndarray:
    """The documented formula, one n-gram at a time with Python's integers."""
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    padded, sums = "\x02" + words + "\x03" if words else "", Counter[int]()
    for size in (2, 3, 4):
        for start in range(len(padded) - size + 1):
            h = 0
            for length, letter in enumerate(padded[start : start + size], 1):
                h = splitmix(((h * 31 + ord(letter)) * 0x9E3779B97F4A7C15 + length) & MASK)
            sums[h % 1024] += 1 if h >> 40 & 1 else -1
    vector = np.zeros(1024)
    for bucket, total in sums.items():
        vector[bucket] = np.sign(total) * np.sqrt(abs(total))
    return vector.astype(np.float32)


@given(st.lists(st.text(max_size=30), max_size=6))
def test_ngram_vectors_are_those_of_the_documented_formula(texts: list[str]) -> None:
    vectors = NGRAM.encode(texts, "query")
    assert vectors.shape == (len(texts), 1024)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(vector, ngram_by_the_formula(text))


@pytest.mark.parametrize("encoder", [NGRAM, RANDOM])
def test_a_vector_has_the_same_bits_in_every_batch_and_role(encoder) -> None:
    whole = encoder.encode(TEXTS, "query")
    alone = np.vstack([encoder.encode([text], "passage") for text in reversed(TEXTS)])[::-1]
    assert whole.dtype == np.float32
    assert np.array_equal(whole, alone)
    assert encoder.encode([], "query").shape == (0, encoder.dimension)


def test_ngram_does_not_mind_case_width_or_white_space() -> None:
    one, other = NGRAM.encode(["  THE　ＣＡＴ\n", "the cat"], "query")
    assert np.array_equal(one, other)


def test_ngram_gives_a_text_without_characters_the_zero_vector() -> None:
    vectors = NGRAM.encode(["", " \n\t", "a"], "query")
    assert not vectors[:2].any()
    assert vectors[2].any()


def test_ngram_finds_the_text_that_shares_words_in_any_script() -> None:
    passages = [
        "Die Katze schläft.",
        "Кошка спит на диване.",
        "猫在沙发上睡觉。",
        "القطة تنام على الأريكة",
    ]
    queries = ["Wo schläft die Katze?", "Где спит кошка?", "猫在哪里睡觉？", "أين تنام القطة؟"]
    q, p = NGRAM.encode(queries, "query"), NGRAM.encode(passages, "passage")
    scores = (q / np.linalg.norm(q, axis=1)[:, None]) @ (p / np.linalg.norm(p, axis=1)[:, None]).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_ngram_encodes_thousands_of_texts_a_second() -> None:
    texts = [
        f"{i} " + "A sentence of about one hundred and twenty characters. " * 2 for i in range(4000)
    ]
    start = time.perf_counter()
    NGRAM.encode(texts, "passage")
    assert len(texts) / (time.perf_counter() - start) > 2000


def test_random_vectors_are_gaussian_and_follow_from_the_text() -> None:
    vectors = RANDOM.encode([str(i) for i in range(500)], "query")
    assert vectors.shape == (500, 256)
    assert abs(vectors.mean()) < 0.01
    assert abs(vectors.std() - 1) < 0.01
    assert np.array_equal(vectors[7], RANDOM.encode(["7"], "passage")[0])
    checked(vectors, ["x"] * 500, 256)


def test_an_unknown_builtin_is_an_error_with_a_near_miss() -> None:
    with pytest.raises(UnknownNameError, match=r"'ngrams'.*'ngram'"):
        load_encoder("builtin:ngrams")


def test_the_card_says_which_options_mean_nothing_here() -> None:
    card = describe(
        load_encoder("builtin:ngram", EncoderOptions(query_prompt="q: ", dtype="float16"))
    )
    assert (card.kind, card.slug, card.query_prompt) == ("builtin", "builtin-ngram", "")
    assert [note.split()[0] for note in card.notes] == ["--query-prompt", "--dtype"]
    assert card.fingerprint == NGRAM.fingerprint != RANDOM.fingerprint

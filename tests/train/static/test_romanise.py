"""Names in Latin letters, whatever they were written in."""

from __future__ import annotations

import pytest

from xlir_bench.train.static.vocabulary import learn_tokenizer

TEXTS = ["the cat sat on the mat", "η γάτα είδε τη γάτα"]


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

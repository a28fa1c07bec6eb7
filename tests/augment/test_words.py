from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlir_bench.augment.words import atoms, entry_form, in_case_of, lookup_form, needs_space


def pieces(text: str) -> list[str]:
    return [atom.text for atom in atoms(text)]


def words(text: str) -> list[str]:
    return [atom.text for atom in atoms(text) if atom.kind in ("word", "sign")]


@given(st.text())
def test_pieces_joined_are_the_text_again(text: str) -> None:
    assert "".join(pieces(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He said, don't!", ["He", "said", "don't"]),
        ("Mama’s well-known ABC12", ["Mama", "well", "known", "ABC12"]),
        ("यह किताब है।", ["यह", "किताब", "है"]),
        ("קָרָאתִי ספר", ["קָרָאתִי", "ספר"]),
        ("می\u200cخواهم بروم", ["می\u200cخواهم", "بروم"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("データを読む", ["データ", "を", "読", "む"]),
        ("iPhoneใหม่", ["iPhone", "ให", "ม่"]),
        ("ខ្ញុំ", ["ខ្ញុំ"]),
    ],
)
def test_words_are_found_in_any_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_thai_vowel_stays_with_its_consonant() -> None:
    assert pieces("เขามาบ้าน") == ["เขา", "มา", "บ้า", "น"]
    assert pieces("น้ำแข็ง") == ["น้ำ", "แข็", "ง"]


@pytest.mark.parametrize(
    ("word", "lang", "form"),
    [
        ("ISPARTA", "tr", "ısparta"),
        ("İzmir", "tr", "izmir"),
        ("ISPARTA", "en", "isparta"),
        ("ΟΔΟΣ", "el", "οδος"),
        ("كِتَابٌ", "ar", "كتاب"),
        ("ﻛﺘﺎﺏ", "ar", "كتاب"),
        ("Ｔｅｘｔ", "en", "text"),
        ("don’t", "en", "don't"),
    ],
)
def test_a_word_is_looked_up_small_composed_and_without_points(
    word: str, lang: str, form: str
) -> None:
    assert lookup_form(word, lang) == form


def test_composed_and_decomposed_words_are_one_entry() -> None:
    for word in ("été", "năm", "น้ำ", "बढ़"):
        forms = {"".join(entry_form(unicodedata.normalize(f, word), "xx")) for f in ("NFC", "NFD")}
        assert len(forms) == 1, word


@pytest.mark.parametrize(
    ("model", "word", "lang", "expected"),
    [
        ("house", "Haus", "de", "Haus"),
        ("House", "maison", "fr", "Maison"),
        ("HOUSE", "maison", "fr", "MAISON"),
        ("A", "ein", "de", "Ein"),
        ("HOUSE", "iyi", "tr", "İYİ"),
        ("House", "ılık", "tr", "Ilık"),
        ("House", "บ้าน", "th", "บ้าน"),
        ("家", "house", "en", "house"),
        ("McDonald", "wort", "de", "Wort"),
        ("eBay", "wort", "de", "wort"),
        ("HOUSE", "straße", "de", "STRASSE"),
        ("X1", "wort", "de", "Wort"),
    ],
)
def test_a_new_word_stands_in_the_case_of_the_old(
    model: str, word: str, lang: str, expected: str
) -> None:
    assert in_case_of(model, word, lang) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [("a", "b", True), ("a", "ร", False), ("家", "b", False), ("a", ".", False), ("ा", "b", True)],
)
def test_only_letters_of_scripts_with_spaces_run_together(
    before: str, after: str, expected: bool
) -> None:
    assert needs_space(before, after) is expected

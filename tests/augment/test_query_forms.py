"""Questions as people type them."""

from __future__ import annotations

import numpy as np
import pytest

from xlir_bench.augment.query_forms import LETTERS_A_TYPO, lower, romanised, typos, with_query_form
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Passages, Queries, Relevance

QUESTIONS = {
    "ar": "ما هو أطول نهر في العالم؟",
    "de": "Welcher Fluss fließt durch die Altstadt von Prag?",
    "el": "Ποιος ποταμός διασχίζει την παλιά πόλη;",
    "en": "Which river flows through the old town of Prague?",
    "hi": "पुराने शहर से कौन सी नदी बहती है?",
    "th": "แม่น้ำสายใดไหลผ่านเมืองเก่า",
    "tr": "IRMAK hangi İLDEN geçer?",
    "zh": "哪条河流经老城？",
}


def collection(texts: dict[str, list[str]]) -> Collection:
    one = np.zeros(1, np.int64)
    return Collection(
        queries={x: Queries(tuple(map(str, range(len(t)))), t, ("c",) * len(t)) for x, t in texts.items()},
        passages={x: Passages([f"{x}:0:0"], ["text"]) for x in texts},
        relevance={(x, x): Relevance(one, one, one + 1) for x in texts},
        cluster="article",
        parallel=True,
        digests={},
    )  # fmt: skip


def distance(a: str, b: str) -> int:
    """How many letters are replaced, lost, added or swapped with the next (optimal string alignment)."""
    d = {(i, j): i + j for i in range(len(a) + 1) for j in range(len(b) + 1) if not i or not j}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i, j] = min(
                d[i - 1, j] + 1,
                d[i, j - 1] + 1,
                d[i - 1, j - 1] + (a[i - 1] != b[j - 1]),
                d[i - 2, j - 2] + 1 if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1] else 9**9,
            )  # fmt: skip
    return d[len(a), len(b)]


@pytest.mark.parametrize("lang", QUESTIONS)
def test_a_typo_for_every_twenty_letters_in_every_script(lang: str) -> None:
    changed = 0
    for n in range(20):
        text = f"{QUESTIONS[lang]} {n}"
        wrong = typos(text, lang)
        assert wrong == typos(text, lang)
        letters = sum(sign.isalpha() for sign in text)
        assert distance(text, wrong) <= 2 * max(1, round(letters / LETTERS_A_TYPO))
        assert all(digit in wrong for digit in str(n))
        changed += wrong != text
    assert changed >= 18


@pytest.mark.parametrize("text", ["", "?", "42", "  "])
def test_a_text_without_a_letter_stays_as_it_is(text: str) -> None:
    assert typos(text, "en") == lower(text, "en") == romanised(text, "en") == text


def test_small_letters_follow_the_language() -> None:
    assert lower(QUESTIONS["tr"], "tr") == "ırmak hangi ilden geçer"
    assert lower(QUESTIONS["de"], "de") == "welcher fluss fließt durch die altstadt von prag"
    assert lower(QUESTIONS["zh"], "zh") == "哪条河流经老城"
    assert lower("क्या?", "hi") == "क्या"  # a vowel sign is no punctuation


@pytest.mark.parametrize("lang", QUESTIONS)
def test_romanised_is_ascii(lang: str) -> None:
    assert romanised(QUESTIONS[lang], lang).isascii()


def test_a_note_says_how_many_changed_and_passages_stay() -> None:
    before = collection({"de": ["Ja?", "42"], "en": ["yes", "no"]})
    after = with_query_form(before, "lower", None)
    assert list(after.queries["de"].texts) == ["ja", "42"]
    assert after.passages == before.passages
    assert after.queries["de"].ids == before.queries["de"].ids
    assert "lower" in after.notes[0]
    assert "de 50%, en 0%" in after.notes[0]


def test_words_of_questions_become_english_and_english_ones_many(tmp_path) -> None:
    (tmp_path / "en-de.tsv").write_text("river\tFluss\nold\talt\n", encoding="utf-8")
    (tmp_path / "en-zh.tsv").write_text("river\t河流\n", encoding="utf-8")
    langs = {x: [f"{QUESTIONS[x]} {n}" for n in range(30)] for x in ("de", "en", "zh")}
    texts = {x: q.texts for x, q in with_query_form(collection(langs), "code-switched", tmp_path).queries.items()}  # fmt: skip
    assert any("River" in text for text in texts["de"])
    assert not any("河流" in text for text in texts["de"])
    assert any("河流" in text for text in texts["en"])
    assert any("Fluss" in text for text in texts["en"])
    assert any("river" in text for text in texts["zh"])


def test_a_language_is_served_under_whatever_code_its_data_has(tmp_path) -> None:
    (tmp_path / "en-de.tsv").write_text("river\tFluss\n", encoding="utf-8")
    (tmp_path / "en-zh.tsv").write_text("river\t河流\n", encoding="utf-8")
    asked = {code: [f"{QUESTIONS[own]} {n}" for n in range(30)]
             for code, own in {"deu_Latn": "de", "eng": "en", "cmn": "zh"}.items()}  # fmt: skip
    found = with_query_form(collection(asked), "code-switched", tmp_path).queries
    plain = with_query_form(
        collection({"de": asked["deu_Latn"], "en": asked["eng"], "zh": asked["cmn"]}),
        "code-switched", tmp_path,
    ).queries  # fmt: skip
    for code, own in {"deu_Latn": "de", "eng": "en", "cmn": "zh"}.items():
        assert list(found[code].texts) == list(plain[own].texts) != asked[code]
    with pytest.raises(InputError, match=r"--lexicon.*\bdeu_Arab\b.*--langs"):
        with_query_form(collection({"deu_Arab": ["Fluss"]}), "code-switched", tmp_path)
    assert lower(QUESTIONS["tr"], "tur_Latn") == lower(QUESTIONS["tr"], "tr")


def test_without_word_lists_it_says_what_is_wanted(tmp_path) -> None:
    with pytest.raises(InputError, match="--lexicon"):
        with_query_form(collection({"en": ["a"]}), "code-switched", None)
    (tmp_path / "en-de.tsv").write_text("river\tFluss\n", encoding="utf-8")
    with pytest.raises(InputError, match="zh"):
        with_query_form(collection({"en": ["a"], "zh": ["b"]}), "code-switched", tmp_path)

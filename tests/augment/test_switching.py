from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from augment.lists import write_lists
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xlir_bench.augment.switching import Lexicon, Switcher, SwitchOptions, read_lexicon
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.options.stating import check_bounds
from xlir_bench.train.rows import Row

LISTS = {
    "en-de": [
        "house Haus", "old alt", "old betagt", "new_york Neu-York", "new neu", "cat Katze", "the der",
        "don't nicht",
    ],
    "en-th": ["house บ้าน", "cat แมว", "man ชาย", "the เดอะ"],
    "en-tr": ["light ışık", "good iyi"],
    "th-en": ["บ้าน house", "แมว cat", "แมวน้ำ seal", "ชาย man"],
    "zh-en": ["我 i", "回来 return", "猫 cat"],
    "ar-en": ["كتاب book"],
    "hi-en": ["किताब book"],
}  # fmt: skip


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Lexicon:
    return read_lexicon(write_lists(tmp_path_factory.mktemp("lexicon"), LISTS))


def switcher(lexicon: Lexicon, **stated: Any) -> Switcher:
    return Switcher(lexicon, SwitchOptions(**{"p": 1.0} | stated))


def only(lexicon: Lexicon, source: str, target: str, **stated: Any) -> Switcher:
    """One that knows a single pair: with p 1 there is nothing to draw but among translations."""
    entries = {source: {target: lexicon.entries[source][target]}}
    return switcher(Lexicon(entries, lexicon.longest), **stated)


@pytest.mark.parametrize(
    ("lang", "target", "text", "expected"),
    [
        ("en", "de", "The cat,  the  HOUSE!", "Der Katze,  der  HAUS!"),
        ("en", "de", "\tNew York's cat\n", "\tNeu-York's Katze\n"),
        ("en", "de", "Newer houses", "Newer houses"),
        ("en", "de", "don’t don", "nicht don"),
        ("en", "tr", "LIGHT Good light", "IŞIK İyi ışık"),
        ("en", "th", "(cat)house", "(แมว)บ้าน"),
        ("th", "en", "แมวชายบ้าน", "cat man house"),
        ("th", "en", "แมวน้ำ แมว!", "seal cat!"),
        ("th", "en", "iPhoneแมว2", "iPhone cat 2"),
        ("zh", "en", "我回来了，猫。", "i return了，cat。"),
        ("ar", "en", "هذا كِتَاب.", "هذا book."),
        ("hi", "en", "यह किताब है।", "यह book है।"),
        ("en", "de", "c\u200bat 1999 …", "c\u200bat 1999 …"),
    ],
)
def test_words_are_replaced_and_all_else_stays(
    lexicon: Lexicon, lang: str, target: str, text: str, expected: str
) -> None:
    assert only(lexicon, lang, target).text(text, lang) == expected


@settings(deadline=None)
@example(text=".catนaaa", seed=0)
@given(text=st.text("thecaolduswr .,!'แมวบ้าน\n", max_size=40), seed=st.integers(0, 9))
def test_what_is_not_in_the_lexicon_comes_through_untouched(
    lexicon: Lexicon, text: str, seed: int
) -> None:
    new = set(re.findall(r"\w+", " ".join(x for p in LISTS["en-de"] for x in p.split(" ")[1:])))
    switched = only(lexicon, "en", "de", p=0.5, seed=seed).text(text, "en")
    old = {"house", "old", "new", "york", "cat", "the", "don't", *(w.lower() for w in new)}
    # A word ends where another script begins.
    latin, words = r"[^\W\u0e00-\u0e7f]", "|".join(map(re.escape, sorted(old, key=len)[::-1]))
    pattern = f"(?i)(?<!{latin})({words})(?!{latin})"
    assert re.sub(r"[^\S ]+|\W", "", re.sub(pattern, "", switched)) == re.sub(
        r"[^\S ]+|\W", "", re.sub(pattern, "", text)
    )


def test_each_word_is_replaced_with_the_probability_that_was_asked_for(lexicon: Lexicon) -> None:
    for p in (0.1, 0.5, 0.9):
        found = only(lexicon, "en", "de", p=p)
        found.text("cat house " * 2000, "en")
        coverage = found.coverage["en"]
        assert coverage.known == 4000
        assert abs(coverage.replaced / 4000 - p) < 0.03  # more than four standard errors


def test_one_language_a_text_or_any_by_word(lexicon: Lexicon) -> None:
    texts = [f"cat house {n}" for n in range(200)]
    one = [switcher(lexicon, into="one").text(text, "en") for text in texts]
    mixed = re.compile(r"[ก-๙].*Haus|Katze.*[ก-๙]")
    assert not any(mixed.search(text) for text in one)
    assert {bool(re.search("Katze Haus", text)) for text in one} == {True, False}
    assert sum(bool(mixed.search(switcher(lexicon).text(t, "en"))) for t in texts) > 60
    many = switcher(lexicon)
    for text in texts:
        many.text(text, "en")
    into = many.coverage["en"].into
    assert abs(into["de"] - into["th"]) < 80  # 400 words


def test_ambiguous_words_are_drawn_by_seed_and_counted(lexicon: Lexicon) -> None:
    found = only(lexicon, "en", "de")
    text = found.text("old " * 200, "en")
    assert 70 < text.count("alt ") < 130
    assert text.count("alt ") + text.count("betagt ") == 200
    assert (found.coverage["en"].ambiguous, found.coverage["en"].replaced) == (200, 200)
    assert only(lexicon, "en", "de").text("old " * 200, "en") == text
    assert only(lexicon, "en", "de", seed=1).text("old " * 200, "en") != text


def test_coverage_is_counted_by_language(lexicon: Lexicon) -> None:
    found = only(lexicon, "en", "de")
    found.text("The cat sat on New York in 1999, don't!", "en")
    assert found.coverage["en"].as_json() == {
        "texts": 1,
        "tokens": 7,  # the, cat, sat, on, New York, in, don't
        "known": 4,
        "replaced": 4,
        "ambiguous": 0,
        "into": {"de": 4},
    }
    signs = only(lexicon, "zh", "en")
    signs.text("我回来了，猫在家", "zh")
    assert (signs.coverage["zh"].tokens, signs.coverage["zh"].known) == (5, 3)  # 了 and 在家 beside


def test_a_row_keeps_its_id_and_says_where_it_came_from(lexicon: Lexicon) -> None:
    row = Row("7", "", {"en": "the cat", "de": "die Katze"}, {"de": "ja", "en": "house"}, {})
    (copy,) = only(lexicon, "en", "de").switched([row], "data/rows.jsonl")
    assert copy == Row(
        "7", "rows.jsonl", {"en": "der Katze"}, {"en": "Haus"}, {}, origin="code-switched"
    )
    translated = Row("7", "set", {"en": "cat"}, {"en": "x"}, {}, origin="translated by m")
    (again,) = only(lexicon, "en", "de").switched([translated], "rows.jsonl")
    assert (again.dataset, again.origin) == ("set", "translated by m, code-switched")


def test_a_side_that_is_not_switched_stays_whole_and_negatives_go_with_answers(
    lexicon: Lexicon,
) -> None:
    question, answer = {"en": "cat", "fr": "chat"}, {"en": "house", "fr": "maison"}
    row = Row("1", "d", question, answer, {"en": "the man", "fr": "homme"})
    found = only(lexicon, "en", "de", side="question")
    assert next(found.switched([row], "")) == Row(
        "1", "d", {"en": "Katze"}, answer, row.negative, "code-switched"
    )
    found = only(lexicon, "en", "de", side="answer")
    assert next(found.switched([row], "")) == Row(
        "1", "d", question, {"en": "Haus"}, {"en": "der man"}, "code-switched"
    )


def test_an_answer_and_its_negative_get_words_of_one_language(lexicon: Lexicon) -> None:
    two = Lexicon({"en": {x: lexicon.entries["en"][x] for x in ("de", "th")}}, lexicon.longest)
    thai = re.compile("[ก-๙]")
    met = set()
    for n in range(50):
        row = Row("1", "d", {"en": "who?"}, {"en": f"the cat {n}"}, {"en": f"the house {n}"})
        (copy,) = switcher(two, into="one").switched([row], "")
        met.add(tuple(bool(thai.search(side["en"])) for side in (copy.answer, copy.negative)))
    assert met == {(True, True), (False, False)}


def test_a_row_without_a_word_to_replace_has_no_copy(lexicon: Lexicon) -> None:
    rows = [
        Row("1", "d", {"en": "nothing"}, {"en": "here"}, {}),
        Row("2", "d", {"sw": "paka"}, {"sw": "nyumba"}, {}),
        Row("3", "d", {"en": "cat"}, {"sw": "nyumba"}, {}),
    ]
    found = only(lexicon, "en", "de")
    assert list(found.switched(rows, "")) == []
    assert (found.rows, found.unchanged) == (0, 3)


def test_rows_do_not_depend_on_each_other(lexicon: Lexicon) -> None:
    rows = [Row(str(n), "d", {"en": f"the old cat {n}"}, {"en": "house"}, {}) for n in range(60)]
    whole = list(switcher(lexicon, p=0.5).switched(rows, ""))
    part = list(switcher(lexicon, p=0.5).switched(rows[::-3], ""))
    assert part
    assert {c.id: c for c in part}.items() <= {c.id: c for c in whole}.items()
    answers = {c.answer["en"] for c in whole}
    assert len(answers) == 1, "equal texts stay equal"


@pytest.mark.parametrize("p", [0, -1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(InputError, match=rf"--p {p} .*above 0\b.*up to 1$"):
        check_bounds(SwitchOptions(p=p))


def test_real_word_lists_cover_real_texts(xlir_data: Path) -> None:
    from xlir_bench.records import Silent
    from xlir_bench.train.row_files import sound_rows

    lexicon = read_lexicon(xlir_data / "lexicon", targets=("en",), both_ways=True)
    found = switcher(lexicon, p=0.5)
    rows = sound_rows(str(xlir_data / "qa" / "xnli-dev.jsonl"), Silent())
    copies = list(found.switched((row for _, row in zip(range(60), rows, strict=False)), ""))
    assert set(found.coverage) == {"ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh"}
    for lang, coverage in found.coverage.items():
        assert coverage.known > 0.35 * coverage.tokens, lang
        assert abs(coverage.replaced / coverage.known - 0.5) < 0.05, lang
    assert len(copies) == 60


PAIRS = {
    "en-de": ["house Haus", "house Gebäude", "paris Paris", "new_york New_York_City"],
    "en-th": ["house บ้าน"],
    "fr-de": ["maison Haus"],
}


def test_every_pair_is_read_and_keeps_its_order(tmp_path: Path) -> None:
    lexicon = read_lexicon(write_lists(tmp_path, PAIRS))
    assert sorted(lexicon.entries) == ["en", "fr"]
    assert lexicon.targets("en") == ("de", "th")
    assert lexicon.entries["en"]["de"]["house"] == ("Haus", "Gebäude")
    assert lexicon.entries["en"]["de"]["new york"] == ("New York City",)
    assert lexicon.longest["en"] == {"house": 1, "new": 3}


def test_a_word_that_translates_itself_is_passed_over_and_counted(tmp_path: Path) -> None:
    lexicon = read_lexicon(write_lists(tmp_path, PAIRS))
    assert "paris" not in lexicon.entries["en"]["de"]
    assert lexicon.unchanged == 1


def test_lists_are_read_backwards_when_asked(tmp_path: Path) -> None:
    lexicon = read_lexicon(write_lists(tmp_path, PAIRS), both_ways=True)
    assert sorted(lexicon.entries) == ["de", "en", "fr", "th"]
    assert lexicon.entries["de"] == {
        "en": {"haus": ("house",), "gebäude": ("house",), "new york city": ("new york",)},
        "fr": {"haus": ("maison",)},
    }


def test_languages_can_be_chosen(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, PAIRS)
    lexicon = read_lexicon(folder, ("en",), ("th",))
    assert (list(lexicon.entries), lexicon.targets("en")) == (["en"], ("th",))
    with pytest.raises(UnknownNameError, match=r"--from.*'de'.*\ben, fr\b"):
        read_lexicon(folder, ("de",))
    with pytest.raises(UnknownNameError, match=r"--to.*'zh'.*\bde, th\b"):
        read_lexicon(folder, None, ("zh",))
    with pytest.raises(InputError, match=r"\bfr\b.*\bth\b.*en-de, en-th, fr-de"):
        read_lexicon(folder, ("en", "fr"), ("th",))


def test_faults_are_shown_with_their_lines_the_first_ten_and_all_are_counted(
    tmp_path: Path,
) -> None:
    folder = write_lists(tmp_path, {"en-de": ["a b"]})
    lines = ["house\tHaus", "", "no tab", "\tHaus", "word\t ", "a\tb\tc", *["x"] * 8]
    (folder / "en-fr.tsv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "en-pl.tsv").write_bytes(b"a\t\xff\n")
    with pytest.raises(InputError) as caught:
        read_lexicon(folder)
    shown = str(caught.value).splitlines()
    assert re.match(r"13 faults\b.*lexicon", shown[0])
    for number, reason in {3: "no tab", 4: "no word", 5: "no translation", 6: "3 cells"}.items():
        assert re.search(rf"en-fr\.tsv: line {number}: .*{reason}\b", shown[number - 2])
    assert len(shown) == 12
    assert shown[-1].strip() == "(the first 10 of 13)"


def test_an_empty_list_and_one_that_is_no_text_are_faults(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, {"en-it": []})
    (folder / "en-pl.tsv").write_bytes(b"a\t\xff\n")
    with pytest.raises(InputError, match=r"en-it\.tsv: .*no line.*\n.*en-pl\.tsv: line 1: .*UTF-8"):
        read_lexicon(folder)


def test_a_folder_without_lists_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--lexicon.*none .*no folder.*en-de\.tsv"):
        read_lexicon(tmp_path / "none")
    (tmp_path / "words.tsv").write_text("a\tb\n")
    with pytest.raises(InputError, match=r"--lexicon.*no word list.*en-de\.tsv"):
        read_lexicon(tmp_path)

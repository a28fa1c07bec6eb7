from __future__ import annotations

import re
from pathlib import Path

import pytest
from augment.lists import write_lists

from xlir_bench.augment.lexicon import read_lexicon
from xlir_bench.errors import InputError, UnknownNameError

LISTS = {
    "en-de": ["house Haus", "house Gebäude", "paris Paris", "new_york New_York_City"],
    "en-th": ["house บ้าน"],
    "fr-de": ["maison Haus"],
}


def test_every_pair_is_read_and_keeps_its_order(tmp_path: Path) -> None:
    lexicon = read_lexicon(write_lists(tmp_path, LISTS))
    assert sorted(lexicon.entries) == ["en", "fr"]
    assert lexicon.targets("en") == ("de", "th")
    assert lexicon.entries["en"]["de"]["house"] == ("Haus", "Gebäude")
    assert lexicon.entries["en"]["de"]["new york"] == ("New York City",)
    assert lexicon.longest["en"] == {"house": 1, "new": 3}


def test_a_word_that_translates_itself_is_passed_over_and_counted(tmp_path: Path) -> None:
    lexicon = read_lexicon(write_lists(tmp_path, LISTS))
    assert "paris" not in lexicon.entries["en"]["de"]
    assert lexicon.unchanged == 1


def test_lists_are_read_backwards_when_asked(tmp_path: Path) -> None:
    lexicon = read_lexicon(write_lists(tmp_path, LISTS), both_ways=True)
    assert sorted(lexicon.entries) == ["de", "en", "fr", "th"]
    assert lexicon.entries["de"] == {
        "en": {"haus": ("house",), "gebäude": ("house",), "new york city": ("new york",)},
        "fr": {"haus": ("maison",)},
    }


def test_languages_can_be_chosen(tmp_path: Path) -> None:
    folder = write_lists(tmp_path, LISTS)
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

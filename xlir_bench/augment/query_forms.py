"""Questions as people type them: in lower case, with typos, in Latin letters, with words of another language.

A question's new form depends on its text and language alone, so it is the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import chain, count
from pathlib import Path
from unicodedata import category

from xlir_bench.augment.languages import own_code
from xlir_bench.augment.switching import Switcher, read_lexicon
from xlir_bench.augment.words import draws, in_small_letters
from xlir_bench.errors import InputError
from xlir_bench.options.augmenting import SwitchOptions
from xlir_bench.options.running import QueryForm
from xlir_bench.records import Collection

Change = Callable[[str, str], str]
"""A question in another form, from its text and language."""
LETTERS_A_TYPO = 20
"""A question has one typo for this many letters, and at least one."""
KEYBOARDS = (
    ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
    ("ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ"),
    ("ضصثقفغعهخحجد", "شسيبلاتنمكط", "ئءؤرلاىةوزظ"),
    ("ौैाीूबहगदजड", "ोे्िुपरकतचट", "ॉंमनवलसय"),
    ("ๆไำพะัีรนยบล", "ฟหกดเ้่าสวง", "ผปแอิืทมใฝ"),
)
"""The letters of keyboards as they lie, row by row: Latin, Cyrillic, Greek, Arabic, Devanagari, Thai."""


def with_query_form(collection: Collection, form: QueryForm, lexicon: Path | None) -> Collection:
    """The same task, its questions in this form; a note says how many of them changed, by language."""
    langs = collection.languages("query")
    change = _switching(lexicon, langs) if form == "code-switched" else CHANGES[form]
    queries, shares = {}, []
    for lang in langs:
        original = collection.queries[lang]
        texts = [change(text, lang) for text in original.texts]
        changed = sum(new != old for new, old in zip(texts, original.texts, strict=True))
        shares.append(f"{lang} {changed / max(1, len(texts)):.0%}")
        queries[lang] = replace(original, texts=texts)
    note = f"questions were changed by --query-form {form}; share that differs from the task: {', '.join(shares)}"
    return replace(collection, queries=queries, notes=(note, *collection.notes))


def lower(text: str, lang: str) -> str:
    """The text in small letters, without punctuation at the end.

    >>> lower("Wer schrieb „Faust“?", "de"), lower("IŞIK nedir?", "tr")
    ('wer schrieb „faust', 'ışık nedir')
    """
    text = in_small_letters(text, own_code(lang))
    end = len(text)
    while end and not text[end - 1].isalnum() and category(text[end - 1])[0] != "M":
        end -= 1
    return text[:end] or text


def romanised(text: str, _lang: str = "") -> str:
    """The text in ASCII letters, by the table of the package anyascii: no vowels are guessed, Chinese is in Pinyin.

    >>> romanised("Столица России", "ru"), romanised("größte", "de")
    ('Stolitsa Rossii', 'grosste')
    """
    from anyascii import anyascii

    return str(anyascii(text))


def typos(text: str, lang: str) -> str:
    """The text with typos: a neighbouring key, two letters in the wrong order, a letter lost or twice.

    >>> typos("Which river flows through the old town?", "en")
    'Which river flows through thee old ttown?'
    """
    letters = [place for place, sign in enumerate(text) if sign.isalpha()]
    if not letters:
        return text
    drawn = chain.from_iterable(draws(f"typos\0{lang}\0{n}\0{text}", 8) for n in count())
    signs = list(text)
    for _ in range(max(1, round(len(letters) / LETTERS_A_TYPO))):
        place = letters[int(next(drawn) * len(letters))]
        sign, kind = text[place], int(next(drawn) * 4)
        keys = _neighbours().get(sign.lower(), "")
        if kind == 0 and keys:
            key = keys[int(next(drawn) * len(keys))]
            signs[place] = key.upper() if sign.isupper() else key
        elif kind == 1 and place + 1 < len(text) and text[place + 1].isalpha():
            signs[place], signs[place + 1] = text[place + 1], sign
        elif kind == 2 and len(letters) > 1:
            signs[place] = ""
        else:
            signs[place] = sign * 2
    return "".join(signs)


def _switching(folder: Path | None, langs: list[str]) -> Change:
    """Replaces words, each with p = .5, by English ones, and in English questions by words of the other languages."""
    if folder is None:
        raise InputError(
            "--query-form code-switched wants --lexicon FOLDER, or one in the data root"
        )
    lexicon = read_lexicon(folder, both_ways=True)
    for source, targets in lexicon.entries.items():
        for target in [x for x in targets if source != "en" and x != "en"]:
            del targets[target]
    codes = {x: x if lexicon.targets(x) else own_code(x) for x in langs}
    if lacking := ", ".join(x for x, code in codes.items() if not lexicon.targets(code)):
        raise InputError(
            f"--lexicon {folder} lacks words of {lacking}; --langs leaves languages out"
        )
    switcher = Switcher(lexicon, SwitchOptions())
    return lambda text, lang: switcher.text(text, codes[lang])


CHANGES: Mapping[QueryForm, Change] = {"lower": lower, "romanised": romanised, "typos": typos}


@cache
def _neighbours() -> dict[str, str]:
    """By letter, the letters beside, above and below it on its keyboard."""
    beside: dict[str, str] = {}
    for rows in KEYBOARDS:
        for number, row in enumerate(rows):
            for place, letter in enumerate(row):
                near = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
                for other in rows[max(0, number - 1) : number] + rows[number + 1 : number + 2]:
                    near += other[place : place + 1]
                beside[letter] = near
    return beside

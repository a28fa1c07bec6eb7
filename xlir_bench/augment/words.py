"""Words of a text in any script: where they begin and end, how they are looked up, how they are capitalised."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from hashlib import shake_128
from typing import NamedTuple

UNSPACED = (
    "\u0e00-\u0e7f"  # Thai
    "\u0e80-\u0eff"  # Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u309f"  # Hiragana; a run of Katakana is one word
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Scripts without spaces between words, as the inside of a character class."""
LEADING_VOWELS = "\u0e40-\u0e44\u0ec0-\u0ec4"
"""Vowels of Thai and Lao that are written before their consonant: no word ends in one."""
TRAILING_VOWELS = "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
"""Vowels that follow their consonant as letters of their own: no word begins with one."""
STACKERS = "\u17d2\u1039"
"""Signs of Khmer and Myanmar that join the next consonant to this one."""
JOINERS = "\u200c\u200d"
DOTLESS_I = ("az", "tr")
"""Languages in which the small letter of I has no dot."""
OPTIONAL_POINTS = dict.fromkeys([*range(0x0591, 0x05C8), 0x0640, *range(0x064B, 0x0653), 0x0670])
"""Points of Hebrew and Arabic and the lengthening stroke: few texts and no lexicon have them."""
_unspaced = re.compile(f"[{UNSPACED}]")


class Atom(NamedTuple):
    """A piece of a text that is never split."""

    text: str
    kind: str
    """``word``; ``sign``: a syllable or sign of a script without spaces; ``space``; or ``other``."""


def atoms(text: str) -> list[Atom]:
    """The text in pieces; joined they are the text again.

    >>> [a.text for a in atoms("Mama's home, 回来了")]
    ['Mama', "'s", ' ', 'home', ',', ' ', '回', '来', '了']
    """
    return [Atom(m[0], m.lastgroup or "other") for m in _pattern().finditer(text)]


@lru_cache(maxsize=1 << 17)
def lookup_form(atom: str, lang: str) -> str:
    """The form under which a lexicon has an atom: lower case, composed, without optional points.

    >>> lookup_form("IŞIK", "tr"), lookup_form("ＩＴ", "en"), lookup_form("كِتَاب", "ar")
    ('ışık', 'it', 'كتاب')
    """
    text = in_small_letters(unicodedata.normalize("NFC", atom), lang)
    text = unicodedata.normalize("NFKC", text.translate(OPTIONAL_POINTS))
    return " " if text.isspace() else text.replace("\u2019", "'")


def in_small_letters(text: str, lang: str) -> str:
    """The text in the small letters of a language."""
    if lang in DOTLESS_I:
        text = text.replace("I", "ı").replace("İ", "i")
    return text.lower()


def entry_form(text: str, lang: str) -> list[str]:
    """The lookup forms of a lexicon's entry, which may be several words."""
    text = unicodedata.normalize("NFC", text.strip())
    if text.isalpha() and not _unspaced.search(text):
        return [lookup_form(text, lang)]
    return [lookup_form(a.text, lang) for a in atoms(text)]


def in_case_of(model: str, word: str, lang: str) -> str:
    """`word`, a word of `lang`, capitalised or in capitals as `model` is.

    >>> in_case_of("Light", "ışık", "tr"), in_case_of("LIGHT", "ışık", "tr"), in_case_of("İyi", "iyi", "tr")
    ('Işık', 'IŞIK', 'İyi')
    """
    cased = [c for c in model if c.isupper() or c.islower() or c.istitle()]
    if not cased or cased[0].islower():
        return word
    if len(cased) > 1 and all(c.isupper() for c in cased):
        return (word.replace("i", "İ") if lang in DOTLESS_I else word).upper()
    first = "İ" if lang in DOTLESS_I and word[:1] == "i" else word[:1].title()
    return first + word[1:]


def needs_space(before: str, after: str) -> bool:
    """Whether two characters that now stand side by side would run two words together."""
    return all(
        unicodedata.category(c)[0] in "LMN" and not _unspaced.match(c) for c in before + after
    )


def draws(key: str, count: int) -> Iterator[float]:
    """`count` numbers from 0 to below 1, always the same ones for a key."""
    size = 6 * count
    drawn = shake_128(key.encode("utf-8", "surrogatepass")).digest(size)
    return (int.from_bytes(drawn[i : i + 6], "little") / 2**48 for i in range(0, size, 6))


def has_letter(text: str) -> bool:
    """Whether the text holds a letter, so that it is not a number or punctuation."""
    return any(c.isalpha() for c in text)


@cache
def _pattern() -> re.Pattern[str]:
    marks = _mark_ranges()
    sign = rf"(?=[{UNSPACED}])[^\W\d_]"
    base = rf"(?![{LEADING_VOWELS}{TRAILING_VOWELS}]){sign}"
    stacked = rf"(?:[{STACKERS}](?:{base})?[{marks}]*)*"
    syllable = rf"[{LEADING_VOWELS}]*{base}[{marks}]*{stacked}[{TRAILING_VOWELS}]*"
    letter = rf"(?:(?![{UNSPACED}])[^\W_]|(?=[{UNSPACED}])\d)"
    inner = rf"(?:{letter}|[{marks}{JOINERS}])"
    possessive = rf"['’]s(?!{inner})"
    word = rf"{letter}{inner}*(?:(?!{possessive})['’]{letter}{inner}*)*"
    return re.compile(
        rf"(?P<sign>{syllable}|{sign}[{marks}]*)|(?P<word>{word})|(?P<space>\s+)"
        rf"|(?P<other>(?<=[^\W_]){possessive}|.)",
        re.DOTALL,
    )


def _mark_ranges() -> str:
    """Every combining mark but the stackers, as the inside of a character class.

    Beyond U+1F000 there are only variation selectors.
    """
    runs: list[list[str]] = []
    for mark in map(chr, range(0x300, 0x1F000)):
        if unicodedata.category(mark)[0] != "M" or mark in STACKERS:
            continue
        if runs and ord(runs[-1][1]) == ord(mark) - 1:
            runs[-1][1] = mark
        else:
            runs.append([mark, mark])
    return "".join(f"{first}-{last}" for first, last in runs)

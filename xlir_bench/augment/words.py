"""Words of a text in any script: where they begin and end, how they are looked up, in what case they stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

UNSPACED = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x309F),  # Hiragana; a run of Katakana is one word
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Scripts that are written without spaces between words."""
BEFORE = "\u0e40-\u0e44\u0ec0-\u0ec4"
"""Vowels of Thai and Lao that are written before their consonant: no word ends in one."""
AFTER = "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
"""Vowels that follow their consonant as letters of their own: no word begins with one."""
STACKED = "\u17d2\u1039"
"""What joins the next consonant of Khmer and Myanmar to this one."""
MARKS = range(0x300, 0x1F000)
"""Where combining marks are looked for; beyond there are only selectors of variants."""
JOINERS = "\u200c\u200d"
DOTTED = ("az", "tr")
"""Languages in which the small letter of I has no dot."""
_NOT_WRITTEN = dict.fromkeys([*range(0x0591, 0x05C8), 0x0640, *range(0x064B, 0x0653), 0x0670])
"""Points of Hebrew and Arabic and the lengthening stroke: few texts and no lexicon have them."""


class Atom(NamedTuple):
    """A word of a script with spaces, a syllable or sign of one without, or what is between words."""

    text: str
    kind: str
    """``word``, ``sign``, ``space`` or ``other``."""


def atoms(text: str) -> list[Atom]:
    """The text in pieces; joined they are the text again.

    >>> [a.text for a in atoms("Mama's home, 回来了")]
    ['Mama', "'s", ' ', 'home', ',', ' ', '回', '来', '了']
    """
    return [Atom(m[0], m.lastgroup or "other") for m in _pattern().finditer(text)]


@lru_cache(maxsize=1 << 17)
def lookup_form(atom: str, lang: str) -> str:
    """What stands for an atom in a lexicon: small letters, composed, without optional points.

    >>> lookup_form("IŞIK", "tr"), lookup_form("ＩＴ", "en"), lookup_form("كِتَاب", "ar")
    ('ışık', 'it', 'كتاب')
    """
    text = unicodedata.normalize("NFC", atom)
    if lang in DOTTED:
        text = text.replace("I", "ı").replace("İ", "i")
    text = unicodedata.normalize("NFKC", text.lower().translate(_NOT_WRITTEN))
    return " " if text.isspace() else text.replace("\u2019", "'")


def entry_form(text: str, lang: str) -> list[str]:
    """The lookup forms of a lexicon's entry, which may be several words."""
    text = unicodedata.normalize("NFC", text.strip())
    if text.isalpha() and not _unspaced().search(text):
        return [lookup_form(text, lang)]
    return [lookup_form(a.text, lang) for a in atoms(text)]


def in_case_of(model: str, word: str, lang: str) -> str:
    """`word`, a word of `lang`, with a capital where `model` has one, in capitals where it is.

    >>> in_case_of("Light", "ışık", "tr"), in_case_of("LIGHT", "ışık", "tr"), in_case_of("İyi", "iyi", "tr")
    ('Işık', 'IŞIK', 'İyi')
    """
    cased = [c for c in model if c.isupper() or c.islower() or c.istitle()]
    if not cased or not (cased[0].isupper() or cased[0].istitle()):
        return word
    if len(cased) > 1 and all(c.isupper() for c in cased):
        return (word.replace("i", "İ") if lang in DOTTED else word).upper()
    first = "İ" if lang in DOTTED and word[:1] == "i" else word[:1].title()
    return first + word[1:]


def needs_space(before: str, after: str) -> bool:
    """Whether two letters that came to stand side by side would run two words together."""
    return all(c and unicodedata.category(c)[0] in "LMN" for c in (before, after)) and not (
        _unspaced().match(before) or _unspaced().match(after)
    )


def has_letter(text: str) -> bool:
    """Whether it is a word and no number."""
    return any(c.isalpha() for c in text)


@cache
def _unspaced() -> re.Pattern[str]:
    blocks = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
    return re.compile(f"[{blocks}]")


@cache
def _pattern() -> re.Pattern[str]:
    marks = _ranges(c for c in MARKS if chr(c) not in STACKED and _is_mark(c))
    blocks = _unspaced().pattern[1:-1]
    sign = rf"(?=[{blocks}])[^\W\d_]"
    base = rf"(?![{BEFORE}{AFTER}]){sign}"
    stacked = rf"(?:[{STACKED}](?:{base})?[{marks}]*)*"
    syllable = rf"[{BEFORE}]*{base}[{marks}]*{stacked}[{AFTER}]*"
    letter = rf"(?:(?![{blocks}])[^\W_]|(?=[{blocks}])\d)"
    inner = rf"(?:{letter}|[{marks}{JOINERS}])"
    owned = rf"['’]s(?!{inner})"
    word = rf"{letter}{inner}*(?:(?!{owned})['’]{letter}{inner}*)*"
    return re.compile(
        rf"(?P<sign>{syllable}|{sign}[{marks}]*)|(?P<word>{word})|(?P<space>\s+)"
        rf"|(?P<other>(?<=[^\W_]){owned}|.)",
        re.DOTALL,
    )


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code))[0] == "M"


def _ranges(codes: Iterable[int]) -> str:
    """The inside of a character class; `codes` rise."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in runs)

"""Texts changed as copies of evaluation data are: twelve kinds of change."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from xlir_bench.train.leakage import EvaluationTexts

WHOLE = ("exact", "case", "width", "spaces", "punctuation", "accents", "inside")
"""Changes after which a text has all its letters: every one is to be found."""
ACCENTED = ("de", "el", "es", "ru", "tr", "vi")
WORD = {"zh": 2, "ja": 2, "th": 4}
"""Characters that are taken for a word where no space says where one ends."""
SHORTEST = {"zh": 20, "ja": 20, "ko": 20}

Change = Callable[[str, str, random.Random], str]


def _case(text: str, lang: str, _: random.Random) -> str:
    return text.replace("i", "İ").replace("ı", "I").upper() if lang == "tr" else text.swapcase()


def _width(text: str, *_: object) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _spaces(text: str, lang: str, _: random.Random) -> str:
    if lang in ("zh", "ja", "th"):
        return " ".join(text)
    return "\n" + text.replace(" ", "\u00a0 \t")


def _punctuation(text: str, *_: object) -> str:
    return "«" + "".join(c for c in text if unicodedata.category(c)[0] not in "PS") + "…»"


def _accents(text: str, *_: object) -> str:
    apart = unicodedata.normalize("NFD", text)
    return "".join(c for c in apart if not unicodedata.combining(c))


def _inside(text: str, lang: str, chance: random.Random) -> str:
    around = "".join(chance.sample("abcdefghijklmnopqrstuvwxyz", 26))
    return f"{around}. {text} {around[::-1]}."


def _typo(text: str, lang: str, chance: random.Random) -> str:
    places = [n for n, c in enumerate(text) if c.isalpha()]
    place = chance.choice(places)
    other = chance.choice([text[n] for n in places if text[n].casefold() != text[place].casefold()])
    return text[:place] + other + text[place + 1 :]


def _digits(text: str, lang: str, chance: random.Random) -> str:
    return "".join(str((int(c) + chance.randint(1, 9)) % 10) if c.isdecimal() else c for c in text)


def _word(text: str, lang: str, chance: random.Random) -> tuple[str, str, str]:
    if lang in WORD:
        place = chance.randrange(len(text) - WORD[lang])
        return text[:place], text[place : place + WORD[lang]], text[place + WORD[lang] :]
    words = text.split(" ")
    place = chance.randrange(len(words))
    return " ".join(words[:place]), words[place], " ".join(words[place + 1 :])


def _deleted(text: str, lang: str, chance: random.Random) -> str:
    before, _, after = _word(text, lang, chance)
    return f"{before} {after}"


def _replaced(text: str, lang: str, chance: random.Random) -> str:
    before, word, after = _word(text, lang, chance)
    return f"{before} {''.join(chance.sample(word, len(word)))[::-1]}x {after}"


def _three_quarters(text: str, *_: object) -> str:
    return text[: round(len(text) * 0.75)]


CHANGES: Mapping[str, Change] = {
    "exact": lambda text, *_: text,
    "case": _case,
    "width": _width,
    "spaces": _spaces,
    "punctuation": _punctuation,
    "accents": _accents,
    "inside": _inside,
    "typo": _typo,
    "digits": _digits,
    "word deleted": _deleted,
    "word replaced": _replaced,
    "three quarters": _three_quarters,
}


def shares_found(texts: Mapping[str, Sequence[str]], several: int) -> dict[str, dict[str, float]]:
    """By kind of change, then language: the share of its sentences that is found when changed.

    Of those that are long enough the shortest, so many: they are the hardest to find.
    """
    owners = {text: [("task", lang)] for lang, its in texts.items() for text in its}
    known = EvaluationTexts.of(owners)
    found: dict[str, dict[str, float]] = {}
    for kind, change in CHANGES.items():
        for lang, its in texts.items():
            if kind == "accents" and lang not in ACCENTED:
                continue
            chance = random.Random(f"{kind} {lang}")
            long = [text for text in its if len(text) >= SHORTEST.get(lang, 60)]
            if kind == "digits":
                long = [text for text in long if any(c.isdecimal() for c in text)]
            chosen = sorted(long, key=len)[:several]
            planted = [change(text, lang, chance) for text in chosen]
            met = known.matches(planted)
            hits = [
                text in {known.texts[place] for place in places}
                for text, places in zip(chosen, met, strict=True)
            ]
            if hits:
                found.setdefault(kind, {})[lang] = sum(hits) / len(hits)
    return found

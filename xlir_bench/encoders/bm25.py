"""BM25's view of a text: its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby, pairwise
from typing import Any

from xlir_bench.encoders.digest import fingerprint, slug
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, EncoderCard, unused_notes
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Floats, Role

K1, B = 1.5, 0.75
"""How soon further repeats of a word stop to count, and how much a passage's length counts."""
VERSION = 3
"""Raised whenever texts are cut into other words, or the formula changes; it is in the fingerprint."""
PAIRED = ("zh zho cmn yue wuu nan hak lzh", "ja jpn", "th tha", "lo lao", "km khm", "my mya", "shn")
"""The codes of Chinese, Japanese, Thai, Lao, Khmer, Burmese and Shan: nothing separates their words."""
UNSEGMENTED = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR")
"""How the Unicode names of characters begin in scripts without spaces between words, and of the signs that repeat or
lengthen such characters."""
ZERO_WIDTH_SPACE = 0x200B
"""Separates words in scripts without spaces."""
LOWEST_UNSEGMENTED = "\u0e00"
"""No character of a script without spaces has a lower code point."""


class Builtin:
    """Makes the card of a built-in encoder; `parts` is all that changes its vectors or scores, for the fingerprint."""

    name: str

    def __init__(self, options: EncoderOptions, parts: Mapping[str, Any], **stated: Any) -> None:
        self.card = EncoderCard(
            name=self.name,
            kind="builtin",
            slug=slug(self.name.replace(":", "-")),
            fingerprint=fingerprint({"encoder": self.name, **parts}),
            **{"notes": unused_notes(options, "builtin"), **stated},
        )
        self.fingerprint = self.card.fingerprint


class BM25(Builtin):
    """Finds a passage by the words that it shares with the question; there are no vectors and no model.

    A passage's score is the sum over the question's words of
    ``idf * tf / (tf + k1 * (1 - b + b * length / mean length))`` with ``idf = ln(1 + (n - df + .5) / (df + .5))``, as
    in Lucene. n, df and the mean length are counted in the passages that a setting searches: of one language, or of
    all. `terms` cuts each text into words, by the rules of its own language.
    """

    name = "builtin:bm25"
    dimension = 0

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        parts = {
            "version": VERSION,
            "k1": K1,
            "b": B,
            "unicode": unicodedata.unidata_version,
            "words": "Unicode",
            "pairs": PAIRED,
        }
        weight = "the weight of a word is counted in the passages that a setting searches: of one language, or of all"
        cut = "words are those of the text's language: in zh, ja, th, lo, km, my and shn every two neighbouring characters"
        notes = (weight, cut, *unused_notes(options, "builtin", also=["similarity"]))
        super().__init__(options, parts, notes=notes)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """Always an error: a word's weight depends on the passages that are searched."""
        raise InputError(f"{self.name} has no vectors; give a model that has")


def terms(text: str, lang: str) -> list[str]:
    """The words of a text: its runs of letters, marks and numbers.

    Characters that only format others, such as a soft hyphen, are left out first. In a script without spaces
    between words, every two neighbouring characters are a word if the language is in `PAIRED`; otherwise every
    single character is a word, with its marks.
    """
    words = unicodedata.normalize("NFKC", text).casefold().translate(_SPACED).split()
    if max(text, default="") < LOWEST_UNSEGMENTED:
        return words
    is_paired = _is_paired(lang)
    return [term for word in words for term in _pieces(word, is_paired)]


@cache
def _is_paired(lang: str) -> bool:
    """Whether a language is in `PAIRED`: ``zh``, ``zh-TW`` and ``zho_Hans`` are."""
    return lang.replace("_", "-").casefold().split("-")[0] in " ".join(PAIRED).split()


def _pieces(word: str, is_paired: bool) -> list[str]:
    pieces: list[str] = []
    for is_spaceless, characters in groupby(word, _spaceless):
        run = "".join(characters)
        if not is_spaceless:
            pieces.append(run)
        elif is_paired and len(run) > 1:
            pieces += map("".join, pairwise(run))
        else:
            for character in run:
                if pieces and unicodedata.category(character)[0] == "M":
                    pieces[-1] += character
                else:
                    pieces.append(character)
    return pieces


class _Spaced(dict[int, int | None]):
    """For `str.translate`: characters of no word become a space; those that only format others (Cf) are removed."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        formats = category == "Cf" and code != ZERO_WIDTH_SPACE
        self[code] = code if category[0] in "LMN" else None if formats else ord(" ")
        return self[code]


_SPACED = _Spaced()


@cache
def _spaceless(character: str) -> bool:
    """Whether a character is of a script without spaces."""
    return unicodedata.name(character, "").startswith(UNSEGMENTED)

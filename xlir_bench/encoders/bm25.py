"""BM25's view of a text: its words, whatever the language."""

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
"""How soon a repeated word stops to count, and how much a passage's length counts."""
VERSION = 1
"""Changes with the words that a text is cut into, and with the formula."""
PAIRED = "Chinese, Japanese, Thai, Lao, Khmer and Burmese script"
UNSEGMENTED = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts that set no space between words, and the signs that repeat or lengthen their characters (how the names of
their characters in Unicode begin)."""
LOWEST_UNSEGMENTED = "\u0e00"
"""No character before this one is of such a script."""


class Builtin:
    """What the built-in encoders share: a card whose fingerprint changes with what changes vectors or scores."""

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
    """A passage is found by the words that it shares with the question: no vectors, no model.

    It scores, for every word of the question, ``idf * tf / (tf + k1 * (1 - b + b * length / mean length))`` with
    ``idf = ln(1 + (n - df + .5) / (df + .5))``, as in Lucene. n, df and the mean length are those of the passages
    that a setting searches: of one language, or of all. A word is what stands between characters that are neither
    letter, mark nor number; where a script sets no space between words, each two neighbouring characters are one.
    The script decides and not the language that a text is said to be in: a name in Chinese characters within an
    English text is found by a Chinese question, and a language nobody has listed needs no entry.
    """

    name = "builtin:bm25"
    dimension = 0

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        parts = {
            "version": VERSION,
            "k1": K1,
            "b": B,
            "unicode": unicodedata.unidata_version,
            "words": f"Unicode; pairs of characters in {PAIRED}",
        }
        weight = "a word weighs what it says about the passages that a setting searches: of one language, or of all"
        cut = f"words are cut by their script: in {PAIRED} each two neighbouring characters are one"
        notes = (weight, cut, *unused_notes(options, "builtin", also=["similarity"]))
        super().__init__(options, parts, notes=notes)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """Always an error: a word's weight depends on the passages that are searched."""
        raise InputError(f"{self.name} has no vectors; give a model that has")


def terms(text: str) -> list[str]:
    """The words of a text: what stands between characters that are neither letter, mark nor number.

    Where a script sets no space between words, all pairs of neighbouring characters instead.
    """
    words = unicodedata.normalize("NFKC", text).casefold().translate(_SPACED).split()
    if max(text, default="") < LOWEST_UNSEGMENTED:
        return words
    return [term for word in words for term in _pairs(word)]


def _pairs(word: str) -> list[str]:
    found: list[str] = []
    for is_spaceless, characters in groupby(word, _spaceless):
        run = "".join(characters)
        found += map("".join, pairwise(run)) if is_spaceless and len(run) > 1 else [run]
    return found


class _Spaced(dict[int, int]):
    """For `str.translate`: what belongs to no word becomes a space."""

    def __missing__(self, code: int) -> int:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else ord(" ")
        return self[code]


_SPACED = _Spaced()


@cache
def _spaceless(character: str) -> bool:
    """Whether a character is of a script without spaces."""
    return unicodedata.name(character, "").startswith(UNSEGMENTED)

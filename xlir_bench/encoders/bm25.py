"""BM25's view of a text: its words, whatever the language."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
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
UNSEGMENTED = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts that set no space between words, and the signs that repeat or lengthen their characters (how the names of
their characters in Unicode begin)."""
LOWEST_UNSEGMENTED = "\u0e00"
"""No character before this one is of such a script."""


class BM25:
    """A passage is found by the words that it shares with the question: no vectors, no model.

    It scores, for every word of the question, ``idf * tf / (tf + k1 * (1 - b + b * length / mean length))`` with
    ``idf = ln(1 + (n - df + .5) / (df + .5))``, as in Lucene. n, df and the mean length are those of the passages
    that a setting searches: of one language, or of all. A word is what stands between characters that are neither
    letter, mark nor number; where a script sets no space between words, each two neighbouring characters are one.
    """

    name = "builtin:bm25"
    dimension = 0

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        parts = {"version": VERSION, "k1": K1, "b": B, "unicode": unicodedata.unidata_version}
        weight = "a word weighs what it says about the passages that a setting searches: of one language, or of all"
        notes = (weight, *unused_notes(options, "builtin", also=["similarity"]))
        self.card = builtin_card(self.name, parts, options, notes=notes)
        self.fingerprint = self.card.fingerprint
        """Changes with the formula and with Python's Unicode tables."""

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """Always an error: a word's weight depends on the passages that are searched."""
        raise InputError(f"{self.name} has no vectors; give a model that has")


def builtin_card(
    name: str, parts: Mapping[str, Any], options: EncoderOptions, **stated: Any
) -> EncoderCard:
    """The card of a built-in encoder; `parts` are what changes its vectors or scores."""
    return EncoderCard(
        name=name,
        kind="builtin",
        slug=slug(name.replace(":", "-")),
        fingerprint=fingerprint({"encoder": name, **parts}),
        **{"notes": unused_notes(options, "builtin"), **stated},
    )


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
    for is_spaceless, characters in groupby(word, _SPACELESS.__getitem__):
        run = "".join(characters)
        found += map("".join, pairwise(run)) if is_spaceless and len(run) > 1 else [run]
    return found


class _Spaced(dict[int, int]):
    """For `str.translate`: what belongs to no word becomes a space."""

    def __missing__(self, code: int) -> int:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else ord(" ")
        return self[code]


class _Spaceless(dict[str, bool]):
    """Whether a character is of a script without spaces."""

    def __missing__(self, character: str) -> bool:
        self[character] = unicodedata.name(character, "").startswith(UNSEGMENTED)
        return self[character]


_SPACED, _SPACELESS = _Spaced(), _Spaceless()

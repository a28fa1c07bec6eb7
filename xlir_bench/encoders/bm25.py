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
"""How soon a repeated word stops to count, and how much a passage's length counts."""
VERSION = 3
"""Changes with the words that a text is cut into, and with the formula."""
PAIRED = ("zh zho cmn yue wuu nan hak lzh", "ja jpn", "th tha", "lo lao", "km khm", "my mya", "shn")
"""The codes of Chinese, Japanese, Thai, Lao, Khmer, Burmese and Shan, whose words nothing separates."""
UNSEGMENTED = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts that set no space between words, and the signs that repeat or lengthen their characters (how the names of
their characters in Unicode begin)."""
ZERO_WIDTH_SPACE = 0x200B
"""It separates words where no space is set."""
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
    that a setting searches: of one language, or of all. Each text is cut into words as `terms` says, by its own
    language.
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
        weight = "a word weighs what it says about the passages that a setting searches: of one language, or of all"
        cut = "a text is cut by its language: in zh, ja, th, lo, km, my and shn each two neighbouring characters are a word"
        notes = (weight, cut, *unused_notes(options, "builtin", also=["similarity"]))
        super().__init__(options, parts, notes=notes)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """Always an error: a word's weight depends on the passages that are searched."""
        raise InputError(f"{self.name} has no vectors; give a model that has")


def terms(text: str, lang: str) -> list[str]:
    """The words of a text in this language: what stands between characters that are neither letter, mark nor number.

    Characters that only format others, such as a soft hyphen, are left out first. Where a script sets no
    space between words, each two neighbouring characters are a word in a language of `PAIRED`; in any other each
    single one is, with its marks.
    """
    words = unicodedata.normalize("NFKC", text).casefold().translate(_SPACED).split()
    if max(text, default="") < LOWEST_UNSEGMENTED:
        return words
    is_paired = _is_paired(lang)
    return [term for word in words for term in _pieces(word, is_paired)]


@cache
def _is_paired(lang: str) -> bool:
    """Whether characters count in pairs: in ``zh``, ``zh-TW``, ``zho_Hans``."""
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
    """For `str.translate`: what belongs to no word becomes a space, and what only formats other characters (Cf) nothing."""

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

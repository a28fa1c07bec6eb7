"""Greek, Cyrillic and Devanagari in Latin letters, so that a name is made of the same sub-words in each.

Rules for a tokenizer's normaliser, each applied to the whole text before the next. They are for small letters and
for matching, not for reading: what sounds alike is written alike, and accents and stress are lost.
"""

from __future__ import annotations

from collections.abc import Iterator

Rule = tuple[str, str]
"""What is replaced, and by what."""


def _table(words: str) -> dict[str, str]:
    """Each word is a letter and what stands for it."""
    return {word[0]: word[1:] for word in words.split()}


GREEK_PAIRS = {"ου": "u", "ού": "u", "μπ": "b", "ντ": "d", "γκ": "g"}
GREEK = _table(
    "αa βv γg δd εe ζz ηi θth ιi κk λl μm νn ξx οo πp ρr σs τt υy φf χch ψps ωo ςs άa έe "
    "ήi ίi όo ύy ώo ϊi ϋy ΐi ΰy"
)
CYRILLIC = _table(
    "аa бb вv гg дd еe ёe жzh зz иi йi кk лl мm нn оo пp рr сs тt уu фf хh цts чch шsh "
    "щshch ъ ыy ь эe юyu яya іi їi єe ґg ўu јj љlj њnj ћc ђdj џdz"
)

CONSONANTS = _table(
    "कk खkh गg घgh ङn चch छchh जj झjh ञn टt ठth डd ढdh णn तt थth दd धdh नn पp फph बb भbh "
    "मm यy रr लl वv शsh षsh सs हh ळl"
)
VOWELS = _table("अa आa इi ईi उu ऊu ऋri एe ऐai ऑo ओo औau")
SIGNS = _table("ाa िi ीi ुu ूu ृri ेe ैai ॉo ोo ौau")
NASALS = _table("ंn ँn ःh")
NUKTA, VIRAMA = "\u093c", "\u094d"
INHERENT = "\u0001"
"""Stands behind a consonant until it is known whether a vowel sign takes the place of its `a`."""


def rules() -> Iterator[Rule]:
    """All of them, in the order in which they are applied."""
    yield from GREEK_PAIRS.items()
    yield from GREEK.items()
    yield from CYRILLIC.items()
    yield from _devanagari()


def _devanagari() -> Iterator[Rule]:
    """A consonant has an `a` of its own, unless a vowel sign or a virama follows."""
    yield NUKTA, ""
    yield from ((letter, latin + INHERENT) for letter, latin in CONSONANTS.items())
    yield from ((INHERENT + sign, latin) for sign, latin in SIGNS.items())
    yield INHERENT + VIRAMA, ""
    yield INHERENT, "a"
    yield VIRAMA, ""
    yield from (VOWELS | NASALS).items()

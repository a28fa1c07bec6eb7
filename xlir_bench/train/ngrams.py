"""Which of some known texts a text holds nearly whole, by the n-grams of characters they share."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

GRAM = 8
"""Characters of an n-gram: letters, digits and marks alone, so that punctuation and spacing do not matter."""
THRESHOLD = 0.8
"""Share of a known text's n-grams that another text has to hold to be a near duplicate of it."""
MIN_LETTERS = 20
"""Known texts with fewer are not looked for: stock phrases would be found everywhere."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_TABLE_BITS = 27

Grams = NDArray[np.uint64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class GramIndex:
    """The n-grams of known texts; its size is theirs, whatever is looked up in it."""

    grams: Grams
    """Sorted; one for each text it is in."""
    texts: Numbers
    """Which text each is of."""
    sizes: Numbers
    """Distinct n-grams of each text; 0 for one that is not looked for."""
    likely: NDArray[np.uint8]
    """Bits: an n-gram whose bit is not set is not among them."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> GramIndex:
        """Of these texts."""
        owner, grams, letters = _grams(texts)
        kept = letters[owner] >= MIN_LETTERS
        owner, grams = _distinct(owner[kept], grams[kept])
        likely = np.zeros(1 << (_TABLE_BITS - 3), np.uint8)
        slot = _slot(grams)
        np.bitwise_or.at(likely, slot >> 3, (1 << (slot & 7)).astype(np.uint8))
        return cls(grams, owner, np.bincount(owner, minlength=len(texts)), likely)

    def near(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Pairs of a text's place among `texts` and a known text that it holds nearly whole."""
        owner, grams, _ = _grams(texts)
        slot = _slot(grams)
        maybe = (self.likely[slot >> 3] >> (slot & 7).astype(np.uint8)) & 1 == 1
        owner, grams = owner[maybe], grams[maybe]
        enough = np.bincount(owner, minlength=len(texts)) >= THRESHOLD * (MIN_LETTERS - GRAM + 1)
        owner, grams = owner[enough[owner]], grams[enough[owner]]
        if not len(grams):
            return []
        owner, grams = _distinct(owner, grams)
        first = np.searchsorted(self.grams, grams, "left")
        count = np.searchsorted(self.grams, grams, "right") - first
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        known = self.texts[np.repeat(first, count) + within]
        met, shared = np.unique(
            np.repeat(owner, count) * len(self.sizes) + known, return_counts=True
        )
        places, known = np.divmod(met, len(self.sizes))
        near = shared >= THRESHOLD * self.sizes[known]
        return list(zip(places[near].tolist(), known[near].tolist(), strict=True))


def _grams(texts: Sequence[str]) -> tuple[Numbers, Grams, Numbers]:
    """The n-grams of all texts in order, the text of each, and how many letters each text has."""
    if not any(texts):  # the table of letters takes a second to make
        return np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(len(texts), np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    kept = _letters()[codes]
    codes, owner = codes[kept].astype(np.uint64), owner[kept]
    count = max(0, len(codes) - GRAM + 1)
    powers, inverses = _powers(max(1 << 16, 1 << len(codes).bit_length()))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes * powers[: len(codes)])])
    grams = (sums[GRAM : GRAM + count] - sums[:count]) * inverses[:count]
    grams ^= grams >> np.uint64(32)
    grams *= _MULTIPLIER
    whole = owner[:count] == owner[GRAM - 1 :]
    return owner[:count][whole], grams[whole], np.bincount(owner, minlength=len(texts))


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[Grams, Grams]:
    """Powers of an odd number modulo 2**64 and their inverses: an n-gram is a difference of prefix sums."""
    inverse = pow(int(_MULTIPLIER), -1, 2**64)
    first = np.ones(1, np.uint64)
    return tuple(  # type: ignore[return-value]
        np.cumprod(np.concatenate([first, np.full(count - 1, base, np.uint64)]))
        for base in (int(_MULTIPLIER), inverse)
    )


def _distinct(owner: Numbers, grams: Grams) -> tuple[Numbers, Grams]:
    """Each pair of a text and an n-gram once, sorted by n-gram; owners have to come in order."""
    order = np.argsort(grams, kind="stable")
    owner, grams = owner[order], grams[order]
    new = np.ones(len(grams), bool)
    new[1:] = (grams[1:] != grams[:-1]) | (owner[1:] != owner[:-1])
    return owner[new], grams[new]


@cache
def _letters() -> NDArray[np.bool_]:
    """By code point: whether it is a letter, a digit or a mark on one."""
    return np.array([unicodedata.category(chr(code))[0] in "LNM" for code in range(0x110000)])


def _slot(grams: Grams) -> Numbers:
    return (grams >> np.uint64(64 - _TABLE_BITS)).astype(np.int64)

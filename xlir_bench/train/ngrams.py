"""Finds the known texts that a text equals, or holds nearly whole, by the runs of letters that they share.

It works in numpy, over many texts at once:

1. `Letters` has the letters, digits and marks of all texts as one array of code points: NFKC, case folded, the
   Turkish dotless i as i, and Latin, Greek and Cyrillic letters without accents.
   Each letter has a weight: a Han character says as much as three letters of an alphabet.
2. A *run* begins at a letter and is the shortest sequence of letters from there that weighs `RUN` or more. It has a key
   of 64 bits; the same letters give the same key (`Letters.keys`).
3. `KnownTexts` keeps the runs of the known texts by key, with all places where each run occurs. A text holds a known
   text nearly whole if the runs that they share cover enough of the known text.

Keys and weights are integers: the same texts give the same answer on every machine. Two different runs may have the
same key, by chance or because someone made them so. That can cause a false alarm, but never hide a leak; and a near
leak needs many shared runs.

`RULE` in leakage.py tells users what is compared. tests/train/test_leakage.py tests which changes of a text
must not hide it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xlir_bench.arrays import groups, ranges
from xlir_bench.records import Ints

RUN = 8
"""The least weight of a run: 8 letters of an alphabet, 4 kana, or 3 characters of Han or Hangul."""
NEAR_FROM = 20
"""Known texts that weigh less are not looked for inside other texts: stock phrases would be found everywhere."""
SHARE = ((NEAR_FROM, 45), (0.9, 0.7))
"""Weights of a known text, and the share of it that shared runs have to cover at each; linear in between."""
LONGER = 1.5
"""A text that weighs more than this many times a known text is *longer*: `RUNS_INSIDE` decides, not `SHARE`."""
RUNS_INSIDE = ((NEAR_FROM, 100), (1.0, 0.7))
"""Weights of a known text, and the share of its runs that a longer text has to hold; linear in between.

A longer text may hold the words of a known text scattered, or share stock phrases with it. Shared runs may then cover the
known text, but its runs across the gaps are missing.
"""
_DENSE = (
    (0x1200, 0x137F, 2),  # Ethiopic
    (0x3005, 0x3007, 3),
    (0x3041, 0x30FF, 2),  # kana
    (0x31F0, 0x31FF, 2),
    (0x3400, 0x4DBF, 3),  # Han
    (0x4E00, 0x9FFF, 3),
    (0xAC00, 0xD7A3, 3),  # Hangul
    (0xF900, 0xFAFF, 3),
    (0x20000, 0x323AF, 3),
)
"""First and last code point of a script, and the weight of each character; all others weigh 1."""
_CODES = 0x32400
"""No letter has a higher code point."""
_ACCENTS = range(0x300, 0x370)
"""Marks that only Latin, Greek and Cyrillic letters bear."""
_ALPHABETS = ("LATIN ", "GREEK ", "CYRILLIC ")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""The base of the hash. It is odd, so that it has an inverse modulo 2**64, and its bits have no pattern (2**64 divided by
the golden ratio)."""
_TABLE_BITS = 27
"""`KnownTexts.likely` has 2**27 bits: 16 MiB, of which few are set even with millions of runs."""

Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]


class Runs(NamedTuple):
    """Runs as parallel columns, sorted by text, and from left to right in each text."""

    owners: Ints
    """The number of the text that each is in."""
    keys: Keys
    starts: Ints
    """Position of the first letter, among the letters of all texts."""
    ends: Ints
    """Position behind the last letter."""

    def only(self, chosen: Flags) -> Runs:
        """The runs that are chosen."""
        owners, keys, starts, ends = self
        return Runs(owners[chosen], keys[chosen], starts[chosen], ends[chosen])


@dataclass(frozen=True)
class Letters:
    """The letters of texts in the form in which they are compared, one text after another."""

    codes: NDArray[np.uint32]
    """The code point of each letter."""
    bounds: Ints
    """Where each text begins, and where the last one ends."""
    weights: Ints
    """For each letter, the weight of all letters before it; the last entry is the weight of all."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Letters:
        """Reduce texts to their letters."""
        if not any(texts):  # makes no tables, which would take a moment
            return cls(np.zeros(0, np.uint32), np.zeros(len(texts) + 1, np.int64), np.zeros(1, int))
        folded = [unicodedata.normalize("NFKC", text).casefold() for text in texts]
        codes = np.frombuffer("".join(folded).encode("utf-32-le", "replace"), np.uint32)
        compared, weight = _tables()
        codes = compared[np.minimum(codes, _CODES)]
        kept = codes != 0
        kept_before = np.concatenate([[0], np.cumsum(kept)])
        codes = codes[kept]
        ends = np.cumsum([0, *map(len, folded)])
        return cls(codes, kept_before[ends], np.concatenate([[0], np.cumsum(weight[codes])]))

    def __getitem__(self, text: int) -> str:
        """The letters of one text."""
        codes = self.codes[self.bounds[text] : self.bounds[text + 1]]
        return codes.tobytes().decode("utf-32-le")

    def text_weights(self) -> Ints:
        """What each text weighs."""
        return np.diff(self.weights[self.bounds])

    def text_keys(self) -> Keys:
        """The key of all letters of each text."""
        return self.keys(self.bounds[:-1], self.bounds[1:])

    def keys(self, starts: Ints, ends: Ints) -> Keys:
        """64 bits for the letters from each start to its end; equal for equal letters, wherever they are.

        The hash of a run is the sum of ``code[i] * M ** (i - start)`` modulo 2**64 (uint64 overflows that way), with M
        for `_MULTIPLIER`. `_sums` has the sums of ``code[i] * M ** i`` over all letters before each place. The difference
        of two of them is the hash of the run between, times ``M ** start``. To make it independent of where the run starts,
        it is multiplied by the modular inverse of ``M ** start``, which exists because M is odd.

        The lowest bits of a hash depend only on the lowest bits of the letters. So its high half is folded into
        the low half, and multiplying by M spreads that to the high bits. Both steps can be undone: they make no two
        different hashes equal.
        """
        _, inverses = self._powers
        keys = (self._sums[ends] - self._sums[starts]) * inverses[starts]
        keys ^= keys >> np.uint64(32)
        return keys * _MULTIPLIER

    @property
    def _powers(self) -> tuple[Keys, Keys]:
        return _powers_of_multiplier(max(1 << 16, 1 << len(self.codes).bit_length()))

    @cached_property
    def _sums(self) -> Keys:
        sums = np.zeros(len(self.codes) + 1, np.uint64)
        powers, _ = self._powers
        # uint32 times uint64 is uint64: the letters need not be converted.
        np.cumsum(self.codes * powers[: len(self.codes)], out=sums[1:])
        return sums

    def runs(self) -> Runs:
        """Every run that lies within one text."""
        starts = np.arange(len(self.codes))
        if self.weights[-1] == len(self.codes):  # all letters weigh 1
            ends = starts + RUN
        else:
            ends = np.searchsorted(self.weights, self.weights[:-1] + RUN)
        # Runs that start later would end behind the last text.
        count = int(np.searchsorted(ends, len(self.codes), "right"))
        owners = np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))
        starts, ends = starts[:count], ends[:count]
        within = owners[:count] == owners[ends - 1]
        starts, ends = starts[within], ends[within]
        return Runs(owners[starts], self.keys(starts, ends), starts, ends)


@dataclass(frozen=True)
class KnownTexts:
    """Known texts, indexed by the keys of their letters and runs.

    A *place* is one occurrence of a run. There is about one place per letter, perhaps a hundred million: so columns by
    place have as few bits as they need.
    """

    wholes: Mapping[int, int]
    """By the key of all letters of a text, the number of the text."""
    runs: Keys
    """The keys of all runs, sorted, each once."""
    bounds: Ints
    """Where the places of each run begin in the columns by place, and at the end their number."""
    texts: NDArray[np.int32]
    """By place: the number of the text."""
    starts: NDArray[np.int32]
    """By place: the weight of the letters before it in its text."""
    sizes: NDArray[np.uint8]
    """By place: the weight of the run, `RUN` or little more."""
    weights: Ints
    """By text: its weight."""
    needed: NDArray[np.float64]
    """By text: the weight of it that shared runs have to cover, if the other text is not longer (`LONGER`)."""
    needed_runs: NDArray[np.float64]
    """By text: how many of its places a longer text has to share."""
    likely: NDArray[np.uint8]
    """One bit for each value of the highest `_TABLE_BITS` bits of a key: 0 if no known run has a key with these bits."""

    @classmethod
    def of(cls, letters: Letters) -> KnownTexts:
        """Index texts; no two of them have the same letters."""
        weights = letters.text_weights()
        runs = letters.runs()
        runs = runs.only(weights[runs.owners] >= NEAR_FROM)
        starts = letters.weights[runs.starts]
        sizes = letters.weights[runs.ends] - starts
        starts = starts - letters.weights[letters.bounds[runs.owners]]
        likely = np.zeros(1 << (_TABLE_BITS - 3), np.uint8)
        slot = _slot(runs.keys)
        # `likely[...] |= ...` would keep only one of several bits that fall into the same byte.
        np.bitwise_or.at(likely, slot >> 3, (1 << (slot & 7)).astype(np.uint8))
        by_key = np.argsort(runs.keys)
        keys = runs.keys[by_key]
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        return cls(
            wholes={key: text for text, key in enumerate(letters.text_keys().tolist())},
            runs=keys[first],
            bounds=np.append(first, len(keys)),
            texts=runs.owners[by_key].astype(np.int32),
            starts=starts[by_key].astype(np.int32),
            sizes=sizes[by_key].astype(np.uint8),
            weights=weights,
            needed=weights * np.interp(weights, *SHARE),
            needed_runs=np.bincount(runs.owners, minlength=len(weights))
            * np.interp(weights, *RUNS_INSIDE),
            likely=likely,
        )

    def equal(self, letters: Letters) -> list[tuple[int, int]]:
        """Pairs of a text and the known text that has the same letters."""
        known_texts = (self.wholes.get(key) for key in letters.text_keys().tolist())
        return [(text, known) for text, known in enumerate(known_texts) if known is not None]

    def near(self, letters: Letters) -> list[tuple[int, int]]:
        """Pairs of a text and a known text that the text holds nearly whole."""
        if not len(self.runs):
            return []
        owner, place = self._shared_runs(letters)
        # A pair of texts becomes one number. Sorted, the places of a pair are together, from left to right.
        pairs = owner * len(self.needed) + self.texts[place]
        order = np.lexsort((self.starts[place], pairs))
        pairs, place = pairs[order], place[order]
        distinct, pair, count = groups(pairs)
        texts, known = np.divmod(distinct, len(self.needed))
        starts = self.starts[place].astype(np.int64)
        covered = _covered(pair, starts, starts + self.sizes[place], len(distinct))
        longer = letters.text_weights()[texts] > LONGER * self.weights[known]
        near = np.where(longer, count >= self.needed_runs[known], covered >= self.needed[known])
        return list(zip(texts[near].tolist(), known[near].tolist(), strict=True))

    def _shared_runs(self, letters: Letters) -> tuple[Ints, Ints]:
        """The runs that texts share with known texts: pairs of a text and a place in a known text.

        Most texts share almost nothing with any known text, so they are dropped as early as possible.
        """
        runs = letters.runs()
        # One look into the table of bits rules out most runs; a binary search takes some twenty looks.
        slot = _slot(runs.keys)
        runs = runs.only((self.likely[slot >> 3] >> (slot & 7).astype(np.uint8)) & 1 == 1)
        starts, ends = letters.weights[runs.starts], letters.weights[runs.ends]
        covered = _covered(runs.owners, starts, ends, len(letters.bounds))
        least = np.interp(NEAR_FROM, *SHARE) * NEAR_FROM  # no known text needs less
        runs = runs.only(covered[runs.owners] >= least)
        place = np.minimum(np.searchsorted(self.runs, runs.keys), len(self.runs) - 1)
        is_known = self.runs[place] == runs.keys
        # A text and a run become one number, so that a run which a text has several times counts once.
        shared = np.unique(runs.owners[is_known] * len(self.runs) + place[is_known])
        owner, place = np.divmod(shared, len(self.runs))
        # From each run to all of its places, which are together.
        first, count = self.bounds[place], self.bounds[place + 1] - self.bounds[place]
        places = np.repeat(first, count) + ranges(count)
        owner = np.repeat(owner, count)
        enough = self.needed[self.texts[places]] <= covered[owner]
        return owner[enough], places[enough]


def _covered(owner: Ints, starts: Ints, ends: Ints, count: int) -> NDArray[Any]:
    """By owner: how much its spans cover together; overlaps count once.

    Spans are sorted by owner, then start, and a span that starts later never ends earlier. So all that a span shares with
    earlier spans, it shares with the span just before it.
    """
    overlap = np.zeros(len(owner), np.int64)
    np.maximum(ends[:-1] - starts[1:], 0, out=overlap[1:], where=owner[1:] == owner[:-1])
    return np.bincount(owner, ends - starts - overlap, minlength=count)


@lru_cache(maxsize=2)  # one for the known texts, one for chunks of rows
def _powers_of_multiplier(count: int) -> tuple[Keys, Keys]:
    """The first `count` powers of the multiplier, and of its inverse, modulo 2**64."""
    powers = np.ones((2, count), np.uint64)
    powers[:, 1:] = [[_MULTIPLIER], [np.uint64(pow(int(_MULTIPLIER), -1, 2**64))]]
    np.cumprod(powers, axis=1, out=powers)
    return powers[0], powers[1]


@cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """By code point: the letter as which it is compared (0: it is ignored), and its weight."""
    compared = np.zeros(_CODES + 1, np.uint32)
    weight = np.ones(_CODES + 1, np.int64)
    for code in range(_CODES):
        if unicodedata.category(chr(code))[0] in "LNM" and code not in _ACCENTS:
            compared[code] = code
    for code in range(0xC0, 0x2000):  # where letters with an accent are one character
        letter = unicodedata.normalize("NFD", chr(code))[0]
        if unicodedata.name(letter, "").startswith(_ALPHABETS):
            compared[code] = ord(letter)
    compared[ord("ı")] = ord("i")
    for first, last, each in _DENSE:
        weight[first : last + 1] = each
    return compared, weight


def _slot(keys: Keys) -> Ints:
    """The place of each key in the table `likely`: the value of its highest bits."""
    return (keys >> np.uint64(64 - _TABLE_BITS)).astype(np.int64)

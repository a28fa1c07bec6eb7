"""Which of some known texts a text is or holds nearly whole, by the runs of letters that they share.

Only letters count (with digits, and marks such as vowel signs): NFKC, case folded, the Turkish dotless i as i,
without accents where an alphabet has them beside its letters (Latin, Greek, Cyrillic).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

RUN = 8
"""What a run weighs at least: 8 letters of an alphabet, 4 kana, 3 characters of Han or Hangul."""
NEAR_FROM = 20
"""What a known text weighs at least to be looked for inside others: stock phrases would be found everywhere."""
SHARE = ((NEAR_FROM, 45), (0.9, 0.7))
"""Weights of a known text, and the share of it that another has to hold in runs; a straight line between."""
LONGER = 1.5
"""Another text so many times its length may hold a short one's words here and there, or a stock phrase of it."""
RUNS_INSIDE = ((NEAR_FROM, 100), (1.0, 0.7))
"""So there it is the share of its runs that counts."""
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
"""First and last code point, and how many letters of an alphabet one of them is worth; all others: 1."""
_CODES = 0x32400
"""No letter has a higher code point."""
_ACCENTS = range(0x300, 0x370)
"""Marks that stand on Latin, Greek and Cyrillic letters alone."""
_ALPHABETS = ("LATIN ", "GREEK ", "CYRILLIC ")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_TABLE_BITS = 27

Grams = NDArray[np.uint64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Letters:
    """The letters of texts, one text after another."""

    codes: NDArray[np.uint32]
    bounds: Numbers
    """Where each text begins, and where the last one ends."""
    weights: Numbers
    """What the letters before each weigh together, and all."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Letters:
        """Of these texts."""
        if not any(texts):  # the tables take a moment to make
            return cls(np.zeros(0, np.uint32), np.zeros(len(texts) + 1, np.int64), np.zeros(1, int))
        folded = [unicodedata.normalize("NFKC", text).casefold() for text in texts]
        codes = np.frombuffer("".join(folded).encode("utf-32-le", "replace"), np.uint32)
        compared, weight = _tables()
        codes = compared[np.minimum(codes, _CODES)]
        kept = codes != 0
        before = np.concatenate([[0], np.cumsum(kept)])
        codes = codes[kept]
        ends = np.cumsum([0, *map(len, folded)])
        return cls(codes, before[ends], np.concatenate([[0], np.cumsum(weight[codes])]))

    def __getitem__(self, place: int) -> str:
        """The letters of one text."""
        codes = self.codes[self.bounds[place] : self.bounds[place + 1]]
        return codes.tobytes().decode("utf-32-le")

    @property
    def owners(self) -> Numbers:
        """The text of each letter."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))

    def weight_of_texts(self) -> Numbers:
        """What each text weighs."""
        return np.diff(self.weights[self.bounds])

    def keys(self, starts: Numbers, ends: Numbers) -> Grams:
        """64 bits for the letters from each start to its end."""
        _, inverses = _powers(len(self.codes))
        keys = (self._sums[ends] - self._sums[starts]) * inverses[starts]
        keys ^= keys >> np.uint64(32)
        return keys * _MULTIPLIER

    @cached_property
    def _sums(self) -> Grams:
        sums = np.zeros(len(self.codes) + 1, np.uint64)
        powers, _ = _powers(len(self.codes))
        np.cumsum(self.codes * powers[: len(self.codes)], out=sums[1:])
        return sums

    def runs(self) -> tuple[Numbers, Grams, Numbers, Numbers]:
        """Every run within a text: its text, its key, where it starts and ends."""
        starts = np.arange(len(self.codes))
        if self.weights[-1] == len(self.codes):
            ends = starts + RUN
        else:
            ends = np.searchsorted(self.weights, self.weights[:-1] + RUN)
        count = int(np.searchsorted(ends, len(self.codes), "right"))
        owners, starts, ends = self.owners, starts[:count], ends[:count]
        whole = owners[:count] == owners[ends - 1]
        starts, ends = starts[whole], ends[whole]
        return owners[starts], self.keys(starts, ends), starts, ends


@dataclass(frozen=True)
class KnownTexts:
    """Known texts as keys of their letters and runs; its size is theirs, whatever is looked up in it."""

    wholes: Grams
    """The key of each text, sorted."""
    order: Numbers
    """Which text each of them is."""
    runs: Grams
    """Sorted, each once."""
    bounds: Numbers
    """Where the places of each begin, and where the last ones end."""
    texts: NDArray[np.int32]
    """By place: which text it is in."""
    starts: NDArray[np.int32]
    """By place: what stands before it in its text, as weight."""
    sizes: NDArray[np.uint8]
    """By place: what the run weighs."""
    weights: Numbers
    """By text."""
    needed: NDArray[np.float64]
    """By text: the weight that another has to hold in runs to be a near duplicate."""
    needed_runs: NDArray[np.float64]
    """By text: how many of its runs a longer one has to hold."""
    likely: NDArray[np.uint8]
    """Bits: a run whose bit is not set is not among them."""

    @classmethod
    def of(cls, letters: Letters) -> KnownTexts:
        """Of these texts, of which no two are equal."""
        wholes = letters.keys(letters.bounds[:-1], letters.bounds[1:])
        order = np.argsort(wholes)
        weights = letters.weight_of_texts()
        owner, runs, starts, ends = letters.runs()
        kept = weights[owner] >= NEAR_FROM
        owner, runs, starts, ends = owner[kept], runs[kept], starts[kept], ends[kept]
        sizes = letters.weights[ends] - letters.weights[starts]
        starts = letters.weights[starts] - letters.weights[letters.bounds[owner]]
        likely = np.zeros(1 << (_TABLE_BITS - 3), np.uint8)
        slot = _slot(runs)
        np.bitwise_or.at(likely, slot >> 3, (1 << (slot & 7)).astype(np.uint8))
        by_key = np.argsort(runs)
        runs = runs[by_key]
        first = np.flatnonzero(np.append(True, runs[1:] != runs[:-1])[: len(runs)])
        return cls(
            wholes=wholes[order],
            order=order,
            runs=runs[first],
            bounds=np.append(first, len(runs)),
            texts=owner[by_key].astype(np.int32),
            starts=starts[by_key].astype(np.int32),
            sizes=sizes[by_key].astype(np.uint8),
            weights=weights,
            needed=weights * np.interp(weights, *SHARE),
            needed_runs=np.bincount(owner, minlength=len(weights))
            * np.interp(weights, *RUNS_INSIDE),
            likely=likely,
        )

    def equal(self, letters: Letters) -> list[tuple[int, int]]:
        """Pairs of a text's place and the known text that has the same letters."""
        keys = letters.keys(letters.bounds[:-1], letters.bounds[1:])
        place = np.minimum(np.searchsorted(self.wholes, keys), len(self.wholes) - 1)
        found = np.flatnonzero((self.wholes[place] == keys) & (np.diff(letters.bounds) > 0))
        return list(zip(found.tolist(), self.order[place[found]].tolist(), strict=True))

    def near(self, letters: Letters) -> list[tuple[int, int]]:
        """Pairs of a text's place and a known text that it holds nearly whole."""
        if not len(self.runs):
            return []
        owner, runs, starts, ends = letters.runs()
        slot = _slot(runs)
        maybe = (self.likely[slot >> 3] >> (slot & 7).astype(np.uint8)) & 1 == 1
        owner, runs = owner[maybe], runs[maybe]
        starts, ends = letters.weights[starts[maybe]], letters.weights[ends[maybe]]
        held = _covered(owner, starts, ends, len(letters.bounds))
        enough = held[owner] >= np.interp(NEAR_FROM, *SHARE) * NEAR_FROM
        owner, runs = _distinct(owner[enough], runs[enough])
        place = np.searchsorted(self.runs, runs)
        place = np.minimum(place, len(self.runs) - 1)
        there = self.runs[place] == runs
        owner, place = owner[there], place[there]
        first, count = self.bounds[place], self.bounds[place + 1] - self.bounds[place]
        met = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        owner = np.repeat(owner, count)
        could = self.needed[self.texts[met]] <= held[owner]
        met = met[could]
        pairs = owner[could] * len(self.needed) + self.texts[met]
        order = np.lexsort((self.starts[met], pairs))
        pairs, met = pairs[order], met[order]
        starts = self.starts[met].astype(np.int64)
        distinct, pair = np.unique(pairs, return_inverse=True)
        places, known = np.divmod(distinct, len(self.needed))
        longer = letters.weight_of_texts()[places] > LONGER * self.weights[known]
        held = _covered(pair, starts, starts + self.sizes[met], len(distinct))
        near = np.where(
            longer, np.bincount(pair) >= self.needed_runs[known], held >= self.needed[known]
        )
        return list(zip(places[near].tolist(), known[near].tolist(), strict=True))


def _covered(owner: Numbers, starts: Numbers, ends: Numbers, count: int) -> NDArray[Any]:
    """By owner: what its spans cover together; sorted by owner, then start, and ends rise with starts."""
    again = np.zeros(len(owner), np.int64)
    np.maximum(ends[:-1] - starts[1:], 0, out=again[1:], where=owner[1:] == owner[:-1])
    return np.bincount(owner, ends - starts - again, minlength=count)


def _powers(count: int) -> tuple[Grams, Grams]:
    """Powers of an odd number modulo 2**64 and their inverses: a run is a difference of prefix sums."""
    return _many_powers(max(1 << 16, 1 << count.bit_length()))


@lru_cache(maxsize=2)
def _many_powers(count: int) -> tuple[Grams, Grams]:
    inverse = pow(int(_MULTIPLIER), -1, 2**64)
    first = np.ones(1, np.uint64)
    return tuple(  # type: ignore[return-value]
        np.cumprod(np.concatenate([first, np.full(count - 1, base, np.uint64)]))
        for base in (int(_MULTIPLIER), inverse)
    )


def _distinct(owner: Numbers, runs: Grams) -> tuple[Numbers, Grams]:
    """Each pair of a text and a run once, sorted by run; owners have to come in order."""
    order = np.argsort(runs, kind="stable")
    owner, runs = owner[order], runs[order]
    new = np.ones(len(runs), bool)
    new[1:] = (runs[1:] != runs[:-1]) | (owner[1:] != owner[:-1])
    return owner[new], runs[new]


@cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """By code point: what it is compared as, 0 for what does not count; and what it weighs."""
    compared = np.zeros(_CODES + 1, np.uint32)
    weight = np.ones(_CODES + 1, np.int64)
    for code in range(_CODES):
        if unicodedata.category(chr(code))[0] in "LNM" and code not in _ACCENTS:
            compared[code] = code
    for code in range(0xC0, 0x2000):
        letter = unicodedata.normalize("NFD", chr(code))[0]
        if unicodedata.name(letter, "").startswith(_ALPHABETS):
            compared[code] = ord(letter)
    compared[ord("ı")] = ord("i")
    for first, last, worth in _DENSE:
        weight[first : last + 1] = worth
    return compared, weight


def _slot(runs: Grams) -> Numbers:
    return (runs >> np.uint64(64 - _TABLE_BITS)).astype(np.int64)

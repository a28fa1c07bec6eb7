"""Encoders that need no download: a trained one, a lexical baseline and a floor."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from xlir_bench.encoders.bm25 import BM25
from xlir_bench.encoders.digest import fingerprint
from xlir_bench.encoders.multilingual import MultilingualEncoder
from xlir_bench.encoders.options import DEFAULT_OPTIONS, unused_notes
from xlir_bench.encoders.protocol import Encoder, EncoderCard
from xlir_bench.encoders.slugs import slug
from xlir_bench.errors import UnknownNameError
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Floats, Role

Words = NDArray[np.uint64]

START, END = "\x02", "\x03"
"""Stand before and after a text, so that its first and last letters make n-grams of their own."""


class NgramEncoder:
    """Hashed character n-grams: two texts are alike as far as they share pieces of 2 to 4 characters.

    A text is normalised (NFKC, case folding, white space to single spaces) and enclosed in two boundary
    characters. Every n-gram ``g`` has a 64-bit hash ``h(g)``; its bucket is ``b(g) = h(g) mod 1024``, its
    sign ``s(g)`` is bit 40 of the hash. With ``S_b`` the sum of ``s(g)`` over all n-grams ``g`` of the text
    that fall into bucket ``b``, component ``b`` of the vector is ``sign(S_b) * sqrt(|S_b|)``. The sums are
    integers and a square root is exact to the last bit, so a vector never depends on its batch or machine.
    A text without any character has the zero vector.
    """

    name = "builtin:ngram"
    dimension = 1024
    sizes = (2, 3, 4)
    version = 1

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        self.card = _card(self.name, self.version, options)

    @property
    def fingerprint(self) -> str:
        """Changes with the formula and with Python's Unicode tables."""
        return self.card.fingerprint

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One row a text; the role makes no difference."""
        blocks = [self._block(texts[i : i + 2048]) for i in range(0, len(texts), 2048)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.dimension), np.float32)

    def _block(self, texts: Sequence[str]) -> Floats:
        """All texts lie in one array of code points; an n-gram counts if it ends in the text it began in."""
        folded = [_folded(text) for text in texts]
        points = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
        lengths = np.array([len(text) for text in folded])
        row = np.repeat(np.arange(len(folded)), lengths)
        end = np.repeat(np.cumsum(lengths), lengths)
        sums = np.zeros(len(folded) * self.dimension)
        hashes = np.zeros(len(points), np.uint64)
        for size in range(1, max(self.sizes) + 1):
            count = max(len(points) - size + 1, 0)
            hashes = _mixed(hashes[:count], points[size - 1 :].astype(np.uint64), size)
            if size in self.sizes:
                whole = np.arange(size, size + count) <= end[:count]
                sums += self._sums(row[:count][whole], hashes[whole], len(sums))
        roots = np.sign(sums) * np.sqrt(np.abs(sums))
        return roots.reshape(len(folded), self.dimension).astype(np.float32)

    def _sums(self, row: NDArray[np.int64], hashes: Words, length: int) -> NDArray[np.float64]:
        bucket = (hashes % np.uint64(self.dimension)).astype(np.int64)
        sign = np.where(hashes >> np.uint64(40) & np.uint64(1), 1.0, -1.0)
        sums = np.bincount(row * self.dimension + bucket, weights=sign, minlength=length)
        return sums.astype(np.float64)


class RandomEncoder:
    """Gaussian vectors drawn from the SHA-256 of the text: what knowing nothing scores."""

    name = "builtin:random"
    dimension = 256
    version = 1

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        self.card = _card(self.name, self.version, options)

    @property
    def fingerprint(self) -> str:
        """The same everywhere: the formula never changes."""
        return self.card.fingerprint

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One row a text; equal texts have equal rows whatever their role."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        return np.stack([_gaussian(self._draws(text)) for text in texts])

    def _draws(self, text: str) -> Words:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        generator = np.random.Philox(key=np.frombuffer(digest[:16], np.uint64))
        return generator.random_raw(self.dimension)


BUILTINS: dict[str, Callable[[EncoderOptions], Encoder]] = {
    "bm25": BM25,
    "multilingual": MultilingualEncoder,
    "ngram": NgramEncoder,
    "random": RandomEncoder,
}


def load_builtin(name: str, options: EncoderOptions) -> Encoder:
    """The encoder that ``builtin:<name>`` stands for."""
    if name not in BUILTINS:
        raise UnknownNameError("built-in encoder", [name], BUILTINS)
    return BUILTINS[name](options)


def _folded(text: str) -> str:
    words = unicodedata.normalize("NFKC", text).casefold().split()
    return START + " ".join(words) + END if words else ""


def _mixed(hashes: Words, points: Words, size: int) -> Words:
    """The hashes of n-grams one longer: SplitMix64's finish over the last hash and the next character."""
    x = (hashes * np.uint64(31) + points) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(size)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _gaussian(draws: Words) -> Floats:
    """Standard normal numbers of one text by Box and Muller: a formula, where a library's stream may change."""
    unit = ((draws >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    half = len(unit) // 2
    radius, angle = np.sqrt(-2.0 * np.log(unit[:half])), 2.0 * np.pi * unit[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)


def _card(name: str, version: int, options: EncoderOptions) -> EncoderCard:
    parts = {"encoder": name, "version": version, "unicode": unicodedata.unidata_version}
    return EncoderCard(
        name=name,
        kind="builtin",
        slug=slug(name.replace(":", "-")),
        fingerprint=fingerprint(parts),
        notes=unused_notes(options, "builtin"),
    )

"""Encoders that need no download: a trained one, a lexical baseline and a floor."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.encoders.bm25 import BM25, Builtin
from xlir_bench.encoders.digest import files_digest
from xlir_bench.encoders.layout import count_parameters
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, Encoder
from xlir_bench.encoders.tokens import token_ids
from xlir_bench.errors import UnknownNameError
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Floats, Role, TokenCounts

Words = NDArray[np.uint64]

START, END = "\x02", "\x03"
"""Stand before and after a text, so that its first and last letters make n-grams of their own."""
FORMULA = {"version": 1, "unicode": unicodedata.unidata_version}
"""All that the vectors of encoders without weights depend on, for their fingerprints."""
WEIGHTS, VOCABULARY = "model.safetensors", "tokenizer.json"


class MultilingualEncoder(Builtin):
    """A text's vector is the mean over its sub-words; a sub-word's vector is a row of int8 numbers times a scale.

    `make multilingual` trained it on openly licensed text; the README beside the weights names the sources.
    sentence-transformers gives the same vectors for the same files. A text without a token has the zero vector.
    """

    name = "builtin:multilingual"

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        self.folder = Path(str(files("xlir_bench.encoders") / "multilingual_model"))
        digest = files_digest(self.folder, [VOCABULARY, WEIGHTS])
        super().__init__(
            options,
            {"files": digest, "tokenizers": version("tokenizers")},
            weights_digest=digest,
            parameters=count_parameters(self.folder / WEIGHTS),
            weights_bytes=(self.folder / WEIGHTS).stat().st_size,
            chosen_on=("mini",),  # as the README beside the weights says
        )

    @property
    def dimension(self) -> int:
        """Length of a vector; loads the weights."""
        return int(self._tensors["embeddings"].shape[1])

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One row per text; the role makes no difference."""
        rows, scales = self._tensors["embeddings"], self._tensors["weights"]
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for place, ids in enumerate(token_ids(self._tokenizer, list(texts), special=False)):
            if ids:
                vectors[place] = (rows[ids] * scales[ids, None]).sum(axis=0) / np.float32(len(ids))
        return vectors

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens and unknown tokens of each text."""
        ids = token_ids(self._tokenizer, list(texts), special=False)
        unknown = self._tokenizer.token_to_id("[UNK]")
        return TokenCounts(
            np.array([len(row) for row in ids], np.int64),
            np.array([row.count(unknown) for row in ids], np.int64),
        )

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.folder / VOCABULARY))

    @cached_property
    def _tensors(self) -> dict[str, NDArray[Any]]:
        """`embeddings`: a row of int8 numbers per token; `weights`: its scale."""
        from safetensors.numpy import load_file

        tensors: dict[str, NDArray[Any]] = load_file(self.folder / WEIGHTS)
        return tensors


class NgramEncoder(Builtin):
    """Hashed character n-grams: the more pieces of 2 to 4 characters two texts share, the nearer their vectors.

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

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(options, FORMULA)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One row per text; the role makes no difference."""
        blocks = [self._block(texts[i : i + 2048]) for i in range(0, len(texts), 2048)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.dimension), np.float32)

    def _block(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts that lie in one array of code points; an n-gram counts only if it lies within one text."""
        folded = [_folded(text) for text in texts]
        points = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
        lengths = np.array([len(text) for text in folded])
        row = np.repeat(np.arange(len(folded)), lengths)
        end = np.repeat(np.cumsum(lengths), lengths)
        sums = np.zeros(len(folded) * self.dimension)
        hashes = np.zeros(len(points), np.uint64)
        for size in range(1, max(self.sizes) + 1):
            count = max(len(points) - size + 1, 0)
            hashes = _longer(hashes[:count], points[size - 1 :].astype(np.uint64), size)
            if size in self.sizes:
                whole = np.arange(size, size + count) <= end[:count]
                bucket = (hashes[whole] % np.uint64(self.dimension)).astype(np.int64)
                sign = np.where(hashes[whole] >> np.uint64(40) & np.uint64(1), 1.0, -1.0)
                place = row[:count][whole] * self.dimension + bucket
                sums += np.bincount(place, weights=sign, minlength=len(sums))
        roots = np.sign(sums) * np.sqrt(np.abs(sums))
        return roots.reshape(len(folded), self.dimension).astype(np.float32)


class RandomEncoder(Builtin):
    """Gaussian vectors drawn from the SHA-256 of the text: they score what an encoder scores that knows nothing."""

    name = "builtin:random"
    dimension = 256

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(options, FORMULA)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One row per text; equal texts have equal rows whatever their role."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        return np.stack([self._gaussian(text) for text in texts])

    def _gaussian(self, text: str) -> Floats:
        """Standard normal numbers by the formula of Box and Muller: those of a library may change with its release."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        key = np.frombuffer(digest[:16], np.uint64)
        draws = np.random.Philox(key=key).random_raw(self.dimension)
        unit = ((draws >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
        half = len(unit) // 2
        radius, angle = np.sqrt(-2.0 * np.log(unit[:half])), 2.0 * np.pi * unit[half:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)


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


def _longer(hashes: Words, points: Words, size: int) -> Words:
    """The hashes of n-grams one character longer: the last steps of SplitMix64, over the hash so far and the character."""
    x = (hashes * np.uint64(31) + points) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(size)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

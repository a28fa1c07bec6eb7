"""`builtin:multilingual`: the package's own table of token vectors, read and pooled without torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.encoders.digest import files_digest, fingerprint
from xlir_bench.encoders.layout import count_parameters
from xlir_bench.encoders.options import DEFAULT_OPTIONS, unused_notes
from xlir_bench.encoders.protocol import EncoderCard
from xlir_bench.encoders.slugs import slug
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Floats, Role, TokenCounts

WEIGHTS, VOCABULARY = "model.safetensors", "tokenizer.json"
CHOSEN_ON = ("mini",)
"""How, the card beside the weights says."""


def bundled_folder() -> Path:
    """Where the weights, the vocabulary, the recipe and the card lie."""
    return Path(str(files("xlir_bench.encoders") / "multilingual_model"))


class MultilingualEncoder:
    """The mean of the vectors of a text's sub-words; each is a row of int8 numbers times a scale.

    Trained by `make multilingual` on openly licensed text; the card beside the weights says on which.
    The vectors are those that sentence-transformers gives of the same files. A text without a token has
    the zero vector.
    """

    name = "builtin:multilingual"

    def __init__(self, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        folder = bundled_folder()
        digest = files_digest(folder, [VOCABULARY, WEIGHTS])
        parts = {"encoder": self.name, "files": digest, "tokenizers": version("tokenizers")}
        self._folder = folder
        self.card = EncoderCard(
            name=self.name,
            kind="builtin",
            slug=slug(self.name.replace(":", "-")),
            fingerprint=fingerprint(parts),
            weights_digest=digest,
            parameters=count_parameters(folder / WEIGHTS),
            weights_bytes=(folder / WEIGHTS).stat().st_size,
            chosen_on=CHOSEN_ON,
            notes=unused_notes(options, "builtin"),
        )

    @property
    def fingerprint(self) -> str:
        """Changes with the weights, the vocabulary and the version of `tokenizers`."""
        return self.card.fingerprint

    @property
    def dimension(self) -> int:
        """Loads the weights."""
        return int(self._rows.shape[1])

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One row a text; the role makes no difference."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for place, ids in enumerate(self._ids(texts)):
            if ids:
                rows = self._rows[ids] * self._scales[ids, None]
                vectors[place] = rows.sum(axis=0) / np.float32(len(ids))
        return vectors

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens and unknown tokens of each text."""
        unknown = self._tokenizer.token_to_id("[UNK]")
        found = self._ids(texts)
        return TokenCounts(
            np.array([len(ids) for ids in found], np.int64),
            np.array([ids.count(unknown) for ids in found], np.int64),
        )

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._folder / VOCABULARY))

    @cached_property
    def _tensors(self) -> dict[str, NDArray[Any]]:
        from safetensors.numpy import load_file

        tensors: dict[str, NDArray[Any]] = load_file(self._folder / WEIGHTS)
        return tensors

    @property
    def _rows(self) -> NDArray[np.int8]:
        return self._tensors["embeddings"]

    @property
    def _scales(self) -> Floats:
        return self._tensors["weights"]

"""Vectors that exist: ``npy:<folder>`` with ``query.<lang>.npy`` and ``passage.<lang>.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from xlir_bench.encoders.digest import files_digest, short
from xlir_bench.encoders.hub import near_misses
from xlir_bench.encoders.options import DEFAULT_OPTIONS, unused_notes
from xlir_bench.encoders.protocol import EncoderCard
from xlir_bench.encoders.slugs import slug
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Floats, Role
from xlir_bench.untrusted import read_array

DTYPES = ("float16", "float32", "float64")


class StoredVectors:
    """Rows in the collection's order, one file a role and language; it encodes no texts of its own."""

    kind = "vectors"

    def __init__(self, folder: Path, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        if not folder.is_dir():
            raise InputError(f"npy: no folder {str(folder)!r}{near_misses(folder)}")
        self.folder = folder
        self.name = folder.resolve().name
        self._options = options
        self._files = sorted(
            f.name for role in ("query", "passage") for f in folder.glob(f"{role}.*.npy")
        )
        if not self._files:
            raise InputError(f"npy: {folder} holds no query.<lang>.npy and no passage.<lang>.npy")
        widths = {name: self._open(name).shape[1] for name in self._files}
        self.dimension = widths[self._files[0]]
        other = next((n for n in self._files if widths[n] != self.dimension), None)
        if other is not None:
            raise InputError(
                f"npy: {folder / other} has vectors of {widths[other]} numbers, "
                f"{self._files[0]} of {self.dimension}: all must be of one model"
            )

    @cached_property
    def fingerprint(self) -> str:
        """Of the bytes of all files."""
        return files_digest(self.folder, self._files)

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        return EncoderCard(
            name=self.name,
            kind=self.kind,
            slug=slug(f"npy-{self.name}-{short(self.fingerprint)}"),
            fingerprint=self.fingerprint,
            notes=unused_notes(self._options, self.kind),
        )

    def vectors(self, role: Role, lang: str, count: int, beginning: bool = False) -> Floats:
        """The vectors of one role and language as float32; there must be exactly `count` of them.

        With `beginning` there may be more, and the first `count` are wanted (`--limit`).
        """
        name = f"{role}.{lang}.npy"
        if not (self.folder / name).is_file():
            there = ", ".join(self._files)
            raise InputError(
                f"npy: {self.folder / name} is not there (there are: {there}); --langs leaves languages out"
            )
        array = self._open(name)
        if len(array) != count and not (beginning and len(array) > count):
            raise InputError(
                f"npy: {self.folder / name} has {len(array)} rows, the collection has {count} texts of "
                f"role {role} in {lang}: one row a text is wanted, in the collection's order"
            )
        return array[:count].astype(np.float32, copy=False)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """Always an error: there are only rows, and which text each belongs to is not written in them."""
        raise InputError(
            f"npy:{self.folder} holds vectors of the texts of one collection and cannot encode others: "
            "give a model to encode new texts"
        )

    def _open(self, name: str) -> Floats:
        path = self.folder / name
        array: Floats = read_array(path, mapped=True)
        if array.dtype.name not in DTYPES or not array.dtype.isnative:
            raise InputError(f"npy: {path} is of {array.dtype.str}; {', '.join(DTYPES)} are wanted")
        if array.ndim != 2 or array.shape[1] == 0:
            raise InputError(f"npy: {path} has shape {array.shape}; (texts, dimension) is wanted")
        return array


def load_vectors(folder: str, options: EncoderOptions) -> StoredVectors:
    """The stored vectors that ``npy:<folder>`` stands for."""
    return StoredVectors(Path(folder).expanduser(), options)

"""Vectors that the user has computed: ``npy:<folder>`` with ``query.<lang>.npy`` and ``passage.<lang>.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from xlir_bench.encoders.digest import files_digest, short, slug
from xlir_bench.encoders.hub import near_misses
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, EncoderCard, unused_notes
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import ROLES, Floats, Role
from xlir_bench.untrusted import read_array

DTYPES = ("float16", "float32", "float64")


class StoredVectors:
    """Rows in the collection's order, one file per role and language; it cannot encode texts."""

    def __init__(self, folder: Path, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        if not folder.is_dir():
            raise InputError(f"npy: no folder {str(folder)!r}{near_misses(folder)}")
        self.folder = folder
        self.name = folder.resolve().name
        self._options = options
        self._files = sorted(file.name for role in ROLES for file in folder.glob(f"{role}.*.npy"))
        if not self._files:
            raise InputError(f"npy: {folder} holds no query.<lang>.npy and no passage.<lang>.npy")
        first, *others = self._files
        self.dimension: int = self._open(first).shape[1]
        for other in others:
            if (width := self._open(other).shape[1]) != self.dimension:
                raise InputError(
                    f"npy: {folder / other} has vectors of {width} numbers, {first} of {self.dimension}"
                )

    @cached_property
    def fingerprint(self) -> str:
        """The digest of all files."""
        return files_digest(self.folder, self._files)

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        return EncoderCard(
            name=self.name,
            kind="vectors",
            slug=slug(f"npy-{self.name}-{short(self.fingerprint)}"),
            fingerprint=self.fingerprint,
            notes=unused_notes(self._options, "vectors"),
        )

    def vectors(self, role: Role, lang: str, count: int, beginning: bool = False) -> Floats:
        """The vectors of one role and language as float32; the file must have exactly `count` of them.

        With `beginning` it may have more, of which the first `count` are returned (for `--limit`).
        """
        path = self.folder / f"{role}.{lang}.npy"
        if not path.is_file():
            raise InputError(
                f"npy: {path} is not there (there are: {', '.join(self._files)}); --langs leaves languages out"
            )
        array = self._open(path.name)
        if len(array) != count and not (beginning and len(array) > count):
            raise InputError(
                f"npy: {path} has {len(array)} rows for the {count} texts of role {role} in {lang}: one each is wanted, in order"
            )
        return array[:count].astype(np.float32, copy=False)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """Always an error: the files do not say which text a row belongs to."""
        raise InputError(f"npy:{self.folder} holds vectors and cannot encode others: give a model")

    def _open(self, name: str) -> Floats:
        path = self.folder / name
        array: Floats = read_array(path, mapped=True)
        if array.dtype.name not in DTYPES or not array.dtype.isnative:
            raise InputError(f"npy: {path} is of {array.dtype.str}, not of {', '.join(DTYPES)}")
        if array.ndim != 2 or array.shape[1] == 0:
            raise InputError(f"npy: {path} has shape {array.shape}, not (texts, dimension)")
        return array

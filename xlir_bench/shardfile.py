"""A shard: the vectors of some texts in one safetensors file, named by the digest of its bytes.

    keys      128 bits a text
    vectors   float32, float16 or int8; those of tokens, one text after another
    weights   instead of them where they are sparse: what is not zero, one text after another
    columns   which numbers of the vectors these are
    dimension of how many
    ends      where what belongs to the first text begins, and where that of each text ends
    tokens    how long each text is for the encoder's tokenizer
    unknown   how many of these are its unknown token

It is written whole or not at all and never changed; it is opened when it is read and closed after. Two runs
that write the same shard write the same file. Its content may be damaged unless `is_sound` has checked its
digest; an error of the system says nothing about that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from xlir_bench import files, objectstore

SUFFIX = ".safetensors"
DTYPES = {"U64": "<u8", "F32": "<f4", "F16": "<f2", "I8": "<i1", "I32": "<i4"}
"""numpy's names of the types that safetensors names."""
LONGEST_HEADER = 65536


def write_shard(folder: Path, prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write these arrays to a file named by `prefix` and their digest."""
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    path = folder / f"{prefix}{files.blake2b_128(content).hexdigest()}{SUFFIX}"
    objectstore.write(path, content)
    return path


def is_sound(path: Path) -> bool:
    """Whether the digest of the file is that of its name; reads all of it."""
    digest = files.file_digest(objectstore.fetched(path), files.blake2b_128)
    return path.stem.rpartition("-")[2] == digest


def read_keys(path: Path) -> NDArray[np.uint64]:
    """The keys alone; raises `ValueError` where the file is no shard."""
    with objectstore.opened(path) as file, _no_shard(path):
        start, header = _header(file)
        begin, end = header["keys"]["data_offsets"]
        file.seek(start + begin)
        keys = np.frombuffer(file.read(end - begin), DTYPES[header["keys"]["dtype"]])
        return keys.reshape(header["keys"]["shape"])


def mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a shard, mapped: read when used, and open until none of them is held.

    Raises `ValueError` where the file is no shard.
    """
    with objectstore.fetched(path).open("rb") as file, _no_shard(path):
        start, header = _header(file)
        whole = np.memmap(file, np.uint8, mode="r")
        arrays = {}
        for name, stated in header.items():
            begin, end = stated["data_offsets"]
            part = whole[start + begin : start + end].view(DTYPES[stated["dtype"]])
            arrays[name] = part.reshape(stated["shape"])
        return arrays


def _header(file: BinaryIO) -> tuple[int, dict[str, Any]]:
    """Where the arrays begin, and the header: type, shape and place of each."""
    size = int.from_bytes(file.read(8), "little")
    return 8 + size, json.loads(file.read(min(size, LONGEST_HEADER)))


@contextmanager
def _no_shard(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no shard: {error}") from error

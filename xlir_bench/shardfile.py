"""A shard: the vectors of some texts in one safetensors file, named by the digest of its bytes.

    keys      a key of 128 bits for each text
    vectors   float32, float16 or int8; if each token has one, the vectors of one text after another
    weights   instead of `vectors` if these are sparse: their numbers other than 0, of one text after another
    columns   the column of each weight
    dimension how many columns there are
    ends      where the token vectors (or weights) of the first text begin, and where those of each text end
    tokens    how many tokens each text has for the encoder's tokenizer
    unknown   how many of these are the unknown token

It is written whole or not at all and never changed; it is opened when it is read and closed after. Two runs
that write the same shard write the same file. Its content may be damaged unless `is_sound` has checked its
digest; an error of the system while it is read is no sign of damage.
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
"""numpy's name of each type, by its name in safetensors."""
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
    """Where the arrays begin, and the header: the type, shape and place of each array."""
    size = int.from_bytes(file.read(8), "little")
    return 8 + size, json.loads(file.read(min(size, LONGEST_HEADER)))


@contextmanager
def _no_shard(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no shard: {error}") from error

"""Tells encoders apart: digests of files and vectors, and the folder names made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.files import blake2b_128, file_digest, json_digest, safe_name
from xlir_bench.places import cache_root
from xlir_bench.records import Floats
from xlir_bench.shardfile import SUFFIX, is_sound, mapped, write_shard

PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch")
"""A new version of any of them may give other vectors."""
PROBES = ("What is the capital of France?", "Париж — столица Франции.", "巴黎是法国的首都。", "a")
"""Texts whose vectors identify an encoder that has no files."""
TOLERANCE = 0.015
"""How far a probe's vector may be from the stored one, as a share of the stored one's length.



Measured with all-MiniLM-L6-v2: .0012 between batches in float16 and .011 in bfloat16, but .021 after one step of
training (Adam, 2e-5).
"""


def fingerprint(parts: Mapping[str, Any]) -> str:
    """``sha256:…`` of the canonical JSON of `parts`."""
    return f"sha256:{json_digest(parts)}"


def files_digest(folder: Path, names: Iterable[str]) -> str:
    """``sha256:…`` of some files of a folder: their names and their bytes."""
    return fingerprint({name: file_digest(folder / name, "blake2b") for name in names})


def short(digest: str) -> str:
    """The first 8 hexadecimal digits of a ``sha256:…``."""
    return digest.removeprefix("sha256:")[:8]


def slug(name: str, options: Mapping[str, Any] | None = None) -> str:
    """A folder name that is safe in any file system; ``~`` and a digest follow where options were given."""
    return safe_name(name) + ("~" + short(fingerprint(options)) if options else "")


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed, found without importing any of them."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def package_versions() -> dict[str, str]:
    """The versions of `PACKAGES`."""
    return dict.fromkeys(PACKAGES, "absent") | installed_versions(PACKAGES)


def probed_fingerprint(parts: Mapping[str, Any], vectors: Floats) -> str:
    """The fingerprint of an encoder without files: `parts` is what is known of it, `vectors` are those of `PROBES`.

    The vectors of one model differ a little from day to day: with the batch, the threads, in half precision. So the
    first vectors are kept in ``<cache>/probes/<fingerprint of parts>/<their digest>-….safetensors`` (see `shardfile`),
    and later vectors within `TOLERANCE` of them give the same fingerprint.
    """
    data = str(vectors.shape).encode() + vectors.tobytes()
    digest = blake2b_128(data).hexdigest()
    folder = cache_root() / "probes" / fingerprint(parts).removeprefix("sha256:")[:32]
    with suppress(OSError):  # a cache that cannot be written keeps nothing
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            with suppress(ValueError, LookupError):
                if is_sound(path) and _nearly_equal(mapped(path)["vectors"], vectors):
                    return fingerprint({**parts, "probes": path.stem.partition("-")[0]})
        write_shard(folder, f"{digest}-", {"vectors": vectors})
    return fingerprint({**parts, "probes": digest})


def _nearly_equal(stored: Floats, vectors: Floats) -> bool:
    if stored.shape != vectors.shape:
        return False
    distances = np.linalg.norm(stored - vectors, axis=1)
    return bool((distances <= TOLERANCE * np.linalg.norm(stored, axis=1)).all())

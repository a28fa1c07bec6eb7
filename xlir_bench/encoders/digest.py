"""Digests of files and of whatever else changes an encoder's vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from xlir_bench.files import file_digest

PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch")
"""A new version of any of them may give other bits."""


def fingerprint(parts: Mapping[str, Any]) -> str:
    """``sha256:…`` of the canonical JSON of `parts`."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def files_digest(folder: Path, names: Iterable[str]) -> str:
    """``sha256:…`` of some files of a folder: their names and their bytes."""
    return fingerprint({name: file_digest(folder / name, "blake2b") for name in names})


def short(digest: str) -> str:
    """The first 8 hexadecimal digits of a ``sha256:…``."""
    return digest.removeprefix("sha256:")[:8]


def package_versions() -> dict[str, str]:
    """The versions of `PACKAGES`, found without importing any of them."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"

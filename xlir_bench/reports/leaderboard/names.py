"""File names of pages: safe whatever a result.json says, and no two alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from xlir_bench.files import safe_name

LONGEST = 120
TAKEN = ("readme", "published", "index", "results", "baselines", "experiments", "figures")
"""What lies in a leaderboard's folder besides tasks."""


def file_names(names: Sequence[str], top: bool = False) -> list[str]:
    """A safe file name for each, in order; those that would meet on some file system get a digest.

    `top`: they lie beside the index, whose names are taken.
    """
    safe = [_safe(name, top) for name in names]
    folded = [name.casefold() for name in safe]
    return [
        f"{name[: LONGEST - 9]}-{piece(asked)}" if folded.count(name.casefold()) > 1 else name
        for asked, name in zip(names, safe, strict=True)
    ]


def _safe(name: str, top: bool) -> str:
    escaped = safe_name(name, LONGEST, also="~")
    return "_" + escaped if top and escaped.casefold() in TAKEN else escaped


def piece(name: str) -> str:
    """A piece of a name's digest."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]

"""File names of pages: safe whatever a result.json says, and no two alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

LONGEST = 120
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What Windows takes for a device."""
TAKEN = ("readme", "published", "index", "results", "baselines", "experiments", "figures")
"""What lies in a leaderboard's folder besides tasks."""


def file_names(names: Sequence[str], top: bool = False) -> list[str]:
    """A safe file name for each, in order; those that would meet on some file system get a digest.

    `top`: they lie beside the index, whose names are taken.
    """
    safe = [_safe(name, top) for name in names]
    folded = [name.casefold() for name in safe]
    return [
        f"{name[: LONGEST - 9]}-{_digest(asked)}" if folded.count(name.casefold()) > 1 else name
        for asked, name in zip(names, safe, strict=True)
    ]


def _safe(name: str, top: bool) -> str:
    escaped = re.sub(r"[^A-Za-z0-9._~-]", lambda found: _hexadecimal(found[0]), name)
    escaped = re.sub(r"^[.~-]|\.$", lambda found: _hexadecimal(found[0]), escaped)
    if RESERVED.fullmatch(escaped) or (top and escaped.casefold() in TAKEN):
        escaped = "_" + escaped
    if len(escaped) > LONGEST:
        escaped = f"{escaped[: LONGEST - 9]}-{_digest(name)}"
    return escaped or "_"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _hexadecimal(text: str) -> str:
    return "".join(f"_{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))

"""Names of folders: whatever an encoder is called, its slug is safe in any file system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from xlir_bench.encoders.digest import fingerprint, short

LONGEST = 100
"""Characters of a name before the `~` part; with it a slug stays under 120."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What Windows takes for a device."""


def safe_name(name: str) -> str:
    """`name` with everything outside ``A-Za-z0-9._-`` written as ``_`` and its bytes in hexadecimal.

    >>> safe_name("../my model")
    '_2e._2fmy_20model'
    """
    escaped = re.sub(r"[^A-Za-z0-9._-]", lambda found: _hexadecimal(found[0]), name)
    escaped = re.sub(r"^[.-]|\.$", lambda found: _hexadecimal(found[0]), escaped)
    if RESERVED.fullmatch(escaped):
        escaped = "_" + escaped
    if len(escaped) > LONGEST:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        escaped = escaped[: LONGEST - 9] + "-" + digest
    return escaped or "_"


def slug(name: str, options: Mapping[str, Any] | None = None) -> str:
    """`safe_name`, and after ``~`` a piece of the digest of the options that were given."""
    suffix = "~" + short(fingerprint(options)) if options else ""
    return safe_name(name) + suffix


def _hexadecimal(text: str) -> str:
    return "".join(f"_{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))

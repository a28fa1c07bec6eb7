"""Names of folders: whatever an encoder is called, its slug is safe in any file system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlir_bench.encoders.digest import fingerprint, short
from xlir_bench.files import safe_name


def slug(name: str, options: Mapping[str, Any] | None = None) -> str:
    """`safe_name`, and after ``~`` a piece of the digest of the options that were given."""
    suffix = "~" + short(fingerprint(options)) if options else ""
    return safe_name(name) + suffix

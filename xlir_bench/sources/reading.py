"""What a reader is told of the files of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reading:
    """How a reader is to read the files of a task."""

    candidate: str
    """Which text stands for a passage."""
    limit: int | None = None
    """Only the first so many queries of each language; the candidates stay whole."""
    corpus_limit: int | None = None
    """Of a corpus that lies on disk, only the judged passages and so many others."""
    passages: bool = True
    """Whether a corpus that lies on disk is wanted too; without it, such a task gives its queries alone."""
    corpora: Path = Path()
    """Where corpora are kept that are too large for memory."""
    digests: Mapping[Path, str] = field(default_factory=dict)
    """SHA-256 of the files."""

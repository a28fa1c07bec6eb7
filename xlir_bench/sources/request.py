"""What a caller asks of the sources, and what a reader is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xlir_bench.options.running import MOST_DOWNLOAD


@dataclass(frozen=True, slots=True)
class DataRequest:
    """Which data is wanted and where it may come from; built once from the command line."""

    root: Path | None
    """A local data root (``--data``, ``XLIR_DATA``); None: the download cache."""
    cache: Path
    """The data folder of the download cache, laid out like a data root."""
    langs: tuple[str, ...] | None = None
    """None: every language of the task."""
    candidate: str | None = None
    """Which text stands for a passage; None: the task's default."""
    limit: int | None = None
    """Only the first so many queries of each language; the candidates stay whole."""
    corpus_limit: int | None = None
    """Of a corpus that lies on disk, only the judged passages and so many others."""
    passages: bool = True
    """Whether a corpus that lies on disk is wanted too; without it, such a task gives its queries alone."""
    offline: bool = False
    """Nothing is downloaded."""
    allow_changed: bool = False
    """A file that differs from its pinned digest is read all the same, and recorded."""
    max_download: int = MOST_DOWNLOAD
    """How many bytes of a file are taken whose size the task does not state."""

    @property
    def corpora(self) -> Path:
        """Where corpora are kept that are too large for memory, in the order that search reads them."""
        return self.cache.parent / "corpora"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a reader is to read the files of a task."""

    candidate: str
    limit: int | None = None
    corpus_limit: int | None = None
    passages: bool = True
    corpora: Path = Path()
    """Where corpora are kept that are too large for memory."""
    digests: Mapping[Path, str] = field(default_factory=dict)
    """SHA-256 of the files."""

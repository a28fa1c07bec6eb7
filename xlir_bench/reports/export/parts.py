"""What exported scores must not hide: of which part of a task they are, and which version made them."""

from __future__ import annotations

import hashlib

from xlir_bench.results import ResultRecord


def part_of(record: ResultRecord) -> str:
    """In words, such as ``languages de en; the first 50 queries of each language``; empty for a full run."""
    return "; ".join(record.options.part.values())


def named(record: ResultRecord) -> str:
    """The task's name, as `run` names its folder: a part has a digest of what it is behind a ``~``."""
    part = part_of(record)
    digest = f"~{hashlib.sha256(part.encode()).hexdigest()[:8]}" if part else ""
    return record.task.name + digest


def version(record: ResultRecord) -> str:
    """The version of this package that made the result."""
    return record.environment.versions.get("xlir-bench", "of unknown version")

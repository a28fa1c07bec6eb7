"""What exported scores must not hide: of which part of a task they are, and which version made them."""

from __future__ import annotations

import hashlib

from xlir_bench.results import ResultRecord


def part_of(record: ResultRecord) -> str:
    """In words, such as ``languages de en; first 50 queries``; empty for a full run of the defaults."""
    options = record.options
    stated = [
        f"languages {' '.join(sorted(options.langs))}" if options.langs else "",
        f"kinds {' '.join(options.kinds)}" if options.kinds else "",
        f"first {options.limit} queries" if options.limit else "",
        f"NOT THE WHOLE CORPUS: at most {options.corpus_limit} unjudged passages"
        if options.corpus_limit
        else "",
        # The texts that tasks rank by default.
        f"candidates {options.candidate}"
        if options.candidate not in ("sentence", "passage")
        else "",
        f"index {options.index}" if options.index != "Flat" else "",
        f"changed data {' '.join(sorted(options.changed_data))}" if options.changed_data else "",
    ]
    return "; ".join(part for part in stated if part)


def named(record: ResultRecord) -> str:
    """The task's name, as `run` names its folder: a part has a digest of what it is behind a ``~``."""
    part = part_of(record)
    digest = f"~{hashlib.sha256(part.encode()).hexdigest()[:8]}" if part else ""
    return record.task.name + digest


def version(record: ResultRecord) -> str:
    """The version of this package that made the result."""
    return record.environment.versions.get("xlir-bench", "of unknown version")

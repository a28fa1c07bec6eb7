"""Sources: the files of a task, fetched, checked and read into a `Collection`.

A new file format is one function here: (task, its files by language, how to read them) -> collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.options.running import RunOptions
from xlir_bench.options.stating import check_bounds
from xlir_bench.records import Collection, Progress
from xlir_bench.sources.beir import read_beir
from xlir_bench.sources.belebele import read_belebele
from xlir_bench.sources.captions import read_captions
from xlir_bench.sources.corpus import corpora_bytes, remove_corpora
from xlir_bench.sources.files import DataState, Fetched, data_state, fetch, locate, wanted_languages
from xlir_bench.sources.judged import read_judged
from xlir_bench.sources.lareqa import read_lareqa
from xlir_bench.sources.parallel import read_parallel
from xlir_bench.sources.reading import Reading
from xlir_bench.sources.squad import read_squad, read_tydiqa
from xlir_bench.sources.xor import read_xor
from xlir_bench.tasks import Task

__all__ = [
    "FORMATS",
    "ON_DISK",
    "DataState",
    "Fetched",
    "Reading",
    "corpora_bytes",
    "data_state",
    "fetch",
    "load_collection",
    "remove_corpora",
]

Reader = Callable[[Task, Mapping[str, Path], Reading], Collection]

FORMATS: dict[str, Reader] = {
    "beir": read_beir,
    "belebele": read_belebele,
    "captions": read_captions,
    "judged": read_judged,
    "lareqa": read_lareqa,
    "parallel": read_parallel,
    "squad": read_squad,
    "tydiqa": read_tydiqa,
    "xor": read_xor,
}
ON_DISK = ("judged", "xor")
"""Formats whose corpora may be too large for memory: their files are called ``<lang>.docs``."""


def load_collection(
    task: Task, options: RunOptions, progress: Progress, passages: bool = True
) -> Collection:
    """What the task asks, from verified files; what the cache lacks is downloaded unless offline.

    Without `passages`, a task whose corpus lies on disk gives its queries alone.
    """
    reader, reading = _reader(task), _reading(task, options, passages)
    wanted_languages(task, options.langs)
    task.require_size(options.langs)
    located = locate(task, options, progress, passages)
    reading = replace(reading, digests=located.by_path)
    collection = reader(task, located.paths, reading)
    notes = collection.notes
    if located.unpinned:
        notes += (f"digest not checked (no official one is known): {', '.join(located.unpinned)}",)
    if located.changed:
        notes += (f"data differs from what was pinned: {', '.join(located.changed)}",)
    return replace(collection, digests=located.digests, changed=located.changed, notes=notes)


def _reader(task: Task) -> Reader:
    if task.format not in FORMATS:
        raise UnknownNameError(f"format of task {task.name!r}:", [task.format], FORMATS)
    return FORMATS[task.format]


def _reading(task: Task, options: RunOptions, passages: bool) -> Reading:
    candidate = task.candidate if options.candidate is None else options.candidate
    if candidate not in task.candidates:
        raise UnknownNameError(
            f"candidate text of task {task.name!r}:", [candidate], task.candidates
        )
    check_bounds(options)
    if options.corpus_limit is not None and task.format not in ON_DISK:
        raise InputError(
            f"--corpus-limit is for tasks whose corpus lies on disk; that of {task.name!r} is read whole"
        )
    return Reading(candidate, options.limit, options.corpus_limit, passages, options.corpora)

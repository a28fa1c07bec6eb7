"""Sources: the files of a task, fetched, checked and read into a `Collection`.

A new file format is one function here: (task, its files by name, how to read them) -> collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from xlir_bench.errors import InputError, UnknownNameError, listed
from xlir_bench.options.running import RunOptions
from xlir_bench.records import Collection, Progress, Silent
from xlir_bench.sources.beir import read_beir, read_mlir
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, collection
from xlir_bench.sources.corpus import corpora_bytes, remove_corpora
from xlir_bench.sources.judged import read_judged, read_xor
from xlir_bench.sources.locating import DataState, data_state, fetch, locate
from xlir_bench.sources.mteb import read_mteb
from xlir_bench.sources.parallel import read_aligned, read_belebele, read_captions, read_parallel
from xlir_bench.sources.squad import read_lareqa, read_squad, read_tydiqa
from xlir_bench.tasks import Task

__all__ = [
    "FORMATS",
    "ON_DISK",
    "DataState",
    "LanguageTexts",
    "ReadOptions",
    "collection",
    "corpora_bytes",
    "data_state",
    "fetch",
    "load_collection",
    "load_present",
    "locate",
    "remove_corpora",
]

Reader = Callable[[Task, Mapping[str, Path], ReadOptions], Collection]

FORMATS: dict[str, Reader] = {
    "beir": read_beir,
    "belebele": read_belebele,
    "captions": read_captions,
    "judged": read_judged,
    "lareqa": read_lareqa,
    "lines": read_aligned,
    "mlir": read_mlir,
    "mteb": read_mteb,
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
    """The collection of a task, from verified files; files that the cache lacks are downloaded, unless offline.

    Without `passages`, a task whose corpus is on disk gives its queries alone.
    """
    if task.format not in FORMATS:
        raise UnknownNameError(f"format of task {task.name!r}:", [task.format], FORMATS)
    candidate = task.candidate if options.candidate is None else options.candidate
    if candidate not in task.candidates:
        what = f"candidate text of task {task.name!r}:"
        raise UnknownNameError(what, [candidate], task.candidates)
    if options.corpus_limit is not None and task.format not in ON_DISK:
        raise InputError(
            f"--corpus-limit is for corpora on disk; the corpus of {task.name!r} is read whole"
        )
    task.require_size(options.langs)
    files = locate(task, options, progress, passages)
    loaded = FORMATS[task.format](
        task,
        {file.name: file.path for file in files},
        ReadOptions(
            candidate,
            options.limit,
            options.corpus_limit,
            passages,
            options.corpora,
            digests={file.path: str(file.sha256) for file in files},
        ),
    )
    paths = {file.stated.path: file for file in files}
    changed = tuple(path for path, file in paths.items() if file.changed)
    unchecked = [path for path, file in paths.items() if file.stated.sha256 is None]
    notes = loaded.notes
    if unchecked:
        notes += (f"digest not checked (no official one is known): {listed(unchecked)}",)
    if changed:
        notes += (f"data differs from what was pinned: {', '.join(changed)}",)
    digests = {path: str(file.sha256) for path, file in paths.items()}
    return replace(loaded, digests=digests, changed=changed, notes=notes)


def load_present(
    task: Task,
    root: Path | None,
    langs: tuple[str, ...] | None,
    progress: Progress | None = None,
    passages: bool = True,
    candidate: str | None = None,
) -> Collection:
    """The collection of a task in these languages from what is on disk; changed data is accepted."""
    options = RunOptions(
        data=root, langs=langs, candidate=candidate, offline=True, allow_changed_data=True
    )
    return load_collection(task, options, progress or Silent(), passages)

"""Where the files of a task are, whether they are the pinned ones, and how missing ones are downloaded.

A path with ``*`` stands for several files of a data set of the model hub. The hub's list of them, with their digests,
is stored beside them: it shows offline, too, that a part is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError, listed
from xlir_bench.files import file_digest, sweep, write
from xlir_bench.options.running import RunOptions
from xlir_bench.places import data_cache
from xlir_bench.records import Progress
from xlir_bench.sources.download import CONNECT, Download, download
from xlir_bench.tasks import MOST_FILES, Source, Task, TaskFile, file_language, part_of
from xlir_bench.untrusted import read_json

OF_QUERIES = ("queries", "qrels")
"""The parts that only languages of queries need, where passages are in other languages."""
LISTING = ".listing.json"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a task: what the task says about it, and what is on disk."""

    name: str
    """The file's name in the task: a language, or a language and a part, ``sw.qrels``."""
    stated: TaskFile
    path: Path
    sha256: str | None = None
    """Of the file at `path`; None if there is none."""

    @property
    def changed(self) -> bool:
        """Whether it differs from what the task states: by its digest, else by its size."""
        if self.stated.sha256 is not None:
            return self.sha256 != self.stated.sha256
        return self.stated.bytes not in (None, self.path.stat().st_size)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did."""

    folder: Path
    """The folder that the paths are relative to."""
    new: tuple[str, ...]
    """Paths of the files that were downloaded."""
    present: tuple[str, ...]
    """Paths of the files that were there already, unchanged."""


@dataclass(frozen=True, slots=True)
class DataState:
    """Which files of a task are on disk, by their names and sizes."""

    folder: Path
    """The folder that was looked in."""
    here: tuple[str, ...]
    """Languages whose files are on disk."""
    missing: tuple[str, ...]
    """Languages whose file is absent, or not of the stated size."""


def locate(
    task: Task, options: RunOptions, progress: Progress, passages: bool = True
) -> list[DataFile]:
    """Find the files of the wanted languages, fetch what may be fetched, check every digest."""
    folder = data_folder(task, options.data, options.data_cache)
    may_fetch = not (options.offline or options.data or task.source.bundled)
    stated = stated_files(task, options.langs, folder, passages, ask=may_fetch)
    files = _data_files(folder, stated)
    allowed = options.allow_changed_data
    if may_fetch:
        stale = [f for f in files if f.sha256 is None or (f.changed and not allowed)]
        _download(task, stale, progress, options)
        fresh = {f.name: f for f in _data_files(folder, {file.name: file.stated for file in stale})}
        files = [fresh.get(file.name, file) for file in files]
    _require_presence(task, [file for file in files if file.sha256 is None], options)
    if not allowed and (changed := [file for file in files if file.changed]):
        faults = list(dict.fromkeys(_mismatch(file) for file in changed))
        raise InputError(
            f"task {task.name!r}: not the data that was pinned: {listed(faults, between='; ')};"
            " --allow-changed-data reads it all the same and records it in the result"
        )
    return files


def fetch(task: Task, options: RunOptions, progress: Progress) -> Fetched:
    """Bring the files of the wanted languages into the download cache, whatever the data root."""
    folder = data_folder(task, None, options.data_cache)
    stated = stated_files(task, options.langs, folder, ask=True)
    files = _data_files(folder, stated)
    stale = [f for f in files if not task.source.bundled and (f.sha256 is None or f.changed)]
    _download(task, stale, progress, replace(options, allow_changed_data=False))
    if not stale and not task.source.bundled:
        for place in {file.path.parent for file in files}:
            sweep(place)  # a download that was killed when it had just ended
    new = {file.name for file in stale}
    present = [file for file in files if file.name not in new]
    return Fetched(folder, new=_paths(stale), present=_paths(present))


def data_state(task: Task, root: Path | None, passages: bool = True) -> DataState:
    """Which files of a task are on disk, without reading them; without `passages`, large corpora do not count."""
    folder = data_folder(task, root, data_cache())
    langs = sorted(task.languages)
    try:
        stated = stated_files(task, None, folder, passages, ask=False)
    except OutOfReachError:  # the files here are of another revision
        return DataState(folder, (), tuple(langs))
    lacking = set()
    for name, file in stated.items():
        path = _place(folder, file)
        if not path.is_file() or file.bytes not in (None, path.stat().st_size):
            lacking.add(file_language(name))
    if lacking.intersection(task.passage_languages or ()):
        lacking |= {*langs}
    here = tuple(lang for lang in langs if lang not in lacking)
    missing = tuple(lang for lang in langs if lang in lacking)
    return DataState(folder, here, missing)


def data_folder(task: Task, root: Path | None, cache: Path) -> Path:
    """The folder that the files of a task are looked for in."""
    if task.source.bundled and task.folder is not None:
        return task.folder
    return cache if root is None else root


def wanted_languages(task: Task, langs: Sequence[str] | None) -> list[str]:
    """The wanted languages in pool order; unknown ones are reported together."""
    if langs is None:
        return sorted(task.languages)
    unknown = [lang for lang in dict.fromkeys(langs) if lang not in task.languages]
    if unknown:
        raise UnknownNameError(f"language of task {task.name!r}", unknown, task.languages)
    if not langs:
        raise InputError(f"no language is left of task {task.name!r}")
    return sorted(set(langs))


def stated_files(
    task: Task, langs: Sequence[str] | None, folder: Path, passages: bool = True, ask: bool = False
) -> dict[str, TaskFile]:
    """The files of the wanted languages by name; without `passages`, all but large corpora (``<lang>.docs``).

    A pattern is replaced by the files that it stands for: those of the hub's list, if one is stored or the hub
    may be asked (`ask`), else those on disk. If there are none, the pattern stays, to name what is missing.
    """
    query_langs = {*wanted_languages(task, langs)}
    wanted = query_langs.union(task.passage_languages or ())
    for lang in sorted(wanted - {file_language(name) for name in task.files}):
        raise InputError(f"task {task.name!r} names no file for its language {lang!r}")
    stated = {
        name: file
        for name, file in task.files.items()
        if file_language(name) in (query_langs if part_of(name) in OF_QUERIES else wanted)
        and (passages or part_of(name) != "docs")
    }
    patterns = {name: file for name, file in stated.items() if "*" in file.path}
    _require_inside(task, stated.values())
    on_hub = _listing(task, patterns, folder, ask) if patterns else {}
    for name, pattern in patterns.items():
        parts = [file for path, file in on_hub.items() if fnmatchcase(path, pattern.path)]
        parts = parts or [
            TaskFile(path=path.relative_to(folder).as_posix())
            for path in sorted(folder.glob(pattern.path))
        ]
        _require_inside(task, parts)
        if len(parts) > 1:
            del stated[name]
            stated |= {f"{name}.{number:04d}": part for number, part in enumerate(parts)}
        elif parts:
            stated[name] = parts[0]
    return dict(sorted(stated.items()))


def _require_inside(task: Task, files: Iterable[TaskFile]) -> None:
    """Refuse a path that leaves the data root."""
    for path in (file.path for file in files):
        parts = PureWindowsPath(path)  # knows both kinds of separator, and drives
        if parts.anchor or ".." in parts.parts or not parts.name or "\0" in path:
            raise InputError(
                f"task {task.name!r}: {path!r} has to be relative, without '..', and stay under the data root"
            )


def _listing(
    task: Task, patterns: Mapping[str, TaskFile], folder: Path, ask: bool
) -> dict[str, TaskFile]:
    """The hub's files by path under the data root, from the stored list, or from the hub if `ask`."""
    from huggingface_hub import hf_hub_url

    if task.source.hub is None:
        return {}
    home = PurePosixPath(next(iter(patterns.values())).path).parts[0]
    kept = folder / home / LISTING
    files = kept_listing(kept)
    at: dict[str, Any] = {"repo_type": "dataset", "revision": task.source.revision, "endpoint": ""}
    address = hf_hub_url(task.source.hub, "x", **at).removesuffix("x")  # without its host
    if any(address not in (file.url or "") for file in files):
        if not ask:
            raise OutOfReachError(
                f"{kept} lists other files than those of {task.source.hub} at {task.source.revision}; run"
                f" `xlir-bench data fetch {task.name}` first, or give --data ROOT"
            )
        files = []
    if ask and not files:
        files = list_on_hub(task.source, home, kept)
    return {file.path: file for file in files}


def kept_listing(kept: Path) -> list[TaskFile]:
    """The hub's list as it was stored; empty if none was."""
    if not kept.is_file():
        return []
    return read_json(kept, list[TaskFile], "a list of files", "remove it and fetch again")


def list_on_hub(source: Source, home: str, kept: Path) -> list[TaskFile]:
    """The files of a revision, with the sizes and digests that the hub states; the list is stored."""
    from huggingface_hub import HfApi, get_session, hf_hub_url
    from huggingface_hub.hf_api import RepoFile

    where: Any = {"repo_id": source.hub, "repo_type": "dataset", "revision": source.revision}
    try:
        # One short request first: where no server answers, the list would be asked for again and again for 23 seconds.
        get_session().head(HfApi().endpoint, timeout=CONNECT)
        entries = list(islice(HfApi().list_repo_tree(recursive=True, **where), MOST_FILES))
    except Exception as error:  # also errors of the HTTP library that the hub's library uses
        raise OutOfReachError(
            f"the hub's data set {source.hub} at {source.revision} cannot be listed"
            f" ({(str(error) or type(error).__name__).splitlines()[0]}); give a folder that has the"
            " files with --data ROOT"
        ) from error
    files = [
        TaskFile(
            path=f"{home}/{entry.path}",
            url=hf_hub_url(filename=entry.path, **where),
            bytes=entry.size,
            sha256=entry.lfs.sha256 if entry.lfs else None,
        )
        for entry in entries
        if isinstance(entry, RepoFile)
    ]
    rows = [file.model_dump(mode="json", exclude_none=True) for file in files]
    write(kept, json.dumps(rows, indent=1))
    return files


def _place(folder: Path, file: TaskFile) -> Path:
    """Where a file is; users may have unpacked a file that is published packed."""
    place = folder / file.path
    unpacked = place.with_suffix("")
    if place.suffix == ".gz" and unpacked.is_file() and not place.is_file():
        return unpacked
    return place


def _data_files(folder: Path, stated: Mapping[str, TaskFile]) -> list[DataFile]:
    """The files with their digests; one that languages share is read once."""
    paths = {name: _place(folder, file) for name, file in stated.items()}
    try:
        digests = {
            path: file_digest(path, "sha256") if path.is_file() else None
            for path in set(paths.values())
        }
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    return [DataFile(n, file, paths[n], digests[paths[n]]) for n, file in stated.items()]


def _download(
    task: Task, files: Sequence[DataFile], progress: Progress, options: RunOptions
) -> None:
    pinned = not options.allow_changed_data
    wanted: dict[Path, Download] = {}  # languages may share a file
    for file in files:
        url = file.stated.url or task.source.url
        if url is None:
            raise InputError(
                f"task {task.name!r} has no download address: --data ROOT names a folder with {file.stated.path}"
            )
        if not url.lower().startswith(("http://", "https://")):
            raise InputError(f"task {task.name!r}: {url} is no http:// or https:// address")
        wanted[file.path] = Download(
            url=url.replace("{lang}", file_language(file.name)),
            target=file.path.with_name(PurePosixPath(file.stated.path).name),
            sha256=file.stated.sha256 if pinned else None,
            size=file.stated.bytes if pinned else None,
            most=options.max_download,
            member=file.stated.member,
            archive_sha256=file.stated.archive_sha256 if pinned else None,
        )
    if wanted:
        download(list(wanted.values()), f"fetch {task.name}", progress)


def _require_presence(task: Task, absent: Sequence[DataFile], options: RunOptions) -> None:
    if not absent:
        return
    missed = f"task {task.name!r} wants {listed(list(dict.fromkeys(str(file.path) for file in absent)))}: not there"
    if task.source.bundled:
        raise InputError(f"{missed}; its folder is not whole")
    if options.data is not None:
        lacking = dict.fromkeys(file_language(file.name) for file in absent)
        here = [x for x in wanted_languages(task, options.langs) if x not in lacking]
        if not here or lacking.keys() & {*(task.passage_languages or ())}:
            raise InputError(f"{missed}; give another --data ROOT")
        what = f"leave {','.join(lacking)} out with --langs"
        if len(lacking) > len(here):
            what = f"take the others with --langs {','.join(here)}"
        raise InputError(f"{missed}; {what}, or give another --data ROOT")
    raise OutOfReachError(
        f"{missed}, and this is offline; run `xlir-bench data fetch {task.name}` first, or give --data ROOT"
    )


def _mismatch(file: DataFile) -> str:
    if file.stated.sha256 is None:
        return f"{file.path}: {file.stated.bytes:,} bytes expected"
    return f"{file.path}: SHA-256 expected {file.stated.sha256}, found {file.sha256}"


def _paths(files: Sequence[DataFile]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(file.stated.path for file in files))

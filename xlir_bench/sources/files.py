"""Where the files of a task lie, whether they are the pinned ones, and how missing ones get here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.files import file_digest, sweep
from xlir_bench.options.running import RunOptions
from xlir_bench.records import Progress
from xlir_bench.sources.download import Download, download
from xlir_bench.sources.hub import listed_files, require_inside
from xlir_bench.tasks import Task, TaskFile, file_language

SHOWN = 10
CORPUS = "docs"


@dataclass(frozen=True, slots=True)
class Located:
    """The files of a task, found and checked."""

    paths: Mapping[str, Path]
    """By their name in the task: a language, or a language and a part, ``sw.qrels``."""
    digests: Mapping[str, str]
    """SHA-256 by path under the data root."""
    changed: tuple[str, ...]
    """Paths under the data root of those that differ from the pinned digest."""
    unpinned: tuple[str, ...]
    """Paths under the data root of those whose official digest is not known."""
    by_path: Mapping[Path, str]
    """SHA-256 of each file."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did."""

    folder: Path
    """Under which the files lie."""
    new: tuple[str, ...]
    """Paths of the files that were downloaded."""
    present: tuple[str, ...]
    """Paths of the files that were there already, unchanged."""


@dataclass(frozen=True, slots=True)
class DataState:
    """Which files of a task are here; found by looking at their names and sizes alone."""

    folder: Path
    """Where was looked."""
    bundled: bool
    here: tuple[str, ...]
    """Languages whose file is here."""
    missing: tuple[str, ...]
    """Languages whose file is absent, or not of the stated size."""

    @property
    def complete(self) -> bool:
        """Whether every file is here."""
        return not self.missing


def locate(task: Task, options: RunOptions, progress: Progress, passages: bool = True) -> Located:
    """Find the files of the wanted languages, fetch what may be fetched, check every digest."""
    folder = data_folder(task, options.data, options.data_cache)
    may_fetch = not (options.offline or options.data or task.source.bundled)
    wanted = wanted_files(task, options.langs, passages)
    task = listed_files(task, wanted, folder, ask=may_fetch)
    names = wanted_files(task, options.langs, passages)
    paths = {name: _place(task, name, folder) for name in names}
    found = _digests(paths)
    if may_fetch:
        stale = _stale(task, paths, found, options.allow_changed_data)
        if stale:
            _download(task, stale, folder, progress, options)
            found |= _digests({name: paths[name] for name in stale})
    _require_presence(task, paths, found, options)
    changed = [name for name in names if _differs(task.files[name], paths[name], found[name])]
    if changed and not options.allow_changed_data:
        raise InputError(_changed_message(task, changed, paths, found))
    return Located(
        paths=paths,
        digests={task.files[name].path: str(found[name]) for name in names},
        changed=_paths(task, changed),
        unpinned=_paths(task, [name for name in names if task.files[name].sha256 is None]),
        by_path={paths[name]: str(found[name]) for name in names},
    )


def fetch(task: Task, options: RunOptions, progress: Progress) -> Fetched:
    """Bring the files of the wanted languages into the download cache, whatever the data root."""
    folder = data_folder(task, None, options.data_cache)
    task = listed_files(task, wanted_files(task, options.langs), folder, ask=True)
    names = wanted_files(task, options.langs)
    paths = {name: _place(task, name, folder) for name in names}
    stale = [] if task.source.bundled else _stale(task, paths, _digests(paths), False)
    if stale:
        _download(task, stale, folder, progress, replace(options, allow_changed_data=False))
    elif not task.source.bundled:
        for place in {path.parent for path in paths.values()}:
            sweep(place)  # a download that was killed when it had just ended
    present = [name for name in names if name not in stale]
    return Fetched(folder, new=_paths(task, stale), present=_paths(task, present))


def data_state(task: Task, root: Path | None, cache: Path, passages: bool = True) -> DataState:
    """Which files of a task are here, without reading them; or which of them but large corpora."""
    folder = data_folder(task, root, cache)
    langs = sorted(task.languages)
    try:
        task = listed_files(task, wanted_files(task, None, passages), folder, ask=False)
    except OutOfReachError:  # what lies here is another revision
        return DataState(folder, task.source.bundled, (), tuple(langs))
    names = wanted_files(task, None, passages)
    lacking = {file_language(name) for name in names if not _seems_here(task, name, folder)}
    shared = lacking.intersection(task.passage_languages or ())
    here = tuple(lang for lang in langs if not shared and lang not in lacking)
    missing = tuple(lang for lang in langs if shared or lang in lacking)
    return DataState(folder, task.source.bundled, here, missing)


def data_folder(task: Task, root: Path | None, cache: Path) -> Path:
    """Under which folder the files of a task are looked for."""
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


def wanted_files(task: Task, langs: Sequence[str] | None, passages: bool = True) -> list[str]:
    """The names of the files of the wanted languages, every part of them; or all but large corpora."""
    wanted = {*wanted_languages(task, langs), *(task.passage_languages or ())}
    lacking = wanted - {file_language(name) for name in task.files}
    for lang in sorted(lacking):
        raise InputError(f"task {task.name!r} names no file for its language {lang!r}")
    mine = [name for name in task.files if file_language(name) in wanted]
    return sorted(name for name in mine if passages or not _is_corpus(name))


def _is_corpus(name: str) -> bool:
    """Files of corpora that lie on disk are called ``<lang>.docs``, and so are their parts."""
    return name.split(".")[1:2] == [CORPUS]


def _place(task: Task, name: str, folder: Path) -> Path:
    """Where a file lies; a path that leaves the folder is refused."""
    path = task.files[name].path
    require_inside(task, path)
    place = folder / path
    unpacked = place.with_suffix("")
    # A user may have unpacked a file that is published packed.
    return (
        unpacked if place.suffix == ".gz" and unpacked.is_file() and not place.is_file() else place
    )


def _digests(paths: Mapping[str, Path]) -> dict[str, str | None]:
    """SHA-256 of each file, None where it is absent; a file that languages share is read once."""
    try:
        by_path = {
            path: file_digest(path, "sha256") if path.is_file() else None
            for path in set(paths.values())
        }
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    return {name: by_path[path] for name, path in paths.items()}


def _stale(
    task: Task, paths: Mapping[str, Path], found: Mapping[str, str | None], allow_changed: bool
) -> list[str]:
    """Names of the files that are absent from the cache, or not the pinned ones."""
    return [
        name
        for name, digest in found.items()
        if digest is None or (not allow_changed and _differs(task.files[name], paths[name], digest))
    ]


def _differs(file: TaskFile, path: Path, digest: str | None) -> bool:
    """Whether a file is not the one that the task states: by its digest, else by its size."""
    if file.sha256 is not None:
        return digest != file.sha256
    return file.bytes not in (None, path.stat().st_size)


def _download(
    task: Task, names: Sequence[str], folder: Path, progress: Progress, options: RunOptions
) -> None:
    wanted = {
        file.path: Download(
            name=file.path,
            url=_url(task, name),
            target=_place(task, name, folder),
            sha256=None if options.allow_changed_data else file.sha256,
            size=None if options.allow_changed_data else file.bytes,
            most=options.max_download,
            member=file.member,
        )
        for name, file in ((name, task.files[name]) for name in names)
    }
    download(list(wanted.values()), f"fetch {task.name}", progress)


def _url(task: Task, name: str) -> str:
    url = task.files[name].url or task.source.url
    if url is None:
        raise InputError(
            f"task {task.name!r} has no download address: give a folder that has "
            f"{task.files[name].path} with --data ROOT"
        )
    if not url.lower().startswith(("http://", "https://")):
        raise InputError(f"task {task.name!r}: {url} is no http:// or https:// address")
    return url.replace("{lang}", file_language(name))


def _require_presence(
    task: Task, paths: Mapping[str, Path], found: Mapping[str, str | None], options: RunOptions
) -> None:
    absent = [name for name, digest in found.items() if digest is None]
    if not absent:
        return
    looked = _listed([str(paths[name]) for name in absent])
    if task.source.bundled:
        raise InputError(f"task {task.name!r} wants {looked}: not there; its folder is not whole")
    if options.data is not None:
        raise InputError(
            f"task {task.name!r} wants {looked}: not there; "
            f"leave {','.join(_languages(absent))} out with --langs, or give another --data ROOT"
        )
    raise OutOfReachError(
        f"task {task.name!r} wants {looked}: not there, and nothing is downloaded offline; "
        f"run `xlir-bench data fetch {task.name}` first, or give --data ROOT"
    )


def _changed_message(
    task: Task, names: Sequence[str], paths: Mapping[str, Path], found: Mapping[str, str | None]
) -> str:
    faults = [
        f"{paths[name]}: SHA-256 expected {task.files[name].sha256}, found {found[name]}"
        if task.files[name].sha256
        else f"{paths[name]}: {task.files[name].bytes:,} bytes expected"
        for name in names
    ]
    return (
        f"task {task.name!r}: not the data that was pinned: {_listed(faults, '; ')}; "
        "--allow-changed-data reads it all the same and records it in the result"
    )


def _listed(items: Sequence[str], between: str = ", ") -> str:
    unique = list(dict.fromkeys(items))
    more = f" and {len(unique) - SHOWN} more" if len(unique) > SHOWN else ""
    return between.join(unique[:SHOWN]) + more


def _paths(task: Task, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(task.files[name].path for name in names))


def _languages(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(file_language(name) for name in names))


def _seems_here(task: Task, name: str, folder: Path) -> bool:
    """Whether a file is here, by its name and size."""
    path, size = _place(task, name, folder), task.files[name].bytes
    return path.is_file() and size in (None, path.stat().st_size)

"""A cache in an object store: ``XLIR_CACHE=s3://bucket/prefix``, or another URL that fsspec opens.

Its files are staged in a folder of this machine that is named by the URL. A finished file is put into the store before
it gets its name in the folder; a file that the folder lacks is fetched when it is read. Nothing in the store is changed
or removed, and no lock is needed: a file appears whole or not at all, and two writers of a file write the same content.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from xlir_bench import files
from xlir_bench.errors import InputError, OutOfReachError, XlirError
from xlir_bench.extras import require

LONGEST_URL = 200
"""Characters of a folder's name; some of a URL take three."""
HEAD = 1 << 17
"""Bytes that are read at once of a file that is not fetched: only its beginning is read, with the keys of texts."""


def staging(url: str) -> Path:
    """The folder of this machine for the files at this URL."""
    from fsspec import get_filesystem_class
    from platformdirs import user_cache_path

    protocol, _, place = url.partition("://")
    if not protocol or not place.strip("/"):
        raise InputError(
            f"{url} names no place for a cache: a bucket or a folder is wanted behind ://"
        )
    if protocol in ("s3", "s3a"):
        require("s3", url)
    try:
        get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: {' '.join(str(error).split())}") from error
    name = quote(url.rstrip("/"), safe="")
    if len(name) > LONGEST_URL:
        raise InputError(f"{url} is too long for a cache: try a shorter prefix")
    return user_cache_path("xlir-bench") / "stores" / name


def put(finished: Path, path: Path) -> None:
    """Put a file into the store as `path`, if that is staged; whole or not at all."""
    if url := _url(path):
        with _reached(url):
            system, place = _system(url)
            with system.transaction, finished.open("rb") as local, system.open(place, "wb") as far:
                shutil.copyfileobj(local, far, 1 << 20)


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, into its store first."""
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)
        put(temporary, path)


def fetched(path: Path) -> Path:
    """The same path; the file is fetched first if it is in the store alone. `FileNotFoundError` if it is nowhere."""
    if (url := _url(path)) and not path.exists():
        with _reached(url, FileNotFoundError), files.replacing(path) as temporary:
            system, place = _system(url)
            system.get_file(place, str(temporary))
    return path


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, opened to read a little of its beginning: it is not fetched for that."""
    if not (url := _url(path)) or path.exists():
        with path.open("rb") as file:
            yield file
        return
    with _reached(url, FileNotFoundError, ValueError):
        system, place = _system(url)
        with system.open(place, "rb", block_size=HEAD) as file:
            yield file


def names(folder: Path) -> set[str]:
    """The names of the files in the store's part of this folder, if they are safe; empty where there is no store."""
    if not (url := _url(folder)):
        return set()
    try:
        with _reached(url, FileNotFoundError):
            system, place = _system(url)
            system.invalidate_cache()  # others write, too
            stored = {str(name).rpartition("/")[2] for name in system.ls(place, detail=False)}
            return {name for name in stored if files.safe_name(name) == name}
    except FileNotFoundError:
        return set()


def _url(path: Path) -> str | None:
    """Where a staged file lies in its store."""
    for number, part in enumerate(path.parts):
        if "%3A%2F%2F" in part:
            return "/".join((unquote(part), *path.parts[number + 1 :]))
    return None


def _system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    from fsspec.core import url_to_fs

    local = {"auto_mkdir": True} if url.startswith("file://") else {}
    system, place = url_to_fs(url, **local)
    return system, str(place)


@contextmanager
def _reached(url: str, *passed: type[Exception]) -> Iterator[None]:
    """Turn any failure to reach the store into an error of one line; exceptions of the types `passed` stay as they are."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (XlirError, *passed)):
            raise
        if isinstance(error, OSError) and error.errno in files.FULL:
            raise files.cannot_write(
                staging(url), "XDG_CACHE_HOME names another disk", error
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OutOfReachError(f"{url} cannot be reached: {reason[:200]}") from error

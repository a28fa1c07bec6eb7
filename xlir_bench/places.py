"""Where data is looked for and where caches lie. Only this module reads environment variables for that."""

from __future__ import annotations

import os
from pathlib import Path

from xlir_bench import objectstore
from xlir_bench.errors import InputError, require_type


def as_path(given: str | os.PathLike[str]) -> Path:
    """The path of what a caller gave; what is none is refused."""
    require_type(given, str | os.PathLike, "a path is wanted")
    return Path(given)


def expanded(path: str | Path) -> Path:
    """A path with its `~` written out; one of a user who is not on this machine stays as it is."""
    return Path(os.path.expanduser(as_path(path)))  # noqa: PTH111  # that of pathlib fails where there is no such user


def cache_root() -> Path:
    """The folder of everything that can be made again: ``XLIR_CACHE``, a folder or a URL, else that of the platform."""
    if stated := os.environ.get("XLIR_CACHE"):
        return cache_folder(stated).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("xlir-bench")


def cache_folder(stated: str | Path) -> Path:
    """The folder of a cache; that of a URL is where its files are staged."""
    url = str(stated)
    if "://" in url:
        return objectstore.staging(url)
    folder = expanded(stated)
    if folder.parts[:1] and folder.parts[0].startswith("~") and not folder.exists():
        raise InputError(f"cache {url}: there is no such user here; name a folder")
    return folder


def data_cache() -> Path:
    """The folder of downloaded data, laid out like a data root."""
    return cache_root() / "data"


def corpora() -> Path:
    """The folder of corpora too large for memory."""
    return cache_root() / "corpora"


def data_root(option: str | Path | None) -> Path | None:
    """The local data root: the option, else ``XLIR_DATA``, else None (the download cache)."""
    stated = os.environ.get("XLIR_DATA")
    if option is None and not stated:
        return None
    root = expanded((stated or "") if option is None else option)
    if not root.is_dir():
        source = "XLIR_DATA" if option is None else "--data"
        raise InputError(
            f"data root {root} ({source}) is not there; it should hold lareqa/ and others"
        )
    return root.absolute()

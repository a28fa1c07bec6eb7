"""Data sets of the model hub: which files a revision has, with their digests, as the hub lists them.

The files are then downloaded like any others. The list is kept beside them, so that a part that is missing
is missed offline too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.files import write
from xlir_bench.reading import read_json
from xlir_bench.tasks import MOST_FILES, Source, Task, TaskFile

LISTING = ".listing.json"


def listed_files(task: Task, names: list[str], folder: Path, ask: bool) -> Task:
    """The task with each pattern among these files replaced by the files that it stands for.

    They are those of the hub's list where one is kept, or may be asked for; else those on disk.
    """
    patterns = {name: task.files[name] for name in names if "*" in task.files[name].path}
    if not patterns:
        return task
    for pattern in patterns.values():
        require_inside(task, pattern.path)
    listed = _listing(task, patterns, folder, ask)
    files = {name: file for name, file in task.files.items() if name not in patterns}
    for name, pattern in patterns.items():
        found = [file for path, file in listed.items() if fnmatchcase(path, pattern.path)]
        found = found or [
            TaskFile(path=path.relative_to(folder).as_posix())
            for path in sorted(folder.glob(pattern.path))
        ]
        if len(found) > 1:
            files |= {f"{name}.{n:04d}": file for n, file in enumerate(found)}
        else:
            # Without any, the pattern stays: what is missed is then called by it.
            files[name] = found[0] if found else pattern
    return task.model_copy(update={"files": files})


def _listing(
    task: Task, patterns: Mapping[str, TaskFile], folder: Path, ask: bool
) -> dict[str, TaskFile]:
    """By path under the data root."""
    if task.source.hub is None:
        return {}
    home = PurePosixPath(next(iter(patterns.values())).path).parts[0]
    kept = folder / home / LISTING
    listed = _kept(kept)
    if (listed and _are_of(listed, task.source)) or not (listed or ask):
        return listed
    if not ask:
        raise OutOfReachError(
            f"{kept} lists other files than those of {task.source.hub} at {task.source.revision}; run"
            f" `xlir-bench data fetch {task.name}` first, or give --data ROOT"
        )
    asked = _asked(task.source, home)
    rows = [file.model_dump(mode="json", exclude_none=True) for file in asked]
    write(kept, json.dumps(rows, indent=1))
    return {file.path: file for file in asked}


def _kept(path: Path) -> dict[str, TaskFile]:
    """What the hub listed before."""
    if not path.is_file():
        return {}
    rows = read_json(path, list[TaskFile], "a list of files", "remove it and fetch again")
    return {row.path: row for row in rows}


def _are_of(listed: Mapping[str, TaskFile], source: Source) -> bool:
    """Whether listed files are of this revision of this data set, whichever host has them."""
    from huggingface_hub import hf_hub_url

    at: dict[str, Any] = {"repo_type": "dataset", "revision": source.revision, "endpoint": ""}
    folder = hf_hub_url(str(source.hub), "x", **at).removesuffix("x")
    return all(folder in (file.url or "") for file in listed.values())


def _asked(source: Source, home: str) -> list[TaskFile]:
    """What the hub says of a revision."""
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.hf_api import RepoFile

    where: dict[str, Any] = {
        "repo_id": source.hub,
        "repo_type": "dataset",
        "revision": source.revision,
    }
    try:
        entries = list(islice(HfApi().list_repo_tree(recursive=True, **where), MOST_FILES))
    except Exception as error:  # those of the HTTP library that the hub's library uses, too
        raise OutOfReachError(
            f"the hub's data set {source.hub} at {source.revision} cannot be listed"
            f" ({(str(error) or type(error).__name__).splitlines()[0]}); give a folder that has the"
            " files with --data ROOT"
        ) from error
    return [
        TaskFile(
            path=f"{home}/{entry.path}",
            url=hf_hub_url(filename=entry.path, **where),
            bytes=entry.size,
            sha256=entry.lfs.sha256 if entry.lfs else None,
        )
        for entry in entries
        if isinstance(entry, RepoFile)
    ]


def require_inside(task: Task, path: str) -> None:
    """Refuse a path of a task that leaves the data root."""
    parts = PureWindowsPath(path)  # knows both kinds of separator, and drives
    if parts.anchor or ".." in parts.parts or not parts.name or "\0" in path:
        raise InputError(
            f"task {task.name!r}: file path {path!r} has to be relative, without '..', "
            "and stay under the data root"
        )


def is_of_hub(url: str) -> bool:
    """Whether an address is the hub's own: its scheme, host and port."""
    from huggingface_hub import constants

    return _origin(url) == _origin(constants.ENDPOINT)


def hub_token(url: str) -> dict[str, str]:
    """The header that logs in to the hub, where this is the hub and the environment has a token.

    The HTTP library leaves it out where the hub redirects to another host.
    """
    from huggingface_hub import constants, get_token

    if not is_of_hub(url) or constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return {}
    token = get_token()
    if token and not re.fullmatch("[!-~]+", token):
        raise InputError("the hub's token (HF_TOKEN, or that of `hf auth login`) is no token")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _origin(address: str) -> tuple[str, str, int | None]:
    import httpx

    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return "", address, None
    return url.scheme, url.host, url.port

"""Data sets of the model hub: which files a revision has, with their digests, as the hub lists them.

The files are then downloaded like any others. The list is kept beside them, so that a part that is missing
is missed offline too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from xlir_bench.errors import OutOfReachError
from xlir_bench.reading import read_json
from xlir_bench.tasks import Source, Task, TaskFile

LISTING = ".listing.json"


def listed_files(task: Task, names: list[str], folder: Path, ask: bool) -> Task:
    """The task with each pattern among these files replaced by the files that it stands for.

    They are those of the hub's list where one is kept, or may be asked for; else those on disk.
    """
    patterns = {name: task.files[name] for name in names if "*" in task.files[name].path}
    if not patterns:
        return task
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
    if ask and not kept.is_file():
        _keep(kept, _asked(task.source, home))
    if not kept.is_file():
        return {}
    rows = read_json(kept, list[TaskFile], "a list of files", "remove it and fetch again")
    return {row.path: row for row in rows}


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
        entries = list(HfApi().list_repo_tree(recursive=True, **where))
    except Exception as error:  # those of the HTTP library that the hub's library uses, too
        raise OutOfReachError(
            f"the hub's data set {source.hub} at {source.revision} cannot be listed"
            f" ({str(error).splitlines()[0]}); give a folder that has the files with --data ROOT"
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


def _keep(path: Path, files: list[TaskFile]) -> None:
    rows = [file.model_dump(mode="json", exclude_none=True) for file in files]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    temporary.replace(path)

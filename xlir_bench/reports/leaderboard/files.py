"""The files of a leaderboard on disk: only those that carry our marker are overwritten or removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xlir_bench.errors import InputError
from xlir_bench.files import explained
from xlir_bench.files import write as write_file
from xlir_bench.reports.leaderboard.names import TAKEN
from xlir_bench.reports.leaderboard.pages import MARKER

HEAD = 400
"""The marker is looked for in so many bytes."""
PAGE = "index.html"


@dataclass(frozen=True, slots=True)
class Differences:
    """How a folder differs from what would be written, as paths in it."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    """Ours once, of a task or encoder that is gone."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)


def differences(
    folder: Path,
    texts: Mapping[str, str],
    marker: str = MARKER,
    among: Sequence[Path] | None = None,
) -> Differences:
    """What `write` would change; a file in the way that is not ours is an error.

    Ours are those that carry the marker, looked for `among` these: the pages of a leaderboard unless told.
    """
    changed: list[str] = []
    missing: list[str] = []
    foreign: list[str] = []
    for name, text in sorted(texts.items()):
        there = _read(folder / name)
        if there is None:
            missing.append(name)
        elif there != text.encode():
            (changed if marker.encode() in there[:HEAD] else foreign).append(name)
    if foreign:
        raise InputError(
            f"{', '.join(foreign)} in {folder} was not made by this command and is not overwritten;"
            " name another folder with --output, or move the file away"
        )
    found = sorted(
        f.relative_to(folder).as_posix()
        for f in (_pages(folder) if among is None else among)
        if _is_ours(f, marker)
    )
    extra = [name for name in found if name not in texts]
    if PAGE not in texts:
        extra = [name for name in extra if name != PAGE]
    return Differences(tuple(changed), tuple(missing), tuple(extra))


def write(
    folder: Path,
    texts: Mapping[str, str],
    marker: str = MARKER,
    among: Sequence[Path] | None = None,
) -> Differences:
    """Make the folder hold these files and none of ours besides; what was changed."""
    found = differences(folder, texts, marker, among)
    with explained(folder, "name another folder with --output"):
        for name in (*found.changed, *found.missing):
            write_file(folder / name, texts[name])
        for name in found.extra:
            (folder / name).unlink()
            parent = (folder / name).parent
            if parent != folder and not any(parent.iterdir()):
                parent.rmdir()
    return found


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _pages(folder: Path) -> list[Path]:
    """Pages in the folder and in the folders of tasks; other people's folders are not entered."""
    if not folder.is_dir():
        return []
    folders = [
        f for f in folder.iterdir() if f.is_dir() and not f.is_symlink() and f.name not in TAKEN
    ]
    files = [f for parent in (folder, *folders) for f in parent.glob("*.md") if f.is_file()]
    return files + [f for f in (folder / PAGE,) if f.is_file()]


def _is_ours(path: Path, marker: str) -> bool:
    with path.open("rb") as file:
        return marker.encode() in file.read(HEAD)

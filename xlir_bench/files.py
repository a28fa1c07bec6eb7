"""Writes files whole or not at all, by one process at a time, under safe names; reads lines of bounded length.

A file is written under a temporary name that its writer holds locked, then renamed. What a killed writer left is
locked by nobody, and the next writer in that folder removes it. Locks are the system's own: they end with the
process, however it ends, in any container and on any host.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import platform
import re
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from xlir_bench.errors import InputError, XlirError

LONGEST = 100
"""Characters of a safe name."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows reserves for devices."""
LONGEST_LINE = 1 << 24
"""The most bytes of a line of data. JSON of that size takes 400 MB of memory where it is all empty lists."""
MOST_UNPACKED = 100
"""How many times its size a file may unpack to; text packs to a tenth, the most repetitive to a fiftieth."""
ALWAYS_UNPACKED = 1 << 24
"""Bytes that any file may unpack to."""
ABANDONED = 3600
"""Seconds after which a temporary file is abandoned if its lock cannot be seen, as on another machine."""
HOST = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
"""Part of the names of this machine's temporary files: machines may not see each other's locks on a shared folder."""
ELSEWHERE = "name another place with --output"
LOCKED_BYTE = 1 << 30
"""The byte that is locked on Windows, beyond the end of any lock file."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""The `errno` values of a full disk."""
_swept: set[Path] = set()


class InUseError(InputError):
    """Another process holds the lock."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write; it replaces `path` if the block ends well, else it is removed.

    Makes the folder of `path`. The first time a process writes to a folder, it removes what killed writers left there.
    """
    with beside(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path`, which the caller renames: the final name depends on the content."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _swept:
        sweep(folder)
        _swept.add(folder)
    temporary = folder / f".{path.name[:80]}.@{HOST}.{secrets.token_hex(6)}.tmp"
    handle = _locked(temporary, wait=True)
    if os.name == "nt":  # an open file cannot be renamed there; see ABANDONED
        os.close(handle)
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if os.name != "nt":
            os.close(handle)


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, renamed to `folder` if the block ends well; only one process may do this at a time."""
    half = _emptied(folder.with_name(f".{folder.name}.building"))
    yield half
    half.rename(folder)


@contextmanager
def replacing_files(folder: Path, last: Sequence[str]) -> Iterator[Path]:
    """An empty folder to fill; if the block ends well, its files are moved to `folder` and replace files of their names.

    `last` names the files without which readers ignore the others. The old ones of `last` are removed first, in
    reverse order; the new ones are moved last. After a kill a reader finds all old files, all new files, or one of
    `last` missing; then the next writer begins anew. No system can rename a folder to one that is not empty.
    """
    half = _emptied(folder / ".building")
    yield half
    for name in reversed(last):
        (folder / name).unlink(missing_ok=True)
    names = [str(path.relative_to(half)) for path in half.rglob("*") if path.is_file()]
    for name in sorted(names, key=lambda name: last.index(name) if name in last else -1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (half / name).replace(folder / name)
    shutil.rmtree(half)


def _emptied(folder: Path) -> Path:
    """Make an empty folder; what was in it is from a killed run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file whole or not at all; text as UTF-8, line ends as they are."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sweep(folder: Path) -> None:
    """Remove the temporary files and locks that killed writers left in this folder."""
    for path in (*folder.glob(".*.tmp"), *folder.glob(".*lock")):
        with suppress(OSError):
            elsewhere = re.search(r"\.@([0-9a-f]{8})\.", path.name)
            unseen = os.name == "nt" or (elsewhere is not None and elsewhere[1] != HOST)
            if path.is_dir() or (unseen and _is_young(path)):
                continue
            _remove(path, _locked(path, wait=False, make=False))


@contextmanager
def held(path: Path, what: str, wait: bool = False, remedy: str = ELSEWHERE) -> Iterator[None]:
    """Hold the lock file `path`, which protects `what`; if another process holds it, wait, or raise `InUseError`.

    The operating system holds the lock; the text of the file names the holder for people.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(path, wait)
    except BlockingIOError:
        holder = ""
        with suppress(OSError):
            holder = path.read_text(encoding="utf-8", errors="replace")[:200]
        message = f"{what} is in use by another process ({holder or 'unknown'})"
        raise InUseError(message) from None
    except OSError as error:
        raise cannot_write(path.parent, remedy, error) from error
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        _remove(path, handle)


class Lease:
    """While this object exists, `remove_unused` leaves a folder alone; it ends with the process at the latest."""

    def __init__(self, handle: int) -> None:
        weakref.finalize(self, os.close, handle)


def leased(folder: Path) -> Lease | None:
    """A lease of this folder, which is made if absent; many may have one. None where the system has no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lease = Lease(handle := os.open(folder, os.O_RDONLY))
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return lease
        except FileNotFoundError:  # it was being removed: make it again
            continue
        except OSError:
            return None


def remove_unused(folder: Path) -> bool:
    """Remove a folder and all in it; False, with nothing done, where a process has a lease.

    Where the system has no locks, a folder that was changed lately counts as leased.
    """
    handle = None
    try:
        try:
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        except (ImportError, OSError):
            if _is_young(folder):
                return False
        shutil.rmtree(folder)
        return True
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def explained(place: Path, remedy: str) -> Iterator[None]:
    """Turn a system's refusal to write into a message with a remedy; exit code 4 for a full disk, else 2."""
    try:
        yield
    except OSError as error:
        raise cannot_write(place, remedy, error) from error


def cannot_write(place: Path, remedy: str, error: OSError) -> XlirError:
    """The error for a place that does not take a file: the path is wrong, or the disk is full."""
    full = error.errno in FULL
    reason = "the disk is full" if full else error.strerror or str(error)
    return (XlirError if full else InputError)(f"cannot write {place}: {reason}; {remedy}")


def require_writable(folder: Path, remedy: str, file: str = "") -> None:
    """Fail before hours of work, not after, where the folder (or the name of a `file` in it) cannot be written."""
    name = str(folder / file)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name {name!r} is no UTF-8; {remedy}") from None
    probe = folder / ".probe"
    with explained(folder, remedy):
        write(probe, "")
        probe.unlink(missing_ok=True)


@contextmanager
def removing_empty(folders: Sequence[Path]) -> Iterator[None]:
    """At the end, remove those of the folders that are empty, in this order: the work left nothing in them."""
    try:
        yield
    finally:
        for folder in folders:
            with suppress(OSError):
                folder.rmdir()


def blake2b_128(data: bytes | memoryview = b"") -> hashlib.blake2b:
    """The digest of large data, or many parts, that we wrote ourselves: SHA-256 in software takes twice as long."""
    return hashlib.blake2b(data, digest_size=16)


def file_digest(
    path: Path, algorithm: Literal["blake2b", "sha256"] | Callable[[], hashlib.blake2b]
) -> str:
    """The digest of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def parts_digest(parts: Iterable[bytes | memoryview]) -> str:
    """SHA-256 of what is in parts, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a value as JSON, in hexadecimal: equal for equal values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text_digest(text)


def text_digest(text: str, length: int = 64) -> str:
    """The first `length` characters of a text's SHA-256 in hexadecimal, even if it holds half a surrogate pair."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked if it ends in ``.gz``; ValueError where it could fill the memory.

    Only ``\\n`` ends a line: texts may hold other characters that end one elsewhere.
    """
    with path.open("rb") as plain:
        packed = path.suffix == ".gz"
        most = most_unpacked(os.fstat(plain.fileno()).st_size) if packed else None
        # gzip reads lines in Python; a buffer around it reads them in C.
        file = io.BufferedReader(gzip.GzipFile(fileobj=plain)) if packed else plain
        read = 0
        while line := file.readline(LONGEST_LINE + 1):
            read += len(line)
            if len(line) > LONGEST_LINE:
                raise ValueError(f"a line has more than {LONGEST_LINE >> 20} MiB")
            if most is not None and read > most:
                raise ValueError(f"it unpacks to more than {MOST_UNPACKED} times its size")
            yield line


def most_unpacked(size: int) -> int:
    """How many bytes may come out of a packed file of this size: a decompression bomb gives more."""
    return ALWAYS_UNPACKED + MOST_UNPACKED * size


def safe_name(name: str, longest: int = LONGEST, also: str = "") -> str:
    """`name` with everything outside ``A-Za-z0-9._-`` written as ``_`` and its bytes in hexadecimal.

    `also`: other characters that may stay, but not at the beginning.

    >>> safe_name("../my model")
    '_2e._2fmy_20model'
    """
    also = re.escape(also)
    escaped = re.sub(rf"[^A-Za-z0-9._{also}-]", _hexadecimal, name)
    escaped = re.sub(rf"^[.{also}-]|\.$", _hexadecimal, escaped)
    if RESERVED.fullmatch(escaped):
        escaped = "_" + escaped
    if len(escaped) > longest:
        digest = text_digest(name, 8)
        escaped = f"{escaped[: longest - 9]}-{digest}"
    return escaped or "_"


def _hexadecimal(match: re.Match[str]) -> str:
    return "".join(f"_{byte:02x}" for byte in match[0].encode("utf-8", "surrogatepass"))


def _remove(path: Path, handle: int) -> None:
    """Remove a file while it is still locked: a process that waits finds it gone, and makes a new one.

    On Windows an open file cannot be removed: ours is closed first, and the file stays if another process waits for it.
    """
    if os.name == "nt":
        os.close(handle)
    with suppress(OSError):
        path.unlink(missing_ok=True)
    if os.name != "nt":
        os.close(handle)


def _locked(path: Path, wait: bool, make: bool = True) -> int:
    """A handle of the file, locked; raises `BlockingIOError` where another process has it.

    Between opening and locking another process may have removed or replaced the file: then try again.
    """
    while True:
        handle = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o666)
        try:
            _lock(handle, path, wait)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            if not make:
                os.close(handle)
                raise
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, path: Path, wait: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        # Locked bytes cannot be read on Windows: so the lock is not where the holder's name is.
        os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
                return
            except OSError:
                if not wait:
                    raise BlockingIOError from None
                time.sleep(0.2)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        # The file system has no locks: only its age tells whether a file is abandoned.
        if not wait and path.suffix == ".tmp" and _is_young(path):
            raise BlockingIOError from None


def _is_young(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < ABANDONED

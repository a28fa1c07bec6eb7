"""Downloads over HTTP: resumed where they broke, checked by digest, put in place whole or not at all.

What has come so far lies in ``<file>.part`` (and the server's tag for it in ``<file>.part.etag``).
Part and target are written under a lock of their folder, so that several runs may fetch at once.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError, OutOfReachError, XlirError
from xlir_bench.records import Progress

if TYPE_CHECKING:
    import httpx

RETRIED = {408, 425, 429, 500, 502, 503, 504}
ADVICE = "give a folder that has the files with --data ROOT"


@dataclass(frozen=True, slots=True)
class Download:
    """One file to bring here."""

    name: str
    """What messages call it: its path under the data root."""
    url: str
    target: Path
    sha256: str | None
    """None where any content is taken."""
    size: int | None
    """In bytes, where it is known beforehand."""

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def tag(self) -> Path:
        """Where the server's tag for the part is kept."""
        return self.target.with_name(self.target.name + ".part.etag")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download is tried."""

    attempts: int = 5
    pause: float = 0.5
    """Seconds before the second attempt; doubles from one to the next."""
    connect: float = 15.0
    """Seconds until a server must have answered."""
    read: float = 60.0
    """Seconds without a byte."""


class _CutError(Exception):
    """This attempt did not bring the whole file; another one may."""


@dataclass(slots=True)
class _Meter:
    """Tells progress how far one file is; a file that is begun anew takes its bytes back."""

    progress: Progress
    shown: int = 0

    def reach(self, size: int) -> None:
        self.progress.advance(size - self.shown)
        self.shown = size


def download(
    files: Sequence[Download], stage: str, progress: Progress, patience: Patience | None = None
) -> None:
    """Bring the files here, one after another; whatever came before a failure is kept."""
    import httpx

    patience = patience or Patience()
    progress.start(stage, sum(file.size or 0 for file in files), "B")
    try:
        with httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(patience.read, connect=patience.connect),
            headers={"User-Agent": "xlir-bench", "Accept-Encoding": "identity"},
        ) as client:
            for file in files:
                _bring_or_explain(client, file, _Meter(progress), patience)
    finally:
        progress.finish()


def unpack(packed: Path, member: str, target: Path) -> None:
    """Put one member of a zip file in place, whole, and remove the zip file."""
    part = target.with_name(target.name + ".unpacked")
    try:
        with (
            zipfile.ZipFile(packed) as archive,
            archive.open(member) as source,
            part.open("wb") as copy,
        ):
            shutil.copyfileobj(source, copy)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        packed.unlink(missing_ok=True)
        raise OutOfReachError(
            f"{packed.name} has no whole {member} in it ({error}); {ADVICE}"
        ) from error
    part.replace(target)
    packed.unlink()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _bring_or_explain(
    client: httpx.Client, file: Download, meter: _Meter, patience: Patience
) -> None:
    try:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.target.parent):
            _bring(client, file, meter, patience)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = XlirError if full else InputError
        raise kind(
            f"cannot write {file.target}: {error.strerror or error}; "
            "XLIR_CACHE names another folder for downloads"
        ) from error


def _bring(client: httpx.Client, file: Download, meter: _Meter, patience: Patience) -> None:
    if _is_right(file.target, file):
        return
    anew = False
    reason = ""
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause * 2 ** (attempt - 1))
        try:
            fresh = _is_right(file.part, file) or _transfer(client, file, meter, attempt == 0)
        except _CutError as cut:
            reason = str(cut)
            continue
        if _settle(file):
            return
        if fresh or anew:
            raise OutOfReachError(_wrong(file))
        _discard(file)
        anew = True
        reason = "what was there before did not fit"
    kept = file.part.stat().st_size if file.part.is_file() else 0
    raise OutOfReachError(
        f"{file.url} did not come whole in {patience.attempts} attempts ({reason}); {kept:,} bytes "
        f"are kept: run the same again to go on, or {ADVICE}"
    )


def _transfer(client: httpx.Client, file: Download, meter: _Meter, first: bool) -> bool:
    """Add to the part what is missing; True if all of it came now."""
    import httpx

    have, headers = _resumption(file)
    try:
        with client.stream("GET", file.url, headers=headers) as response:
            resumed = _check(response, file, have)
            total = _total(response, have if resumed else 0)
            size = _write(response, file, meter, have if resumed else 0)
    except httpx.ConnectError as error:
        if first:
            raise OutOfReachError(f"cannot reach {file.url} ({error}); {ADVICE}") from error
        raise _CutError(str(error)) from error
    except httpx.TransportError as error:
        raise _CutError(str(error) or type(error).__name__) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OutOfReachError(f"cannot download {file.url} ({error}); {ADVICE}") from error
    oversized = file.sha256 is not None and file.size is not None and size > file.size
    total = file.size if total is None or oversized else total
    if total is not None and size < total:
        raise _CutError(f"{size:,} of {total:,} bytes came")
    return not resumed


def _resumption(file: Download) -> tuple[int, dict[str, str]]:
    """How many bytes of the part may be kept, and the headers that ask for the rest."""
    have = file.part.stat().st_size if file.part.is_file() else 0
    tag = file.tag.read_text(encoding="ascii", errors="ignore") if file.tag.is_file() else None
    oversized = file.sha256 is not None and file.size is not None and have >= file.size
    if not have or oversized or (tag is None and file.sha256 is None):
        return 0, {}
    headers = {"Range": f"bytes={have}-"}
    return have, headers | ({"If-Range": tag} if tag else {})


def _check(response: httpx.Response, file: Download, have: int) -> bool:
    """True if the answer continues the part, False if it is the whole file; else raise."""
    status = response.status_code
    if status in RETRIED:
        raise _CutError(f"HTTP {status}")
    if status == 206 and have and _start(response) == have and not _encoded(response):
        return True
    if status in (206, 416):
        _discard(file)
        raise _CutError("the server could not continue where the download broke")
    if status != 200:
        raise OutOfReachError(f"{file.url} answered HTTP {status}; {ADVICE}")
    return False


def _write(response: httpx.Response, file: Download, meter: _Meter, size: int) -> int:
    """Append what comes after so many bytes to the part; its size at the end."""
    with file.part.open("ab" if size else "wb") as part:
        if not size:
            _remember_tag(response, file)
        meter.reach(size)
        for chunk in response.iter_bytes():  # of any size: none is held back
            part.write(chunk)
            size += len(chunk)
            meter.reach(size)
            if file.sha256 and file.size is not None and size > file.size:
                break
    return size


def _remember_tag(response: httpx.Response, file: Download) -> None:
    tag = str(response.headers.get("etag", ""))
    if tag.startswith('"') and tag.isascii():
        file.tag.write_text(tag, encoding="ascii")
    else:
        file.tag.unlink(missing_ok=True)


def _encoded(response: httpx.Response) -> bool:
    return str(response.headers.get("content-encoding", "identity")).lower() != "identity"


def _start(response: httpx.Response) -> int | None:
    """Where a partial answer begins, as it says itself."""
    found = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return int(found[1]) if found else None


def _total(response: httpx.Response, before: int) -> int | None:
    """Size of the whole file, where the answer tells it."""
    length = response.headers.get("content-length", "")
    return before + int(length) if length.isdecimal() and not _encoded(response) else None


def _is_right(path: Path, file: Download) -> bool:
    """Whether this is the wanted file; of one without a digest, only the finished one is."""
    if not path.is_file():
        return False
    if file.sha256 is None:
        return path == file.target
    return (file.size is None or path.stat().st_size == file.size) and (
        sha256_of(path) == file.sha256
    )


def _settle(file: Download) -> bool:
    """Put the finished part in place if it is right; False if it is not."""
    if file.sha256 is not None and sha256_of(file.part) != file.sha256:
        return False
    file.part.replace(file.target)
    file.tag.unlink(missing_ok=True)
    return True


def _wrong(file: Download) -> str:
    found = sha256_of(file.part)
    _discard(file)
    return (
        f"{file.url} is not the file that was pinned: SHA-256 expected {file.sha256}, found "
        f"{found}; it was not kept: {ADVICE}"
    )


def _discard(file: Download) -> None:
    file.part.unlink(missing_ok=True)
    file.tag.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system frees it when the process ends, however it ends."""
    with (folder / ".lock").open("wb") as handle:
        # Where the system has no such locks, the digest still decides what is put in place.
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

"""Downloads over HTTP: resumed where they broke, checked by digest, put in place whole or not at all.

What has come so far lies in ``<file>.part`` (and the server's tag for it in ``<file>.part.etag``).
Part and target are written under a lock of their folder, so that several runs may fetch at once.
No server decides how much is written: every file has a ceiling, and so has what is unpacked.
"""

from __future__ import annotations

import re
import shutil
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from xlir_bench.errors import OutOfReachError, XlirError
from xlir_bench.files import explained, file_digest, held, most_unpacked, replacing
from xlir_bench.options.running import MOST_DOWNLOAD
from xlir_bench.records import Progress
from xlir_bench.sources.hub import hub_token, is_of_hub

if TYPE_CHECKING:
    import httpx

RETRIED = {408, 425, 429, 500, 502, 503, 504}
ADVICE = "give a folder that has the files with --data ROOT"
ELSEWHERE = "XLIR_CACHE names another folder for downloads"
SPARED = 1 << 28
"""Bytes of the disk that a download whose size nobody states leaves to others."""
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError),
    *(NotImplementedError, RuntimeError, ValueError),  # another method, a password, strange names
)
"""What `zipfile` raises where the archive is to blame."""


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
    most: int = MOST_DOWNLOAD
    """How many bytes may come, where the size is not known."""
    member: str | None = None
    """What of a zip file at this address it is; digest and size are then those of what is unpacked."""

    @property
    def ceiling(self) -> int:
        """How many bytes it may have."""
        return self.most if self.size is None else self.size

    @property
    def packed(self) -> Download:
        """The zip file that it is a member of."""
        target = self.target.with_name(self.target.name + ".zip")
        return Download(self.name, self.url, target, None, None, self.most)

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
    progress.start(stage, sum(0 if file.member else file.size or 0 for file in files), "B")
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


def _unpack(file: Download) -> None:
    """Put a member of a zip file in place, whole, and remove the zip file."""
    packed = file.packed.target
    with replacing(file.target) as copy:
        try:
            _extract(packed, file, copy)
            if file.sha256 is not None and file_digest(copy, "sha256") != file.sha256:
                raise ValueError(f"its SHA-256 is not {file.sha256}")
        except DAMAGE as error:
            packed.unlink(missing_ok=True)
            raise OutOfReachError(
                f"{file.url} has no whole {file.member} in it ({error}); {ADVICE}"
            ) from error
    packed.unlink()


def _extract(packed: Path, file: Download, copy: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        stated = archive.getinfo(str(file.member))  # no more than it states comes out
        most = file.size
        if most is None:
            most = min(file.most, most_unpacked(stated.compress_size))
        if stated.file_size > most:
            raise ValueError(f"it unpacks to {stated.file_size:,} bytes, over {most:,}")
        if stated.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError("it is packed by another method than deflate")
        _require_room(file, stated.file_size)
        with archive.open(stated) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)


def _require_room(file: Download, size: int) -> None:
    free = shutil.disk_usage(file.target.parent).free
    if size > free:
        raise XlirError(
            f"cannot write {file.target}: it takes {size:,} bytes more, and the disk has {free:,} left;"
            f" {ELSEWHERE}"
        )


def _bring_or_explain(
    client: httpx.Client, file: Download, meter: _Meter, patience: Patience
) -> None:
    with (
        explained(file.target, ELSEWHERE),
        held(file.target.parent / ".lock", str(file.target.parent), True, ELSEWHERE),
    ):
        if file.member is None:
            _bring(client, file, meter, patience)
        elif not _is_right(file.target, file):
            _bring(client, file.packed, meter, patience)
            _unpack(file)


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
        with client.stream("GET", file.url, headers=headers | hub_token(file.url)) as response:
            resumed = _check(response, file, have)
            total = _total(response, have if resumed else 0)
            size = _write(response, file, meter, have if resumed else 0, total)
    except httpx.ConnectError as error:
        if first:
            raise OutOfReachError(f"cannot reach {file.url} ({error}); {ADVICE}") from error
        raise _CutError(str(error)) from error
    except httpx.TransportError as error:
        raise _CutError(str(error) or type(error).__name__) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OutOfReachError(f"cannot download {file.url} ({error}); {ADVICE}") from error
    total = file.size if total is None else total
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
    if status in (401, 403) and is_of_hub(file.url):
        raise OutOfReachError(
            f"{file.url} answered HTTP {status}: where a data set is gated, accept its terms on its page"
            f" and log in with `hf auth login` (or set HF_TOKEN), or {ADVICE}"
        )
    if status != 200:
        raise OutOfReachError(f"{file.url} answered HTTP {status}; {ADVICE}")
    if _encoding(response) not in ("identity", "gzip"):  # others pack a terabyte in a packet
        raise OutOfReachError(
            f"{file.url} answered in the encoding {_encoding(response)!r}, unasked; {ADVICE}"
        )
    return False


def _write(
    response: httpx.Response, file: Download, meter: _Meter, size: int, total: int | None
) -> int:
    """Append what comes after so many bytes to the part, to so many in all; its size at the end."""
    if (total or 0) > file.ceiling:
        _refuse_more(file, total)
    if total is not None:
        _require_room(file, total - size)
    free = shutil.disk_usage(file.part.parent).free
    room = size + free - min(SPARED, free // 2)
    with file.part.open("ab" if size else "wb") as part:
        if not size:
            _remember_tag(response, file)
        meter.reach(size)
        for chunk in response.iter_bytes():  # of any size: none is held back
            part.write(chunk)
            size += len(chunk)
            meter.reach(size)
            if size > file.ceiling:
                _refuse_more(file)
            if total is None and size > room:
                _discard(file)
                raise XlirError(
                    f"cannot write {file.target}: more than {size:,} bytes come, and the disk is nearly"
                    f" full; {ELSEWHERE}"
                )
    return size


def _refuse_more(file: Download, stated: int | None = None) -> NoReturn:
    _discard(file)
    more = f"has {stated:,} bytes" if stated else "sends more"
    if file.sha256 is not None and file.size is not None:
        raise OutOfReachError(
            f"{file.url} is not the file that was pinned: it {more}, and {file.size:,} are expected; it was"
            f" not kept: {ADVICE}"
        )
    raise OutOfReachError(
        f"{file.url} {more}, where at most {file.ceiling:,} bytes are taken; "
        + ("--max-download allows more, or " if file.size is None else "")
        + ADVICE
    )


def _remember_tag(response: httpx.Response, file: Download) -> None:
    tag = str(response.headers.get("etag", ""))
    if tag.startswith('"') and tag.isascii():
        file.tag.write_text(tag, encoding="ascii")
    else:
        file.tag.unlink(missing_ok=True)


def _encoding(response: httpx.Response) -> str:
    return str(response.headers.get("content-encoding", "")).strip().lower() or "identity"


def _encoded(response: httpx.Response) -> bool:
    return _encoding(response) != "identity"


def _start(response: httpx.Response) -> int | None:
    """Where a partial answer begins, as it says itself."""
    found = re.match(r"bytes (\d{1,18})-", response.headers.get("content-range", ""))
    return int(found[1]) if found else None


def _total(response: httpx.Response, before: int) -> int | None:
    """Size of the whole file, where the answer tells it."""
    length = response.headers.get("content-length", "")
    return before + int(length) if length.isdecimal() and not _encoded(response) else None


def _is_right(path: Path, file: Download) -> bool:
    """Whether this is the wanted file; of one without a digest, only the finished one is."""
    if not path.is_file() or file.size not in (None, path.stat().st_size):
        return False
    if file.sha256 is None:
        return path == file.target
    return file_digest(path, "sha256") == file.sha256


def _settle(file: Download) -> bool:
    """Put the finished part in place if it is right; False if it is not."""
    if file.sha256 is not None and file_digest(file.part, "sha256") != file.sha256:
        return False
    if file.sha256 is None and file.size not in (None, file.part.stat().st_size):
        return False
    file.part.replace(file.target)
    file.tag.unlink(missing_ok=True)
    return True


def _wrong(file: Download) -> str:
    found, size = file_digest(file.part, "sha256"), file.part.stat().st_size
    _discard(file)
    if file.sha256 is None:
        return f"{file.url} has {size:,} bytes, and {file.size:,} are expected; {ADVICE}"
    return (
        f"{file.url} is not the file that was pinned: SHA-256 expected {file.sha256}, found "
        f"{found}; it was not kept: {ADVICE}"
    )


def _discard(file: Download) -> None:
    file.part.unlink(missing_ok=True)
    file.tag.unlink(missing_ok=True)

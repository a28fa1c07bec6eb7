"""Downloads over HTTP: resumed where they broke, checked by digest, put in place whole or not at all.

What has arrived so far is in ``<file>.part`` (and the server's tag for it in ``<file>.part.etag``).
Part and target are written under a lock of their folder, so that several runs may fetch at once.
No server decides how much is written: every file has a ceiling, and so has what is unpacked.
"""

from __future__ import annotations

import gzip
import re
import shutil
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from xlir_bench.errors import InputError, OutOfReachError, XlirError
from xlir_bench.files import explained, file_digest, held, most_unpacked, replacing
from xlir_bench.options.running import MOST_DOWNLOAD
from xlir_bench.records import Progress

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
PAUSE = 0.5
"""Seconds before the second attempt; twice as long before each further one."""
CONNECT, READ = 15.0, 60.0
"""Seconds that connecting to a server may take, and that may pass between two bytes."""
RETRIED = {408, 425, 429, 500, 502, 503, 504}
ADVICE = "give a folder that has the files with --data ROOT"
ELSEWHERE = "XLIR_CACHE names another folder for downloads"
LEFT_FREE = 1 << 28
"""Bytes of the disk that a download of unknown size leaves free."""
MOST_AT_ONCE = 1 << 14
"""Bytes of a tar file that are read in one piece."""
ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError),
    *(NotImplementedError, RuntimeError, ValueError),  # another method, a password, strange names
    *(tarfile.TarError, gzip.BadGzipFile),
)
"""What `zipfile` and `tarfile` raise at a damaged archive."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file to download."""

    url: str
    target: Path
    sha256: str | None
    """None: any content is accepted."""
    size: int | None
    """In bytes, where it is known beforehand."""
    most: int = MOST_DOWNLOAD
    """How many bytes it may have, where the size is not known."""
    member: str | None = None
    """The file's name in the archive at `url`, if it is in one; digest and size are then those of the unpacked file."""
    archive_sha256: str | None = None
    """The digest of that archive."""

    @property
    def part(self) -> Path:
        """The file that holds the bytes that have arrived."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def tag(self) -> Path:
        """Where the server's tag for the part is kept."""
        return self.target.with_name(self.target.name + ".part.etag")

    def is_right(self, path: Path) -> bool:
        """Whether a file is the wanted one; without a digest, only the finished file can be."""
        if not path.is_file() or self.size not in (None, path.stat().st_size):
            return False
        if self.sha256 is None:
            return path == self.target
        return file_digest(path, "sha256") == self.sha256

    def discard(self) -> None:
        """Remove what has arrived so far."""
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def require_room(self, size: int) -> None:
        """Raise an error where the disk has no room for so many bytes more."""
        free = shutil.disk_usage(self.target.parent).free
        if size > free:
            raise XlirError(
                f"cannot write {self.target}: it takes {size:,} bytes more, and the disk has {free:,}; {ELSEWHERE}"
            )


class _CutError(Exception):
    """This attempt broke off; another one may succeed."""


def download(files: Sequence[Download], stage: str, progress: Progress) -> None:
    """Download the files, one after another; whatever came before a failure is kept."""
    import httpx

    progress.start(stage, sum(0 if file.member else file.size or 0 for file in files), "B")
    try:
        with httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(READ, connect=CONNECT),
            headers={"User-Agent": "xlir-bench", "Accept-Encoding": "identity"},
        ) as client:
            for file in files:
                folder = file.target.parent
                with (
                    explained(file.target, ELSEWHERE),
                    held(folder / ".lock", str(folder), True, ELSEWHERE),
                ):
                    if file.is_right(file.target):
                        continue
                    if file.member is None:
                        _Transfer(client, file, progress).run()
                        continue
                    place = file.target.with_name(file.target.name + ".zip")
                    archive = Download(file.url, place, file.archive_sha256, None, file.most)
                    if not archive.is_right(place):
                        _Transfer(client, archive, progress).run()
                    members = [other for other in files if other.member and other.url == file.url]
                    _unpack(place, [other for other in members if not other.is_right(other.target)])
    finally:
        progress.finish()


def _unpack(archive: Path, files: Sequence[Download]) -> None:
    """Put members of an archive in place, each whole, and remove the archive."""
    lacking = {str(file.member): file for file in files}
    url = files[0].url
    members = _tar_members if url.endswith((".tar.gz", ".tgz")) else _zip_members
    try:
        for name, size, most, source in members(archive, lacking):
            file = lacking[name]
            most = min(file.most, most) if file.size is None else file.size
            with replacing(file.target) as copy:
                if size > most:
                    raise ValueError(f"it unpacks to {size:,} bytes, over {most:,}")
                file.require_room(size)
                with copy.open("wb") as target:
                    shutil.copyfileobj(source, target, MOST_AT_ONCE)
                if file.sha256 is not None and file_digest(copy, "sha256") != file.sha256:
                    raise ValueError(f"its SHA-256 is not {file.sha256}")
            del lacking[name]
        if lacking:
            raise KeyError("it is not there")
    except ARCHIVE_ERRORS as error:
        archive.unlink(missing_ok=True)
        raise OutOfReachError(
            f"{url} has no whole {next(iter(lacking))} in it ({error}); {ADVICE}"
        ) from error
    archive.unlink()


Member = tuple[str, int, int, IO[bytes]]
"""The name of a file in an archive, its stated size (no more is unpacked), the most that it may be, its content."""


def _zip_members(archive: Path, wanted: Mapping[str, Download]) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as packed:
        for name in [*wanted]:
            stated = packed.getinfo(name)
            if stated.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError("it is packed by another method than deflate")
            with packed.open(stated) as source:
                yield name, stated.file_size, most_unpacked(stated.compress_size), source


class _Gzip(gzip.GzipFile):
    """Refuses long reads: `tarfile` reads names whole, however long an archive says they are, and parses them slowly."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MOST_AT_ONCE:
            raise ValueError("a name in it is too long")
        return super().read(size)


def _tar_members(archive: Path, wanted: Mapping[str, Download]) -> Iterator[Member]:
    most = most_unpacked(archive.stat().st_size)
    with _Gzip(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as packed:
        for stated in packed:
            if stated.offset_data + stated.size > most:
                raise ValueError(f"it unpacks to more than {most:,} bytes")
            name = stated.name.removeprefix("./")
            if name in wanted and stated.isreg() and (source := packed.extractfile(stated)):
                yield name, stated.size, most, source
            if not wanted:
                return


@dataclass(slots=True)
class _Transfer:
    """Downloads one file, in up to `ATTEMPTS` attempts."""

    client: httpx.Client
    file: Download
    progress: Progress
    shown: int = 0
    """Bytes that progress shows; they are subtracted if the file is begun anew."""

    def run(self) -> None:
        file = self.file
        anew, reason = False, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                all_came_now = file.is_right(file.part) or self._attempt(first=attempt == 0)
            except _CutError as cut:
                reason = str(cut)
                continue
            size = file.part.stat().st_size
            digest = None if file.sha256 is None else file_digest(file.part, "sha256")
            if digest == file.sha256 and (digest or file.size in (None, size)):
                file.part.replace(file.target)
                file.tag.unlink(missing_ok=True)
                return
            file.discard()
            if all_came_now or anew:
                wrong = (
                    f"has {size:,} bytes, and {file.size:,} are expected"
                    if digest is None
                    else f"is not the file that was pinned: SHA-256 expected {file.sha256}, found {digest};"
                    " it was not kept"
                )
                raise OutOfReachError(f"{file.url} {wrong}; {ADVICE}")
            anew, reason = True, "what was there before did not fit"
        kept = file.part.stat().st_size if file.part.is_file() else 0
        raise OutOfReachError(
            f"{file.url} did not come whole in {ATTEMPTS} attempts ({reason}); {kept:,} bytes "
            f"are kept: run the same command again to continue, or {ADVICE}"
        )

    def _attempt(self, first: bool) -> bool:
        """Add to the part the bytes that are missing; True if all its bytes came in this attempt."""
        import httpx

        file = self.file
        have, headers = self._resumption()
        try:
            headers |= _hub_token(file.url)
            with self.client.stream("GET", file.url, headers=headers) as response:
                encoding = str(response.headers.get("content-encoding", "")).strip().lower()
                plain = encoding in ("", "identity")
                resumed = self._is_resumed(response, have if plain else 0)
                if not plain and encoding != "gzip":  # others pack a terabyte in a packet
                    raise OutOfReachError(f"{file.url} answers in {encoding!r}, unasked; {ADVICE}")
                have = have if resumed else 0
                length = response.headers.get("content-length", "")
                total = have + int(length) if length.isdecimal() and plain else None
                size = self._write(response, have, total)
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

    def _resumption(self) -> tuple[int, dict[str, str]]:
        """How many bytes of the part may be kept, and the headers that ask for the rest."""
        file = self.file
        have = file.part.stat().st_size if file.part.is_file() else 0
        tag = file.tag.read_text(encoding="ascii", errors="ignore") if file.tag.is_file() else None
        oversized = file.sha256 is not None and file.size is not None and have >= file.size
        if not have or oversized or (tag is None and file.sha256 is None):
            return 0, {}
        return have, {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {})

    def _is_resumed(self, response: httpx.Response, have: int) -> bool:
        """True if the answer continues the part, False if it is the whole file; else raise."""
        url, status = self.file.url, response.status_code
        if status in RETRIED:
            raise _CutError(f"HTTP {status}")
        start = re.match(r"bytes (\d{1,18})-", response.headers.get("content-range", ""))
        if status == 206 and have and start and int(start[1]) == have:
            return True
        if status in (206, 416):
            self.file.discard()
            raise _CutError("the server could not continue where the download broke")
        if status in (401, 403) and _is_of_hub(url):
            raise OutOfReachError(
                f"{url} answered HTTP {status}: where a data set is gated, accept its terms on its page"
                f" and log in with `hf auth login` (or set HF_TOKEN), or {ADVICE}"
            )
        if status != 200:
            raise OutOfReachError(f"{url} answered HTTP {status}; {ADVICE}")
        return False

    def _write(self, response: httpx.Response, size: int, total: int | None) -> int:
        """Append what comes to the part, which has `size` bytes and will have `total`; returns its size at the end."""
        file = self.file
        ceiling = file.most if file.size is None else file.size
        if total is not None:
            if total > ceiling:
                raise self._too_large(f"has {total:,} bytes", ceiling)
            file.require_room(total - size)
        free = shutil.disk_usage(file.part.parent).free
        room = size + free - min(LEFT_FREE, free // 2)
        with file.part.open("ab" if size else "wb") as part:
            if not size:
                tag = str(response.headers.get("etag", ""))
                file.tag.unlink(missing_ok=True)
                if tag.startswith('"') and tag.isascii():
                    file.tag.write_text(tag, encoding="ascii")
            self._show(size)
            for chunk in response.iter_bytes():  # as they come: none is held back
                part.write(chunk)
                size += len(chunk)
                self._show(size)
                if size > ceiling:
                    raise self._too_large("sends more", ceiling)
                if total is None and size > room:
                    file.discard()
                    raise XlirError(
                        f"cannot write {file.target}: {size:,} bytes came, and the disk is nearly full; {ELSEWHERE}"
                    )
        return size

    def _show(self, size: int) -> None:
        self.progress.advance(size - self.shown)
        self.shown = size

    def _too_large(self, what: str, ceiling: int) -> OutOfReachError:
        """The error for a file of more than `ceiling` bytes, of which nothing is kept."""
        file = self.file
        file.discard()
        if file.sha256 is not None and file.size is not None:
            return OutOfReachError(
                f"{file.url} is not the file that was pinned: it {what}, and {file.size:,} are expected; it was"
                f" not kept: {ADVICE}"
            )
        more = "--max-download allows more, or " if file.size is None else ""
        return OutOfReachError(
            f"{file.url} {what}, where at most {ceiling:,} bytes are taken; {more}{ADVICE}"
        )


def _is_of_hub(url: str) -> bool:
    """Whether an address is the hub's own: its scheme, host and port."""
    import httpx
    from huggingface_hub import constants

    try:
        address, hub = httpx.URL(url), httpx.URL(constants.ENDPOINT)
    except httpx.InvalidURL:
        return False
    return (address.scheme, address.host, address.port) == (hub.scheme, hub.host, hub.port)


def _hub_token(url: str) -> dict[str, str]:
    """The header that logs in to the hub, where this is the hub and the environment has a token.

    The HTTP library leaves it out where the hub redirects to another host.
    """
    from huggingface_hub import constants, get_token

    if not _is_of_hub(url) or constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return {}
    token = get_token()
    if token and not re.fullmatch("[!-~]+", token):
        raise InputError("the hub's token (HF_TOKEN, or that of `hf auth login`) is no token")
    return {"Authorization": f"Bearer {token}"} if token else {}

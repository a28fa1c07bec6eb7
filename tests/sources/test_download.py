from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sources.serving import FileServer, serving

from xlir_bench.errors import InputError, OutOfReachError, XlirError
from xlir_bench.records import Silent
from xlir_bench.sources import download as downloading
from xlir_bench.sources.download import Download, download

BODY = os.urandom(300_000)
ATTEMPTS = 3


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "ATTEMPTS", ATTEMPTS)
    monkeypatch.setattr(downloading, "PAUSE", 0.0)


class Counted:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.unit = ""
        self.finished = False

    def start(self, stage: str, total: int, unit: str) -> None:
        self.total, self.unit = total, unit

    def advance(self, count: int) -> None:
        self.done += count

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving({"/file": BODY}) as server:
        yield server


@pytest.fixture
def file(server: FileServer, tmp_path: Path) -> Download:
    digest = hashlib.sha256(BODY).hexdigest()
    return Download(f"{server.url}/file", tmp_path / "a" / "file", digest, len(BODY))


def bring(file: Download) -> None:
    download([file], "fetch", Silent())


def left(file: Download) -> list[str]:
    return sorted(path.name for path in file.target.parent.iterdir() if path.name != ".lock")


def begun(file: Download, content: bytes, tag: str | None = None) -> None:
    file.target.parent.mkdir()
    file.part.write_bytes(content)
    if tag:
        file.tag.write_text(tag)


def test_a_file_comes_whole_with_its_bytes_counted_and_nothing_else_is_left(file: Download) -> None:
    progress = Counted()
    download([file], "fetch", progress)
    assert file.target.read_bytes() == BODY
    assert left(file) == ["file"]
    assert (progress.total, progress.done, progress.unit) == (len(BODY), len(BODY), "B")
    assert progress.finished


def test_a_part_from_an_earlier_run_is_continued(server: FileServer, file: Download) -> None:
    begun(file, BODY[:1000])
    bring(file)
    assert server.asked == [("/file", "bytes=1000-")]
    assert file.target.read_bytes() == BODY


def test_a_part_that_is_complete_needs_no_server(file: Download) -> None:
    begun(file, BODY)
    bring(replace(file, url="http://127.0.0.1:9/file"))
    assert file.target.read_bytes() == BODY


def test_a_connection_cut_in_the_middle_is_taken_up_again(
    server: FileServer, file: Download
) -> None:
    server.cuts = [100_000, 50_000]
    progress = Counted()
    download([file], "fetch", progress)
    assert server.asked == [("/file", None), ("/file", "bytes=100000-"), ("/file", "bytes=150000-")]
    assert file.target.read_bytes() == BODY
    assert progress.done == len(BODY)


def test_a_server_that_does_not_state_the_length_is_cut_unseen_and_still_taken_up_again(
    server: FileServer, file: Download
) -> None:
    server.length = False
    server.cuts = [100_000]
    bring(file)
    assert file.target.read_bytes() == BODY


def test_after_too_many_cuts_the_part_is_kept_and_running_again_goes_on(
    server: FileServer, file: Download
) -> None:
    server.cuts = [100_000, 1000, 1000]
    with pytest.raises(OutOfReachError, match=r"\b3 attempts.*\b102,000 bytes"):
        bring(file)
    assert left(file) == ["file.part"]
    bring(file)
    assert server.asked[-1] == ("/file", "bytes=102000-")
    assert file.target.read_bytes() == BODY


def test_a_server_without_ranges_starts_anew(server: FileServer, file: Download) -> None:
    server.ranges = False
    server.cuts = [100_000]
    progress = Counted()
    download([file], "fetch", progress)
    assert file.target.read_bytes() == BODY
    assert progress.done == len(BODY)


@pytest.mark.parametrize(
    "stale", [b"x" * 1000, b"x" * len(BODY), b"x" * (len(BODY) + 5)], ids=["short", "full", "long"]
)
@pytest.mark.parametrize("sized", [True, False])
def test_a_part_of_another_file_is_thrown_away(file: Download, stale: bytes, sized: bool) -> None:
    begun(file, stale)
    bring(file if sized else replace(file, size=None))
    assert file.target.read_bytes() == BODY
    assert left(file) == ["file"]


def test_a_part_whose_tag_is_no_longer_the_servers_starts_anew(
    server: FileServer, file: Download
) -> None:
    server.tag = '"new"'
    begun(file, b"x" * 1000, tag='"old"')
    bring(replace(file, sha256=None, size=None))
    assert server.asked == [("/file", "bytes=1000-")]
    assert file.target.read_bytes() == BODY
    assert left(file) == ["file"]


def test_without_a_digest_a_part_is_continued_only_under_the_servers_tag(
    server: FileServer, file: Download
) -> None:
    unpinned = replace(file, sha256=None, size=None)
    begun(file, b"x" * 1000)
    bring(unpinned)
    assert server.asked == [("/file", None)]
    file.target.unlink()
    server.tag = '"one"'
    server.cuts = [100_000]
    bring(unpinned)
    assert server.asked[-1] == ("/file", "bytes=100000-")
    assert file.target.read_bytes() == BODY


def test_a_wrong_digest_names_both_and_keeps_nothing(server: FileServer, file: Download) -> None:
    server.content["/file"] = b"y" * len(BODY)
    found = hashlib.sha256(b"y" * len(BODY)).hexdigest()
    with pytest.raises(OutOfReachError, match=f"expected {file.sha256}, found {found}"):
        bring(file)
    assert left(file) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [10, 2 * len(BODY)])
def test_a_file_of_another_size_is_a_wrong_digest_too(
    server: FileServer, file: Download, size: int
) -> None:
    server.content["/file"] = b"y" * size
    with pytest.raises(OutOfReachError, match=r"/file .*\bpinned\b"):
        bring(file)
    assert left(file) == []


def test_a_wrong_file_in_place_is_replaced(file: Download) -> None:
    file.target.parent.mkdir()
    file.target.write_bytes(b"damaged")
    bring(file)
    assert file.target.read_bytes() == BODY


def test_404_says_the_address_and_what_to_do(file: Download) -> None:
    gone = replace(file, url=file.url + "s")
    with pytest.raises(OutOfReachError, match=r"/files .*HTTP 404\b.*--data ROOT"):
        bring(gone)


def test_a_server_that_is_busy_is_asked_again(server: FileServer, file: Download) -> None:
    server.statuses = [503, 429]
    bring(file)
    assert file.target.read_bytes() == BODY
    file.target.unlink()
    server.statuses = [500, 500, 500]
    with pytest.raises(OutOfReachError, match="HTTP 500"):
        bring(file)


def test_no_server_fails_at_once_with_advice(file: Download) -> None:
    with pytest.raises(OutOfReachError, match=r"\breach http://127\.0\.0\.1:9/.*--data ROOT"):
        download([replace(file, url="http://127.0.0.1:9/file")], "fetch", Silent())


def test_a_folder_that_cannot_be_written_names_the_variable_to_set(
    file: Download, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="XLIR_CACHE"):
        bring(file)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_failed_run(file: Download) -> None:
    file.target.parent.mkdir()
    file.part.symlink_to("/dev/full")
    with pytest.raises(XlirError, match=r"a/file: \D*\bfull\b.*XLIR_CACHE") as caught:
        bring(file)
    assert caught.value.exit_code == 4


def test_several_fetches_of_one_file_at_once_load_it_once(
    server: FileServer, file: Download
) -> None:
    faults: list[BaseException] = []

    def fetch() -> None:
        try:
            bring(file)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert file.target.read_bytes() == BODY
    assert len(server.asked) == 1


def unpinned(file: Download, **stated: Any) -> Download:
    return replace(file, sha256=None, size=None, **stated)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_server_that_never_stops_is_hung_up_on_at_the_ceiling(
    server: FileServer, file: Download, pinned: bool
) -> None:
    server.endless = {"/file"}
    most = 5_000_000
    with pytest.raises(OutOfReachError, match="sends more"):
        bring(file if pinned else unpinned(file, most=most))
    assert left(file) == []
    assert len(server.asked) == 1


def test_a_digest_without_a_size_has_a_ceiling_too(server: FileServer, file: Download) -> None:
    server.endless = {"/file"}
    with pytest.raises(OutOfReachError, match="--max-download"):
        bring(replace(file, size=None, most=1_000_000))
    assert left(file) == []


def test_what_is_stated_to_be_too_large_is_not_begun(server: FileServer, file: Download) -> None:
    server.headers["/file"] = {"Content-Length": str(10**12)}
    with pytest.raises(OutOfReachError, match=r"1,000,000,000,000 bytes.*--max-download"):
        bring(unpinned(file))
    assert left(file) == []


def test_what_the_disk_has_no_room_for_is_not_begun(server: FileServer, file: Download) -> None:
    server.headers["/file"] = {"Content-Length": str(1 << 60)}
    with pytest.raises(XlirError, match="the disk has") as caught:
        bring(unpinned(file, most=1 << 62))
    assert caught.value.exit_code == 4
    assert left(file) == []


def test_a_stream_of_unknown_length_leaves_some_of_the_disk_to_others(
    server: FileServer, file: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(file.target.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4_000_000))
    server.endless = {"/file"}
    with pytest.raises(XlirError, match=r"nearly full.*XLIR_CACHE") as caught:
        bring(unpinned(file))
    assert caught.value.exit_code == 4
    assert left(file) == []


def test_a_length_that_is_too_small_is_no_whole_file(server: FileServer, file: Download) -> None:
    server.headers["/file"] = {"Content-Length": "1000"}
    with pytest.raises(OutOfReachError, match=r"\b1,000 bytes.*\b300,000\b"):
        bring(replace(file, sha256=None))
    assert left(file) == []


def test_a_length_that_is_too_great_is_no_whole_file(server: FileServer, file: Download) -> None:
    server.headers["/file"] = {"Content-Length": str(2 * len(BODY)), "Connection": "close"}
    server.cuts = [len(BODY)] * ATTEMPTS
    with pytest.raises(OutOfReachError, match=rf"\b{ATTEMPTS} attempts.*\b{len(BODY):,} bytes"):
        bring(unpinned(file))
    assert left(file) == ["file.part"]


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_an_encoding_that_nobody_asked_for_is_refused(
    server: FileServer, file: Download, encoding: str
) -> None:
    server.headers["/file"] = {"Content-Encoding": encoding}
    with pytest.raises(OutOfReachError, match="unasked"):
        bring(unpinned(file))
    assert left(file) == []


def test_a_start_of_thousands_of_digits_is_no_start(server: FileServer, file: Download) -> None:
    begun(file, BODY[:1000])
    server.headers["/file"] = {"Content-Range": f"bytes {'1' * 5000}-2/3"}
    bring(file)
    assert file.target.read_bytes() == BODY


HUB = """
import sys
from pathlib import Path
from xlir_bench.records import Silent
from xlir_bench.sources.download import Download, download
for number, url in enumerate(sys.argv[2:]):
    download([Download(url, Path(sys.argv[1]) / str(number), None, None)], "", Silent())
"""


def test_the_hubs_token_goes_to_the_hub_and_to_no_other(server: FileServer, tmp_path: Path) -> None:
    with serving({"/other": BODY, "/moved": BODY}) as other:
        server.headers["/away"] = {"Location": f"{other.url}/moved"}
        server.headers["/here"] = {"Location": "/file"}
        urls = [
            f"{server.url}/file",
            f"{server.url}/away",
            f"{server.url}/here",
            f"{other.url}/other",
        ]
        env = os.environ | {
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": "hf_secret",
            "NO_PROXY": "127.0.0.1",
        }
        subprocess.run([sys.executable, "-c", HUB, str(tmp_path), *urls], env=env, check=True)
        assert other.tokens == [("/moved", None), ("/other", None)]
    bearer = "Bearer hf_secret"
    assert server.tokens == [(path, bearer) for path in ("/file", "/away", "/here", "/file")]


def test_a_gated_data_set_says_how_to_log_in_and_a_strange_token_is_not_shown(
    server: FileServer, tmp_path: Path
) -> None:
    server.statuses = [401]
    for token, said in (("hf_good", "hf auth login"), ("hf_\tsecret", "is no token")):
        env = os.environ | {"HF_ENDPOINT": server.url, "HF_TOKEN": token, "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-c", HUB, str(tmp_path), f"{server.url}/file"],
            env=env, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert said in done.stderr.splitlines()[-1]
        assert "hf_" not in done.stderr.splitlines()[-1]


def zipped(content: bytes, **stated: Any) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(
        packed, "w", **({"compression": zipfile.ZIP_DEFLATED} | stated)
    ) as archive:
        archive.writestr("inside", content)
    return packed.getvalue()


@pytest.fixture
def member(server: FileServer, file: Download) -> Download:
    server.content["/file"] = zipped(BODY)
    return replace(file, member="inside")


def test_a_member_of_a_zip_file_comes_whole_and_is_held_to_its_digest(
    server: FileServer, member: Download
) -> None:
    bring(member)
    assert member.target.read_bytes() == BODY
    assert left(member) == ["file"]
    member.target.unlink()
    server.content["/file"] = zipped(b"y" * len(BODY))
    with pytest.raises(OutOfReachError, match="SHA-256 is not"):
        bring(member)
    assert left(member) == []


@pytest.mark.parametrize("stated", [None, 1000])
def test_a_zip_file_that_would_fill_the_disk_is_not_unpacked(
    server: FileServer, member: Download, stated: int | None
) -> None:
    bomb = zipped(bytes(20_000_000))
    assert len(bomb) < 30_000
    server.content["/file"] = bomb
    with pytest.raises(OutOfReachError, match=r"unpacks to 20,000,000 bytes"):
        bring(replace(member, sha256=None, size=stated))
    assert left(member) == []


def test_a_zip_file_that_states_less_than_it_holds_is_damaged(
    server: FileServer, member: Download
) -> None:
    bomb = zipped(bytes(20_000_000))
    server.content["/file"] = bomb.replace((20_000_000).to_bytes(4, "little"), bytes([9, 0, 0, 0]))
    with pytest.raises(OutOfReachError, match="no whole inside"):
        bring(unpinned(member))
    assert left(member) == []


def encrypted() -> bytes:
    """A zip file whose member says that it wants a password."""
    packed = bytearray(zipped(BODY))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


@pytest.mark.parametrize(
    "content",
    [encrypted(), zipped(BODY)[:-40], b"no zip file", zipped(BODY, compression=zipfile.ZIP_LZMA)],
    ids=["encrypted", "cut", "other", "lzma"],
)
def test_a_zip_file_that_cannot_be_read_is_one_message_and_nothing_is_left(
    server: FileServer, member: Download, content: bytes
) -> None:
    server.content["/file"] = content
    with pytest.raises(OutOfReachError, match="no whole inside"):
        bring(unpinned(member))
    assert left(member) == []


def test_a_full_disk_while_unpacking_leaves_nothing_half_done(
    member: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any, *_: Any) -> None:
        target.write(source.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(XlirError, match="full") as caught:
            bring(member)
    assert caught.value.exit_code == 4
    assert left(member) == ["file.zip"]  # whole: the next try unpacks it
    bring(replace(member, url="http://127.0.0.1:9/file"))
    assert left(member) == ["file"]


def test_several_fetches_of_one_zip_file_at_once_unpack_it_once(
    server: FileServer, member: Download
) -> None:
    faults: list[BaseException] = []

    def fetch() -> None:
        try:
            bring(member)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(server.asked) == 1
    assert left(member) == ["file"]

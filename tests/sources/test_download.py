from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sources.serving import FileServer, serving

from xlir_bench.errors import InputError, OutOfReachError, XlirError
from xlir_bench.records import Silent
from xlir_bench.sources.download import Download, Patience, download

BODY = os.urandom(300_000)
QUICK = Patience(attempts=3, pause=0.0)


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
    return Download("a/file", f"{server.url}/file", tmp_path / "a" / "file", digest, len(BODY))


def bring(file: Download) -> None:
    download([file], "fetch", Silent(), QUICK)


def left(file: Download) -> list[str]:
    return sorted(path.name for path in file.target.parent.iterdir() if path.name != ".lock")


def begun(file: Download, content: bytes, tag: str | None = None) -> None:
    file.target.parent.mkdir()
    file.part.write_bytes(content)
    if tag:
        file.tag.write_text(tag)


def test_a_file_comes_whole_with_its_bytes_counted_and_nothing_else_is_left(file: Download) -> None:
    progress = Counted()
    download([file], "fetch", progress, QUICK)
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
    download([file], "fetch", progress, QUICK)
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
    with pytest.raises(OutOfReachError, match=r"3 attempts .* 102,000 bytes are kept"):
        bring(file)
    assert left(file) == ["file.part"]
    bring(file)
    assert server.asked[-1] == ("/file", "bytes=102000-")
    assert file.target.read_bytes() == BODY


def test_a_server_without_ranges_starts_anew(server: FileServer, file: Download) -> None:
    server.ranges = False
    server.cuts = [100_000]
    progress = Counted()
    download([file], "fetch", progress, QUICK)
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
    with pytest.raises(OutOfReachError, match="is not the file that was pinned"):
        bring(file)
    assert left(file) == []


def test_a_wrong_file_in_place_is_replaced(file: Download) -> None:
    file.target.parent.mkdir()
    file.target.write_bytes(b"damaged")
    bring(file)
    assert file.target.read_bytes() == BODY


def test_404_says_the_address_and_what_to_do(file: Download) -> None:
    gone = replace(file, url=file.url + "s")
    with pytest.raises(OutOfReachError, match=r"/files answered HTTP 404; .*--data ROOT"):
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
    with pytest.raises(OutOfReachError, match=r"cannot reach http://127.0.0.1:9/.*--data ROOT"):
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
    with pytest.raises(XlirError, match="No space left on device") as caught:
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

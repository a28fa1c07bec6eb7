"""Files are whole or not there, locks end with their holder, and killed writers leave nothing for long."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from xlir_bench import files
from xlir_bench.errors import InputError, XlirError
from xlir_bench.escaping import cell, printable, visible
from xlir_bench.places import cache_folder, expanded


def names(folder):
    return [path.name for path in folder.iterdir()]


FORK = multiprocessing.get_context("fork")


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    files.write(path, "one")
    files.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write(path, "one")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "one"
    assert names(tmp_path) == ["a.txt"]


def _stall(path, ready):
    with files.replacing(path) as temporary:
        temporary.write_text("half")
        ready.set()
        time.sleep(60)


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "a.txt"
    ready = FORK.Event()
    writer = FORK.Process(target=_stall, args=(path, ready))
    writer.start()
    assert ready.wait(20)
    files.sweep(tmp_path)
    assert len(names(tmp_path)) == 1
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    (tmp_path / ".b.json.4711.tmp").write_text("left by an older version")
    (tmp_path / ".result.lock").write_text("its holder was killed")
    with files.held(tmp_path / ".lock", "the folder"):
        files.sweep(tmp_path)
        assert names(tmp_path) == [".lock"]


def test_what_another_machine_writes_is_left_to_it_for_an_hour(tmp_path):
    path = tmp_path / ".a.json.@0badcafe.0123456789ab.tmp"
    path.write_text("half")
    files.sweep(tmp_path)
    assert path.exists()
    long_ago = time.time() - files.ABANDONED - 60
    os.utime(path, (long_ago, long_ago))
    files.sweep(tmp_path)
    assert not path.exists()


def _hold(path, ready):
    with files.held(path, "the folder"):
        ready.set()
        time.sleep(60)


def test_a_lock_is_refused_while_its_holder_lives_and_free_once_it_is_killed(tmp_path):
    path = tmp_path / ".lock"
    ready = FORK.Event()
    holder = FORK.Process(target=_hold, args=(path, ready))
    holder.start()
    assert ready.wait(20)
    with pytest.raises(files.InUseError, match=str(holder.pid)), files.held(path, "the folder"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with files.held(path, "the folder"):
        pass
    assert not path.exists()


def test_a_lock_file_that_names_a_process_that_is_alive_but_holds_nothing_is_free(tmp_path):
    # A container that is restarted runs as the same process number on the same host name.
    path = tmp_path / ".lock"
    path.write_text(f'{{"pid": {os.getpid()}, "host": "{os.uname().nodename}"}}')
    with files.held(path, "the folder"):
        pass


def _count(path, inside, worst, times):
    for _ in range(times):
        try:
            with files.held(path, "it"):
                with inside.get_lock():
                    inside.value += 1
                    worst.value = max(worst.value, inside.value)
                time.sleep(0.001)
                with inside.get_lock():
                    inside.value -= 1
        except files.InUseError:
            time.sleep(0.0005)


def test_no_two_processes_hold_a_lock_at_once(tmp_path):
    inside, worst = FORK.Value("i", 0), FORK.Value("i", 0)
    path = tmp_path / ".lock"
    path.write_text("stale")
    workers = [FORK.Process(target=_count, args=(path, inside, worst, 60)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert worst.value == 1


def test_a_place_that_cannot_be_written_is_said_before(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name another"):
        files.require_writable(tmp_path / "file" / "below", "name another")
    with pytest.raises(InputError, match="UTF-8"):
        files.require_writable(tmp_path / os.fsdecode(b"a\xff"), "name another")
    files.require_writable(tmp_path / "new", "name another")
    assert names(tmp_path / "new") == []


def test_a_full_disk_is_no_mistake_of_the_command_line(tmp_path):
    full = files.cannot_write(tmp_path, "make room", OSError(28, "No space left on device"))
    assert type(full) is XlirError
    assert full.exit_code == 4


def test_digests_are_those_of_the_bytes(tmp_path):
    path = Path(tmp_path / "a")
    path.write_bytes(b"abc")
    assert files.file_digest(path, "sha256").startswith("ba7816bf8f01cfea")
    assert len(files.file_digest(path, files.blake2b_128)) == 32
    assert files.parts_digest([b"a", memoryview(b"bc")]) == files.text_digest("abc")


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\nb", "a\u202eb", "a\u2028b", "\ud800"])
def test_what_is_shown_does_nothing(text):
    assert visible(text).isprintable()


def test_our_own_lines_stay_lines():
    assert printable("a\tb\nc\x07") == "a\tb\nc\\u0007"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\ta"])
def test_no_cell_is_a_formula(text):
    assert cell(text) == "'" + text
    assert cell("a" + text) == "a" + text


class Windows:
    """The module `os` of a system that removes nothing open, and whose locks keep bytes from being read."""

    name = "nt"

    def __init__(self) -> None:
        self.opened: dict[int, Path] = {}
        self.locks: dict[Path, tuple[int, int]] = {}

    def open(self, path, *rest):
        handle = os.open(path, *rest)
        self.opened[handle] = Path(path)
        return handle

    def close(self, handle):
        path = self.opened.pop(handle)
        if self.locks.get(path, (None, 0))[0] == handle:
            del self.locks[path]
        os.close(handle)

    def locking(self, handle, _mode, _bytes):
        path = self.opened[handle]
        if path in self.locks:
            raise PermissionError
        self.locks[path] = (handle, os.lseek(handle, 0, os.SEEK_CUR))

    def __getattr__(self, name):
        return getattr(os, name)


@pytest.fixture
def windows(monkeypatch):
    system, unlink, read = Windows(), Path.unlink, Path.read_text

    def refused(path, missing_ok=False):
        if path in system.opened.values():
            raise PermissionError(13, "in use")
        unlink(path, missing_ok)

    def unreadable(path, **how):
        if path in system.locks and system.locks[path][1] < path.stat().st_size:
            raise PermissionError(13, "locked")
        return read(path, **how)

    monkeypatch.setattr(files, "os", system)
    monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.setattr(Path, "read_text", unreadable)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    msvcrt = SimpleNamespace(locking=system.locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    return system


def test_on_windows_a_lock_names_its_holder_and_leaves_no_file(windows, tmp_path):
    again = files.held(tmp_path / ".lock", "it")
    said = pytest.raises(files.InUseError, match=f"process {os.getpid()}")
    with files.held(tmp_path / ".lock", "it"), said:
        again.__enter__()
    assert (names(tmp_path), windows.opened) == ([], {})


def test_on_windows_what_a_killed_writer_left_is_swept(windows, tmp_path):
    for name in (".old.lock", ".old.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".new.tmp").touch()
    files.sweep(tmp_path)
    assert (names(tmp_path), windows.opened) == ([".new.tmp"], {})


def test_a_path_of_a_user_who_is_not_here_is_a_path_like_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/reader")
    assert expanded("~/model") == Path("/home/reader/model")
    assert expanded("~no-such-user/model") == Path("~no-such-user/model")


def test_no_cache_is_made_for_a_user_who_is_not_here() -> None:
    with pytest.raises(InputError, match="no such user"):
        cache_folder("~no-such-user/cache")

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest
from places import read_only

from xlir_bench import files
from xlir_bench.errors import XlirError
from xlir_bench.records import Passages
from xlir_bench.sources.corpus import Passage, open_corpus, remove_corpora, stored_corpus
from xlir_bench.sources.rows import Faults

PASSAGES = [Passage(f"p{n}", "Title", f"text {n}") for n in range(30)]
TEXTS = [f"Title text {n}" for n in range(30)]


def made(
    folder: Path, passages: Iterable[Passage] = PASSAGES, faults: Faults | None = None
) -> Passages:
    faults = faults or Faults()
    found = stored_corpus(folder, "en", passages, faults, Path("docs"))
    faults.check()
    assert found is not None
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_error_of_the_system_leaves_a_corpus_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "c")
    whole = names(tmp_path / "c")
    honest = Path.open

    def stale(self: Path, *how: Any, **more: Any) -> IO[Any]:
        if self.name == "passages.arrow":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return honest(self, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", stale)
        with pytest.raises(XlirError, match=r"[Ss]tale.*XLIR_CACHE"):
            open_corpus(tmp_path / "c", "en")
    assert names(tmp_path / "c") == whole
    assert list(made(tmp_path / "c").texts) == TEXTS


def test_a_text_that_was_spoilt_on_disk_is_told_and_not_read_as_another(tmp_path: Path) -> None:
    made(tmp_path / "c")
    file = tmp_path / "c" / "passages.arrow"
    packed = bytearray(file.read_bytes())
    packed[packed.index(b"Title text 3")] = 0xD8
    file.write_bytes(packed)
    with pytest.raises(XlirError, match=r"damaged.*--corpora.*XLIR_CACHE"):
        list(made(tmp_path / "c").texts)


def test_no_spoilt_byte_ends_the_process(tmp_path: Path) -> None:
    """Arrow follows what a file says of where texts lie, unless that is checked first."""
    made(tmp_path / "c")
    file = tmp_path / "c" / "passages.arrow"
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        for spoilt in (0xFF, 0x7F, 0):
            file.write_bytes(whole[:place] + bytes([spoilt]) + whole[place + 1 :])
            with suppress(XlirError):
                corpus = open_corpus(tmp_path / "c", "en")
                if corpus is not None:
                    texts = [list(corpus.texts), list(corpus.bodies), list(corpus.ids)]
                    assert {len(its) for its in texts} == {30}
                    corpus.ids.positions(["p3", "p29"])


def test_texts_on_disk_can_be_sent_to_whoever_sees_the_file(tmp_path: Path) -> None:
    corpus = made(tmp_path / "c")
    for texts in (corpus.ids, corpus.texts, corpus.bodies):
        again = pickle.loads(sent := pickle.dumps(texts))
        assert list(again) == list(texts)
        assert again.digest == texts.digest == "c"
        assert len(sent) < 500
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(XlirError, match=r"passages\.arrow.*XLIR_CACHE.*\bshare\b"):
        pickle.loads(sent)


def test_half_a_corpus_is_replaced_and_whoever_reads_it_meanwhile_goes_on(tmp_path: Path) -> None:
    reading = made(tmp_path / "c")
    (tmp_path / "c" / "corpus.json").write_text("{")
    assert list(made(tmp_path / "c").texts) == TEXTS
    assert list(reading.texts) == TEXTS
    assert list(reading.ids)[-1] == "en:p29"
    assert names(tmp_path) == ["c"]


def test_a_corpus_that_is_removed_stays_readable_for_those_who_read_it(tmp_path: Path) -> None:
    reading = made(tmp_path / "c")
    assert remove_corpora(tmp_path) > 0
    assert names(tmp_path) == []
    assert list(reading.texts) == TEXTS
    assert list(reading.bodies)[3] == "text 3"
    assert reading.ids.positions(["p7", "none"]) == {"p7": 7}


def test_a_corpus_takes_one_open_file(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("asks /proc how many files are open")
    before = len(names(Path("/proc/self/fd")))
    kept = [made(tmp_path / f"c{n}") for n in range(20)]
    assert len(names(Path("/proc/self/fd"))) - before <= len(kept)


def test_what_is_being_written_is_neither_swept_nor_removed(tmp_path: Path) -> None:
    def passages() -> Iterator[Passage]:
        yield PASSAGES[0]
        files.sweep(tmp_path / "c")
        remove_corpora(tmp_path)
        assert any(name.endswith(".tmp") for name in names(tmp_path / "c"))

    assert list(made(tmp_path / "c", passages()).texts) == TEXTS[:1]
    assert names(tmp_path) == ["c"]


def test_a_corpus_with_fewer_rows_than_it_states_is_made_again(tmp_path: Path) -> None:
    made(tmp_path / "c")
    (tmp_path / "c" / "corpus.json").write_text('{"layout": 2, "rows": 31}')
    assert len(list(made(tmp_path / "c").texts)) == len(made(tmp_path / "c").ids) == 30


def test_a_disk_that_fills_up_while_a_corpus_is_written_leaves_nothing(tmp_path: Path) -> None:
    def passages() -> Iterator[Passage]:
        yield PASSAGES[0]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(XlirError, match=r"cannot write.*\bfull\b.*XLIR_CACHE") as caught:
        made(tmp_path / "c", passages())
    assert caught.value.exit_code == 4
    assert names(tmp_path) == []


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".passages.arrow.killed.tmp").write_text("half")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".passages.arrow.killed.tmp").write_text("half")
    for name in (".growing-killed", ".growing-alive"):  # as older versions named them
        (tmp_path / name).mkdir()
        (tmp_path / name / "passages.arrow").write_text("half")
    lease = files.leased(tmp_path / ".growing-alive")
    made(tmp_path / "c")
    assert names(tmp_path / "c") == ["corpus.json", "passages.arrow"]
    assert names(tmp_path / "other") == []
    assert names(tmp_path) == [".growing-alive", "c", "other"]
    assert names(tmp_path / ".growing-alive") == ["passages.arrow"]
    del lease


def test_faults_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(XlirError, match="more than one passage"):
        made(tmp_path / "c", [PASSAGES[0], PASSAGES[0]])
    assert names(tmp_path) == []


def test_a_cache_that_takes_nothing_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir()
    with read_only(tmp_path / "ro"):
        faults = Faults()
        found = made(tmp_path / "ro" / "corpora" / "c", faults=faults)
        (note,) = faults.notes
        assert "cannot write" in note
        assert list(found.texts) == TEXTS
        assert list(found.bodies) == [p.text for p in PASSAGES]


def test_a_lease_is_held_by_many_and_ends_with_the_last(tmp_path: Path) -> None:
    leases = [files.leased(tmp_path / "a") for _ in "ab"]
    for _ in "ab":
        assert not files.remove_unused(tmp_path / "a")
        leases.pop()
    assert files.remove_unused(tmp_path / "a")
    assert files.remove_unused(tmp_path / "a"), "there is nothing to remove"

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from xlir_bench.embed import VectorStore, cache_entries, prune, store_folder
from xlir_bench.embed.cache import remember_encoder, text_digests, write_atomically
from xlir_bench.errors import XlirError

TEXTS = [f"text {i}" for i in range(20)]


def filled(folder: Path, texts: list[str] = TEXTS, seed: int = 0) -> np.ndarray:
    """A block of these texts in the store of that folder; their vectors."""
    vectors = np.random.default_rng(seed).standard_normal((len(texts), 5)).astype(np.float32)
    count = np.arange(len(texts))
    VectorStore.open(folder, "query").write(text_digests(texts), vectors, count, count // 2)
    return vectors


def blocks(folder: Path) -> list[Path]:
    return sorted((folder / "query").glob("*.npy"))


def test_what_was_written_is_read_back_by_another_process(tmp_path: Path) -> None:
    vectors = filled(tmp_path)
    asked = text_digests([TEXTS[7], "never seen", TEXTS[0], TEXTS[7]])
    found = VectorStore.open(tmp_path, "query").read(asked)
    assert found.found.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(
        found.vectors, np.stack([vectors[7], vectors[0] * 0, vectors[0], vectors[7]])
    )
    assert found.tokens.tolist() == [7, 0, 0, 7]
    assert found.unknown.tolist() == [3, 0, 0, 3]


def test_roles_do_not_share_vectors(tmp_path: Path) -> None:
    filled(tmp_path)
    assert not VectorStore.open(tmp_path, "passage").has(text_digests(TEXTS)).any()


def test_texts_are_told_apart_to_the_last_character() -> None:
    texts = ["a", "a ", "A", "á", "a\u0301", "", "\ud800", "\ud801", "a\0"]
    assert len(np.unique(text_digests(texts), axis=0)) == len(texts)


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    store = VectorStore.open(tmp_path / "not there", "query")
    assert not store.has(text_digests(TEXTS)).any()
    assert store.read(text_digests(TEXTS)).vectors.shape == (20, 0)
    assert store.read(text_digests([])).vectors.shape == (0, 0)


def test_a_store_without_a_folder_keeps_nothing_on_disk(tmp_path: Path) -> None:
    store = VectorStore.open(None, "query")
    store.write(text_digests(["a"]), np.ones((1, 3), np.float32), np.ones(1), np.zeros(1))
    assert store.has(text_digests(["a", "b"])).tolist() == [True, False]
    assert not any(tmp_path.iterdir())


def test_the_same_block_written_twice_is_one_file(tmp_path: Path) -> None:
    filled(tmp_path)
    filled(tmp_path)
    assert len(blocks(tmp_path)) == 1


def test_of_two_vectors_of_one_text_always_the_same_is_read(tmp_path: Path) -> None:
    filled(tmp_path, seed=1)
    filled(tmp_path, seed=2)
    assert len(blocks(tmp_path)) == 2
    first, again = (VectorStore.open(tmp_path, "query").read(text_digests(TEXTS)) for _ in "ab")
    np.testing.assert_array_equal(first.vectors, again.vectors)


@pytest.mark.parametrize("dimension", [1, 2, 384])
def test_vectors_of_any_length_are_kept(tmp_path: Path, dimension: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((3, dimension)).astype(np.float32)
    store = VectorStore.open(tmp_path, "query")
    store.write(text_digests("abc"), vectors, np.ones(3), np.zeros(3))
    found = VectorStore.open(tmp_path, "query").read(text_digests("cab"))
    np.testing.assert_array_equal(found.vectors, vectors[[2, 0, 1]])


def test_a_flipped_bit_anywhere_in_a_block_is_found(tmp_path: Path) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    whole = path.read_bytes()
    for place in [*range(0, 260), *range(260, len(whole), 97), len(whole) - 1]:
        for bit in (1, 8, 128):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            store = VectorStore.open(tmp_path, "query")
            assert store.damaged == [path.name]
            assert not store.has(text_digests(TEXTS)).any()
            assert not path.exists(), "it would be found damaged again and again"


@pytest.mark.parametrize("length", [0, 5, 100, 500, -1])
def test_a_truncated_block_is_found(tmp_path: Path, length: int) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert VectorStore.open(tmp_path, "query").damaged == [path.name]


def test_a_block_that_grew_is_found(tmp_path: Path) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    assert VectorStore.open(tmp_path, "query").damaged == [path.name]


def test_a_pickle_under_the_name_of_a_block_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "query").mkdir()
    np.save(tmp_path / "query" / "0.npy", np.array([print], object), allow_pickle=True)
    assert VectorStore.open(tmp_path, "query").damaged == ["0.npy"]


def test_sound_blocks_stay_when_another_is_damaged(tmp_path: Path) -> None:
    vectors = filled(tmp_path, TEXTS[:10])
    sound = blocks(tmp_path)
    filled(tmp_path, TEXTS[10:])
    (other,) = set(blocks(tmp_path)) - set(sound)
    other.write_bytes(b"")
    found = VectorStore.open(tmp_path, "query").read(text_digests(TEXTS))
    assert found.found.tolist() == [True] * 10 + [False] * 10
    np.testing.assert_array_equal(found.vectors[:10], vectors)


def test_a_half_written_file_is_no_block(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "query" / ".0123.npy.77.tmp").write_bytes(b"half")
    store = VectorStore.open(tmp_path, "query")
    assert store.damaged == []
    assert store.has(text_digests(TEXTS)).all()


def test_what_a_killed_run_left_half_written_is_removed_once_it_belongs_to_nobody(
    tmp_path: Path,
) -> None:
    filled(tmp_path)
    young, old = (tmp_path / "query" / f".{name}.npy.1.tmp" for name in ("young", "old"))
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    VectorStore.open(tmp_path, "query")
    assert (young.exists(), old.exists()) == (True, False)
    assert len(blocks(tmp_path)) == 1


def test_a_full_disk_is_said_with_what_to_do_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(XlirError) as error:
        write_atomically(tmp_path / "a" / "block", b"12345")
    assert error.value.exit_code == 4
    message = str(error.value)
    assert "the disk is full" in message
    assert str(tmp_path / "a" / "block") in message
    assert "XLIR_CACHE" in message
    assert list((tmp_path / "a").iterdir()) == []


def test_a_cache_that_cannot_be_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        XlirError, match=r"cannot write .*encoder\.json: (File exists|Not a directory)"
    ):
        remember_encoder(tmp_path / "file", "name", "sha256:0")


def test_an_encoder_has_a_folder_of_its_own_whatever_its_name(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors"
    names = ["a", "../../etc", "a/b", "A:B", "x" * 500, "моде́ль", ".."]
    folders = [store_folder(tmp_path, name, "sha256:" + "0" * 64) for name in names]
    assert {folder.parent for folder in folders} == {vectors}
    assert all(len(folder.name) < 120 for folder in folders)
    assert store_folder(tmp_path, "a", "sha256:" + "1" * 64) not in folders
    assert store_folder(tmp_path, "a", "../..").parent == vectors


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A cache of three encoders: `old`, `middle` and `new` by when they were used."""
    for age, name in ((300, "old"), (200, "middle"), (100, "new")):
        folder = store_folder(tmp_path, name, f"sha256:{name}")
        filled(folder)
        remember_encoder(folder, name, f"sha256:{name}")
        for path in folder.rglob("*"):
            used = path.stat().st_mtime - age
            os.utime(path, (used, used))
    return tmp_path


def test_entries_say_whose_vectors_take_how_much(three: Path) -> None:
    entries = cache_entries(three)
    assert [(e.encoder, e.blocks) for e in entries] == [("old", 1), ("middle", 1), ("new", 1)]
    for entry in entries:
        files = [path for path in entry.folder.rglob("*") if path.is_file()]
        assert entry.bytes == sum(path.stat().st_size for path in files)


def test_no_cache_has_no_entries(tmp_path: Path) -> None:
    assert cache_entries(tmp_path / "not there") == []


def test_a_folder_that_lost_its_name_is_listed_all_the_same(three: Path) -> None:
    entry = cache_entries(three)[0]
    (entry.folder / "encoder.json").write_text("[]")
    (three / "vectors" / "empty").mkdir()
    (three / "vectors" / "a file").write_text("")
    assert {entry.folder.name, "empty", "middle", "new"} == {
        e.encoder for e in cache_entries(three)
    }


def test_files_that_vanish_while_they_are_counted_are_not_counted(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Path.stat

    def stat(self: Path, **how: bool) -> os.stat_result:
        if self.suffix == ".npy":
            raise FileNotFoundError(self)
        return honest(self, **how)

    monkeypatch.setattr(Path, "stat", stat)
    assert len(cache_entries(three)) == 3


def test_pruning_takes_the_named_the_old_and_then_the_longest_unused(three: Path) -> None:
    size = cache_entries(three)[0].bytes

    def left() -> list[str]:
        return [entry.encoder for entry in cache_entries(three)]

    assert prune(three) == []
    assert prune(three, max_bytes=10**9) == []
    assert [e.encoder for e in prune(three, older_than=250)] == ["old"]
    assert left() == ["middle", "new"]
    assert [e.encoder for e in prune(three, max_bytes=size + size // 2)] == ["middle"]
    assert [e.encoder for e in prune(three, encoders=["new", "no such"])] == ["new"]
    assert left() == []


def test_pruning_to_nothing_leaves_nothing(three: Path) -> None:
    assert len(prune(three, max_bytes=0)) == 3
    assert cache_entries(three) == []

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from xlir_bench import files
from xlir_bench.retrieval import cache_entries, prune
from xlir_bench.retrieval import vector_store as store_module
from xlir_bench.retrieval.vector_store import (
    Block,
    Known,
    Store,
    remember_encoder,
    store_folder,
    text_keys,
    write_block,
)

TEXTS = [f"text {i}" for i in range(20)]


def block_of(texts: list[str], vectors: np.ndarray) -> Block:
    count = np.arange(len(texts), dtype=np.int32)
    return Block(text_keys(texts), vectors, count, count // 2)


def vectors_of(known: Known) -> np.ndarray:
    return np.asarray(known.vectors(np.arange(len(known.keys)), None))


def seen(known: Known) -> list[bool]:
    return (known.part >= 0).tolist()


def filled(folder: Path, texts: list[str] = TEXTS, seed: int = 0) -> np.ndarray:
    """A shard of these texts in the store of that folder; their vectors."""
    vectors = np.random.default_rng(seed).standard_normal((len(texts), 5)).astype(np.float32)
    write_block(folder / "query", block_of(texts, vectors))
    return vectors


def blocks(folder: Path) -> list[Path]:
    return sorted((folder / "query").glob("*.safetensors"))


def found_in(folder: Path, texts: list[str] = TEXTS) -> Known:
    return Store(folder).find("query", text_keys(texts))


def opened(folder: Path) -> Store:
    """The store after it was asked for all texts."""
    store = Store(folder)
    store.find("query", text_keys(TEXTS))
    return store


def test_what_was_written_is_read_back_by_another_process(tmp_path: Path) -> None:
    vectors = filled(tmp_path)
    found = found_in(tmp_path, [TEXTS[7], "never seen", TEXTS[0]])
    assert seen(found) == [True, False, True]
    two = np.asarray(found.vectors(np.array([2, 0]), None))
    np.testing.assert_array_equal(two, vectors[[0, 7]])
    assert found.tokens.tolist() == [7, 0, 0]
    assert found.unknown.tolist() == [3, 0, 0]


def test_roles_do_not_share_vectors(tmp_path: Path) -> None:
    filled(tmp_path)
    assert not any(seen(Store(tmp_path).find("passage", text_keys(TEXTS))))


def test_texts_are_told_apart_to_the_last_character() -> None:
    texts = ["a", "a ", "A", "á", "a\u0301", "", "\ud800", "\ud801", "a\0"]
    assert len(np.unique(text_keys(texts), axis=0)) == len(texts)


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    found = found_in(tmp_path / "not there")
    assert not any(seen(found))
    assert (len(found.parts), found.dimension) == (0, 0)
    filled(tmp_path)
    assert seen(found_in(tmp_path, [])) == []


def test_a_store_without_a_folder_knows_nothing() -> None:
    assert not any(seen(Store().find("query", text_keys(["a"]))))


@pytest.mark.parametrize("in_memory", [True, False])
def test_parts_are_arrays_or_files(tmp_path: Path, in_memory: bool) -> None:
    vectors = filled(tmp_path)
    found = Store(tmp_path).find("query", text_keys([*TEXTS[3:], "never seen"]), in_memory)
    assert [isinstance(part, Path) for part in found.parts] == [not in_memory]
    rows = found.vectors(np.array([5, 0, 1, 16]), None)
    assert rows.on_disk != in_memory
    np.testing.assert_array_equal(np.asarray(rows), vectors[[8, 3, 4, 19]])


def test_the_same_block_written_twice_is_one_file(tmp_path: Path) -> None:
    filled(tmp_path)
    filled(tmp_path)
    assert len(blocks(tmp_path)) == 1


def test_of_two_vectors_of_one_text_always_the_same_is_read(tmp_path: Path) -> None:
    filled(tmp_path, seed=1)
    filled(tmp_path, seed=2)
    assert len(blocks(tmp_path)) == 2
    first, again = (found_in(tmp_path) for _ in "ab")
    np.testing.assert_array_equal(vectors_of(first), vectors_of(again))


@pytest.mark.parametrize("dimension", [1, 2, 384])
def test_vectors_of_any_length_are_kept(tmp_path: Path, dimension: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((3, dimension)).astype(np.float32)
    write_block(tmp_path / "query", block_of(list("abc"), vectors))
    np.testing.assert_array_equal(vectors_of(found_in(tmp_path, list("cab"))), vectors[[2, 0, 1]])


def test_a_flipped_bit_anywhere_in_a_block_is_found(tmp_path: Path) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    whole = path.read_bytes()
    for place in [*range(0, 400), *range(400, len(whole), 97), len(whole) - 1]:
        for bit in (1, 8, 128):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            store = Store(tmp_path)
            assert not any(seen(store.find("query", text_keys(TEXTS))))
            assert store.damaged["query"] == 1
            assert not path.exists(), "it would be found damaged again and again"


@pytest.mark.parametrize("length", [0, 5, 100, 500, -1])
def test_a_truncated_block_is_found(tmp_path: Path, length: int) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert opened(tmp_path).damaged["query"] == 1


def test_a_block_that_grew_is_found(tmp_path: Path) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    assert opened(tmp_path).damaged["query"] == 1


def test_blocks_of_an_older_version_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "query").mkdir()
    old = tmp_path / "query" / "0.npy"
    np.save(old, np.array([print], object), allow_pickle=True)
    assert opened(tmp_path).damaged["query"] == 0
    assert old.exists()


def test_sound_blocks_stay_when_another_is_damaged(tmp_path: Path) -> None:
    vectors = filled(tmp_path, TEXTS[:10])
    sound = blocks(tmp_path)
    filled(tmp_path, TEXTS[10:])
    (other,) = set(blocks(tmp_path)) - set(sound)
    other.write_bytes(b"")
    found = found_in(tmp_path)
    assert seen(found) == [True] * 10 + [False] * 10
    np.testing.assert_array_equal(np.asarray(found.vectors(np.arange(10), None)), vectors)


def test_texts_of_a_damaged_block_are_taken_from_another_that_has_them(tmp_path: Path) -> None:
    filled(tmp_path)
    (damaged,) = blocks(tmp_path)
    vectors = filled(tmp_path, seed=1)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    np.testing.assert_array_equal(vectors_of(found_in(tmp_path)), vectors)


def test_a_block_that_no_text_is_asked_of_is_not_read_whole(tmp_path: Path) -> None:
    """A run that needs little of a large cache starts at once; what is damaged elsewhere waits."""
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    store = Store(tmp_path)
    assert not any(seen(store.find("query", text_keys(["another"]))))
    assert (store.damaged["query"], path.exists()) == (0, True)


def test_a_block_is_digested_once_until_it_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    looked: list[Path] = []
    whole = store_module.is_sound
    monkeypatch.setattr(store_module, "is_sound", lambda p: looked.append(p) or whole(p))
    for _ in range(2):  # written a moment ago: another write might not show in its time
        assert all(seen(found_in(tmp_path)))
    assert len(looked) == 2
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    for _ in range(3):
        assert all(seen(found_in(tmp_path)))
    assert len(looked) == 3
    (tmp_path / "query" / ".sound.json").write_text("[")
    assert all(seen(found_in(tmp_path)))
    assert len(looked) == 4
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    store = opened(tmp_path)
    assert (store.damaged["query"], path.exists()) == (1, False)
    assert found_in(tmp_path).part.max() < 0


@pytest.mark.parametrize("by", ["copy", "header"])
def test_damage_that_keeps_size_and_time_ends_no_run(tmp_path: Path, by: str) -> None:
    filled(tmp_path)
    (path,) = blocks(tmp_path)
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    assert all(seen(found_in(tmp_path)))
    damaged = path.read_bytes().replace(b'"vectors"', b'"victors"')
    if by == "copy":  # of the whole cache, which is another file of the same time
        path.unlink()
    path.write_bytes(damaged)
    os.utime(path, (hour_ago, hour_ago))
    store = opened(tmp_path)
    assert (store.damaged["query"], path.exists()) == (1, False)


FEW_FILES = """
import resource, sys
from pathlib import Path
from xlir_bench.retrieval.vector_store import Store, text_keys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
store = Store(Path(sys.argv[1]))
print((store.find("query", text_keys([f"{n}" for n in range(120)])).part >= 0).sum(), store.damaged["query"], len(store.notes))
"""


def test_more_blocks_than_a_process_may_open_are_read_and_none_is_lost(tmp_path: Path) -> None:
    for n in range(120):
        filled(tmp_path, [str(n)], seed=n)
    run = [sys.executable, "-c", FEW_FILES, str(tmp_path)]
    ended = subprocess.run(run, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["120", "0", "0"]
    assert len(blocks(tmp_path)) == 120


def test_an_error_of_the_system_is_no_damage(tmp_path: Path) -> None:
    filled(tmp_path)
    paths = blocks(tmp_path)
    endless = tmp_path / "query" / "0.safetensors"
    endless.symlink_to(endless)
    store = opened(tmp_path)
    assert (store.damaged["query"], endless.is_symlink()) == (0, True)
    assert "symbolic links" in next(iter(store.notes))
    endless.unlink()

    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
    try:
        store = opened(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert (store.damaged["query"], blocks(tmp_path)) == (0, paths)
    assert "Too many open files" in next(iter(store.notes))


def test_what_a_killed_run_left_half_written_is_no_block_and_removed(tmp_path: Path) -> None:
    left = tmp_path / "query" / ".0123.safetensors.77.tmp"
    left.parent.mkdir()
    left.write_bytes(b"half")
    assert opened(tmp_path).damaged["query"] == 0
    filled(tmp_path)
    assert not left.exists()
    assert len(blocks(tmp_path)) == 1


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


@pytest.mark.parametrize("spoilt", ["[]", "", "[" * 100_000])
def test_a_folder_that_lost_its_name_is_listed_all_the_same(three: Path, spoilt: str) -> None:
    entry = cache_entries(three)[0]
    (entry.folder / "encoder.json").write_text(spoilt)
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
        if self.suffix == ".safetensors":
            raise FileNotFoundError(self)
        return honest(self, **how)

    monkeypatch.setattr(Path, "stat", stat)
    assert len(cache_entries(three)) == 3


def test_pruning_takes_the_named_the_old_and_then_the_longest_unused(three: Path) -> None:
    size = cache_entries(three)[0].bytes

    def left() -> list[str]:
        return [entry.encoder for entry in cache_entries(three)]

    def pruned(**asked: object) -> list[str]:
        return [entry.encoder for entry in prune(three, **asked).removed]  # type: ignore[arg-type]

    assert pruned() == []
    assert pruned(max_bytes=10**9) == []
    assert pruned(older_than=250) == ["old"]
    assert left() == ["middle", "new"]
    assert pruned(max_bytes=size + size // 2) == ["middle"]
    assert pruned(encoders=["new", "no such"]) == ["new"]
    assert left() == []


def test_pruning_to_nothing_leaves_nothing(three: Path) -> None:
    assert len(prune(three, max_bytes=0).removed) == 3
    assert cache_entries(three) == []


def test_what_a_run_is_reading_stays_and_room_is_made_elsewhere(three: Path) -> None:
    old = cache_entries(three)[0]
    lease = files.leased(old.folder)
    pruned = prune(three, max_bytes=2 * old.bytes)
    assert [e.encoder for e in pruned.in_use] == ["old"]
    assert [e.encoder for e in pruned.removed] == ["middle"]
    del lease
    assert [e.encoder for e in prune(three, max_bytes=0).removed] == ["old", "new"]

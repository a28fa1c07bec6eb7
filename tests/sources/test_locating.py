from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sources.serving import SMALL, FileServer, packed, serving, write_data, write_task

from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.options.running import RunOptions
from xlir_bench.records import Silent
from xlir_bench.sources import data_state, fetch, load_collection
from xlir_bench.tasks import Task, catalogue, read_task

EN, DE = "lareqa/small/en.json", "lareqa/small/de.json"
CHANGED = packed(SMALL["en"]).replace(b"white", b"green")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving({f"/{lang}.json": packed(content) for lang, content in SMALL.items()}) as server:
        yield server


@pytest.fixture
def task(server: FileServer, tmp_path: Path) -> Task:
    return read_task(write_task(tmp_path / "tasks", SMALL, server.url))


@pytest.fixture
def cached(tmp_path: Path) -> RunOptions:
    """A request that has nothing but an empty download cache."""
    return RunOptions(data=None, cache=tmp_path / "cache")


@pytest.fixture
def rooted(tmp_path: Path) -> RunOptions:
    """A request with a local data root that has everything."""
    root = write_data(tmp_path / "root", SMALL)
    return RunOptions(data=root, cache=tmp_path / "cache")


def load(task: Task, request: RunOptions) -> set[str]:
    """The languages that were read."""
    return set(load_collection(task, request, Silent()).queries)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_the_cache_lacks_is_fetched_once_in_the_layout_of_a_data_root(
    task: Task, cached: RunOptions, server: FileServer
) -> None:
    assert load(task, cached) == {"de", "en"}
    assert (cached.data_cache / EN).read_bytes() == packed(SMALL["en"])
    assert load(task, cached) == {"de", "en"}
    assert len(server.asked) == 2


def test_only_the_wanted_languages_are_fetched_and_read(
    task: Task, cached: RunOptions, server: FileServer
) -> None:
    collection = load_collection(task, replace(cached, langs=("de", "de")), Silent())
    assert list(collection.queries) == list(collection.passages) == ["de"]
    assert list(collection.relevance) == [("de", "de")]
    assert server.asked == [("/de.json", None)]


def test_a_damaged_file_in_the_cache_is_fetched_again(task: Task, cached: RunOptions) -> None:
    write_data(cached.data_cache, {"en": CHANGED})
    assert load(task, cached) == {"de", "en"}
    assert (cached.data_cache / EN).read_bytes() == packed(SMALL["en"])


def test_a_data_root_is_read_and_nothing_is_fetched(
    task: Task, rooted: RunOptions, server: FileServer
) -> None:
    collection = load_collection(task, rooted, Silent())
    assert collection.digests == {DE: task.files["de"].sha256, EN: task.files["en"].sha256}
    assert (collection.changed, collection.notes) == ((), ())
    assert server.asked == []
    assert not rooted.data_cache.exists()


def test_a_language_that_a_data_root_lacks_is_an_error_unless_it_was_left_out(
    task: Task, rooted: RunOptions
) -> None:
    missing = rooted.data / DE
    missing.unlink()
    with pytest.raises(InputError, match=rf"{missing}\b.*\bde\b.*--langs"):
        load(task, rooted)
    assert load(task, replace(rooted, langs=("en",))) == {"en"}


def test_a_file_that_differs_is_named_with_both_digests(task: Task, rooted: RunOptions) -> None:
    write_data(rooted.data, {"en": CHANGED})
    with pytest.raises(InputError) as caught:
        load(task, rooted)
    assert str(rooted.data / EN) in str(caught.value)
    assert f"expected {task.files['en'].sha256}, found {digest(CHANGED)}" in str(caught.value)
    assert "--allow-changed-data" in str(caught.value)


def test_changed_data_that_is_allowed_is_read_and_recorded(task: Task, rooted: RunOptions) -> None:
    write_data(rooted.data, {"en": CHANGED})
    collection = load_collection(task, replace(rooted, allow_changed_data=True), Silent())
    assert "Salt is green." in collection.passages["en"].texts
    assert collection.changed == (EN,)
    assert collection.digests[EN] == digest(CHANGED)
    (note,) = collection.notes
    assert re.search(rf"\bpinned: {EN}$", note)


def test_changed_data_in_the_cache_stays_if_it_is_allowed(
    task: Task, cached: RunOptions, server: FileServer
) -> None:
    server.content["/en.json"] = CHANGED
    with pytest.raises(OutOfReachError, match=r"/en\.json .*\bpinned\b"):
        load(task, cached)
    collection = load_collection(task, replace(cached, allow_changed_data=True), Silent())
    assert collection.changed == (EN,)


def test_a_file_without_an_official_digest_is_read_with_a_note(
    rooted: RunOptions, tmp_path: Path
) -> None:
    task = read_task(write_task(tmp_path / "tasks", SMALL, pinned=False))
    collection = load_collection(task, rooted, Silent())
    assert collection.digests[EN] == digest(packed(SMALL["en"]))
    assert collection.changed == ()
    (note,) = collection.notes
    assert re.search(rf"\bdigest\b.*\bchecked\b.*: {DE}, {EN}$", note)


def test_offline_nothing_is_asked_for_and_the_command_to_run_is_named(
    task: Task, cached: RunOptions, server: FileServer
) -> None:
    with pytest.raises(OutOfReachError, match="xlir-bench data fetch small"):
        load(task, replace(cached, offline=True))
    assert server.asked == []
    fetch(task, cached, Silent())
    assert load(task, replace(cached, offline=True)) == {"de", "en"}


def test_without_a_network_the_advice_is_a_local_root(cached: RunOptions, tmp_path: Path) -> None:
    task = read_task(write_task(tmp_path / "tasks", SMALL, "http://127.0.0.1:9"))
    with pytest.raises(OutOfReachError, match=r"\breach http://127\.0\.0\.1:9/.*--data ROOT"):
        load(task, cached)


def test_a_file_that_the_server_lacks_is_out_of_reach(
    task: Task, cached: RunOptions, server: FileServer
) -> None:
    del server.content["/en.json"]
    with pytest.raises(OutOfReachError, match=r"/en\.json .*HTTP 404\b"):
        load(task, cached)
    assert (cached.data_cache / DE).is_file()


@pytest.mark.parametrize("url", [None, "ftp://example.org", "file:///etc"])
def test_a_task_without_a_usable_address_says_so(
    cached: RunOptions, tmp_path: Path, url: str | None
) -> None:
    task = read_task(write_task(tmp_path / "tasks", SMALL, url))
    with pytest.raises(InputError, match="address"):
        load(task, cached)


@pytest.mark.parametrize(
    "path", ["../en.json", "/etc/passwd", "a/../../en.json", "C:\\en.json", "..\\en.json", "."]
)
def test_a_file_path_cannot_leave_the_data_root(
    rooted: RunOptions, tmp_path: Path, path: str
) -> None:
    task = read_task(write_task(tmp_path / "tasks", SMALL, paths={"en": path}))
    for reach in (load_collection, fetch):
        with pytest.raises(InputError, match=rf"{re.escape(repr(path))}.*\brelative\b"):
            reach(task, rooted, Silent())


def test_a_bundled_task_is_read_from_beside_its_toml_file_whatever_the_root(
    rooted: RunOptions, tmp_path: Path
) -> None:
    file = write_task(tmp_path / "tasks", SMALL)
    file.write_text(file.read_text().replace("[source]", "[source]\nbundled = true"))
    task = read_task(file)
    with pytest.raises(InputError, match=r"de\.json.*en\.json.*\bwhole\b"):
        load(task, rooted)
    write_data(tmp_path / "tasks", SMALL)
    assert load(task, rooted) == {"de", "en"}
    assert data_state(task, rooted.data).folder == tmp_path / "tasks"
    assert fetch(task, rooted, Silent()).new == ()


def test_unknown_languages_candidates_and_formats_are_named(task: Task, rooted: RunOptions) -> None:
    with pytest.raises(UnknownNameError, match=r"'dee'.*'de'"):
        load(task, replace(rooted, langs=("dee", "en")))
    with pytest.raises(UnknownNameError, match=r"'sentences'.*'sentence'"):
        load(task, replace(rooted, candidate="sentences"))
    with pytest.raises(UnknownNameError, match=r"'lareqq'.*'lareqa'"):
        load(task.model_copy(update={"format": "lareqq"}), rooted)
    with pytest.raises(InputError, match=r"--limit 0 .*\b1 or more"):
        load(task, replace(rooted, limit=0))


def test_a_language_without_a_file_is_a_fault_of_the_task(task: Task, rooted: RunOptions) -> None:
    with pytest.raises(InputError, match=r"'small'.*no file.*'fr'"):
        load(task.model_copy(update={"languages": ["de", "en", "fr"]}), rooted)


def test_fetch_says_what_was_new_and_ignores_a_data_root(
    task: Task, rooted: RunOptions, server: FileServer
) -> None:
    first = fetch(task, rooted, Silent())
    assert (first.folder, first.new, first.present) == (rooted.data_cache, (DE, EN), ())
    (rooted.data_cache / DE).with_name(".lock").write_text("killed once all was there")
    assert fetch(task, rooted, Silent()).present == (DE, EN)
    assert not (rooted.data_cache / DE).with_name(".lock").exists()
    (rooted.data_cache / EN).write_bytes(CHANGED)
    assert fetch(task, rooted, Silent()).new == (EN,)
    assert len(server.asked) == 3


def test_languages_may_share_a_file_which_is_fetched_once(
    server: FileServer, cached: RunOptions, tmp_path: Path
) -> None:
    same = {"de": SMALL["en"], "en": SMALL["en"]}
    task = read_task(write_task(tmp_path / "tasks", same, server.url, paths={"de": EN, "en": EN}))
    server.content["/de.json"] = server.content["/en.json"]
    assert fetch(task, cached, Silent()).new == (EN,)
    assert len(server.asked) == 1


def test_the_state_of_data_is_told_by_presence_and_size(
    task: Task, rooted: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(rooted.cache))

    def state() -> tuple[tuple[str, ...], tuple[str, ...], bool]:
        found = data_state(task, rooted.data)
        return found.here, found.missing, not found.missing

    assert state() == (("de", "en"), (), True)
    (rooted.data / DE).unlink()
    assert state() == (("en",), ("de",), False)
    write_data(rooted.data, {"en": b"{}"})
    assert state() == ((), ("de", "en"), False)
    assert not data_state(task, None).here


def test_a_users_folder_of_tasks_is_read_like_the_bundled_one(
    task: Task, rooted: RunOptions, tmp_path: Path
) -> None:
    assert load(catalogue(tmp_path / "tasks").get(["small"])[0], rooted) == {"de", "en"}


def test_half_a_file_is_missed_by_its_size_where_no_digest_is_known(
    server: FileServer, rooted: RunOptions, cached: RunOptions, tmp_path: Path
) -> None:
    task = read_task(write_task(tmp_path / "tasks", SMALL, server.url, pinned=False))
    half = packed(SMALL["en"])[:100]
    (rooted.data / EN).write_bytes(half)
    with pytest.raises(InputError, match=rf"en\.json: {len(packed(SMALL['en'])):,} bytes expected"):
        load(task, rooted)
    write_data(cached.data_cache, {"en": half})
    assert load(task, cached) == {"de", "en"}
    assert len(server.asked) == 2


def test_an_unpinned_file_has_the_ceiling_that_was_asked_for(
    server: FileServer, cached: RunOptions, tmp_path: Path
) -> None:
    task = read_task(write_task(tmp_path / "tasks", SMALL, server.url, pinned=False, sized=False))
    with pytest.raises(OutOfReachError, match=r"\b100 bytes.*--max-download"):
        load(task, replace(cached, max_download=100))
    assert load(task, replace(cached, max_download=10_000)) == {"de", "en"}


def test_a_file_unpacked_by_hand_is_not_overwritten_by_the_packed_one(
    server: FileServer, cached: RunOptions, tmp_path: Path
) -> None:
    path = "lareqa/small/en.json.gz"
    contents = {"en": SMALL["en"]}
    task = read_task(write_task(tmp_path / "tasks", contents, server.url, paths={"en": path}))
    unpacked = (cached.data_cache / path).with_suffix("")
    unpacked.parent.mkdir(parents=True)
    unpacked.write_text("changed by hand")
    assert fetch(task, cached, Silent()).new == (path,)
    assert unpacked.read_text() == "changed by hand"
    assert (cached.data_cache / path).read_bytes() == packed(SMALL["en"])
    assert fetch(task, cached, Silent()).present == (path,)

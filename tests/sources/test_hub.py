from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Said
from sources.serving import serving
from sources.test_judged import DOCS, in_hub_layout

from xlir_bench.errors import InputError
from xlir_bench.options.running import RunOptions
from xlir_bench.records import Silent
from xlir_bench.sources import data_state, fetch, load_collection
from xlir_bench.tasks import catalogue

(TASK,) = catalogue().get(["miracl-hard-negatives"])
REPOSITORY = (
    f"/api/datasets/{TASK.source.hub}/tree/{TASK.source.revision}?recursive=true&expand=false"
)
FILES = f"/datasets/{TASK.source.hub}/resolve/{TASK.source.revision}"


def content_of(folder: Path) -> dict[str, bytes]:
    """What a hub answers that has the files of this folder."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")
    }
    tree = [
        {
            "type": "file",
            "path": name,
            "size": len(body),
            "oid": "0" * 40,
            "lfs": {
                "oid": hashlib.sha256(body).hexdigest(),
                "size": len(body),
                "pointerSize": 134,
            },
        }
        for name, body in files.items()
    ]
    served = {f"{FILES}/{name}": body for name, body in files.items()}
    return served | {REPOSITORY: json.dumps(tree).encode()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return in_hub_layout(tmp_path / "made", "sw", 2) / "miracl-hard-negatives"


def test_a_data_set_of_the_hub_is_fetched_as_its_revision_lists_it(
    xlir: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    with serving(content_of(folder)) as server:
        fetched = xlir(server.url, "data", "fetch", TASK.name, "--langs", "sw")
        assert fetched.code == 0, fetched.err
        asked = [path for path, _ in server.asked]
        assert len([path for path in asked if path.startswith(FILES)]) == 4
    ran = xlir(
        "http://127.0.0.1:9", "run", "--model", "builtin:ngram", "--task", TASK.name,
        "--langs", "sw", "--offline", "--json", "--output", str(tmp_path / "results"),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (setting,) = json.loads(ran.out)["settings"]
    assert (setting["queries"], setting["candidates"]) == (2, len(DOCS))


def test_a_file_that_is_not_what_the_hub_lists_is_refused(
    xlir: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    content = content_of(folder)
    name = next(name for name in content if "sw-qrels" in name)
    content[name] = content[name][:-1] + b"x"
    with serving(content) as server:
        said = xlir(server.url, "data", "fetch", TASK.name, "--langs", "sw")
    assert said.code == 3
    assert re.search(r"sw-qrels/.*\bpinned\b", said.err)


def test_a_part_that_went_missing_is_missed_offline_too(
    xlir: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    with serving(content_of(folder)) as server:
        assert xlir(server.url, "data", "fetch", TASK.name, "--langs", "sw").code == 0
    (part,) = (tmp_path / "cache").rglob("sw-corpus/dev-00001-of-00002.parquet")
    part.unlink()
    said = xlir(
        "http://127.0.0.1:9", "run", "--model", "builtin:random", "--task", TASK.name,
        "--langs", "sw", "--offline",
    )  # fmt: skip
    assert said.code == 3
    assert re.search(r"dev-00001-of-00002\.parquet\b.*\boffline\b", said.err)


def test_a_hub_out_of_reach_is_one_message(
    xlir: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its library's five tries
    said = xlir("http://127.0.0.1:9", "data", "fetch", TASK.name, "--langs", "sw")
    assert said.code == 3
    assert f" {TASK.source.hub} at {TASK.source.revision} " in said.err
    assert "--data ROOT" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("pattern", ["../*", "../../**/*", "/etc/*", "a/../../*", "..\\*", "C:\\*"])
def test_a_pattern_that_leaves_the_data_root_reads_and_writes_nothing_outside(
    tmp_path: Path, pattern: str
) -> None:
    files = {name: f.model_copy(update={"path": pattern}) for name, f in TASK.files.items()}
    task = TASK.model_copy(update={"files": files})
    (tmp_path / "secret").write_text("a user's own")
    request = RunOptions(data=None, cache=tmp_path / "cache")
    for reach in (load_collection, fetch, lambda t, r, _: data_state(t, r.data)):
        with pytest.raises(InputError, match=rf"{re.escape(repr(pattern))}.*\brelative\b"):
            reach(task, request, Silent())
    assert [path.name for path in tmp_path.rglob("*")] == ["secret"]


def other_revision(cache: Path) -> None:
    """What was fetched is of another revision than the task's."""
    (listing,) = cache.rglob(".listing.json")
    listing.write_text(listing.read_text().replace(str(TASK.source.revision), "f" * 40))


def test_files_of_another_revision_are_not_taken_for_the_tasks(
    xlir: Callable[..., Said], tmp_path: Path, folder: Path
) -> None:
    with serving(content_of(folder)) as server:
        args = ("data", "fetch", TASK.name, "--langs", "sw")
        assert xlir(server.url, *args).code == 0
        other_revision(tmp_path / "cache")
        said = xlir(
            server.url, "run", "--model", "builtin:random", "--task", TASK.name,
            "--langs", "sw", "--offline",
        )  # fmt: skip
        assert said.code == 3
        for fact in (
            TASK.source.hub,
            TASK.source.revision,
            f"data fetch {TASK.name}",
            "--data ROOT",
        ):
            assert fact in said.err
        assert not data_state(TASK, None).here
        assert xlir(server.url, *args).code == 0
    assert str(TASK.source.revision) in next(tmp_path.rglob(".listing.json")).read_text()

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import tells
from click.testing import CliRunner, Result
from sources.serving import SMALL, FileServer, packed, serving, write_task

from xlir_bench.cli.data import data
from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.options.stating import number_of_bytes
from xlir_bench.places import cache_root, data_cache, data_root
from xlir_bench.tasks import tasks_folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)
    with serving({f"/{lang}.json": packed(content) for lang, content in SMALL.items()}) as server:
        write_task(tmp_path / "tasks", SMALL, server.url)
        yield server


def fetch(tmp_path: Path, *args: str) -> Result:
    return CliRunner().invoke(data, ["fetch", "--tasks-dir", str(tmp_path / "tasks"), *args])


def files(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache" / "data"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))


def test_fetch_brings_a_task_into_the_cache_and_says_where(
    server: FileServer, tmp_path: Path
) -> None:
    result = fetch(tmp_path, "small")
    assert result.exception is None
    where = tmp_path / "cache" / "data"
    assert re.fullmatch(rf"small: 2 of 2 .*{re.escape(str(where))}\n", result.stdout)
    assert files(tmp_path) == ["lareqa/small/de.json", "lareqa/small/en.json"]
    assert fetch(tmp_path, "small").stdout.startswith("small: 0 of 2 ")
    assert len(server.asked) == 2


def test_fetch_can_bring_some_languages_and_be_quiet(server: FileServer, tmp_path: Path) -> None:
    result = fetch(tmp_path, "small", "--langs", "en", "--quiet")
    assert (result.exception, result.output) == (None, "")
    assert files(tmp_path) == ["lareqa/small/en.json"]


def test_a_bundled_task_needs_no_download(server: FileServer, tmp_path: Path) -> None:
    result = fetch(tmp_path, "mini", "small")
    assert tells(result.stdout.splitlines()[0], "mini:", "TOML file", str(tasks_folder()))
    assert "small: 2 of 2" in result.stdout


def test_what_goes_wrong_is_raised_for_the_main_command(server: FileServer, tmp_path: Path) -> None:
    assert isinstance(fetch(tmp_path, "smal").exception, UnknownNameError)
    assert isinstance(fetch(tmp_path, "small", "--langs", "xx").exception, UnknownNameError)
    assert isinstance(fetch(tmp_path, "small", "--langs", ",").exception, InputError)
    server.content.clear()
    assert isinstance(fetch(tmp_path, "small").exception, OutOfReachError)


def test_a_task_without_an_address_is_left_out_unless_it_was_named(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(tmp_path / "tasks", SMALL)
    only_mine = TaskFolder(tmp_path / "tasks")
    monkeypatch.setattr("xlir_bench.tasks.tasks_folder", only_mine)
    result = CliRunner().invoke(data, ["fetch"])
    assert result.exception is None
    assert re.fullmatch(r"small: .*\baddress\b.*\bleft out\b.*\n", result.stderr)
    assert isinstance(CliRunner().invoke(data, ["fetch", "small"]).exception, InputError)


class TaskFolder:
    """Stands for the bundled tasks, so that no test fetches the real data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> Path:
        return self.folder


def test_help_says_where_files_go() -> None:
    text = CliRunner().invoke(data, ["fetch", "--help"]).output
    assert "XLIR_CACHE" in text
    assert "xlir-bench data fetch xquad-r --langs en,de" in text


def test_the_cache_is_where_the_variable_says_or_the_platforms_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path))
    assert data_cache() == tmp_path / "data"
    monkeypatch.delenv("XLIR_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "xlir-bench" in cache_root().parts


def test_the_data_root_is_the_option_then_the_variable_then_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XLIR_DATA", "/no/such/root")
    assert data_root(tmp_path) == tmp_path
    with pytest.raises(InputError, match="XLIR_DATA"):
        data_root(None)
    monkeypatch.setenv("XLIR_DATA", "")
    assert data_root(None) is None


def test_fetch_has_a_ceiling_for_files_whose_size_is_not_stated(
    server: FileServer, tmp_path: Path
) -> None:
    write_task(tmp_path / "tasks", SMALL, server.url, pinned=False, sized=False)
    config = tmp_path / "fetch.toml"
    config.write_text('max-download = "0.1kB"\nlangs = ["en"]\n')
    assert isinstance(fetch(tmp_path, "small", "--config", str(config)).exception, OutOfReachError)
    assert files(tmp_path) == []
    assert (
        fetch(tmp_path, "small", "--config", str(config), "--max-download", "1 MB").exit_code == 0
    )
    assert files(tmp_path) == ["lareqa/small/en.json"]


@pytest.mark.parametrize(
    ("said", "size"),
    [("20GB", 20 * 10**9), ("1.5 mb", 1_500_000), ("7", 7), ("2T", 2 * 10**12), ("100B", 100)],
)
def test_sizes_are_read_as_people_write_them(said: str, size: int) -> None:
    assert number_of_bytes(said) == size


@pytest.mark.parametrize("said", ["", "GB", "-1", "1e9", "1XB", "1" * 50])
def test_what_is_no_size_is_refused(server: FileServer, tmp_path: Path, said: str) -> None:
    assert isinstance(fetch(tmp_path, "small", "--max-download", said).exception, InputError)

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sources.serving import SMALL, write_task

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.tasks import Task, catalogue, file_language, read_task, tasks_folder


@pytest.fixture
def small(tmp_path: Path) -> Task:
    return read_task(write_task(tmp_path, SMALL))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("xquad-r", (11, 110, 11)),
        ("mlqa-r", (7, 42, 7)),
        ("mini", (11, 110, 11)),
        ("belebele", (122, 14_762, 122)),
    ],
)
def test_settings_are_every_pair_and_every_pool(name: str, counts: tuple[int, ...]) -> None:
    settings = catalogue().get([name])[0].settings()
    kinds = [setting.kind for setting in settings]
    assert tuple(kinds.count(kind) for kind in Kind) == counts
    assert len(set(settings)) == sum(counts)


def test_settings_come_by_kind_then_language(small: Task) -> None:
    assert [str(setting) for setting in small.settings()] == [
        "de-de", "en-en", "de-en", "en-de", "de-*", "en-*",
    ]  # fmt: skip


def test_settings_can_be_those_of_some_languages_and_kinds(small: Task) -> None:
    assert [str(s) for s in small.settings(kinds=[Kind.CROSS_LINGUAL])] == ["de-en", "en-de"]
    assert [str(s) for s in small.settings(langs=["en"])] == ["en-en"]


def test_a_kind_that_the_task_does_not_have_gives_no_setting(small: Task) -> None:
    mono = small.model_copy(update={"kinds": [Kind.MONOLINGUAL]})
    assert [str(setting) for setting in mono.settings()] == ["de-de", "en-en"]
    assert mono.settings(kinds=[Kind.MULTILINGUAL]) == []


def test_the_digest_changes_with_the_data_and_not_with_the_prose(small: Task) -> None:
    assert small.digest == small.model_copy(update={"description": "Other words."}).digest
    assert small.digest != small.model_copy(update={"version": 2}).digest
    assert small.digest != small.model_copy(update={"languages": ["en"]}).digest


UNPINNED = {
    *("belebele", "tydiqa-goldp", "xm3600", "miracl", "miracl-hard-negatives", "xor-retrieve"),
    *("mlir-belebele", "mlir-xquad", "mlir-mlqa", "mlir-multieup", "neuclir-2022", "neuclir-2023"),
    *("flores-200", "ntrex-128"),
}
"""Tasks of whose files not all official digests and sizes are known."""


@pytest.mark.parametrize("file", sorted(path.name for path in tasks_folder().glob("*.toml")))
def test_every_bundled_task_names_a_file_of_known_size_for_each_language(file: str) -> None:
    task = read_task(tasks_folder() / file)
    langs = {file_language(name) for name in task.files}
    assert langs == {*task.languages, *(task.passage_languages or ())}
    assert task.candidate in task.candidates
    for named in task.files.values():
        assert (named.sha256 and named.queries and named.candidates) or task.name in UNPINNED
        assert named.url or task.source.url or task.source.hub or task.source.bundled


def test_a_file_that_every_language_has_is_named_once(tmp_path: Path) -> None:
    file = write_task(tmp_path, SMALL)
    head = file.read_text().partition("[source]")[0]
    file.write_text(
        head
        + """
[source]
[every.topics]
path = "x/{lang}.tsv"
queries = {de = 3}
[every.docs]
path = "x/{lang}/docs-{part}.jsonl.gz"
url = "https://example.org/{lang}-{part}.gz"
parts = {en = 2}
candidates = 7
"""
    )
    task = read_task(file)
    assert {name: f.path for name, f in sorted(task.files.items())} == {
        "de.topics": "x/de.tsv",
        "en.topics": "x/en.tsv",
        "de.docs.0000": "x/de/docs-0.jsonl.gz",
        "en.docs.0000": "x/en/docs-0.jsonl.gz",
        "en.docs.0001": "x/en/docs-1.jsonl.gz",
    }
    assert task.files["en.docs.0001"].url == "https://example.org/en-1.gz"
    assert (task.counts("queries").get("de"), task.counts("queries").get("en")) == (3, None)
    assert (task.counts("candidates").get("de"), task.counts("candidates").get("en")) == (7, 7)


def test_questions_of_many_languages_may_be_asked_of_the_passages_of_one(small: Task) -> None:
    task = small.model_copy(
        update={"passage_languages": ["en"], "kinds": [Kind.CROSS_LINGUAL], "languages": ["de"]}
    )
    assert [str(s) for s in task.settings()] == ["de-en"]
    assert [str(s) for s in task.settings(langs=["de"])] == ["de-en"]


def test_miracl_counts_what_its_paper_counts() -> None:
    (task,) = catalogue().get(["miracl"])
    assert sum(task.counts("queries").get(lang) or 0 for lang in task.languages) == 13_495
    assert sum(task.counts("candidates").get(lang) or 0 for lang in task.languages) == 106_332_152
    for lang in task.languages:
        parts = [name for name in task.files if name.startswith(f"{lang}.docs.")]
        assert len(parts) == -(-(task.counts("candidates").get(lang) or 0) // 500_000)


def test_unknown_tasks_are_reported_together_with_near_misses() -> None:
    with pytest.raises(UnknownNameError) as caught:
        catalogue().get(["xquad-r", "xquadr", "nothing-like-it"])
    assert re.search("'xquadr'.*'xquad-r'", str(caught.value))
    assert "'nothing-like-it'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"), [("mini,xquad-r", "several tasks one by one"), ("", "there are:")]
)
def test_several_names_in_one_and_none_are_told(name: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as raised:
        catalogue().get([name])
    assert "is here" not in str(raised.value)


def test_a_folder_that_stands_where_a_task_does_is_told_how_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "support").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"'support'.*beir:support .*mlir:support"):
        catalogue().get(["support"])


def test_a_task_asked_for_twice_is_given_once() -> None:
    assert [task.name for task in catalogue().get(["mlqa-r", "xquad-r", "mlqa-r"])] == [
        "mlqa-r", "xquad-r",
    ]  # fmt: skip


def test_a_folder_of_ones_own_adds_tasks_and_may_not_take_a_name(tmp_path: Path) -> None:
    file = write_task(tmp_path, SMALL)
    assert "small" in catalogue(tmp_path).tasks
    file.write_text(file.read_text().replace('"small"', '"mini"'))
    with pytest.raises(InputError, match=f"'mini' .*twice.*{file.name}"):
        _ = catalogue(tmp_path).tasks


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--tasks-dir"):
        catalogue(tmp_path / "none")


def test_every_fault_of_a_task_file_is_reported_at_once(tmp_path: Path) -> None:
    file = write_task(tmp_path, SMALL)
    file.write_text(file.read_text().replace("version = 1", 'colour = "red"'))
    with pytest.raises(InputError) as caught:
        read_task(file)
    assert "version: Field required" in str(caught.value)
    assert "colour: no such" in str(caught.value)


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("name = \n")
    with pytest.raises(InputError, match=r"bad\.toml .*TOML: .*line 1"):
        read_task(file)


def test_a_file_that_is_no_utf8_or_no_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match=r"latin\.toml .*TOML"):
        read_task(tmp_path / "latin.toml")
    with pytest.raises(InputError, match=r"folder\.toml .*read"):
        read_task(tmp_path / "folder.toml")


def test_a_language_asked_for_twice_counts_once(small: Task) -> None:
    assert small.settings(langs=["en", "de", "en"]) == small.settings()

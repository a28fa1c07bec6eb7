from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import tells
from click.testing import CliRunner, Result
from sources.serving import SMALL, write_data, write_task

from xlir_bench.cli import exit_code
from xlir_bench.cli.tasks import SCAFFOLDS, tasks
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.tasks import file_language, read_task


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XLIR_DATA", raising=False)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))


def run(*args: str) -> Result:
    return CliRunner().invoke(tasks, args)


def output(*args: str) -> str:
    result = run(*args)
    assert result.exception is None, result.exception
    return result.stdout


def row(text: str, *start: str) -> str:
    return next(line for line in text.splitlines() if line.split()[: len(start)] == list(start))


def test_the_table_lists_every_task_with_its_sizes_and_where_its_data_is() -> None:
    table = output()
    xquad = row(table, "xquad-r")
    assert "ar de el en es hi ru th tr vi zh" in xquad
    for fact in ("11/110/11", "13,090", "13,014", "CC BY-SA 4.0"):
        assert fact in xquad
    assert xquad.rstrip().endswith("no")
    assert "7/42/7" in row(table, "mlqa-r")
    assert "bundled: " in row(table, "mini")


def test_a_data_root_is_looked_at_by_option_or_by_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(tmp_path / "tasks", SMALL)
    root = write_data(tmp_path / "root", {"en": SMALL["en"]})
    args = ("--tasks-dir", str(tmp_path / "tasks"))
    assert tells(row(output(*args, "--data", str(root)), "small"), "de missing", str(root))
    write_data(root, SMALL)
    monkeypatch.setenv("XLIR_DATA", str(root))
    assert f"yes: {root}" in row(output(*args), "small")


def test_counts_that_a_task_does_not_state_are_shown_as_unknown(tmp_path: Path) -> None:
    write_task(tmp_path, SMALL)
    assert row(output("--tasks-dir", str(tmp_path)), "small").split()[4:6] == ["?", "?"]


def test_one_task_is_shown_with_its_files() -> None:
    text = output("mlqa-r")
    assert "7/42/7 (monolingual/cross-lingual/multilingual)" in text
    assert "sentence, sentence+context" in text
    assert "https://github.com/google-research-datasets/lareqa" in text
    assert "arXiv 1910.07475" in text
    assert row(text, "en", "lareqa/mlqa-r/en.json").split()[-3:] == ["1,148", "6,264", "no"]


def test_every_setting_is_printed_with_its_queries_and_candidates() -> None:
    table = output("xquad-r", "--settings")
    rows = [line for line in table.splitlines() if line.startswith("xquad-r")]
    assert len(rows) == 132
    cells = row(table, "xquad-r", "cross-lingual", "en", "th").split()
    assert cells[-2:] == ["1,190", "852"]
    assert row(table, "xquad-r", "multilingual", "en").split()[-1] == "13,014"


def test_a_hundred_languages_are_counted_where_they_would_fill_the_line(tmp_path: Path) -> None:
    (tmp_path / "belebele").mkdir()
    (tmp_path / "belebele" / "eng_Latn.jsonl").touch()
    line = row(output("--data", str(tmp_path)), "belebele")
    for fact in ("122/14762/122", "109,800", "59,536", "in part (121 languages missing)"):
        assert fact in line
    table = output("belebele", "--settings")
    assert sum(line.startswith("belebele") for line in table.splitlines()) == 15_006
    assert row(table, "belebele", "cross-lingual", "zho_Hans", "zho_Hant").split()[-2:] == [
        "900",
        "488",
    ]
    assert max(map(len, table.splitlines())) < 80


def test_json_of_one_task_has_every_setting_if_asked() -> None:
    record: dict[str, Any] = json.loads(output("xquad-r", "--settings", "--json"))
    assert len(record["settings"]) == 132
    assert record["settings"][-1] == {
        "kind": "multilingual",
        "query_lang": "zh",
        "passage_langs": record["languages"],
        "queries": 1190,
        "candidates": 13014,
    }
    assert record["digest"].startswith("sha256:")
    assert "settings" not in json.loads(output("xquad-r", "--json"))


def test_json_of_all_tasks_is_a_list() -> None:
    records = {record["name"]: record for record in json.loads(output("--json"))}
    assert {"mini", "mlqa-r", "xquad-r"} <= set(records)
    assert records["mlqa-r"]["setting_counts"] == {
        "monolingual": 7, "cross-lingual": 42, "multilingual": 7,
    }  # fmt: skip
    assert records["mlqa-r"]["data"]["here"] is False
    assert records["mini"]["data"]["bundled"] is True
    assert "folder" not in records["mini"]


def test_what_is_not_there_is_an_error_to_mend() -> None:
    assert isinstance(run("xquadr").exception, UnknownNameError)
    assert isinstance(run("--tasks-dir", "/no/such/folder").exception, InputError)
    missing = run("--data", "/no/such/root").exception
    assert isinstance(missing, InputError)
    assert tells(str(missing), "/no/such/root", "--data", "not there")


def test_a_variable_that_names_no_folder_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLIR_DATA", "/no/such/root")
    missing = run().exception
    assert isinstance(missing, InputError)
    assert tells(str(missing), "/no/such/root", "XLIR_DATA", "not there")


def test_help_has_examples() -> None:
    assert "xlir-bench tasks xquad-r --settings --json" in output("--help")


def test_the_commands_and_their_help_import_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner\n"
        "from xlir_bench.cli.tasks import tasks; from xlir_bench.cli.data import data\n"
        "for command in (['--help'], ['fetch', '--help']): CliRunner().invoke(data, command)\n"
        "CliRunner().invoke(tasks, ['--help'])\n"
        "print(sorted({'numpy', 'pydantic', 'httpx', 'tabulate', 'torch', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("form", SCAFFOLDS)
def test_a_new_task_is_one_that_can_be_read_and_nothing_is_overwritten(
    tmp_path: Path, form: str
) -> None:
    args = ["tasks", "new", "handbook", "--format", form, "--langs", "de,zh-Hant"]
    args += ["--output", str(tmp_path)]
    assert exit_code(args) == 0
    task = read_task(tmp_path / "handbook.toml")
    assert (task.format, task.languages) == (form, ["de", "zh-Hant"])
    assert {file_language(name) for name in task.files} == {"de", "zh-Hant"}
    assert exit_code(args) == 2


def test_a_broken_file_is_told_and_the_others_are_listed(tmp_path: Path) -> None:
    write_task(tmp_path, SMALL)
    (tmp_path / "broken.toml").write_text("name = [", "utf-8")
    where = ("--tasks-dir", str(tmp_path))
    listed = CliRunner().invoke(tasks, where, standalone_mode=False)
    assert row(listed.stdout, "small")
    assert tells(listed.stderr, str(tmp_path / "broken.toml"), "not TOML")
    assert listed.return_value == 2
    assert output("small", *where)
    assert "not TOML" in str(run("broken", *where).exception)


def test_data_of_ones_own_is_not_said_to_be_bundled(xlir, tmp_path):
    (tmp_path / "pairs.tsv").write_text("de\ten\thallo\thello\n", encoding="utf-8")
    shown = xlir("tasks", "parallel:pairs.tsv").out
    facts = {words[0]: words[-1] for line in shown.splitlines() if (words := line.split("  "))}
    assert facts["source"].strip() == "your own"
    assert "data here       yes: " in shown

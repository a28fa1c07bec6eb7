"""What the hub reads, by its own client's reader; nothing here reaches it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import yaml
from changed import changed, evaluated, stated, times
from cli.conftest import tells

from xlir_bench.reports.export import write

NGRAM, RANDOM = "builtin:ngram", "builtin:random"


def scores(folder: Path) -> dict[str, list]:
    files = sorted(folder.glob("*/.eval_results/*.yaml"))
    texts = {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}
    return {
        name: huggingface_hub.parse_eval_result_entries(entries) for name, entries in texts.items()
    }


def test_the_hub_reads_the_main_measure_of_each_kind_as_a_score_of_a_task(tmp_path):
    whole = stated(evaluated(NGRAM), langs=[])
    write("hf", [whole], tmp_path, dataset="someone/data")
    (entries,) = scores(tmp_path).values()
    assert {entry.task_id: entry.value for entry in entries} == {
        f"mini-{kind.value}": by_measure["map"].mean for kind, by_measure in whole.summary.items()
    }
    assert {entry.dataset_id for entry in entries} == {"someone/data"}
    assert {entry.date for entry in entries} == {whole.record.created}
    assert re.match(r"map\b.*\b3 settings\b.*\b95 % \w+ 0\.\d", entries[0].notes)
    write("eval-yaml", [whole], tmp_path)
    about = yaml.safe_load((tmp_path / "eval.yaml").read_text(encoding="utf-8"))
    assert [task["id"] for task in about["tasks"]] == [entry.task_id for entry in entries]
    assert {"name", "description", "evaluation_framework"} < set(about)


def test_a_part_of_a_task_is_no_score_of_it(tmp_path):
    write("hf", [evaluated(NGRAM)], tmp_path, dataset="someone/data")
    ((name, entries),) = scores(tmp_path).items()
    assert name.startswith("mini~")
    assert all(entry.task_id.startswith("mini~") for entry in entries)
    assert "languages de en th" in entries[0].notes
    with pytest.raises(Exception, match="full runs"):
        write("eval-yaml", [evaluated(NGRAM)], tmp_path)


def test_names_from_outside_leave_neither_the_folder_nor_the_yaml(tmp_path):
    record = changed(evaluated(NGRAM), times(1), "../x: [y").record
    task = record.task.model_copy(update={"name": "../up: {", "title": "a: [b\n---"})
    hostile = stated(evaluated(NGRAM), langs=[])
    hostile = type(hostile)(hostile.record.model_copy(update={"task": task}), hostile.tables)
    for path in [
        *write("hf", [hostile], tmp_path / "out", dataset="someone/data: ["),
        *write("eval-yaml", [hostile], tmp_path / "out"),
    ]:
        assert path.resolve().is_relative_to(tmp_path / "out")
        assert yaml.safe_load(path.read_text(encoding="utf-8"))
    (entries,) = scores(tmp_path / "out").values()
    assert entries[0].dataset_id == "someone/data: ["


@pytest.fixture
def hub(monkeypatch):
    """The calls that the hub's client would have made."""
    calls = []

    class Api:
        def create_repo(self, repo_id, **given):
            calls.append(("create", repo_id, given["space_sdk"]))

        def upload_folder(self, **given):
            files = sorted(given["allow_patterns"])
            assert all((Path(given["folder_path"]) / file).is_file() for file in files)
            calls.append((given["repo_type"], given["repo_id"], given["create_pr"], files))
            return SimpleNamespace(pr_url="the pull request", commit_url="the commit")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return calls


def test_a_push_says_first_what_it_would_do_and_then_asks_for_a_pull_request(hub, xlir):
    evaluated(NGRAM).save("results/a/mini")
    push = (
        "export",
        "hf",
        "results/a/mini",
        "--output",
        "hub",
        "--dataset",
        "d/d",
        "--push",
        "m/m",
    )
    said = xlir(*push, "--dry-run")
    assert (said.code, hub) == (0, []), said.err
    assert re.search(r"\bwould\b.*\bmodel m/m\b.* \.eval_results/mini~", said.out)
    said = xlir(*push)
    assert said.code == 0, said.err
    assert "the pull request" in said.out
    ((kind, repository, as_pull_request, files),) = hub
    assert (kind, repository, as_pull_request) == ("model", "m/m", True)
    assert files[0].startswith(".eval_results/mini~")


def test_a_page_becomes_a_space(hub, xlir):
    stated(evaluated(NGRAM), langs=[]).save("results/a/mini")
    said = xlir("export", "space", "results/a/mini", "--output", "board", "--push", "me/board")
    assert said.code == 0, said.err
    assert hub == [
        ("create", "me/board", "static"),
        ("space", "me/board", False, ["README.md", "index.html"]),
    ]
    card = Path("board/README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert yaml.safe_load(card)["sdk"] == "static"
    assert "builtin:ngram" in Path("board/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "facts"),
    [
        (("hf", "--output", "o"), ["export hf", "--dataset"]),
        (("csv", "--output", "o", "--dataset", "d/d"), ["--dataset", "hf", "export csv"]),
        (("csv", "--output", "o", "--push", "m/m"), ["--push", "hf", "csv"]),
        (("hf", "--output", "o", "--dataset", "d/d", "--dry-run"), ["--dry-run", "--push"]),
        (("hf", "--output", "o", "--dataset", "d/d", "--push", "m/m", "results/b/mini"), ["--push", "one encoder"]),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_told_and_nothing_is_pushed(hub, xlir, args, facts):
    evaluated(NGRAM).save("results/a/mini")
    evaluated(RANDOM).save("results/b/mini")
    said = xlir("export", args[0], "results/a/mini", *args[1:])
    assert (said.code, hub) == (2, [])
    assert tells(said.err, *facts)

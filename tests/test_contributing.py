"""The examples of CONTRIBUTING.md do what they say."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from xlir_bench.executor import opened
from xlir_bench.measures import bias
from xlir_bench.measures.fairness import PerQuery, PoolRanking
from xlir_bench.options.running import RunOptions
from xlir_bench.records import Silent
from xlir_bench.sources import FORMATS, LanguageTexts, collection, load_collection
from xlir_bench.tasks import read_task

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(containing: str) -> str:
    found = [
        block for block in re.findall(r"```\w+\n(.*?)```", TEXT, re.DOTALL) if containing in block
    ]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def restored(monkeypatch):
    formats = dict(FORMATS)
    monkeypatch.setattr("xlir_bench.sources.FORMATS", formats)
    monkeypatch.setattr(bias, "VIEWS", dict(bias.VIEWS))
    return formats


def test_the_task_has_its_settings(tmp_path):
    (tmp_path / "handbook.toml").write_text(example('name = "handbook"'))
    settings = read_task(tmp_path / "handbook.toml").settings()
    assert [str(s) for s in settings] == ["de-de", "en-en", "de-en", "en-de", "de-*", "en-*"]


def test_the_format_is_one_function(tmp_path, restored):
    names = {
        "FORMATS": restored, "LanguageTexts": LanguageTexts, "collection": collection,
    }  # fmt: skip
    exec("from __future__ import annotations\n" + example("def read_pairs"), names)
    text = example('name = "handbook"').replace('"lareqa"', '"pairs"')
    text = text.replace('["sentence", "sentence+context"]', '["sentence"]')
    (tmp_path / "handbook.toml").write_text(text)
    (tmp_path / "handbook").mkdir()
    for lang in ("de", "en"):
        (tmp_path / f"handbook/{lang}.json").write_text(
            f"q1 {lang}\ta1 {lang}\nq2 {lang}\ta2 {lang}\n"
        )
    request = RunOptions(data=tmp_path, cache=tmp_path)
    found = load_collection(read_task(tmp_path / "handbook.toml"), request, Silent())
    assert found.passages["de"].texts == ("a1 de", "a2 de")
    assert found.relevance["de", "en"].passage.tolist() == [0, 1]


def test_a_task_of_two_beir_folders_is_a_task_file(tmp_path):
    (tmp_path / "support.toml").write_text(example('name = "support"'))
    for lang in ("de", "en"):
        folder = tmp_path / f"support-{lang}"
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "t"}\n')
        (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "?"}\n')
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    request = RunOptions(data=tmp_path, cache=tmp_path)
    collection = load_collection(read_task(tmp_path / "support.toml"), request, Silent())
    assert collection.passages["de"].ids == ("de:d1",)
    assert set(collection.relevance) == {("de", "de"), ("en", "en")}


def test_the_encoder_is_one_function(tmp_path, monkeypatch):
    from xlir_bench.cli import exit_code

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(example("# mine.py"))
    assert exit_code(["run", "--model", "py:mine.py:encode", "--langs", "de,en", "--quiet"]) == 0


def test_the_bias_figure_is_one_function(restored):
    import xlir_bench as xb

    exec(
        "from __future__ import annotations\n" + example("def own_language_rank"),
        {"PoolRanking": PoolRanking, "PerQuery": PerQuery, "VIEWS": bias.VIEWS, "np": np},
    )
    options = xb.RunOptions(langs=("de", "en"), cache=None)
    record = xb.evaluate("mini", "builtin:ngram", options).record
    assert record.bias["own_language_rank"].mean < record.bias["own_language_rank"].chance


def test_the_walk_names_what_is_there():
    package = Path(__file__).parent.parent / "xlir_bench"
    steps = re.findall(r"\| `([\w/]+\.py)`: (.*?) \|", TEXT)
    assert len(steps) > 20
    for file, names in steps:
        source = (package / file).read_text("utf-8")
        for name in re.findall(r"`([\w.]+)`", names):
            for part in name.split("."):
                found = re.search(rf"^ *(def|class) {part}\b", source, re.MULTILINE)
                assert found, f"{file}: {part} of {name}"


def test_the_walk_of_a_text_is_the_order_of_a_run(tmp_path):
    import xlir_bench as xb
    from xlir_bench.cli import exit_code

    root = Path(__file__).parent.parent
    walk = re.findall(r"\| `([\w/]+\.py)`: `([\w.]+)` \|", TEXT.partition("One training row")[0])
    files = {str(root / "xlir_bench" / file): file for file, _ in walk}
    called = {}

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename in files:
            called.setdefault((files[code.co_filename], code.co_qualname), len(called))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        task = read_task(root / "tasks" / "mini.toml")
        options = xb.RunOptions(langs=("de", "en"), limit=5, cache=tmp_path)
        result = xb.evaluate(task, "builtin:ngram", options)
        result.save(tmp_path / "results" / "ngram" / "mini")
        folders = ["--results", str(tmp_path / "results"), "--output", str(tmp_path / "pages")]
        assert exit_code(["leaderboard", *folders]) == 0
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    # A kernel is machine code, and there need be no GPU.
    steps = [step for step in walk if not step[0].endswith(("kernels.py", "on_device.py"))]
    assert len(steps) > 20
    assert [step for step in steps if step not in called] == []
    assert sorted(steps, key=called.__getitem__) == steps


def test_a_job_is_done_unit_by_unit(capsys):
    names = {"Callable": Callable, "dataclass": dataclass, "opened": lambda on: opened("local")}
    exec("from __future__ import annotations\n" + example("class Lengths"), names)
    assert capsys.readouterr().out == "one 2\ntwo 1\n"

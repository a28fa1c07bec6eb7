from __future__ import annotations

import json
import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from cli.conftest import tells
from processes import begin
from safetensors.numpy import load_file
from train.rowfiles import row, write_rows

from xlir_bench.cli import exit_code
from xlir_bench.cli.train_hybrid import train_hybrid
from xlir_bench.options.stating import build
from xlir_bench.options.training import TrainOptions
from xlir_bench.tasks import tasks_folder

MINI_TRAIN = str(tasks_folder() / "mini-train.jsonl")
BRIEF = ["--eval-langs", "de,en", "--eval-limit", "5", "--eval-steps", "4", "--batch-size", "16"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)


def command(output: Path, *more: str) -> list[str]:
    stated = ["--model", "builtin:static:16", "--train", MINI_TRAIN, "--output", str(output)]
    return ["train-hybrid", *stated, "--steps", "8", *BRIEF, *more]


def test_training_ends_with_a_model_that_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert exit_code(command(tmp_path / "out")) == 0
    said = capsys.readouterr()
    assert "128 rows, 11 languages; 8 steps" in said.out
    (unchecked,) = [x for x in said.out.splitlines() if x.startswith("not checked for leakage: ")]
    assert {"xquad-r", "belebele"} <= set(unchecked.partition(": ")[2].split(", "))
    assert "mini.cross-lingual.map" in said.out
    assert "xlir-bench run --model" in said.out
    lines = [json.loads(x) for x in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "evaluation" in x] == [4, 8]
    run = ["run", "--model", str(tmp_path / "out"), "--langs", "de,en", "--limit", "5"]
    assert exit_code([*run, "--output", str(tmp_path / "results"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["options"]["eval_texts"] == 2 * (5 + 145)
    after = record["after"]["mini.cross-lingual.map"]
    assert result["summary"]["cross-lingual"]["map"]["mean"] == pytest.approx(after, abs=1e-6)


def test_a_static_model_is_made_as_a_config_file_says_and_json_is_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    stated = {"vocabulary": 300, "smoothing": 1e-4, "identity": 8, "identity-weight": 0.3}
    config = tmp_path / "static.toml"
    config.write_text(
        "".join(f"{name} = {value}\n" for name, value in stated.items()) + "romanise = true\n"
    )
    said = command(tmp_path / "out", "--no-eval", "--json", "--config", str(config))
    assert exit_code(said) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["command"].startswith("xlir-bench ")
    options = record["options"]
    assert {name: options[name.replace("-", "_")] for name in stated} == stated
    assert options["romanise"] is True


def test_a_killed_run_resumes_to_the_weights_of_one_that_was_not(
    tmp_path: Path, tiny_transformer: Path
) -> None:
    def arguments(output: Path, *more: str) -> list[str]:
        stated = ["--model", str(tiny_transformer), "--train", MINI_TRAIN, "--output", str(output)]
        sizes = ["--steps", "40", "--save-steps", "10", "--batch-size", "8", "--max-length", "24"]
        return ["train-hybrid", *stated, *sizes, "--no-eval", "--quiet", "--device", "cpu", *more]

    killed = tmp_path / "killed"
    process = begin(partial(exit_code, arguments(killed)), tmp_path / "said")
    deadline = time.monotonic() + 300
    while not list(killed.glob("checkpoints/checkpoint-10/trainer_state.json")):
        assert process.exitcode is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.join()
    assert not (killed / "training.json").exists()
    assert exit_code(arguments(killed, "--resume")) == 0
    assert json.loads((killed / "training.json").read_text())["outcome"]["resumed_from"] >= 10
    assert exit_code(arguments(tmp_path / "whole")) == 0
    one, two = (load_file(x / "model.safetensors") for x in (killed, tmp_path / "whole"))
    assert one.keys() == two.keys()
    assert all((one[name] == two[name]).all() for name in one)


def test_a_run_that_is_stopped_by_hand_says_what_is_kept_in_one_line(tmp_path: Path) -> None:
    sizes = ["--model", "builtin:static:16", "--train", MINI_TRAIN, "--steps", "600"]
    stated = ["train-hybrid", *sizes, "--no-eval", "--quiet", "--batch-size", "16"]
    output, told = tmp_path / "out", tmp_path / "said"
    stated += ["--save-steps", "5", "--output", str(output)]
    process = begin(partial(exit_code, stated), told)
    deadline = time.monotonic() + 300
    while not list(output.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.exitcode is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    said = told.read_text(encoding="utf-8")
    assert len(said.strip().splitlines()) == 1
    kept = max(int(p.name.split("-")[1]) for p in output.glob("checkpoints/checkpoint-*"))
    assert tells(said, f"step {kept:,}", "kept", "--resume", str(output))


def test_leaking_rows_are_dropped_aloud_or_end_the_run_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mini = json.loads((tasks_folder() / "mini" / "de.json").read_text(encoding="utf-8"))
    leak = row(99, answer={"de": mini["data"][0]["paragraphs"][0]["context"]})
    path = write_rows(tmp_path / "rows.jsonl", [*(row(n) for n in range(20)), leak])
    stated = [
        "train-hybrid",
        "--train",
        str(path),
        "--no-eval",
        "--steps",
        "2",
        "--batch-size",
        "4",
    ]
    assert exit_code([*stated, "--output", str(tmp_path / "a"), "--leakage", "fail"]) == 1
    assert tells(capsys.readouterr().err, "1 of 21", "evaluation text", "mini de 1", "--leakage")
    assert exit_code([*stated, "--output", str(tmp_path / "b")]) == 0
    assert re.search(r"^1 .*\bdropped\b.*\bmini de 1\b", capsys.readouterr().out, re.MULTILINE)


def test_faulty_rows_and_invented_languages_are_told_and_the_rest_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = [*(row(n, "de xx") for n in range(20)), {"id": "x"}]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    stated = ["train-hybrid", "--model", "builtin:static:16", "--train", str(path), "--no-eval"]
    stated += ["--steps", "1", "--batch-size", "4", "--output"]
    assert exit_code([*stated, str(tmp_path / "of" / "several")]) == 2
    assert tells(capsys.readouterr().err, f"{path}, line 21", "--skip-faults")
    assert not (tmp_path / "of").exists(), "nothing came of it"
    stated.append(str(tmp_path / "out"))
    assert exit_code([*stated, "--skip-faults"]) == 0
    said = capsys.readouterr().err
    assert tells(said, "1 faulty", f"{path}, line 21: no question")
    assert tells(said, "warning:", "ISO 639", "xx;")
    record = (tmp_path / "out" / "training.json").read_text("utf-8")
    assert json.loads(record)["data"]["sources"][0]["skipped"] == 1
    assert str(path) not in record


def test_what_has_no_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    more = ["--no-eval", "--eval-task", "mini", "--select-by", "nothing", "--steps", "1"]
    asked = command(tmp_path / "o 1", "--strategy", "mixed", "--alpha", "0.3", *more)
    assert exit_code(asked) == 0
    said = capsys.readouterr()
    assert tells(said.err, "--alpha", "hybrid", "mixed", "left out")
    assert tells(said.err, "--no-eval", "left out", "--eval-task", "--select-by")
    assert f"--model '{tmp_path / 'o 1'}'" in said.out


def test_the_settings_of_the_paper_come_as_a_file_that_the_command_line_overrides() -> None:
    context = train_hybrid.make_context(
        "train-hybrid",
        ["--config", "paper", "--train", MINI_TRAIN, "--output", "out", "--alpha", "0.4"],
    )
    options = build(TrainOptions, context.params)
    assert options.query_prompt == "Query: "
    assert (options.lr, options.weight_decay, options.batches.batch_size) == (3e-5, 0.01, 100)
    assert options.batches.alpha == 0.4
    assert options.batches.langs == ("ar", "de", "en", "es", "hi", "ru", "th", "tr", "zh")


def test_a_file_of_options_names_them_as_the_command_line_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('train = "mini-train"\nmini-batch-size = 8\neval-task = "mini"\nsteps = 3\n')
    context = train_hybrid.make_context("train-hybrid", ["--config", str(path), "--output", "out"])
    options = build(TrainOptions, context.params)
    assert (options.mini_batch, options.steps) == (8, 3)
    assert [str(source) for source in options.sources] == ["mini-train"]
    assert context.params["eval_tasks"] == ("mini",)


def test_rows_are_compared_with_evaluation_data_of_ones_own_too(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    texts = [{x: f"a sentence with the number {n} in {x}" for x in ("de", "en")} for n in range(5)]
    own = write_rows(
        tmp_path / "own.jsonl", [{"id": str(n), "text": t} for n, t in enumerate(texts)]
    )
    leak = row(99, question={"en": texts[3]["en"]}, answer={"de": "something else"})
    path = write_rows(tmp_path / "rows.jsonl", [*(row(n) for n in range(20)), leak])
    stated = ["train-hybrid", "--train", str(path), "--output", str(tmp_path / "out")]
    stated += ["--eval-task", f"parallel:{own}", "--leakage", "fail", "--steps", "2"]
    assert exit_code(stated) == 1
    said = capsys.readouterr().err
    assert re.search(r"\b1 of 21\b.*\bevaluation text\b.*\bown (de|en) 1\b", said)


def test_languages_that_no_batch_of_a_kind_can_have_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lone = row("lone", "fr", answer={"de": "seule"})
    path = write_rows(tmp_path / "rows.jsonl", [*(row(n) for n in range(20)), lone])
    stated = ["train-hybrid", "--model", "builtin:static:8", "--train", str(path), "--no-eval"]
    assert exit_code([*stated, "--steps", "2", "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    readme = (tmp_path / "out" / "README.md").read_text()
    assert tells(shown, "no monolingual batch", "fr", "two rows")
    assert tells(shown, "no cross-lingual batch", "fr", "two rows")
    assert re.search(r"\bNo monolingual batch\b[^.]*\bfr\b", readme)


@pytest.mark.parametrize(
    ("more", "code", "facts"),
    [
        (["--eval-task", "xquad-r"], 3, ["xlir-bench data fetch xquad-r"]),
        (["--eval-langs", "de,xx"], 2, ["unknown", "mini", "'xx'"]),
        (["--langs", "de,fr"], 2, ["unknown", "training rows", "'fr'"]),
        (["--training-args", "gone.toml"], 2, ["gone.toml", "cannot be read"]),
        (["--select-by", "mini.mono.map"], 2, ["'mini.mono.map'", "'mini.monolingual.map'"]),
        (["--train", "gone.jsonl"], 2, ["gone.jsonl", "not there"]),
        (["--lr", "-1"], 2, ["--lr -1.0", "above 0"]),
        (["--teacher", "builtin:ngram"], 2, ["--teacher", "--loss distil"]),
        (["--patience", "2", "--no-eval"], 2, ["--patience 2", "--no-eval", "--eval-steps"]),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], code: int, facts: list[str]
) -> None:
    assert exit_code(command(tmp_path / "out", *more)) == code
    said = capsys.readouterr().err
    assert tells(said, *facts)
    assert "Traceback" not in said

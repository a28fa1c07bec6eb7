"""`xlir-bench compare`: stored results against each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from changed import changed, evaluated, stated, times
from cli.conftest import tells

A, B = Path("results/a/mini"), Path("results/b/mini")


@pytest.fixture
def two(xlir):
    evaluated("builtin:ngram").save(A)
    evaluated("builtin:random").save(B)
    return xlir


def test_two_results_are_set_against_each_other(two):
    said = two("compare", A, B)
    assert said.code == 0, said.err
    assert "A = builtin:ngram" in said.out
    assert tells(said.out, "query language", "Holm", "9")


def test_texts_of_the_queries_that_changed_most_are_shown_if_the_data_is_here(two):
    said = two("compare", A, B, "--show-queries", "2")
    lines = said.out.strip().splitlines()[-4:]
    assert [line[0] for line in lines] == ["-", "-", "+", "+"]
    assert all("?" in line or "th " in line for line in lines)


def test_without_the_data_it_says_why_there_are_no_texts(two):
    record = json.loads((A / "result.json").read_text())
    for folder in (A, B):
        record = json.loads((folder / "result.json").read_text())
        record["task"]["name"] = "gone"
        (folder / "result.json").write_text(json.dumps(record))
    said = two("compare", A, B, "--show-queries", "2")
    assert said.code == 0
    assert tells(said.out, "texts", "not shown", "'gone'")


def test_json_is_all_there_is_on_stdout(two):
    record = json.loads(two("compare", A, B, "--json").out)
    assert [pair["row"] for pair in record["pairs"]] == record["kinds"]
    assert len(record["settings"]) == 12
    assert record["measure"] == "map"


def test_three_results_are_all_pairs(two):
    changed(evaluated(), times(0.9), "third").save("results/c/mini")
    said = two("compare", A, B, "results/c/mini", "--markdown")
    assert said.code == 0
    assert "| builtin:random / third" in said.out
    pairs = json.loads(two("compare", A, B, "results/c/mini", "--json").out)["pairs"]
    assert len(pairs) == 9
    shown = two("compare", A, B, "results/c/mini", "--show-queries", "2")
    assert (shown.code, shown.out) == (2, "")
    assert tells(shown.err, "--show-queries", "two", "3")


def test_what_cannot_be_compared_is_refused_and_may_be_forced(two):
    stated(evaluated("builtin:random"), limit=5).save(B)
    said = two("compare", A, B)
    assert said.code == 3
    assert "limit (none against 5)" in said.err
    assert said.err.splitlines()[-1].startswith("  --force ")
    forced = two("compare", A, B, "--force")
    assert forced.code == 0
    assert tells(forced.out, "limit (none against 5)", "both")


@pytest.mark.parametrize(
    ("args", "facts"),
    [
        ((A,), ["two", "more", "xlir-bench compare A B"]),
        ((A, A), ["one result", str(A), "two"]),
        ((A, "results/none"), ["results/none", "not there"]),
        ((A, B, "--measure", "mapp"), ["'mapp'", "'map'"]),
    ],
)
def test_bad_input_is_one_message(two, args, facts):
    said = two("compare", *args)
    assert said.code == 2
    assert tells(said.err, *facts)


LIGHT = """
import json, sys
from xlir_bench.cli import exit_code
heavy = {"torch", "faiss", "sentence_transformers", "transformers", "datasets"}
for command in json.loads(sys.argv[1]):
    code = exit_code(command)
    print("after", command[0], code, *sorted(heavy & set(sys.modules)))
"""


def test_stored_results_are_read_without_anything_that_encodes_or_searches(two):
    commands = [
        ["compare", str(A), str(B)],
        ["gate", "--baseline", str(A), "--candidate", str(B)],
        ["export", "csv", str(A), str(B), "--output", "t.csv"],
    ]
    program = [sys.executable, "-c", LIGHT, json.dumps(commands)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    told = [line for line in done.stdout.splitlines() if line.startswith("after ")]
    assert told == ["after compare 0", "after gate 1", "after export 0"]


def test_a_root_is_compared_where_its_results_are_of_one_task_and_else_says_what_there_is(two):
    assert two("compare", "results").out == two("compare", A, B).out
    shutil.copytree(A, "results/a/other")
    path = Path("results/a/other/result.json")
    path.write_text(path.read_text("utf-8").replace('"name": "mini"', '"name": "other"'), "utf-8")
    said = two("compare", "results")
    assert said.code == 2
    assert "several tasks" in said.err
    assert f"\n  {A}\n" in said.err

"""`--json` has one shape: an object of one thing, a list of them of several, with the keys of docs/exit-codes.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from stored import change, copy_results

from xlir_bench.cli import COMMANDS, group

A, B = "results/builtin-ngram/mini", "results/builtin-random/mini"
RESULT = "schema task encoder settings summary bias options notes command created"
RUN = "run --langs de,en --limit 4 --quiet --task mini --model builtin:random"
SHAPES = {
    RUN: RESULT,
    f"{RUN} --model builtin:ngram": [RESULT, RESULT],
    f"show {A}": RESULT,
    f"show {A} {B}": [RESULT, RESULT],
    f"compare {A} {B}": "measure notes pairs kinds langs settings shares queries",
    f"compare {A} {B} {A}": "measure notes pairs",
    f"gate --baseline {A} --candidate {A}": "verdict passed outcome findings notes task",
    f"gate --plan --baseline {A} --like {B}": "task baseline like alpha tests notes",
    f"robustness {A} other": "beside measure shifts",
    f"diagnose {A}": "encoder task limits relevant misses classes not_judged pairs examples",
    "tasks mini": "name version licence languages",
    "cache": [],
    "data check-training mini-train": "rows faults",
    "data leakage mini-train --task mini": "rows leaking found checked unchecked",
    "augment parallel lines.jsonl --output rows.jsonl": "rows output",
}
ELSEWHERE = {"augment code-switch", "augment translate", "profile", "train-hybrid"}
"""Tested with what they do, in their own files: they take longer."""


def with_json(command: click.Command, name: str) -> set[str]:
    """The commands that have the flag."""
    found = {name} if any("--json" in option.opts for option in command.params) else set()
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for inner in command.list_commands(ctx):
            below = command.get_command(ctx, inner)
            assert below is not None
            found |= with_json(below, f"{name} {inner}")
    return found


def test_every_command_with_the_flag_is_here() -> None:
    ctx = click.Context(group)
    flagged = {name for c in COMMANDS for name in with_json(group.get_command(ctx, c), c)}
    here = {name for name in flagged if any(line.startswith(name) for line in SHAPES)}
    assert flagged == here | ELSEWHERE


@pytest.mark.parametrize("line", SHAPES)
def test_one_value_is_on_stdout_with_the_keys_that_are_documented(xlir, line: str) -> None:
    copy_results(Path("results"))
    shutil.copytree(A, "other")
    change(Path("other"), task={"name": "other"})
    text = {"id": 1, "doc": "d", "text": {"de": "Das ist ein Satz.", "en": "This is a sentence."}}
    Path("lines.jsonl").write_text(json.dumps(text) + "\n", encoding="utf-8")
    said = xlir(*line.split(), "--json")
    assert said.code == 0, said.err
    value: Any = json.loads(said.out)
    shape = SHAPES[line]
    assert isinstance(value, list) is isinstance(shape, list)
    values, shapes = (x if isinstance(x, list) else [x] for x in (value, shape))
    for each, keys in zip(values, shapes, strict=True):
        assert {*keys.split()} <= each.keys()


def test_a_failure_leaves_stdout_empty(xlir) -> None:
    said = xlir("show", "nothing", "--json")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")

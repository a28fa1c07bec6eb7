"""The GitHub Action: its YAML has what GitHub asks for, and its shell does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from evaluation.plain import full_small

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
STEP = {step["name"]: step for step in STEPS if "name" in step}
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
"""How GitHub runs `shell: bash`."""


def run(step: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess:
    """The shell of a step, with every variable that it names and no other but the runner's own."""
    assert set(inputs) == set(STEP[step]["env"])
    environment = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "XLIR_CACHE": str(folder / "cache"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "outputs"),
        **inputs,
    }
    return subprocess.run(
        [*BASH, STEP[step]["run"]], cwd=folder, env=environment, text=True, capture_output=True,
        check=False,
    )  # fmt: skip


def test_it_has_the_keys_that_github_asks_for():
    assert {"name", "description", "inputs", "runs"} <= set(ACTION)
    assert ACTION["runs"]["using"] == "composite"
    assert set(ACTION["inputs"]) == {
        "baseline", "candidate", "task", "data", "device", "policy", "junit", "json", "arguments",
        "python-version", "version", "cache",
    }  # fmt: skip
    assert set(ACTION["outputs"]) == {"verdict", "path"}
    for name, stated in ACTION["inputs"].items():
        assert stated["description"], name
        assert stated["required"] or "default" in stated, name
    for step in STEPS:
        assert "uses" in step or {"run", "shell"} <= set(step)


def test_no_input_is_pasted_into_a_script():
    for step in STEPS:
        assert "${{" not in step.get("run", "")


def test_every_input_is_used_and_every_input_used_is_stated():
    used = set(re.findall(r"inputs\.([a-z-]+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(ACTION["inputs"])


def test_it_uploads_nothing():
    assert [step["uses"].split("@")[0] for step in STEPS if "uses" in step] == [
        "actions/setup-python", "actions/cache",
    ]  # fmt: skip
    assert STEPS[0]["if"] == "inputs.python-version != ''"


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A repository with a baseline, as a user of the action has one."""
    folder = tmp_path_factory.mktemp("a repository")
    full_small().save(folder / "base line/de en")
    return folder


def gate(folder: Path, candidate: str, **inputs: str) -> subprocess.CompletedProcess:
    names = [
        name for name in STEP["Gate"]["env"] if name not in ("XLIR_BASELINE", "XLIR_CANDIDATE")
    ]
    given = dict.fromkeys(names, "") | {f"XLIR_{name}": value for name, value in inputs.items()}
    baseline = given.pop("XLIR_BASELINE", "base line/de en")
    return run("Gate", folder, XLIR_BASELINE=baseline, XLIR_CANDIDATE=candidate, **given)


def test_a_model_that_is_no_worse_passes_and_the_summary_says_so(repository):
    done = gate(repository, "builtin:ngram")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS")
    assert "### PASS" in (repository / "summary.md").read_text(encoding="utf-8")
    assert re.fullmatch(
        "verdict=pass\npath=results/builtin-ngram/mini~\\w+\n",
        (repository / "outputs").read_text(encoding="utf-8"),
    )


def test_a_worse_model_fails_the_job(repository):
    done = gate(repository, "builtin:random")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("FAIL")


def test_a_policy_file_is_used(repository):
    (repository / "lax.toml").write_text("[[drop]]\nabsolute = 1\n")
    assert gate(repository, "builtin:random", POLICY="lax.toml").returncode == 0


def test_several_tasks_files_for_programs_and_more_arguments(repository):
    for task in ("one", "two"):
        shutil.copytree(
            repository / "base line/de en", repository / "both" / task, dirs_exist_ok=True
        )
    done = gate(
        repository, "both", BASELINE="both", TASK="one two", JUNIT="a gate.xml", JSON="gate.json",
        DEVICE="cpu", ARGUMENTS="--offline --tasks-dir 'a \"folder\"; touch stolen'",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads((repository / "gate.json").read_text(encoding="utf-8"))
    assert (said["verdict"], len(said["verdicts"])) == ("pass", 2)
    suites = ElementTree.parse(repository / "a gate.xml").getroot()
    assert len(suites) == 2
    assert int(suites.get("tests")) == sum(int(suite.get("tests")) for suite in suites)
    assert not (repository / "stolen").exists()
    assert gate(repository, "both", BASELINE="both", TASK="three").returncode == 2


def test_nothing_in_an_input_is_run(repository):
    done = gate(repository, "builtin:ngram$(touch stolen)`touch stolen`; touch stolen")
    assert done.returncode == 2
    assert not (repository / "stolen").exists()


@pytest.mark.parametrize(
    ("candidate", "version", "installed"),
    [
        ("builtin:ngram", "", "the action's own"),
        ("stored", "1.2.3", "xlir-bench==1.2.3"),
        ("stored/result.json", "", "the action's own"),
        (".", "", "the action's own"),
        ("out/final", "1.2.3", "xlir-bench[models]==1.2.3"),
        ("owner/name", "", "the action's own[models]"),
    ],
)
def test_it_installs_the_version_asked_for_or_its_own_with_what_the_candidate_wants(
    tmp_path, candidate, version, installed
):
    full_small().save(tmp_path / "baselines" / "de en")
    assert asked_of_pip(tmp_path, candidate, version) == ["-m", "pip", "install", installed]


@pytest.mark.parametrize("loaded", [{"rerank": "owner/name"}, {"fuse": ("owner/name",)}])
@pytest.mark.parametrize("compact", [True, False])
def test_a_built_in_encoder_gets_what_the_baseline_was_reranked_by_or_fused_with(
    tmp_path, loaded, compact
):
    baseline = full_small()
    record = baseline.record
    options = replace(record.encoder.options, **loaded)
    encoder = record.encoder.model_copy(update={"options": options})
    record = record.model_copy(update={"encoder": encoder})
    replace(baseline, record=record).save(tmp_path / "baselines" / "de en", compact=compact)
    assert asked_of_pip(tmp_path, "builtin:ngram")[-1] == "the action's own[models]"


def asked_of_pip(folder: Path, candidate: str, version: str = "") -> list[str]:
    """pip itself is not run: a `python` of the test says what it was asked to install."""
    (folder / "stored").mkdir()
    (folder / "stored" / "result.json").write_text("{}")
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done > asked\n')
    python.chmod(0o755)
    done = run(
        "Install xlir-bench", folder, XLIR_BASELINE="baselines", XLIR_CANDIDATE=candidate,
        XLIR_VERSION=version, XLIR_SOURCE="the action's own",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (folder / "asked").read_text().splitlines()

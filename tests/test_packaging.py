"""What an installation holds: a wheel, a checkout and an editable install find the same tasks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    names = ("XLIR_REPOSITORY", "GITHUB_REPOSITORY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
    return next(out.glob("*.whl"))


def test_the_wheel_carries_tasks_and_data_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "tasks").rglob("*"):
        if path.is_file():
            assert f"xlir_bench/_tasks/{path.relative_to(ROOT / 'tasks')}" in names
    for path in (ROOT / "xlir_bench").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    assert not any(name.startswith(("tests/", "leaderboards/")) for name in names)


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 20 * 2**20


def test_an_unpacked_wheel_finds_its_tasks(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    probe = (
        "import xlir_bench\n"
        "from xlir_bench.tasks import catalogue, tasks_folder\n"
        "print(xlir_bench.__file__, tasks_folder(), *catalogue().tasks, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    package, folder, *names = done.stdout.split("\n")
    assert package.startswith(str(tmp_path))
    assert folder == str(tmp_path / "xlir_bench/_tasks")
    assert {"mini", "mlqa-r", "xquad-r"} <= set(names)


def described(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(archive.read(name))


def test_the_licence_of_everything_in_it_is_in_it_in_words_that_indexes_know(wheel):
    about = described(wheel)
    assert about["Metadata-Version"] == "2.4"
    assert about["License-Expression"] == "Apache-2.0 AND CC-BY-SA-4.0"
    texts = [name for name in zipfile.ZipFile(wheel).namelist() if "/licenses/" in name]
    assert len(texts) == len(about.get_all("License-File")) == 2
    licences = b"".join(zipfile.ZipFile(wheel).read(name) for name in texts)
    for title in (b"Apache License", b"Attribution-ShareAlike 4.0 International"):
        assert title in licences


def test_where_nobody_says_where_the_project_lies_no_link_leads_nowhere(wheel):
    about = described(wheel)
    assert about["Author"] == "xlir-bench"
    assert about.get_all("Project-URL") is None
    text = about.get_payload()
    assert "# xlir-bench" in text
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []


def test_links_and_pictures_of_a_release_lead_into_its_repository(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    home = "https://example.org/project"
    environment = os.environ | {"XLIR_REPOSITORY": home}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        (member,) = (
            name
            for name in archive.getnames()
            if name.count("/") == 1 and name.endswith("/PKG-INFO")
        )
        about = message_from_bytes(archive.extractfile(member).read())
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert f"Source, {home}" in about.get_all("Project-URL")
    text = about.get_payload()
    inside = re.findall(rf"(!?)\[[^\]]*\]\({re.escape(home)}/(\w+)/v([^/]+)/([^)#]+)", text)
    assert {kind for picture, kind, *_ in inside if picture} <= {"raw"}
    assert {kind for picture, kind, *_ in inside if not picture} == {"blob"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(inside) == len(re.findall(r"\[[^\]\[]*\]\((?![a-z]+:)[^)]+\)", readme)) > 3
    for *_, version, target in inside:
        assert version == about["Version"]
        assert (ROOT / target).exists(), target
    # What a source distribution can be tested with.
    assert {
        "tasks/mini.toml",
        "tests/conftest.py",
        "constraints.txt",
        "LICENSE",
        ".ci/metadata.py",
    } <= names


def test_the_citation_names_what_the_package_names():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["authors"] == [{"name": "xlir-bench"}]
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert " AND ".join(cited["license"]) == stated["license"]


def test_ci_tests_every_python_that_the_package_names():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [c.rpartition(" ")[2] for c in stated["classifiers"] if " :: 3." in c]
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    for job in ("test", "elsewhere"):
        assert jobs[job]["strategy"]["matrix"]["python-version"] == named


def test_the_core_depends_on_nothing_that_it_does_not_import():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "xlir_bench").rglob("*.py"))
    for requirement in stated["dependencies"]:
        module = re.match(r"[\w-]+", requirement)[0].removesuffix("-cpu").replace("-", "_")
        pattern = rf'^\s*(import|from) {module}\b|import_module\("{module}\b'
        assert re.search(pattern, code, re.MULTILINE), module


def test_the_version_is_stated_once(wheel):
    import xlir_bench

    assert wheel.name.startswith(f"xlir_bench-{xlir_bench.__version__}-")


WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}


def test_workflows_use_actions_by_their_commits_and_keep_no_token_in_a_checkout():
    jobs = [job for flow in WORKFLOWS.values() for job in flow["jobs"].values()]
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    steps = [step for job in (*jobs, action["runs"]) for step in job["steps"] if "uses" in step]
    assert len(steps) > 10
    for step in steps:
        assert step["uses"] == "./" or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
        if step["uses"].startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_only_the_jobs_that_publish_may_write_and_each_only_what_it_writes():
    may = {
        (flow, name): {what for what, how in job.get("permissions", {}).items() if how == "write"}
        for flow, stated in WORKFLOWS.items()
        for name, job in stated["jobs"].items()
    }
    assert {job: writes for job, writes in may.items() if writes} == {
        ("release.yml", "publish"): {"id-token", "attestations"},
        ("release.yml", "release"): {"contents"},
    }
    for stated in WORKFLOWS.values():
        assert stated["permissions"] == {"contents": "read"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_a_checkout_changes_no_line_end_of_data_that_is_known_by_its_digest():
    asked = ["git", "-C", ROOT, "check-attr", "text", "tasks/mini/en.json"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert said.strip().endswith(": unset")

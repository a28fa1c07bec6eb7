"""What an installation holds: a wheel, a checkout and an editable install find the same tasks."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
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


def test_the_version_is_stated_once(wheel):
    import xlir_bench

    assert wheel.name.startswith(f"xlir_bench-{xlir_bench.__version__}-")


def test_a_source_distribution_can_be_tested(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = archive.getnames()
    inside = {name.partition("/")[2] for name in names}
    assert {"tasks/mini.toml", "tests/conftest.py", "constraints.txt", "LICENSE"} <= inside

"""A short run of the kill tests; `make kills` runs the long one over every command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


# Some fifteen seconds: fourteen kills, and after each the command once more.
def test_what_is_killed_while_it_writes_leaves_the_old_or_the_new_and_ends_the_same() -> None:
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-m", "kills", "--random", "2", "--injected", "12"]
    done = subprocess.run(
        [*command, "gate", "leaderboard"], capture_output=True, text=True, check=False, cwd=tests,
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

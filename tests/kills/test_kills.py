"""A short run of the kill tests; `make kills` runs the long one over every command."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kills.__main__ import main
from processes import begin


# Some ten seconds: fourteen kills, and after each the command once more.
def test_what_is_killed_while_it_writes_leaves_the_old_or_the_new_and_ends_the_same(
    tmp_path: Path,
) -> None:
    asked = ["--random", "2", "--injected", "12", "gate", "leaderboard"]
    process = begin(partial(main, asked), tmp_path / "said")
    process.join()
    assert process.exitcode == 0, (tmp_path / "said").read_text(encoding="utf-8")

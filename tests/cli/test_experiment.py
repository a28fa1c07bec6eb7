"""`xlir-bench experiment` as a person meets it: a reduced form of `mini`, end to end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from cli.conftest import tells
from processes import begin
from recipes import REDUCED, with_lines

from xlir_bench.cli import exit_code
from xlir_bench.experiment import find_recipe
from xlir_bench.tasks import tasks_folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A folder whose run was killed once a cell was finished, and when the finished ones were written."""
    place = tmp_path_factory.mktemp("place")
    (place / "mine.toml").write_text(REDUCED)
    command = ["experiment", "mine.toml", "--output", "out", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("XLIR_CACHE", str(place / "cache"))
        patch.delenv("XLIR_DATA", raising=False)
        process = begin(partial(exit_code, command), place / "said")
    deadline = time.monotonic() + 300
    while len(finished(place / "out")) < 3:  # both bases and a training
        assert process.exitcode is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join()
    return place, finished(place / "out")


def finished(output: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in output.glob("results/*/cell.json")}


@pytest.fixture
def at(killed, monkeypatch, capsys):
    """Runs the command where the killed run was."""
    place, _ = killed
    monkeypatch.chdir(place)
    monkeypatch.setenv("XLIR_CACHE", str(place / "cache"))
    monkeypatch.delenv("XLIR_DATA", raising=False)

    def command(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = exit_code(["experiment", "mine.toml", "--output", "out", *args])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_a_dry_run_shows_what_is_done_and_how_long_the_rest_takes(at, killed) -> None:
    code, out, _ = at("--dry-run")
    assert code == 0
    assert out.count("done") == len(killed[1]) >= 3
    assert re.search(rf"^{6 - len(killed[1])} of 6 cells\b.*\btime left\b.* \d", out, re.MULTILINE)


def test_the_same_command_goes_on_and_runs_no_finished_cell_again(at, killed) -> None:
    place, before = killed
    code, out, err = at()
    assert code == 0, err
    after = finished(place / "out")
    assert len(after) == 6
    assert before.items() <= after.items()
    assert tells(out, "6 of 6 cells", "out/README.md")
    assert out.count("across languages (") == 1
    page = (place / "out/README.md").read_text()
    assert "| untrained | measured | 2 |" in page
    assert "| hybrid | measured | 2 |" in page
    assert "figures/mini-strategies.svg" in page
    assert (place / "out/figures/mini-strategies.svg").is_file()
    kept = {p.name for p in (place / "out/results").rglob("*") if p.is_file()}
    assert kept == {"cell.json", "result.json", "questions.parquet"}
    models = list((place / "out/models").glob("hybrid-*/model.safetensors"))
    assert len(models) == 2
    written = page
    assert at("--quiet")[0] == 0  # nothing left to do
    assert finished(place / "out") == after
    assert (place / "out/README.md").read_text() == written


def test_no_text_and_no_place_of_this_machine_is_in_what_is_kept(at, killed) -> None:
    place, _ = killed
    assert at("--quiet")[0] == 0
    rows = (tasks_folder() / "mini-train.jsonl").read_text(encoding="utf-8")
    row = json.loads(rows.splitlines()[0])
    for path in [*(place / "out/results").rglob("*.json"), place / "out/README.md"]:
        text = path.read_text(encoding="utf-8")
        assert str(place) not in text
        assert not any(words in text for words in row["question"].values())


def test_a_check_needs_no_torch_and_finds_a_changed_byte(at, killed) -> None:
    place, _ = killed
    assert at("--quiet")[0] == 0
    probe = (
        "import sys\nfrom xlir_bench.cli import exit_code\n"
        "code = exit_code(['experiment', 'mine.toml', '--output', 'out', '--check'])\n"
        "assert not {'torch', 'faiss', 'sentence_transformers', 'datasets'} & set(sys.modules)\nsys.exit(code)\n"
    )
    assert subprocess.run([sys.executable, "-c", probe], cwd=place, check=False).returncode == 0
    page = place / "out/README.md"
    kept = page.read_text()
    page.write_text(kept.replace("seeds", "sees", 1))
    code, out, err = at("--check")
    assert code == 1
    assert "differs: out/README.md" in out
    assert "without --check" in err
    page.write_text(kept)
    assert at("--check")[0] == 0
    copy = place / "out" / "recipe.toml"
    assert exit_code(["experiment", str(copy), "--output", "out", "--check"]) == 0


def test_an_index_is_written_and_checked(at, killed) -> None:
    place, _ = killed
    assert at("--quiet")[0] == 0
    assert exit_code(["experiment", "--index", "."]) == 0
    assert exit_code(["experiment", "--index", ".", "--check"]) == 0
    index = place / "README.md"
    assert "[out](out/README.md)" in index.read_text()
    index.write_text(index.read_text().replace("Of ", "On ", 1))
    assert exit_code(["experiment", "--index", ".", "--check"]) == 1
    assert exit_code(["experiment", "mini", "--index", "."]) == 2


def test_one_more_seed_trains_that_seed_alone(at, killed) -> None:
    place, _ = killed
    assert at("--quiet")[0] == 0
    before = finished(place / "out")
    try:
        (place / "mine.toml").write_text(with_lines("seeds = [0, 1, 2]", 'strategies = ["hybrid"]',
            "baselines = []").partition("[[claims]]")[0])  # fmt: skip
        assert at("--quiet", "--discard-models")[0] == 0
    finally:
        (place / "mine.toml").write_text(REDUCED)
    new = finished(place / "out").keys() - before.keys()
    assert [name.split("-")[-2] for name in new] == ["s2", "s2"]
    assert not list((place / "out/models").glob("hybrid-*-s2-*"))


def test_a_cell_that_fails_does_not_hold_up_the_others(xlir, tmp_path: Path) -> None:
    text = with_lines("seeds = [0]", 'strategies = ["monolingual", "cross-lingual"]')
    rows = [
        {"id": str(n), "question": {"en": f"what is {n}"}, "answer": {"en": f"it is {n}"}}
        for n in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = text.replace("mini-train", "rows.jsonl").partition("[[claims]]")[0]
    (tmp_path / "mine.toml").write_text(text)
    said = xlir("experiment", "mine.toml", "--output", "out")
    assert said.code == 4
    assert "failed: cross-lingual-b16-infonce-s0" in said.err
    assert "two different languages" in said.err
    assert "2 of 3 cells" in said.out


def test_what_is_missing_is_named_before_anything_is_trained(xlir, tmp_path: Path) -> None:
    said = xlir("experiment", "alpha-sweep", "--output", "out")
    assert said.code == 3
    assert tells(said.err, "{data}/qa/xnli-dev.jsonl", "no data root", "--data", "XLIR_DATA")
    said = xlir("experiment", "paper-labse", "--data", ".", "--skip-tasks", "xm3600", "--dry-run")
    assert said.code == 0
    assert tells(said.out, "rows.jsonl.gz", "not there")
    assert "task xquad-r: ar, de" in said.out
    assert "task xm3600" not in said.out
    assert tells(said.out, "time left", "unknown")
    said = xlir("experiment", "mini", "--skip-tasks", "minni")
    assert said.code == 2
    assert tells(said.err, "'minni'", "'mini'")


def test_recipes_are_listed_and_printed(xlir) -> None:
    listed = xlir("experiment").out
    assert "paper-xlmr" in listed
    assert len({line.index(" cells") for line in listed.splitlines()}) == 1
    assert xlir("experiment", "mini", "--print").out == find_recipe("mini")[1]


def test_another_folder_is_not_written_over(xlir, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("mine")
    (tmp_path / "mine.toml").write_text(REDUCED)
    said = xlir("experiment", "mine.toml", "--output", "out")
    assert said.code == 2
    assert "README.md" in said.err
    assert not (tmp_path / "out/results").exists()


def test_a_run_that_is_stopped_by_hand_says_so_in_one_line(xlir, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(with_lines("steps = 5000"))

    ended = threading.Event()

    def stop() -> None:
        while not ended.wait(0.05):
            if list(tmp_path.glob("out/models/*/log.jsonl")):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                ended.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=stop).start()
        said = xlir("experiment", "mine.toml", "--output", "out", "--quiet")
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)
    assert said.code == 130
    assert re.fullmatch(r"stopped: .*\bfinished cells\b.*\bsame command\b.*", said.err.strip())

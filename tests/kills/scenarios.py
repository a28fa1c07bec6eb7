"""The commands that write something, each small enough to be killed a hundred times."""

from __future__ import annotations

from pathlib import Path

from kills.harness import Scenario, command
from models import save_tiny_m2m100
from recipes import with_lines
from sources.serving import SMALL, write_task
from train.rowfiles import row, write_rows

RUN = ("run", "--task", "mini", "--langs", "de,en", "--quiet")


def run(place: Path, model: str, output: str) -> None:
    """A result that a scenario starts from."""
    if command([*RUN, "--model", model, "--output", output], place) != 0:
        raise SystemExit((place / "said").read_text())


def two_results(place: Path) -> None:
    """A result that is going to be replaced, and one that is going to be its baseline's successor."""
    run(place, "builtin:random", "old")
    run(place, "builtin:ngram", "new")
    next(place.glob("old/*/mini~*")).rename(place / "baseline")
    next(place.glob("new/*/mini~*")).rename(place / "candidate")


def an_old_result(place: Path) -> None:
    """What `run` replaces: the same folder, of another encoder under the same name."""
    run(place, "builtin:random", "results")
    (place / "results" / "builtin-random").rename(place / "results" / "builtin-ngram")


def a_reranker(place: Path) -> None:
    """A function of pairs."""
    (place / "mine.py").write_text(
        "def scores(pairs):\n    return [len(set(q.split()) & set(p.split())) for q, p in pairs]\n"
    )


def recipe(place: Path) -> None:
    """A recipe of two trainings."""
    small = with_lines("seeds = [0]", "steps = 6", 'measures = ["map"]')
    (place / "small.toml").write_text(small)


def rows(place: Path) -> None:
    """Rows to translate, and a translation model of random weights."""
    save_tiny_m2m100(place / "nllb", "eng_Latn", "deu_Latn")
    write_rows(place / "rows.jsonl", [row(n, "en") for n in range(40)])


def every_result_is_whole(place: Path) -> None:
    """Each result.json that is there is read, with its tables."""
    from xlir_bench.results import Result

    for file in place.rglob("result.json"):
        result = Result.load(file)
        for name in result.tables:
            if result.tables[name].num_rows == 0:
                raise ValueError(f"{file}: {name} is empty")


def the_baseline_is_there(place: Path) -> None:
    """There is a baseline at every moment, the old one or the new one."""
    every_result_is_whole(place)
    if not (place / "baseline" / "result.json").is_file():
        raise ValueError("no baseline is left")


def scenarios(url: str) -> list[Scenario]:
    """All of them; `url` serves the file that `fetch` asks for."""

    def remote(place: Path) -> None:
        write_task(place / "tasks", SMALL, url)

    return [
        Scenario(
            "run", an_old_result, (*RUN, "--model", "builtin:ngram", "--output", "results"),
            sound=every_result_is_whole,
        ),
        Scenario(
            "rerank", a_reranker,
            (
                *RUN, "--model", "builtin:ngram", "--limit", "9", "--rerank", "py:mine.py:scores",
                "--output", "results",
            ),
            sound=every_result_is_whole,
        ),
        Scenario(
            "train",
            lambda place: None,
            (
                "train-hybrid", "--train", "mini-train", "--model", "builtin:static:16", "--steps",
                "12", "--batch-size", "16", "--save-steps", "4", "--no-eval", "--quiet",
                "--output", "model",
            ),
            again=("--resume",),
            begun="model/checkpoints",
        ),
        Scenario(
            "experiment", recipe,
            ("experiment", "small.toml", "--output", "out", "--discard-models", "--quiet"),
            sound=every_result_is_whole,
        ),
        Scenario(
            "translate",
            rows,
            (
                "augment", "translate", "rows.jsonl", "--model", "nllb", "--to", "de", "--output",
                "more.jsonl", "--batch-tokens", "64", "--max-length", "12", "--quiet",
            ),
        ),
        Scenario(
            "fetch", remote, ("data", "fetch", "small", "--tasks-dir", "tasks"),
            ignored=(),
        ),
        Scenario(
            "leaderboard", two_results,
            ("leaderboard", "--results", "candidate", "--output", "boards", "--html"),
            sound=every_result_is_whole,
        ),
        Scenario(
            "gate", two_results,
            (
                "gate", "--baseline", "baseline", "--candidate", "candidate",
                "--update-baseline", "--reason", "better",
            ),
            sound=the_baseline_is_there,
        ),
    ]  # fmt: skip

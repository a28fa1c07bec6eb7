"""Figures that are not drawn again: only what was drawn of the same, by the same code, and is as it was drawn."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from stored import copy_results

from xlir_bench.records import Kind
from xlir_bench.reports import generated as module
from xlir_bench.reports.experiment.figures import plot
from xlir_bench.reports.generated import CODE, Drawing, drawn
from xlir_bench.reports.leaderboard.board import read_board
from xlir_bench.reports.plots import board_figures
from xlir_bench.reports.scores import Score

pytest.importorskip("matplotlib")
MARKER = "made for a test"
SVG = '<?xml version="1.0"?>\n<svg><!-- Matplotlib v3.10.0 --><text>{}</text></svg>\n'


class Pen:
    """Draws a text, and counts how often."""

    def __init__(self) -> None:
        self.drawn = 0

    def of(self, shows: str, text: str = "a figure") -> Drawing:
        def draw() -> str:
            self.drawn += 1
            return SVG.format(text)

        return Drawing("it.svg", "it", "a section", shows, draw)


@pytest.fixture
def pen(tmp_path: Path) -> Pen:
    """With a figure on disk, drawn of ``one``."""
    pen = Pen()
    write(tmp_path, pen.of("one"))
    return pen


def write(folder: Path, drawing: Drawing) -> None:
    texts = drawn(folder, [drawing], MARKER, check=False)
    assert texts is not None
    (folder / "it.svg").write_text(texts["it.svg"], encoding="utf-8")


def changed(folder: Path, drawing: Drawing) -> bool | None:
    texts = drawn(folder, [drawing], MARKER, check=True)
    return None if texts is None else texts["it.svg"] != (folder / "it.svg").read_text("utf-8")


def test_what_was_drawn_of_the_same_is_not_drawn_again(pen: Pen, tmp_path: Path) -> None:
    assert changed(tmp_path, pen.of("one")) is False
    write(tmp_path, pen.of("one"))
    assert pen.drawn == 1


def test_other_data_and_other_code_draw_again(
    pen: Pen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed(tmp_path, pen.of("two", "another figure")) is True
    monkeypatch.setattr(module, "_code_digest", lambda: "other code")
    assert changed(tmp_path, pen.of("one", "another figure")) is True
    assert pen.drawn == 3


def test_what_comes_out_the_same_differs_by_nothing_and_is_not_drawn_a_third_time_once_written(
    pen: Pen, tmp_path: Path
) -> None:
    assert changed(tmp_path, pen.of("two")) is False
    write(tmp_path, pen.of("two"))
    assert pen.drawn == 3
    assert changed(tmp_path, pen.of("two")) is False
    assert pen.drawn == 3


def test_a_figure_that_a_hand_changed_is_found(pen: Pen, tmp_path: Path) -> None:
    figure = tmp_path / "it.svg"
    text = figure.read_text(encoding="utf-8")
    figure.write_text(text.replace("a figure", "my figure"), encoding="utf-8")
    assert changed(tmp_path, pen.of("one")) is True
    write(tmp_path, pen.of("one"))
    assert figure.read_text(encoding="utf-8") == text


def test_without_matplotlib_or_with_another_release_only_what_changed_is_not_compared(
    pen: Pen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = tmp_path / "it.svg"
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert changed(tmp_path, pen.of("one")) is False
    assert changed(tmp_path, pen.of("two")) is None
    monkeypatch.undo()
    text = figure.read_text(encoding="utf-8")
    figure.write_text(text.replace("v3.10.0", "v1.2.3"), encoding="utf-8")
    assert changed(tmp_path, pen.of("one")) is None


def test_all_code_of_ours_that_runs_while_a_figure_is_drawn_is_in_its_digest(
    tmp_path: Path,
) -> None:
    import_module("xlir_bench.reports.plots")  # what it runs by being imported is no drawing

    package = Path(module.__file__).parents[1]
    ran: set[str] = set()

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            ran.add(frame.f_code.co_filename)

    figures = list(board_figures(read_board([copy_results(tmp_path / "results")], False)))
    assert {f.title.removeprefix("mini: ") for f in figures} >= {
        "matrix",
        "difference",
        "trade-off",
        "bias",
        "languages",
    }
    panel = {"one": {None: [0.5, 0.6]}}, {"one": {1.0: [0.5, 0.6], 2.0: [0.7]}}
    plots = [
        plot("it.svg", "mini", "a title", axis, {Score(Kind.MONOLINGUAL, "map"): lines})
        for axis, lines in zip(("trainings", "steps"), panel, strict=True)
    ]
    gc.collect()  # an unfinished generator of another test runs when it is freed
    gc.disable()
    sys.setprofile(watch)
    try:
        for drawing in (*figures, *plots):
            drawing.svg()
    finally:
        sys.setprofile(None)
        gc.enable()
    files = [Path(name) for name in ran]
    ours = {f.relative_to(package).as_posix() for f in files if f.is_relative_to(package)}
    assert ours
    assert ours <= {*CODE}

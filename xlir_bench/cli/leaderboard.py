"""`xlir-bench leaderboard`: pages from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlir_bench.cli.command import command
from xlir_bench.cli.terminal import SLOW, Bars, say, say_differences, warn
from xlir_bench.errors import InputError, XlirError, plural
from xlir_bench.escaping import visible
from xlir_bench.extras import require
from xlir_bench.options.running import DataOptions
from xlir_bench.options.stating import OUTPUT, option

if TYPE_CHECKING:
    from xlir_bench.reports.leaderboard.board import Board

RESULTS = "Results"


@command()
def leaderboard(
    *,
    results: tuple[Path, ...] = option(
        "A folder that holds results at any depth; may be given again.  [default: results]",
        (), group=RESULTS, metavar="DIR", many=True,
    ),
    significance: bool = option(
        "Test every two encoders against each other, where their ranks are stored.", True, group=RESULTS
    ),
    strict: bool = option("Exit 2 if any result cannot be read.", False, group=RESULTS),
    output: Path = option("Where the pages go.", Path("leaderboards"), group=OUTPUT, metavar="DIR"),
    html: bool = option("index.html too: one page that needs nothing else.", False, group=OUTPUT),
    figures: bool = option(
        "Figures of every task too, as SVG (needs matplotlib); where there are some, they are always kept up.",
        False, group=OUTPUT,
    ),
    questions: bool = option(
        "index.html too, with the questions of each language that each encoder fails and answers best, and their"
        " texts, of tasks whose data is on disk: the page is then under the data's licence.", False, group=OUTPUT,
    ),
    check: bool = option("Write nothing; exit 1 if pages or figures differ from the results.", False, group=OUTPUT),
    quiet: bool = option("Say nothing if all is well.", False, group=OUTPUT),
    data: DataOptions,
) -> int:  # fmt: skip
    """Write leaderboards from stored results: an index, a page a task, a page an encoder.

    Runs of the same languages of a task (run --langs) are ranked on a page of their own.

    The same results give the same files, to the byte. Only files that this command made are
    overwritten or removed. What papers report stands in published.md, beside what was measured.

    \b
    Examples:
      xlir-bench leaderboard --results results --html --figures
      xlir-bench leaderboard --questions --data ~/data   with texts: look first
      xlir-bench leaderboard --results results --results /shared/results \\
        --output boards
      xlir-bench leaderboard --results leaderboards/results --html --check   in CI
    """
    from xlir_bench.reports.generated import MARKER, drawn, figures_there, pages_there, update
    from xlir_bench.reports.leaderboard.board import read_board
    from xlir_bench.reports.leaderboard.figures import board_figures
    from xlir_bench.reports.leaderboard.pages import leaderboard_texts

    own, usual = output / "results", Path("results")
    if not results and own.is_dir() and own.resolve() != usual.resolve():
        raise InputError(
            f"{output} has results of its own, and its pages are of those: say --results {own}, or name another --output"
        )
    with Bars(quiet, SLOW) as bars:
        board = read_board(results or (usual,), significance, strict, bars)
        wanted = tuple(board_figures(board)) if figures or figures_there(output) else ()
        asked = _questions(board, data) if questions else {}
        texts = leaderboard_texts(board, html or questions, wanted, asked, bars)
        figure_texts = drawn(output, wanted, MARKER, check, bars)
    for line in board.unreadable:
        say(visible(f"left out: {line}"), err=True)
    among = [*pages_there(output), *figures_there(output)]
    if figure_texts is None and not check:
        require("plot", "leaderboard --figures")
    if figure_texts is None:
        say("figures are not compared: no matplotlib here, or another release", err=True)
        among = pages_there(output)
    texts |= figure_texts or {}
    differences = update(output, texts, among=among, check=check)
    if check:
        return say_differences(differences, output)
    if not quiet:
        encoders = len({row.record.encoder.slug for task in board.tasks for row in task.rows})
        tasks = len(board.tasks)
        say(
            f"{plural(encoders, 'encoder')} on {plural(tasks, 'task')}:"
            f" {len(texts)} files in {output} ({len(differences.missing)} new, {len(differences.changed)} changed,"
            f" {len(differences.extra)} removed)"
        )
        if board.left_out:
            say(f"{len(board.left_out)} not ranked: see {output / 'README.md'}")
    return 0


def _questions(board: Board, data: DataOptions) -> dict[str, dict[str, Any]]:
    """Of each task whose data is on disk the questions that the page shows, by its file."""
    from xlir_bench.cli.results import stored_collection
    from xlir_bench.reports.leaderboard.questions import question_data
    from xlir_bench.results import Result

    found = {}
    for task in board.tasks:
        try:
            texts = stored_collection(Result.load(task.rows[0].folder), data)
        except XlirError as error:
            warn(f"no questions of {task.file}: {error}")
        else:
            found[task.file] = question_data(task, texts)
    return found

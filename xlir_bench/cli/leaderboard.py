"""`xlir-bench leaderboard`: pages from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xlir_bench.cli.options import FOLDER, verbose_option
from xlir_bench.cli.terminal import say
from xlir_bench.escaping import visible

if TYPE_CHECKING:
    from xlir_bench.reports.leaderboard import Board, Differences


@click.command()
@click.option(
    "--results",
    type=FOLDER,
    multiple=True,
    metavar="DIR",
    help="A folder that holds results at any depth; may be given again.  [default: results]",
)
@click.option(
    "--output",
    type=FOLDER,
    default=Path("leaderboards"),
    show_default=True,
    metavar="DIR",
    help="Where the pages go.",
)
@click.option("--html", is_flag=True, help="index.html too: one page that needs nothing else.")
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 1 if the pages differ from the results."
)
@click.option(
    "--significance/--no-significance",
    default=True,
    show_default=True,
    help="Test each encoder against the best, where ranks.parquet lies beside the result.",
)
@click.option("--strict", is_flag=True, help="Exit 2 if any result cannot be read.")
@click.option("--quiet", is_flag=True, help="Say nothing if all is well.")
@verbose_option
def leaderboard(
    results: tuple[Path, ...],
    output: Path,
    html: bool,
    check: bool,
    significance: bool,
    strict: bool,
    quiet: bool,
) -> int:
    """Write leaderboards from stored results: an index, a page a task, a page an encoder.

    Runs of the same languages of a task (run --langs) are ranked on a page of their own.

    The same results give the same files, to the byte. Only files that this command made are
    overwritten or removed. What papers report stands in published.md, beside what was measured.

    \b
    Examples:
      xlir-bench leaderboard --results results --html
      xlir-bench leaderboard --results results --results /shared/results --output boards
      xlir-bench leaderboard --results leaderboards/results --html --check      in CI
    """
    from xlir_bench.reports.leaderboard import (
        differences,
        leaderboard_texts,
        read_board,
        write,
    )

    board = read_board(results or (Path("results"),), significance, strict)
    for line in board.unreadable:
        say(visible(f"left out: {line}"), err=True)
    texts = leaderboard_texts(board, html)
    if check:
        found = differences(output, texts)
        _tell_check(found, output)
        return 1 if found else 0
    found = write(output, texts)
    if not quiet:
        say(_told(board, found, len(texts), output))
    return 0


def _tell_check(found: Differences, output: Path) -> None:
    for what, names in (
        ("differs", found.changed),
        ("missing", found.missing),
        ("extra", found.extra),
    ):
        for name in names:
            say(f"{what}: {output / name}")
    if found:
        say("the same command without --check mends this", err=True)


def _told(board: Board, found: Differences, files: int, output: Path) -> str:
    encoders = len({row.record.encoder.slug for task in board.tasks for row in task.rows})
    tasks = len(board.tasks)
    lines = [
        f"{encoders} encoder{'s' * (encoders != 1)} on {tasks} task{'s' * (tasks != 1)}:"
        f" {files} files in {output} ({len(found.missing)} new, {len(found.changed)} changed,"
        f" {len(found.extra)} removed)"
    ]
    if board.left_out:
        lines.append(f"{len(board.left_out)} not ranked: see {output / 'README.md'}")
    return "\n".join(lines)

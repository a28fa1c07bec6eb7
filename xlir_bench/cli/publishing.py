"""`leaderboard`, `plot` and `export`: pages, pictures and files made from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xlir_bench.cli.command import argument, command
from xlir_bench.cli.results import stored_collection
from xlir_bench.cli.terminal import SLOW, Bars, say, say_differences, warn
from xlir_bench.errors import InputError, XlirError, plural
from xlir_bench.escaping import visible
from xlir_bench.extras import require
from xlir_bench.options.drawing import PICTURE, DrawOptions
from xlir_bench.options.running import DataOptions
from xlir_bench.options.stating import OUTPUT, option

if TYPE_CHECKING:
    from xlir_bench.reports.leaderboard.board import Board

HUB, RESULTS = "Hugging Face hub", "Results"
Kind = Literal[
    "matrix", "difference", "languages", "bias", "trade-off", "checkpoints", "alignment", "cost"
]


@command()
def leaderboard(
    *,
    results: tuple[Path, ...] = option(
        "A folder that holds results at any depth; may be given again.  [default: results]",
        (), group=RESULTS, metavar="DIR", many=True,
    ),
    significance: bool = option(
        "Test every pair of encoders whose ranks are stored.", True, group=RESULTS
    ),
    strict: bool = option("Exit 2 if any result cannot be read.", False, group=RESULTS),
    output: Path = option("Where the pages go.", Path("leaderboards"), group=OUTPUT, metavar="DIR"),
    html: bool = option("Write index.html, too: one page that needs no other file.", False, group=OUTPUT),
    figures: bool = option(
        "Draw figures of every task, too, as SVG (needs matplotlib); existing figures are always updated.",
        False, group=OUTPUT,
    ),
    questions: bool = option(
        "Write index.html with the questions that each encoder answers worst and best in each language, and their"
        " texts, for tasks whose data is on disk; the data's licence then covers the page.", False, group=OUTPUT,
    ),
    check: bool = option("Write nothing; exit 1 if pages or figures differ from the results.", False, group=OUTPUT),
    quiet: bool = option("Say nothing if all is well.", False, group=OUTPUT),
    data: DataOptions,
) -> int:  # fmt: skip
    """Write leaderboards from stored results: an index, a page a task, a page an encoder.

    Runs of the same languages of a task (run --langs) are ranked on a page of their own.

    The same results give the same files, to the byte. Only files that this command made are
    overwritten or removed. published.md sets scores that papers report beside the measured ones.

    \b
    Examples:
      xlir-bench leaderboard --results results --html --figures
      xlir-bench leaderboard --questions --data ~/data   check the licence first
      xlir-bench leaderboard --results results --results /shared/results \\
        --output boards
      xlir-bench leaderboard --results leaderboards/results --html --check   in CI
    """
    from xlir_bench.reports.generated import MARKER, drawn, figures_there, pages_there, update
    from xlir_bench.reports.leaderboard.board import read_board
    from xlir_bench.reports.leaderboard.pages import leaderboard_texts
    from xlir_bench.reports.plots import board_figures

    own, usual = output / "results", Path("results")
    if not results and own.is_dir() and own.resolve() != usual.resolve():
        raise InputError(
            f"the pages in {output} are made from {own}: say --results {own}, or name another --output"
        )
    with Bars(quiet, SLOW) as bars:
        board = read_board(results or (usual,), significance, strict, bars)
        wanted = tuple(board_figures(board)) if figures or figures_there(output) else ()
        shown_questions = _questions(board, data) if questions else {}
        texts = leaderboard_texts(board, html or questions, wanted, shown_questions, bars)
        figure_texts = drawn(output, wanted, MARKER, check, bars)
    for line in board.unreadable:
        say(visible(f"left out: {line}"), err=True)
    removable = [*pages_there(output), *figures_there(output)]
    if figure_texts is None and not check:
        require("plot", "leaderboard --figures")
    if figure_texts is None:
        say("figures are not compared: matplotlib is missing, or another release", err=True)
        removable = pages_there(output)
    texts |= figure_texts or {}
    differences = update(output, texts, removable=removable, check=check)
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


@command()
def plot(
    *,
    kind: Kind = argument("KIND"),
    results: tuple[Path, ...] = argument("RESULT..."),
    output: Path = option("Where the picture goes; .png, .svg or .pdf.", group=PICTURE, metavar="FILE"),
    measure: str | None = option(
        "Any measure the results have (default: map); alignment: margin (default) or recall@1, 5, 10.",
        None, group=PICTURE,
    ),
    options: DrawOptions,
) -> None:  # fmt: skip
    """Draw stored results (needs: pip install 'xlir-bench[plot]').

    \b
    KIND is one of
      matrix        every pair of languages of one result, numbers in the cells
      difference    one result minus another, every pair of languages
      languages     languages of the ten best passages, and of the pool
      bias          own language first and map in the pool, by language
      trade-off     multilingual map against rank distance, a point per encoder
      checkpoints   map by kind, over the number in the names of results
      alignment     how close translations are, by pair (run --alignment)
      cost          map against latency and size of the index (from profile)

    \b
    Examples:
      xlir-bench plot matrix results/builtin-ngram/mini --output matrix.png
      xlir-bench plot difference after/xquad-r before/xquad-r --output gains.png \\
        --title "After and before"
      xlir-bench plot matrix out/xquad-r --output matrix.pdf --size 3.3x3 \\
        --font-size 7
      xlir-bench plot bias before/xquad-r after/xquad-r --output bias.svg
      xlir-bench plot trade-off results/*/xquad-r --output trade-off.svg
      xlir-bench plot checkpoints results/checkpoint-*/xquad-r --output curve.png
      xlir-bench plot alignment results/builtin-ngram/mini --measure recall@1 \\
        --output pairs.svg
    """
    from xlir_bench.reports.plots import draw, save
    from xlir_bench.results import load_results

    records = [result.record for path in results for result in load_results([path])]
    save(draw(kind, records, measure, options), output, options.dpi)
    say(f"written to {output}")


@command()
def export(
    *,
    form: str = argument(
        "trec|latex|mteb|hf|model-index|eval-yaml|space|csv|parquet|queries|result"
    ),
    results: tuple[Path, ...] = argument("RESULT..."),
    output: Path = option(
        "A file for csv, parquet and latex, a folder for the others.", group=OUTPUT, metavar="PATH"
    ),
    dataset: str | None = option(
        "For hf: the data set of the hub whose eval.yaml states the tasks.", None, group=HUB, metavar="REPO"
    ),
    push_to: str | None = option(
        "Upload hf, eval-yaml (as a pull request) or space to this repository of the hub.",
        None, group=HUB, flag="push", metavar="REPO",
    ),
    dry_run: bool = option("With --push: write the files, say what would go where, and upload nothing.", False, group=HUB),
) -> None:  # fmt: skip
    """Write stored results in the formats of other tools, or in a form small enough for Git.

    \b
    trec         run and qrels files of every setting (needs run --save-run K)
    latex        a tabular (booktabs) of each task: the best in bold, 95 %
                 intervals below
    mteb         mteb's result files: <model>/<revision>/<task>.json
    hf           scores as the hub reads them from a model:
                 <encoder>/.eval_results/<task>.yaml
    model-index  the older block of a model card, one file per encoder
    eval-yaml    eval.yaml, which makes a data set of the hub a benchmark
    space        the leaderboard's page as a static Space of the hub
    csv          a row for each setting and measure; rows of a kind carry the
                 95 % interval. Text that a spreadsheet would run as a formula
                 (=, +, -, @) gets an apostrophe before it
    parquet      the same rows, with all text unchanged
    queries      <encoder>/<task>/queries.parquet: every query's values
    result       <encoder>/<task>: result.json and its ranks, all that
                 leaderboard, compare and gate need

    \b
    Examples:
      xlir-bench export csv results/*/xquad-r --output xquad-r.csv
      xlir-bench export latex results --output table.tex
      xlir-bench export hf results/mine/xquad-r --output hub --dataset DATASET \\
        --push MODEL --dry-run
      xlir-bench export space results --output board
      xlir-bench export trec results/mine/mini --output trec
      xlir-bench export result results/*/xquad-r --output leaderboards/results
    """
    from xlir_bench.reports.export import REPOSITORIES, push, pushed_folder, write
    from xlir_bench.results import load_in_order

    if dry_run and push_to is None:
        raise InputError("--dry-run is for --push: give --push REPO, too")
    existing = {path for path in [output, *output.rglob("*")] if path.is_file()}
    written = write(form, load_in_order(results), output, dataset)
    count = len(existing.intersection(written))
    replaced = f", {count} in place of older ones" if count else ""
    say(f"{plural(len(written), 'file')} written to {output}{replaced}")
    if push_to is None:
        return
    folder = pushed_folder(form, written, output)
    if dry_run:
        for path in written:
            say(f"would go to {REPOSITORIES[form]} {push_to}: {path.relative_to(folder)}")
    else:
        say(push(form, written, output, push_to))


def _questions(board: Board, data: DataOptions) -> dict[str, dict[str, Any]]:
    """The questions that the page shows, by file of the task, for tasks whose data is on disk."""
    from xlir_bench.reports.leaderboard.single_page import question_data
    from xlir_bench.results import Result

    by_file = {}
    for task in board.tasks:
        try:
            texts = stored_collection(Result.load(task.rows[0].folder), data)
        except XlirError as error:
            warn(f"no questions of {task.file}: {error}")
        else:
            by_file[task.file] = question_data(task, texts)
    return by_file

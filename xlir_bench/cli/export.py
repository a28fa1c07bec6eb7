"""`xlir-bench export`: stored results for other tools."""

from __future__ import annotations

from pathlib import Path

from xlir_bench.cli.command import argument, command
from xlir_bench.cli.terminal import say
from xlir_bench.errors import InputError, plural
from xlir_bench.options.stating import OUTPUT, option

HUB = "Hugging Face hub"


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
    """Write stored results in the files of other tools, or without what Git has no room for.

    \b
    trec         run and qrels files of every setting (wants run --save-run K)
    latex        a tabular (booktabs) of each task: the best in bold, 95 %
                 intervals below
    mteb         mteb's result files: <model>/<revision>/<task>.json
    hf           scores as the hub reads them from a model:
                 <encoder>/.eval_results/<task>.yaml
    model-index  the older block of a model card, one file an encoder
    eval-yaml    eval.yaml, which makes a data set of the hub a benchmark
    space        the leaderboard's page as a static Space of the hub
    csv          a row for each setting and measure; rows of a kind carry the
                 95 % interval. Text that a spreadsheet would run as a formula
                 (=, +, -, @) gets an apostrophe before it
    parquet      the same, all text as it is
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
    from xlir_bench.reports.export import write
    from xlir_bench.reports.hub import REPOSITORIES, push, pushed_folder
    from xlir_bench.results import load_in_order

    if dry_run and push_to is None:
        raise InputError("--dry-run is of --push, and there is none")
    there = {path for path in [output, *output.rglob("*")] if path.is_file()}
    written = write(form, load_in_order(results), output, dataset)
    count = len(there.intersection(written))
    replaced = f", {count} in place of what was there" if count else ""
    say(f"{plural(len(written), 'file')} written to {output}{replaced}")
    if push_to is None:
        return
    folder = pushed_folder(form, written, output)
    if dry_run:
        for path in written:
            say(f"would go to {REPOSITORIES[form]} {push_to}: {path.relative_to(folder)}")
    else:
        say(push(form, written, output, push_to))

"""`xlir-bench export`: stored results for other tools."""

from __future__ import annotations

from pathlib import Path

from xlir_bench.cli.command import argument, command
from xlir_bench.cli.terminal import say
from xlir_bench.options.stating import OUTPUT, option


@command()
def export(
    *,
    form: str = argument("trec|latex|mteb|hf|csv|parquet|queries|result"),
    results: tuple[Path, ...] = argument("RESULT..."),
    output: Path = option(
        "A file for csv, parquet and latex, a folder for the others.", group=OUTPUT, metavar="PATH"
    ),
) -> None:
    """Write stored results in the files of other tools, or without what Git has no room for.

    \b
    trec     run and qrels files of every setting (needs results made with --save-run K)
    latex    a tabular for a paper (booktabs) of each task: the best in bold, 95 % intervals below
    mteb     mteb's result files: <model>/<revision>/<task>.json
    hf       the model-index block of a model card, one file an encoder
    csv      a row for each setting and measure; rows of a kind carry the 95 % interval. Text that a
             spreadsheet would run as a formula (=, +, -, @) gets an apostrophe before it
    parquet  the same, all text as it is
    queries  queries.parquet, <encoder>/<task>: the value of every query, setting and measure
    result   result.json and its ranks, <encoder>/<task>: all that leaderboard, compare and gate need

    \b
    Examples:
      xlir-bench export csv results/*/xquad-r --output xquad-r.csv
      xlir-bench export latex results --output table.tex
      xlir-bench export hf results/mine/mini results/mine/xquad-r --output cards
      xlir-bench export trec results/mine/mini --output trec
      xlir-bench export result results/*/xquad-r --output leaderboards/results
    """
    from xlir_bench.reports.export import write
    from xlir_bench.results import load_in_order

    there = {path for path in [output, *output.rglob("*")] if path.is_file()}
    written = write(form, load_in_order(results), output)
    what = "file" if len(written) == 1 else "files"
    replaced = (
        f", {count} in place of what was there"
        if (count := sum(map(there.__contains__, written)))
        else ""
    )
    say(f"{len(written)} {what} written to {output}{replaced}")

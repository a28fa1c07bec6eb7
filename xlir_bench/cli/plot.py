"""`xlir-bench plot`: pictures of stored results."""

from __future__ import annotations

from pathlib import Path

import click

from xlir_bench.cli.options import FOLDER, verbose_option
from xlir_bench.cli.terminal import say

KINDS = ("matrix", "languages", "bias", "trade-off", "checkpoints", "alignment")


@click.command()
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("results", nargs=-1, required=True, type=FOLDER, metavar="RESULT...")
@click.option(
    "--output",
    type=FOLDER,
    required=True,
    metavar="FILE",
    help="Where the picture goes; .png, .svg or .pdf.",
)
@click.option(
    "--measure",
    help="Any measure the results have (default: map); alignment: margin (default) or recall@1, 5, 10.",
)
@click.option(
    "--dpi", type=click.IntRange(30, 1200), default=200, show_default=True, help="Of a PNG."
)
@verbose_option
def plot(kind: str, results: tuple[Path, ...], output: Path, measure: str | None, dpi: int) -> None:
    """Draw stored results (needs: pip install 'xlir-bench[plot]').

    \b
    KIND is one of
      matrix        every pair of languages of one result, numbers in the cells
      languages     languages of the ten best passages, beside their share of the pool
      bias          own language first and multilingual map by language: before and after
      trade-off     multilingual map against rank distance, a point an encoder
      checkpoints   map by kind over results, by the number in their names
      alignment     every pair of languages: how near translations lie (run --alignment)

    \b
    Examples:
      xlir-bench plot matrix results/builtin-ngram/mini --output matrix.png
      xlir-bench plot bias before/xquad-r after/xquad-r --output bias.svg
      xlir-bench plot trade-off results/*/xquad-r --output trade-off.svg
      xlir-bench plot checkpoints results/checkpoint-*/xquad-r --output curve.png
      xlir-bench plot alignment results/builtin-ngram/mini --measure recall@1 --output pairs.svg
    """
    from xlir_bench.reports.plots import draw, save
    from xlir_bench.results import load_results

    records = [result.record for path in results for result in load_results([path])]
    save(draw(kind, records, measure), output, dpi)
    say(f"written to {output}")

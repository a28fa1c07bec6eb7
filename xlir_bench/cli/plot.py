"""`xlir-bench plot`: pictures of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from xlir_bench.cli.command import argument, command
from xlir_bench.cli.terminal import say
from xlir_bench.options.drawing import PICTURE, DrawOptions
from xlir_bench.options.stating import option

Kind = Literal[
    "matrix", "difference", "languages", "bias", "trade-off", "checkpoints", "alignment", "cost"
]


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
      difference    one result less another, every pair of languages
      languages     languages of the ten best passages, and of the pool
      bias          own language first and map in the pool, by language
      trade-off     multilingual map against rank distance, a point an encoder
      checkpoints   map by kind over results, by the number in their names
      alignment     how near translations lie, by pair (run --alignment)
      cost          map against latency and size of the index (of profile)

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

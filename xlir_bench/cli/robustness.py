"""`xlir-bench robustness`: whether a quality holds away from home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from xlir_bench.reports.document import Form

from xlir_bench.cli.options import FOLDER, form_options, verbose_option
from xlir_bench.cli.terminal import say, say_blocks, say_json


@click.command()
@click.argument("results", nargs=-1, required=True, type=FOLDER, metavar="RESULTS...")
@click.option(
    "--reference",
    metavar="TASK",
    help="Set each encoder's tasks beside its own result on this one.  [default: the first task]",
)
@click.option(
    "--baseline",
    metavar="ENCODER",
    help="Instead: set each encoder beside this one (its folder's name), task by task.",
)
@click.option("--measure", default="map", show_default=True, help="Any measure the results have.")
@form_options
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--plot", type=FOLDER, metavar="FILE", help="A picture too; .png, .svg or .pdf.")
@verbose_option
def robustness(
    results: tuple[Path, ...],
    reference: str | None,
    baseline: str | None,
    measure: str,
    form: Form | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Say whether what holds on one task holds on others, as relative change with its 95 % interval.

    Beside a reference task: by how much an encoder falls where texts are of another domain (two samples
    of queries, drawn apart). Beside a baseline encoder: whether a gain is there on every task (the same
    queries, drawn together). Tasks differ in difficulty: compare encoders, not bare falls.

    \b
    Examples:
      xlir-bench robustness results --reference xquad-r
      xlir-bench robustness results --baseline builtin-ngram --plot gains.png
    """
    from xlir_bench.errors import InputError
    from xlir_bench.reports import robustness as reports
    from xlir_bench.results import load_results

    if reference is not None and baseline is not None:
        raise InputError(
            "--reference sets tasks side by side, --baseline encoders: give one of them"
        )
    loaded = load_results(results)
    beside = baseline or reference or loaded[0].record.task.name
    shifts = reports.shifts(loaded, measure, None if baseline else beside, baseline)
    if not shifts:
        raise InputError(
            f"nothing stands beside {beside}: name more results, of other tasks or encoders"
        )
    if plot is not None:
        from xlir_bench.reports.plots import draw_robustness, save

        save(draw_robustness(shifts, beside, measure), plot, 200)
    if as_json:
        say_json(reports.robustness_record(shifts, beside, measure), indent=1)
        return
    say_blocks(reports.robustness_blocks(shifts, beside, measure), form)
    if plot is not None:
        say(f"\nwritten to {plot}")

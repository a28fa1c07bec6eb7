"""`xlir-bench robustness`: whether what holds on one task holds on others."""

from __future__ import annotations

from pathlib import Path

from xlir_bench.cli.command import FORM, JSON, ReportForm, argument, command
from xlir_bench.cli.terminal import say, say_report
from xlir_bench.errors import InputError
from xlir_bench.options.stating import OUTPUT, option

COMPARED = "What is compared"


@command()
def robustness(
    *,
    results: tuple[Path, ...] = argument("RESULTS..."),
    reference: str | None = option(
        "Set each encoder's tasks beside its own result on this one.  [default: the first task]",
        None, group=COMPARED, metavar="TASK",
    ),
    baseline: str | None = option(
        "Instead: set each encoder beside this one (its folder's name), task by task.",
        None, group=COMPARED, metavar="ENCODER",
    ),
    measure: str = option("Any measure the results have.", "map", group=COMPARED),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    plot: Path | None = option("A picture too; .png, .svg or .pdf.", None, group=OUTPUT, metavar="FILE"),
) -> None:  # fmt: skip
    """Say whether what holds on one task holds on others, as relative change with its 95 % interval.

    Beside a reference task: by how much an encoder falls where texts are of another domain (two samples
    of queries, drawn apart). Beside a baseline encoder: whether a gain is there on every task (the same
    queries, drawn together). Tasks differ in difficulty: compare encoders, not bare falls.

    \b
    Examples:
      xlir-bench robustness results --reference xquad-r
      xlir-bench robustness results --baseline builtin-ngram --plot gains.png
    """
    from xlir_bench.reports import robustness as reports
    from xlir_bench.results import load_results

    if reference is not None and baseline is not None:
        raise InputError("--reference compares tasks, --baseline encoders: give one of them")
    loaded = load_results(results)
    beside = baseline or reference or loaded[0].record.task.name
    shifts = reports.shifts(loaded, measure, None if baseline else beside, baseline)
    if not shifts:
        raise InputError(f"nothing stands beside {beside}: name results of other tasks or encoders")
    if plot is not None:
        from xlir_bench.reports.plots import draw_robustness, save

        save(draw_robustness(shifts, beside, measure), plot, 200)
    record = reports.robustness_record(shifts, beside, measure)
    say_report(as_json, record, reports.robustness_blocks(shifts, beside, measure), form)
    if plot is not None and not as_json:
        say(f"\nwritten to {plot}")

"""`xlir-bench compare`: stored results against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.cli.command import FORM, JSON, ReportForm, argument, command
from xlir_bench.cli.terminal import say_report
from xlir_bench.errors import InputError, XlirError
from xlir_bench.options.running import DataOptions
from xlir_bench.options.stating import option
from xlir_bench.rendering.document import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlir_bench.reports.compare import Moved
    from xlir_bench.results import Result

COMPARED = "What is compared"
NAMED = 5
"""How many of the queries that lost most, and gained most, are named without --show-queries."""


@command()
def compare(
    *,
    results: tuple[Path, ...] = argument("A B [C]..."),
    measure: str | None = option("What to compare.  [default: map]", None, group=COMPARED, metavar="NAME"),
    show_queries: int | None = option(
        "The N queries that lost most and the N that gained most, with their texts if the data is here.",
        None, group=COMPARED, metavar="N", least=1,
    ),
    force: bool = option(
        "Compare what two results share though they do not measure the same thing.", False, group=COMPARED
    ),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    data: DataOptions,
) -> None:  # fmt: skip
    """Say by how much B is better or worse than A, and how sure that is.

    By kind, by query language and by setting: both values, the difference (B - A), its 95 % interval
    over clusters (articles, where the data has them), p (the larger of sign flips' and a bootstrap's),
    and Holm's p over all rows tested in a table, shown or not. Three or more results: all pairs, by kind. Nothing is encoded.

    \b
    Examples:
      xlir-bench compare results/builtin-ngram/mini results/mine/mini
      xlir-bench compare results/a/xquad-r results/b/xquad-r --show-queries 10
      xlir-bench compare results/*/xquad-r --measure recall@10 --markdown
      xlir-bench compare results                        all there is of a task
    """
    from xlir_bench.reports import compare as reports
    from xlir_bench.results import load_in_order

    loaded = load_in_order(results)
    if len(loaded) == 1 and len(results) > 1:
        raise InputError(f"these are all of one result, {loaded[0].folder}: compare wants two")
    if len(loaded) < 2:
        raise InputError("compare wants two results or more: xlir-bench compare A B [C...]")
    if len(loaded) > len(results) and len({result.record.task.name for result in loaded}) > 1:
        there = "\n  ".join(str(result.folder) for result in loaded)
        raise InputError(f"these are results of several tasks; name those of one:\n  {there}")
    if len(loaded) > 2:
        if show_queries:
            raise InputError(f"--show-queries is of two results, and these are {len(loaded)}")
        measure = reports.shared_measure(loaded, measure)
        pairs, notes = reports.compare_all(loaded, measure, force)
        record = reports.pairs_record(pairs, measure, notes)
        say_report(as_json, record, reports.pairs_blocks(pairs, measure, notes), form)
        return
    comparison = reports.compare(loaded[0], loaded[1], measure, force)
    queries = reports.most_moved(comparison, show_queries or NAMED)
    blocks = reports.comparison_blocks(comparison, queries)
    if show_queries and not as_json:
        blocks.append(_query_texts(loaded[0], queries, data))
    say_report(as_json, reports.comparison_record(comparison, queries), blocks, form)


def _query_texts(result: Result, queries: Sequence[Moved], data: DataOptions) -> Lines:
    """The texts of these queries, or why they cannot be shown."""
    from xlir_bench.cli.show import stored_collection
    from xlir_bench.rendering.numbers import signed

    try:
        collection = stored_collection(result, data)
    except XlirError as error:
        return Lines(f"(texts are not shown: {error})")
    lines = []
    for moved in queries:
        asked = collection.queries[moved.query_lang]
        text = asked.texts[asked.ids.index(moved.query_id)]
        lines.append(f"{signed(moved.change)}  {moved.query_lang} {moved.query_id}: {text}")
    return Lines(*lines)

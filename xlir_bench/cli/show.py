"""`xlir-bench show`: a stored result again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from xlir_bench.reports.document import Form

from xlir_bench.cli.options import (
    FOLDER,
    data_option,
    form_options,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.terminal import say_blocks, say_json


@click.command()
@click.argument("results", nargs=-1, required=True, type=FOLDER, metavar="RESULT...")
@click.option(
    "--query", "query_id", metavar="ID", help="What each language's pool gave for this question."
)
@form_options
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@data_option
@tasks_dir_option
@verbose_option
def show(
    results: tuple[Path, ...],
    query_id: str | None,
    form: Form | None,
    as_json: bool,
    data: Path | None,
    tasks_dirs: tuple[Path, ...],
) -> None:
    """Print the tables of stored results again.

    \b
    Examples:
      xlir-bench show results/builtin-ngram/mini
      xlir-bench show results/*/xquad-r                 one row an encoder
      xlir-bench show results/builtin-ngram/mini --query honey-bees-1
    """
    from xlir_bench.reports.cost import cost_blocks
    from xlir_bench.reports.tables import comparison_rows, report
    from xlir_bench.results import Result

    loaded = [Result.load(path) for path in results]
    if query_id is not None:
        from xlir_bench.cli.question import question_report

        for result in loaded:
            say_blocks(question_report(result, query_id, data, tasks_dirs), form)
    elif as_json:
        texts = [result.to_json() for result in loaded]
        say_json(texts[0] if len(texts) == 1 else "[" + ",".join(texts) + "]")
    elif len(loaded) == 1:
        cost = loaded[0].record.profile.cost
        say_blocks([*report(loaded[0].record), *(cost_blocks(cost) if cost else ())], form)
    else:
        say_blocks([comparison_rows([result.record for result in loaded])], form)

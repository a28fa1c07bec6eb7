"""`xlir-bench diagnose`: why answers were missed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.cli.command import FORM, JSON, ReportForm, argument, command
from xlir_bench.cli.terminal import SLOW, Bars, say_report
from xlir_bench.errors import InputError, XlirError
from xlir_bench.options.running import DataOptions
from xlir_bench.options.stating import DATA, option

if TYPE_CHECKING:
    from xlir_bench.records import Collection

DIAGNOSED = "What is diagnosed"


@command()
def diagnose(
    *,
    result: Path = argument("RESULT"),
    rank: int = option(
        "An answer that is not among the best K is missed.", 20, group=DIAGNOSED, metavar="K", least=1
    ),
    examples: int = option("Misses of each class to show.", 2, group=DIAGNOSED, metavar="N", least=0),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    data: DataOptions,
    task: str | None = option(
        "Of data of your own: what was run, as `run --task` takes it, such as mlir:FOLDER.",
        None, group=DATA, metavar="SPEC",
    ),
) -> None:  # fmt: skip
    """Say why answers were missed: by ranking across languages, by matching, or by labels in doubt.

    Every answer that is not among the best of the pool of all languages is in one of six classes, by pair of
    languages, with examples. Texts are read from the data root; without them near duplicates and lexical
    neighbours are not judged. Nothing is encoded.

    \b
    Examples:
      xlir-bench diagnose results/builtin-ngram/mini
      xlir-bench diagnose results/mine/xquad-r --data ~/data --examples 5
    """
    from xlir_bench.cli.show import stored_collection
    from xlir_bench.reports import misses
    from xlir_bench.reports.diagnose import diagnosis_blocks, diagnosis_record
    from xlir_bench.results import load_in_order

    stored, *others = load_in_order([result])
    if others:
        raise InputError(
            f"{result} holds {len(others) + 1} results: name one, such as {stored.folder}"
        )
    texts: Collection | str
    try:
        texts = stored_collection(stored, data, task)
    except XlirError as error:
        if task is not None:
            raise
        texts = f"texts are not at hand: {error}"
    with Bars(delay=SLOW) as bars:
        diagnosis = misses.diagnose(stored, texts, misses.Limits(rank=rank), examples, bars)
    blocks = diagnosis_blocks(stored, diagnosis, shortened=form is None)
    say_report(as_json, diagnosis_record(stored, diagnosis), blocks, form)

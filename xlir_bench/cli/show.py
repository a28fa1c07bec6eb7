"""`xlir-bench show`: a stored result again, or what became of one of its questions."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.cli.command import FORM, JSON, ReportForm, argument, command
from xlir_bench.cli.terminal import say_blocks, say_results
from xlir_bench.errors import InputError, XlirError, listed
from xlir_bench.options.running import DataOptions, RunOptions
from xlir_bench.options.stating import option
from xlir_bench.rendering.document import Block, Lines, Listing, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from xlir_bench.records import Collection
    from xlir_bench.results import Result


@command()
def show(
    *,
    results: tuple[Path, ...] = argument("RESULT..."),
    query: str | None = option(
        "What each language's pool gave for this question, by its id or words of it; '' lists the questions.",
        None, group="Question", metavar="ID|TEXT",
    ),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    data: DataOptions,
) -> None:  # fmt: skip
    """Print the tables of stored results again, or a row for each of several.

    \b
    Examples:
      xlir-bench show results                           what there is
      xlir-bench show results/builtin-ngram/mini
      xlir-bench show results/*/xquad-r                 one row an encoder
      xlir-bench show results/builtin-ngram/mini --query honey-bees-1
      xlir-bench show results/builtin-ngram/mini --query "queen bee"
    """
    from xlir_bench.reports.cost import cost_blocks
    from xlir_bench.reports.tables import report, results_table, shortened
    from xlir_bench.results import load_in_order

    if query is not None and as_json:
        raise InputError("--query prints a table and texts; leave --json or --query out")
    loaded = load_in_order(results)
    if query is not None:
        for result in loaded:
            say_blocks(_question_blocks(result, query, data), form)
    elif as_json:
        say_results(loaded, alone=len(loaded) == 1)
    elif len(loaded) == 1:
        cost = loaded[0].record.profile.cost
        blocks = report(loaded[0].record)
        if form is None:
            blocks = shortened(loaded[0].record, blocks)
        say_blocks([*blocks, *(cost_blocks(cost) if cost else ())], form)
    else:
        blocks = [results_table([result.record for result in loaded])]
        if len(loaded) > len(results):
            blocks.append(Listing("`show FOLDER` has all of one:", [str(r.folder) for r in loaded]))
        say_blocks(blocks, form)


def _question_blocks(result: Result, query_id: str, data: DataOptions) -> list[Block]:
    """The ranks of a question's answers in every pool, and the texts of both where the data is on disk."""
    from xlir_bench.reports.tables import heading

    ranks = result.table("ranks").to_pandas()
    lines, collection = [], None
    try:
        collection = stored_collection(result, data)
    except XlirError as error:
        lines.append(f"(texts are not shown: {error})")
    ids = ranks["query_id"].unique().tolist()
    if query_id not in ids:
        questions = _questions(ids, query_id, collection)
        if len(questions) != 1:
            return [
                heading(result.record),
                Lines(*("  ".join(filter(None, row)) for row in questions)),
                Lines(*lines),
            ]
        query_id = questions[0][0]
    of_query = ranks[ranks["query_id"] == query_id]
    if collection is not None:
        answers = set(of_query["passage_id"].astype(str))
        for lang in sorted({*collection.queries, *collection.passages}):
            queries, passages = collection.queries.get(lang), collection.passages.get(lang)
            if queries and query_id in queries.ids:
                lines.append(f"{lang}  {queries.texts[queries.ids.index(query_id)]}")
            for name, text in zip(passages.ids, passages.texts, strict=True) if passages else ():
                if name in answers:
                    lines.append(f"    {name}: {text}")
    title = Lines(f"question {query_id}: ranks of its answers")
    return [heading(result.record), title, _rank_table(of_query), Lines(*lines)]


def _questions(
    ids: Sequence[str], words: str, collection: Collection | None
) -> list[tuple[str, str, str]]:
    """Id, language and text of the questions with these words, one language each; refused if there is none."""
    rows = [(name, "", "") for name in ids if not words]
    if collection is not None:
        wanted, known = words.casefold(), {*ids}
        rows = [
            (name, lang, text)
            for lang, queries in sorted(collection.queries.items(), key=lambda x: x[0] != "en")
            for name, text in zip(queries.ids, queries.texts, strict=True)
            if name in known and wanted in text.casefold()
        ]
    questions = list({row[0]: row for row in reversed(rows)}.values())[::-1]
    if not questions:
        near = "".join(f"; did you mean {x!r}?" for x in get_close_matches(words, ids, n=1))
        raise InputError(
            f"no question has the id {words!r}, or these words{near} (there are {listed(ids)}; --query '' lists them)"
        )
    return questions


def _rank_table(ranks: pd.DataFrame) -> Table:
    """Rows are query languages; columns the rank among one language's passages, then among all."""
    ranks = ranks.astype({"query_lang": str, "passage_lang": str})
    langs = sorted(ranks["passage_lang"].unique())
    columns = [*langs, *(f"all:{lang}" for lang in langs)]
    pool = ranks["kind"].astype(str).map({"multilingual": "all:"}).fillna("")
    found = ranks.sort_values("rank")["rank"].map(lambda rank: str(rank) if rank else "not found")
    cells = found.groupby([ranks["query_lang"], pool + ranks["passage_lang"]]).agg(" ".join)
    rows = cells.unstack(fill_value="-").reindex(columns=columns, fill_value="-")
    return Table(["query \\ alone", *columns], rows.reset_index().to_numpy().tolist())


def stored_collection(result: Result, data: DataOptions, spec: str | None = None) -> Collection:
    """The data that a result was made from, with its questions as they were asked, as far as it is on disk.

    `spec`: the task, as `run --task` takes it, where it is data of one's own. Nothing is downloaded.
    """
    from xlir_bench.augment.query_forms import with_query_form
    from xlir_bench.sources import load_present
    from xlir_bench.sources.own import OWN

    asked = result.record.options
    options = asked.asked_again(RunOptions(data=data.root))
    known = data.catalogue()
    name = result.record.task.name
    if spec is None and name not in known.tasks and result.record.task.domain == OWN:
        raise InputError(f"{name!r} is data of your own: `diagnose --task` takes it as `run` did")
    (task,) = known.get([name if spec is None else spec], options.langs, offline=True)
    if spec is not None and task.name != name:
        raise InputError(f"--task {spec} is {task.name!r}, and the result is of {name!r}")
    collection = load_present(task, options.data, options.langs, candidate=options.candidate)
    if options.query_form is None:
        return collection
    if options.word_lists_digest != asked.word_lists:
        raise InputError("its questions were changed by word lists that are not in the data root")
    return with_query_form(collection, options.query_form, options.word_lists)

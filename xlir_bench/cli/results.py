"""`show`, `diagnose`, `compare` and `robustness`: reports on stored results."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.cli.command import FORM, JSON, ReportForm, argument, command
from xlir_bench.cli.terminal import SLOW, Bars, say, say_blocks, say_report, say_results
from xlir_bench.errors import InputError, XlirError, listed
from xlir_bench.options.running import DataOptions, RunOptions
from xlir_bench.options.stating import DATA, OUTPUT, option
from xlir_bench.rendering.document import Block, Lines, Listing, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from xlir_bench.records import Collection
    from xlir_bench.reports.compare import Moved
    from xlir_bench.results import Result

COMPARED, DIAGNOSED = "What is compared", "What is diagnosed"
NAMED = 5
"""How many queries that lost most, and that gained most, are listed without --show-queries."""


@command()
def show(
    *,
    results: tuple[Path, ...] = argument("RESULT..."),
    query: str | None = option(
        "Show the ranks of this question's answers in every pool; give its id or words of it; '' lists all questions.",
        None, group="Question", metavar="ID|TEXT",
    ),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    data: DataOptions,
) -> None:  # fmt: skip
    """Print the tables of a stored result again, or one row for each of several results.

    \b
    Examples:
      xlir-bench show results                           list all results
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
            blocks.append(
                Listing("`show FOLDER` prints all tables of one:", [str(r.folder) for r in loaded])
            )
        say_blocks(blocks, form)


@command()
def diagnose(
    *,
    result: Path = argument("RESULT"),
    rank: int = option(
        "An answer counts as missed if it is not among the best K.", 20, group=DIAGNOSED, metavar="K", least=1
    ),
    examples: int = option("Misses of each class to show.", 2, group=DIAGNOSED, metavar="N", least=0),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    data: DataOptions,
    task: str | None = option(
        "For data of your own: the --task that was given to `run`, such as mlir:FOLDER.",
        None, group=DATA, metavar="SPEC",
    ),
) -> None:  # fmt: skip
    """Say why answers were missed: by ranking across languages, by matching, or by labels in doubt.

    An answer is missed if it is not among the best --rank of the pool of all languages. Every missed answer
    is put in one of six classes, which are counted by pair of languages, with examples. Texts are read from
    the data root; without texts, near duplicates and lexical neighbours are not recognised. Nothing is
    encoded.

    \b
    Examples:
      xlir-bench diagnose results/builtin-ngram/mini
      xlir-bench diagnose results/mine/xquad-r --data ~/data --examples 5
    """
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
        texts = f"texts cannot be read: {error}"
    with Bars(delay=SLOW) as bars:
        diagnosis = misses.diagnose(stored, texts, misses.Limits(rank=rank), examples, bars)
    blocks = diagnosis_blocks(stored, diagnosis, shortened=form is None)
    say_report(as_json, diagnosis_record(stored, diagnosis), blocks, form)


@command()
def compare(
    *,
    results: tuple[Path, ...] = argument("A B [C]..."),
    measure: str | None = option("What to compare.  [default: map]", None, group=COMPARED, metavar="NAME"),
    show_queries: int | None = option(
        "List the N queries that lost most and the N that gained most, with their texts if the data is on disk.",
        None, group=COMPARED, metavar="N", least=1,
    ),
    force: bool = option(
        "Compare the settings and queries that results share, even if they do not measure the same thing.", False, group=COMPARED
    ),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    data: DataOptions,
) -> None:  # fmt: skip
    """Say by how much B is better or worse than A, and how sure that is.

    For each kind of setting, query language and setting: both values, the difference (B - A), its 95 %
    interval over clusters (articles, where the data has them), p (the larger of a sign-flip test's and a
    bootstrap's), and p with Holm's correction over all rows of a table, shown or not. With three or more
    results: all pairs, by kind. Nothing is encoded.

    \b
    Examples:
      xlir-bench compare results/builtin-ngram/mini results/mine/mini
      xlir-bench compare results/a/xquad-r results/b/xquad-r --show-queries 10
      xlir-bench compare results/*/xquad-r --measure recall@10 --markdown
      xlir-bench compare results                        all results of a task
    """
    from xlir_bench.reports import compare as reports
    from xlir_bench.results import load_in_order

    loaded = load_in_order(results)
    if len(loaded) == 1 and len(results) > 1:
        raise InputError(f"these are all of one result, {loaded[0].folder}: compare wants two")
    if len(loaded) < 2:
        raise InputError("compare wants two results or more: xlir-bench compare A B [C...]")
    if len(loaded) > len(results) and len({result.record.task.name for result in loaded}) > 1:
        folders = "\n  ".join(str(result.folder) for result in loaded)
        raise InputError(f"these are results of several tasks; name those of one:\n  {folders}")
    if len(loaded) > 2:
        if show_queries:
            raise InputError(f"--show-queries compares two results, and these are {len(loaded)}")
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


@command()
def robustness(
    *,
    results: tuple[Path, ...] = argument("RESULTS..."),
    reference: str | None = option(
        "Compare each encoder's results with its own result on this task.  [default: the first task]",
        None, group=COMPARED, metavar="TASK",
    ),
    baseline: str | None = option(
        "Instead, compare each encoder with this one (the name of its folder), task by task.",
        None, group=COMPARED, metavar="ENCODER",
    ),
    measure: str = option("Any measure the results have.", "map", group=COMPARED),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    plot: Path | None = option("Draw a picture, too; .png, .svg or .pdf.", None, group=OUTPUT, metavar="FILE"),
) -> None:  # fmt: skip
    """Say whether a score or a gain on one task holds on others: relative changes with 95 % intervals.

    With a reference task: how much lower an encoder scores on texts of another domain (the queries of the
    two tasks are resampled separately). With a baseline encoder: whether an encoder is better on every task
    (both encoders are resampled on the same queries). Tasks differ in difficulty: compare the changes of
    several encoders, do not judge one change alone.

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
        raise InputError(f"nothing to set beside {beside}: name results of other tasks or encoders")
    if plot is not None:
        from xlir_bench.reports.plots import draw_robustness, save

        save(draw_robustness(shifts, beside, measure), plot, 200)
    record = reports.robustness_record(shifts, beside, measure)
    say_report(as_json, record, reports.robustness_blocks(shifts, beside, measure), form)
    if plot is not None and not as_json:
        say(f"\nwritten to {plot}")


def _question_blocks(result: Result, query_id: str, data: DataOptions) -> list[Block]:
    """The ranks of a question's answers in every pool; its text and theirs, if the data is on disk."""
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
    """Id, language and text of the questions with these words, each in one language; an error if there is none."""
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
    """A row per query language; columns: ranks among the passages of one language, then among all passages."""
    ranks = ranks.astype({"query_lang": str, "passage_lang": str})
    langs = sorted(ranks["passage_lang"].unique())
    columns = [*langs, *(f"all:{lang}" for lang in langs)]
    pool = ranks["kind"].astype(str).map({"multilingual": "all:"}).fillna("")
    shown = ranks.sort_values("rank")["rank"].map(lambda rank: str(rank) if rank else "not found")
    cells = shown.groupby([ranks["query_lang"], pool + ranks["passage_lang"]]).agg(" ".join)
    rows = cells.unstack(fill_value="-").reindex(columns=columns, fill_value="-")
    return Table(["query \\ alone", *columns], rows.reset_index().to_numpy().tolist())


def _query_texts(result: Result, queries: Sequence[Moved], data: DataOptions) -> Lines:
    """The texts of these queries, or why they cannot be shown."""
    from xlir_bench.rendering.numbers import signed

    try:
        collection = stored_collection(result, data)
    except XlirError as error:
        return Lines(f"(texts are not shown: {error})")
    lines = []
    for moved in queries:
        of_language = collection.queries[moved.query_lang]
        text = of_language.texts[of_language.ids.index(moved.query_id)]
        lines.append(f"{signed(moved.change)}  {moved.query_lang} {moved.query_id}: {text}")
    return Lines(*lines)


def stored_collection(result: Result, data: DataOptions, spec: str | None = None) -> Collection:
    """The texts on disk that a result was made from, with its questions in the result's `--query-form`.

    `spec`: the `--task` that was given to `run`, for the user's own data. Nothing is downloaded.
    """
    from xlir_bench.augment.query_forms import with_query_form
    from xlir_bench.sources import load_present
    from xlir_bench.sources.own import OWN

    stored = result.record.options
    options = stored.asked_again(RunOptions(data=data.root))
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
    if options.word_lists_digest != stored.word_lists:
        raise InputError("its questions were changed by word lists that are not in the data root")
    return with_query_form(collection, options.query_form, options.word_lists)

"""What became of one question: its answers' ranks in every pool, with texts where the data is here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.errors import UnknownNameError, XlirError
from xlir_bench.reports.document import Block, Table, Text, Title

if TYPE_CHECKING:
    import pandas as pd

    from xlir_bench.records import Collection
    from xlir_bench.results import Result


def question_report(
    result: Result, query_id: str, data: Path | None, tasks_dirs: tuple[Path, ...]
) -> list[Block]:
    """Ranks by query language and pool, then the texts of the question and its answers."""
    from xlir_bench.reports.tables import heading

    ranks = result.table("ranks").to_pandas()
    mine = ranks[ranks["query_id"] == query_id]
    if mine.empty:
        raise UnknownNameError("question", [query_id], ranks["query_id"].unique().tolist()[:2000])
    return [
        heading(result.record),
        Title(f"question {query_id}: ranks of its answers"),
        _rank_table(mine),
        _texts(result, query_id, mine, data, tasks_dirs),
    ]


def _rank_table(ranks: pd.DataFrame) -> Table:
    """Rows are query languages; columns the rank among one language's passages, then among all."""
    pooled = ranks["kind"] == "multilingual"
    langs = sorted(ranks["passage_lang"].astype(str).unique())
    rows = []
    for query_lang in sorted(ranks["query_lang"].astype(str).unique()):
        own = ranks["query_lang"] == query_lang
        row = [query_lang]
        for chosen in (ranks[own & ~pooled], ranks[own & pooled]):
            by_lang = chosen.groupby(chosen["passage_lang"].astype(str))["rank"]
            found = {lang: " ".join(_rank(r) for r in sorted(group)) for lang, group in by_lang}
            row += [found.get(lang, "-") for lang in langs]
        rows.append(row)
    return Table(["query \\ alone", *langs, *(f"all:{lang}" for lang in langs)], rows)


def _rank(rank: int) -> str:
    return str(rank) if rank > 0 else "not found"


def _texts(
    result: Result,
    query_id: str,
    ranks: pd.DataFrame,
    data: Path | None,
    tasks_dirs: tuple[Path, ...],
) -> Text:
    """The question and its answers in every language, or why they cannot be shown."""
    try:
        collection = stored_collection(result, data, tasks_dirs)
    except XlirError as error:
        return Text.of(f"(texts are not shown: {error})")
    answers = set(ranks["passage_id"].astype(str))
    lines = []
    for lang in sorted({*collection.queries, *collection.passages}):
        queries, passages = collection.queries.get(lang), collection.passages.get(lang)
        if queries and query_id in queries.ids:
            lines.append(f"{lang}  {queries.texts[queries.ids.index(query_id)]}")
        for name, text in zip(passages.ids, passages.texts, strict=True) if passages else ():
            if name in answers:
                lines.append(f"    {name}: {text}")
    return Text(tuple(lines))


def stored_collection(
    result: Result, data: Path | None, tasks_dirs: tuple[Path, ...]
) -> Collection:
    """The data the result was made from, as far as it is on disk; nothing is downloaded."""
    from xlir_bench.options.running import RunOptions
    from xlir_bench.places import data_root
    from xlir_bench.records import Silent
    from xlir_bench.sources import load_collection
    from xlir_bench.tasks import catalogue

    task = catalogue(*tasks_dirs).get([result.record.task.name])[0]
    langs = result.record.options.langs
    options = RunOptions(
        data=data_root(data),
        langs=tuple(langs) if langs else None,
        candidate=result.record.options.candidate,
        offline=True,
        allow_changed_data=True,
    )
    return load_collection(task, options, Silent())

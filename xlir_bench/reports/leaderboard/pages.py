"""The Markdown pages of a leaderboard; the same results give the same bytes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xlir_bench.measures.bootstrap import intervals
from xlir_bench.records import Kind, Progress
from xlir_bench.rendering.document import (
    Block,
    Markdown,
    Table,
    as_markdown,
    bullets,
    code,
    escape,
    italic,
)
from xlir_bench.rendering.numbers import bounds, interval, millions, rate, short, signed
from xlir_bench.reports import tables
from xlir_bench.reports.cost import cost_blocks, first_costs
from xlir_bench.reports.generated import HTML_PAGE, MARKER, Drawing
from xlir_bench.reports.leaderboard.board import Board, Entry, TaskBoard, standings_explained
from xlir_bench.reports.leaderboard.single_page import html_page
from xlir_bench.reports.pairing import pair
from xlir_bench.reports.scores import (
    DISTANCE,
    MEAN,
    SOURCES,
    Place,
    ReportedTask,
    Score,
    recall_column,
    reported_tasks,
)
from xlir_bench.results import Result
from xlir_bench.results.schema import ResultRecord
from xlir_bench.version import __version__

RANKED = (
    "Full runs are ranked. Runs that leave out only languages are ranked too, each choice of languages by itself. Other"
    " partial runs of a task are ranked only if the task has none of these."
)
AS_CODE = ("revision", "query prompt", "passage prompt", "weights", "fingerprint", "task digest")
ABSENT = ("none", "-")
COSTS = (
    "query ms", "p95", "p99", "queries/s", "passages/s", "bytes a vector", "index size", "parameters", "weights",
    "load", "machine",
)  # fmt: skip
"""The costs by which the page of a task compares encoders."""
CHOSEN = "†"
"""Marks an encoder whose settings were chosen on the task."""


def leaderboard_texts(
    board: Board,
    html: bool = False,
    figures: Sequence[Drawing] = (),
    questions: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Every page by its path: README.md, published.md, a page for each task and for each encoder on it, index.html.

    `questions`: what index.html shows of the questions of each task, by the task's file name.
    """
    texts = {"README.md": _index_page(board), "published.md": _published_page(board)}
    for task in board.tasks:
        texts[f"{task.file}.md"] = _task_page(task, [f for f in figures if f.section == task.file])
        for row in task.rows:
            texts[f"{task.file}/{row.file}.md"] = _encoder_page(task, row)
    if html:
        texts[HTML_PAGE] = html_page(board, questions, progress)
    return texts


def _page(title: str, parts: Iterable[str | Block]) -> str:
    """A whole page: marker, title, parts, and the command that made it."""
    first = f"<!-- {MARKER}: changes here are overwritten -->"
    last = (
        f"---\n\nMade by `xlir-bench leaderboard` (xlir-bench {__version__}) from stored results."
    )
    return as_markdown([first, f"# {title}", *parts, last]) + "\n"


def _index_page(board: Board) -> str:
    """README.md: the scores of every task in brief, and what was left out."""
    parts: list[str | Block] = [
        "How well encoders retrieve within a language, across languages and from a pool of all"
        " languages, measured with `xlir-bench run`. Beside them, and never ranked with them:"
        " [what papers report](published.md)."
    ]
    for task in board.tasks:
        rows = [
            {"#": i, "encoder": _link(task, row)}
            | {column.name: _best_in_bold(task, row, column) for column in task.columns}
            for i, row in enumerate(task.rows, 1)
        ]
        parts += [f"## [{escape(task.title)}]({task.file}.md)", _about(task)]
        parts += [Table.of(rows, text=2), _chosen(task)]
    if board.left_out:
        left_out = [[left.task, left.encoder, left.why] for left in board.left_out]
        parts += ["## Not ranked", RANKED, Table(["task", "encoder", "why"], left_out, text=3)]
    return _page("Leaderboards", parts)


def _task_page(task: TaskBoard, figures: Sequence[Drawing]) -> str:
    """<task>.md: one row an encoder, best first."""
    anchor = f"#{task.first.task.name}" if task.reported.values else ""
    parts = [
        f"[All tasks](README.md) · [what papers report](published.md{anchor})",
        _about(task),
        _score_table(task),
        _legend(task),
        *_standings(task),
        *_costs(task),
        *(["## Figures"] if figures else []),
        *(figure.image for figure in figures),
    ]
    return _page(escape(task.title), parts)


def _encoder_page(task: TaskBoard, row: Entry) -> str:
    """<task>/<encoder>.md: everything that one result says."""
    record, sections = row.record, tables.sections(row.record)
    facts = [
        [name, code(text) if name in AS_CODE and text not in ABSENT else text]
        for name, text in tables.facts(record).items()
    ]

    def section(title: str) -> list[str | Block]:
        if title not in sections:
            return []
        table, lines = sections[title]
        return [f"## {title.capitalize()}", table, bullets(map(str.strip, lines))]

    parts: list[str | Block] = [
        f"[{escape(task.title)}](../{task.file}.md) · [all tasks](../README.md)",
        Table(["", ""], facts, text=2),
        "## By kind of setting",
        tables.summary_table(record),
        "## By query language",
        _language_table(record, task.langs),
        "The cross-lingual columns are means over the other passage languages.",
        f"## Every pair of languages: {escape(task.main)}",
        "Query languages down, passage languages across; `all` is the pool of all languages.",
        tables.matrix_table(record, task.main),
        *section(tables.BIAS),
        *section(tables.SHARES),
    ]
    if row.forms:
        parts += [
            f"## Questions in other forms: change of {escape(task.main)}",
            _forms_table(row.folder, row.forms),
            f"In brackets the 95 % interval, by {escape(record.task.cluster)}; made by `run --query-form`.",
        ]
    parts += section(tables.TEXTS)
    if (cost := record.profile.cost) is not None:
        parts += ["## What it costs", *cost_blocks(cost), code(without_paths(cost.command))]
    if notes := tables.notes(record):
        parts += ["## Notes", bullets(map(escape, notes))]
    parts += ["## Command", code(without_paths(record.command)) if record.command else "Not known."]
    return _page(f"{escape(row.name)} on {escape(task.title)}", parts)


def _published_page(board: Board) -> str:
    """published.md: every reported score, below the measured ones of the same task."""
    boards = {task.first.task.name: task for task in reversed(board.tasks) if not task.is_part}
    parts: list[str | Block] = [
        "[All tasks](README.md)",
        "Rows marked *reported* are copied from papers: nothing of them was run here, and they take no"
        " part in any ranking. Rows marked measured come from `xlir-bench run`. The papers give neither"
        " seeds nor intervals, and may differ in candidate text, length and prompts.",
    ]
    for name, task in reported_tasks().items():
        measured = boards[name].rows if name in boards else ()
        means = {column.name: (column, MEAN) for column in task.columns}
        parts += [f"## {name}", "### Means", _published_table(task, measured, means)]
        for column in task.columns:
            by_lang = {lang: (column, lang) for lang in task.langs}
            if task.rows([*by_lang.values()]):
                parts.append(f"### By query language: {column.name}")
                parts.append(_published_table(task, measured, by_lang))
    sources = (f"{i}. {escape(s.title)}. <{s.url}>" for i, s in enumerate(SOURCES.values(), 1))
    return _page("What papers report", [*parts, "## Sources", "\n".join(sources)])


def _published_table(
    task: ReportedTask, measured: Sequence[Entry], places: Mapping[str, Place]
) -> Table:
    """`places`: the score and language of each column, by its heading."""
    columns = [column for column, _ in places.values()]
    rows: list[list[str]] = []
    for row in measured:
        by_lang = {c: c.by_query_language(row.record) for c in columns}
        values = [
            c.value(row.record) if lang == MEAN else by_lang[c].get(lang)
            for c, lang in places.values()
        ]
        if any(value is not None for value in values):
            cells = [c.text(value) for c, value in zip(columns, values, strict=True)]
            rows.append([row.name, "", "measured", *cells])
    for (source, encoder, training), values in task.rows([*places.values()]):
        mark = Markdown(f"*reported* [{list(SOURCES).index(source) + 1}](#sources)")
        cells = [italic(c.text(value)) for c, value in zip(columns, values, strict=True)]
        rows.append([encoder, training, mark, *cells])
    return Table(["encoder", "batches", "", *places], rows, text=3)


def without_paths(command: str) -> str:
    """A stored command without the folders of the machine it ran on, and without passwords in addresses."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    cut = []
    for word in words:
        word = re.sub(r"//[^/@\s]+@", "//", word)
        word = re.sub(r"(^|[=:])(?:~[^/]*|\.{1,2})?/(?!/)(?:[^/:#=]*/)*(?=.)", r"\1", word)
        cut.append(re.sub(r"(^|[=:])[A-Za-z]:\\(?:[^\\]*\\)*", r"\1", word))
    return shlex.join(cut)


def _about(task: TaskBoard) -> str:
    facts = [
        f"{len(task.langs)} languages ({escape(' '.join(task.langs))})",
        f"{', '.join(f'{task.count(kind)} {kind.value}' for kind in task.kinds)} settings",
        f"version {task.first.task.version}",
        escape(task.first.task.licence),
    ]
    return " · ".join(filter(None, facts))


def _score_columns(record: ResultRecord) -> list[Score]:
    """The main measure of each kind, and after it a recall."""
    main = record.main_measure
    others = [measure for measure in record.options.measures if measure != main]
    pairs = [(Score(kind, main), recall_column(kind, others)) for kind in Kind]
    return [column for pair in pairs for column in pair if column is not None]


def _score_table(task: TaskBoard) -> Table:
    columns = [column for column in _score_columns(task.first) if column.kind in task.kinds]
    columns.append(DISTANCE)
    headers = ["#", "encoder"]
    headers += [
        c.name if c.measure in (task.main, DISTANCE.measure) else c.measure for c in columns
    ]
    rows: list[list[object]] = []
    for i, row in enumerate(task.rows, 1):
        cells = [_best_in_bold(task, row, c, c.measure == task.main) for c in columns]
        encoder = row.record.encoder
        speed = rate(tables.texts_per_second(row.record))
        about = [f"{encoder.dimension:,}", millions(encoder.parameters), speed]
        rows.append([i, _link(task, row), *cells, *about])
    chances = [(column, column.chance(task.first)) for column in columns]
    levels = ["" if value is None else italic(column.text(value)) for column, value in chances]
    if any(levels):
        rows.append(["", Markdown("*chance*"), *levels, "", "", ""])
    return Table([*headers, "dimension", "parameters", "texts/s"], rows, text=2)


def _best_in_bold(task: TaskBoard, row: Entry, column: Score, with_interval: bool = False) -> str:
    value = column.value(row.record)
    if value is None:
        return "-"
    figure = column.text(value)
    cell = f"**{figure}**" if value == column.best(r.record for r in task.rows) else figure
    score = row.score(column.kind)
    if with_interval and score is not None and score.low is not None:
        cell += f" ({interval(score.low, score.high, short)})"
    return Markdown(cell)


def _link(task: TaskBoard, row: Entry) -> Markdown:
    mark = f" {CHOSEN}" if row.record.chosen_on_task else ""
    return Markdown(f"[{escape(row.name)}]({task.file}/{row.file}.md){mark}")


def _legend(task: TaskBoard) -> str:
    kind = task.ranked_by
    ranked_in = "pool of all languages" if kind == Kind.MULTILINGUAL else f"{kind.value} settings"
    lines = [
        f"Best first by {escape(task.main)} of the {ranked_in};"
        " the best of each column in bold. In brackets the 95 % interval, resampled by"
        f" {escape(task.first.task.cluster)} ({task.first.task.clusters:,} of them).",
        "Rank distance is a language bias, lower is better: how far apart the answers to one question"
        " in the several languages stand in the pool. Recall belongs to the kind on its left.",
        "Texts/s depends on the machine that made each result: it compares encoders only if"
        " the machine was the same.",
    ]
    return bullets(filter(None, [*lines, _chosen(task)]))


def _chosen(task: TaskBoard) -> str:
    """What the mark beside an encoder means; empty if no encoder has it."""
    marked = any(row.record.chosen_on_task for row in task.rows)
    return f"{CHOSEN}: {tables.CHOSEN_ON_IT}." if marked else ""


def _standings(task: TaskBoard) -> list[str | Block]:
    """The ranks that each encoder may have, and which encoders cannot be told apart."""
    sentences = standings_explained(task)
    if not sentences or len(task.rows) < 2:
        return []
    parts: list[str | Block] = ["## Who can be told apart"]
    columns = [column for column in task.columns if any(column in r.standings for r in task.rows)]
    if columns:
        rows = [
            {"encoder": _link(task, row)} | {column.name: _ranks(row, column) for column in columns}
            for row in task.rows
        ]
        parts.append(Table.of(rows))
    return [*parts, " ".join(map(escape, sentences))]


def _ranks(row: Entry, column: Score) -> str:
    standing = row.standings.get(column)
    if standing is None:
        return ""
    several = f" to {standing.last}" if standing.last > standing.first else ""
    return f"{standing.first}{several} · {''.join(standing.letters)}"


def _costs(task: TaskBoard) -> list[str | Block]:
    """What the encoders cost in use; empty if none was profiled."""
    if not any(row.record.profile.cost for row in task.rows):
        return []
    rows: list[list[object]] = []
    for i, row in enumerate(task.rows, 1):
        cost, parameters = row.record.profile.cost, millions(row.record.encoder.parameters)
        cells = ({} if cost is None else first_costs(cost)) | {"parameters": parameters}
        rows.append([i, _link(task, row), *(cells.get(column, "") for column in COSTS)])
    reading = (
        "With whole vectors and exact search. Query ms (the median) and p95 are of encoding one query and searching"
        " the pool of all languages for it, queries/s is of batches. Only figures of one machine can be compared."
        " Other dtypes, fewer dimensions and other indexes are on the encoders' pages. Made by `xlir-bench profile`;"
        " blank where it was not run."
    )
    return ["## What it costs", Table(["#", "encoder", *COSTS], rows, text=2), reading]


def _language_table(record: ResultRecord, langs: Sequence[str]) -> Table:
    values = {c: c.by_query_language(record) for c in _score_columns(record)}
    return Table.of([
        {"query": lang} | {c.name: c.text(by_lang.get(lang)) for c, by_lang in values.items() if by_lang}
        for lang in langs
    ])  # fmt: skip


def _forms_table(plain: Path, forms: Mapping[str, Path]) -> Table:
    """The change of the main measure with its interval: a row for each kind and query language, a column for each form."""
    result = Result.load(plain)
    measure = result.record.main_measure
    values = result.values(measure)
    cells: dict[tuple[Kind, str], dict[str, str]] = {}
    for form, folder in sorted(forms.items()):
        change = pair(values, Result.load(folder).values(measure)).change
        groups: dict[tuple[Kind, str], list[int]] = {}
        for i in change.of_kinds():
            setting = change.settings[i]
            for lang in ("all", setting.query_lang):
                groups.setdefault((setting.kind, lang), []).append(i)
        means = intervals(change.sums(), list(groups.values()), bounds=(-1.0, 1.0))
        for group, mean in zip(groups, means, strict=True):
            text = signed(mean.mean)
            if mean.low is not None and mean.high is not None:
                text += f" ({bounds(mean.low, mean.high)})"
            cells.setdefault(group, {})[form] = text
    order = sorted(cells, key=lambda group: ([*Kind].index(group[0]), group[1] != "all", group[1]))
    rows = [
        [f"{kind.value} {lang}", *(cells[kind, lang].get(form, "-") for form in sorted(forms))]
        for kind, lang in order
    ]
    return Table(["questions", *sorted(forms)], rows)

"""published.md: what papers report, beside what was measured here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xlir_bench.records import Kind
from xlir_bench.reports import tables
from xlir_bench.reports.leaderboard.board import Board, Row, TaskBoard
from xlir_bench.reports.leaderboard.pages import by_language, page
from xlir_bench.reports.markup import escape, grid
from xlir_bench.reports.published import MEAN, SOURCES, ReportedTask, reported_tasks

DISTANCE = "rank_distance"


def published_page(board: Board) -> str:
    """Every reported figure; the measured ones of the same task stand above them."""
    boards = {task.first.task.name: task for task in reversed(board.tasks) if not task.is_part}
    parts = [
        "[All tasks](README.md)",
        "Rows marked *reported* are copied from papers: nothing of them was run here, and they take no"
        " part in any ranking. Rows marked measured come from `xlir-bench run`. The papers give neither"
        " seeds nor intervals, and may differ in candidate text, length and prompts.",
    ]
    for task in reported_tasks():
        parts += [f"## {task.name}", *_task_parts(task, boards.get(task.name))]
    parts += ["## Sources", _sources()]
    return page("What papers report", *parts)


def _task_parts(task: ReportedTask, board: TaskBoard | None) -> list[str]:
    rows = board.rows if board else ()
    parts = [
        "### Means",
        _table(
            task,
            rows,
            [_column(kind, measure) for kind, measure in task.columns],
            lambda row: [_measured(row, kind, measure) for kind, measure in task.columns],
            lambda system: [task.value(system, kind, m) for kind, m in task.columns],
            [measure for _, measure in task.columns],
        ),
    ]
    for kind, measure in task.columns:
        if any(lang != MEAN and (k, m) == (kind, measure) for _, k, m, lang in task.values):
            parts += [f"### By query language: {_column(kind, measure)}"]
            parts += [_language_table(task, rows, kind, measure)]
    return parts


def _language_table(task: ReportedTask, rows: Sequence[Row], kind: Kind, measure: str) -> str:
    langs = task.langs

    def measured(row: Row) -> list[float | None]:
        if measure == DISTANCE:
            values = row.rank_distance.by_query_lang if row.rank_distance else {}
        else:
            values = by_language(row.record, kind, measure)
        return [v if isinstance(v := values.get(lang), float) else None for lang in langs]

    def reported(system: Sequence[str]) -> list[float | None]:
        return [task.value(system, kind, measure, lang) for lang in langs]

    return _table(task, rows, langs, measured, reported, [measure] * len(langs))


def _table(
    task: ReportedTask,
    rows: Sequence[Row],
    columns: Sequence[str],
    measured: Callable[[Row], list[float | None]],
    reported: Callable[[Sequence[str]], list[float | None]],
    measures: Sequence[str],
) -> str:
    lines = []
    for row in rows:
        values = measured(row)
        if any(value is not None for value in values):
            lines.append([escape(row.name), "", "measured", *_cells(values, measures)])
    for system in task.systems:
        values = reported(system)
        if any(value is not None for value in values):
            _, encoder, training = system
            cells = [f"*{cell}*" if cell != "-" else cell for cell in _cells(values, measures)]
            lines.append(
                [escape(encoder), escape(training), f"*reported* {_note(system[0])}", *cells]
            )
    return grid(lines, ["encoder", "batches", "", *columns], text_columns=3)


def _cells(values: Sequence[float | None], measures: Sequence[str]) -> list[str]:
    return [
        "-" if v is None else tables.big(v) if m == DISTANCE else tables.number(v)
        for v, m in zip(values, measures, strict=True)
    ]


def _measured(row: Row, kind: Kind, measure: str) -> float | None:
    if measure != DISTANCE:
        return row.measure(kind, measure)
    mean = row.rank_distance.mean if row.rank_distance else None
    return mean if isinstance(mean, float) else None


def _column(kind: Kind, measure: str) -> str:
    return "rank distance" if measure == DISTANCE else f"{kind.value} {measure}"


def _note(source: str) -> str:
    return f"[{list(SOURCES).index(source) + 1}](#sources)"


def _sources() -> str:
    return "\n".join(
        f"{i}. {escape(s.title)}. <{s.url}>" for i, s in enumerate(SOURCES.values(), 1)
    )

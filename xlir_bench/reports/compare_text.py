"""A comparison as people and programs read it: tables, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from xlir_bench.escaping import visible
from xlir_bench.records import POOL
from xlir_bench.reports.compare import Comparison, Moved, PairRow, Row, Share
from xlir_bench.reports.markup import escape
from xlir_bench.reports.tables import big, number, table

MOST = 8
"""How many of the settings that moved are shown."""
HEADERS = ("A", "B", "B - A", "95 % interval", "p", "p (Holm)")


def comparison_text(comparison: Comparison, queries: Sequence[Moved], markdown: bool) -> str:
    """Every table of a comparison; `queries` are those to name."""
    c, name = comparison, escape if markdown else visible
    parts = [
        f"{name(c.task)}: {c.measure}\n\nA = {name(c.first)}\n\nB = {name(c.second)}"
        if markdown
        else f"{name(c.task)}: {c.measure}\nA = {name(c.first)}\nB = {name(c.second)}",
        _headline(c, markdown),
        _titled(f"by query language (Holm over {len(c.langs)})", c.langs, markdown),
        _titled(
            f"settings that moved most, of {len(c.settings)} (Holm over all of them)",
            c.settings[:MOST],
            markdown,
        ),
        *([_query_table(queries, markdown)] if queries else []),
        f"p: two-sided, by {c.cluster} ({c.clusters}); won, lost: share of queries"
        " in all settings where B is better, worse",
    ]
    return "\n\n".join([*parts, *_notes(c.notes, markdown)])


def _headline(c: Comparison, markdown: bool) -> str:
    rows = [
        [row.kind.value, *_cells(row), *(_percent(x) for x in _share(c.shares[row.kind]))]
        for row in c.kinds
    ]
    if c.rank_distance is not None:
        cells = _cells(c.rank_distance, distance=True)
        rows.append(["rank distance (less is better)", *cells, "", "", ""])
    return table(rows, [f"Holm over {len(rows)}", *HEADERS, "won", "lost", "tied"], markdown)


def _titled(title: str, rows: Sequence[Row], markdown: bool) -> str:
    cells = [[_setting(row), *_cells(row)] for row in rows]
    return f"{title}\n\n{table(cells, ['setting', *HEADERS], markdown)}"


def _setting(row: Row) -> str:
    """Such as ``cross-lingual de-fr``, or ``cross-lingual de`` for all of its passage languages."""
    passage = {None: "", POOL: "-all"}.get(row.passage_lang, f"-{row.passage_lang}")
    return f"{row.kind.value} {row.query_lang}{passage}"


def pairs_text(rows: Sequence[PairRow], measure: str, notes: Sequence[str], markdown: bool) -> str:
    """All pairs of three or more results."""
    name = escape if markdown else visible
    cells = [
        [f"{name(p.first)} / {name(p.second)}", p.row.kind.value, *_cells(p.row)] for p in rows
    ]
    headers = ["A / B", "kind", *HEADERS]
    return "\n\n".join(
        [
            f"{measure}, all pairs (Holm over {len(rows)})",
            table(cells, headers, markdown),
            *_notes(notes, markdown),
        ]
    )


def comparison_record(comparison: Comparison, queries: Sequence[Moved]) -> dict[str, Any]:
    """A comparison for programs; every setting, and the queries named."""
    found = asdict(comparison)
    return found | {"queries": [asdict(moved) for moved in queries]}


def pairs_record(rows: Sequence[PairRow], measure: str, notes: Sequence[str]) -> dict[str, Any]:
    """All pairs for programs."""
    return {"measure": measure, "pairs": [asdict(row) for row in rows], "notes": list(notes)}


def most_moved(comparison: Comparison, count: int) -> list[Moved]:
    """The queries that lost most, then those that gained most; none that did not move."""
    lost = [m for m in comparison.queries[:count] if m.change < 0]
    won = [m for m in reversed(comparison.queries[-count:]) if m.change > 0] if count else []
    return lost + won


def p_value(p: float) -> str:
    """Four digits, or that it is smaller."""
    return "<.0001" if p < 0.0001 else number(p)


def signed(value: float, distance: bool = False) -> str:
    """A difference with its sign."""
    text = big(abs(value)) if distance else number(abs(value))
    return ("-" if value < 0 else "+") + text


def bounds(row_low: float | None, row_high: float | None, distance: bool = False) -> str:
    """An interval of a difference."""
    if row_low is None or row_high is None:
        return "-"
    return f"{signed(row_low, distance)} to {signed(row_high, distance)}"


def _cells(row: Row, distance: bool = False) -> list[str]:
    figure = big if distance else number
    return [
        figure(row.first),
        figure(row.second),
        signed(row.test.difference, distance),
        bounds(row.test.low, row.test.high, distance),
        p_value(row.test.p),
        p_value(row.p_holm),
    ]


def _query_table(queries: Sequence[Moved], markdown: bool) -> str:
    name = escape if markdown else visible
    rows = [[f"{q.query_lang} {name(q.query_id)}", signed(q.change), q.settings] for q in queries]
    headers = ["query", "B - A", "settings"]
    return (
        f"queries that changed most (mean over their settings)\n\n{table(rows, headers, markdown)}"
    )


def _share(share: Share) -> tuple[float, float, float]:
    return share.won, share.lost, share.tied


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _notes(notes: Sequence[str], markdown: bool) -> list[str]:
    name, mark = (escape, "- ") if markdown else (visible, "  ")
    return ["\n".join(["notes", "", *(f"{mark}{name(note)}" for note in notes)])] if notes else []

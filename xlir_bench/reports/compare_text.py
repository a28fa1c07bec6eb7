"""A comparison as people and programs read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from xlir_bench.records import POOL
from xlir_bench.reports.compare import Comparison, Moved, PairRow, Row, Share
from xlir_bench.reports.document import Block, Items, Table, Text, Title
from xlir_bench.reports.tables import big, number

MOST = 8
"""How many of the settings that moved are shown."""
HEADERS = ("A", "B", "B - A", "95 % interval", "p", "p (Holm)")


def comparison_blocks(comparison: Comparison, queries: Sequence[Moved]) -> list[Block]:
    """Every table of a comparison; `queries` are those to name."""
    c = comparison
    blocks: list[Block] = [
        Text.of(f"{c.task}: {c.measure}", f"A = {c.first}", f"B = {c.second}"),
        _headline(c),
        Title(f"by query language (Holm over {len(c.langs)})"),
        _settings(c.langs),
        Title(f"settings that moved most, of {len(c.settings)} (Holm over all of them)"),
        _settings(c.settings[:MOST]),
    ]
    if queries:
        rows = [[f"{q.query_lang} {q.query_id}", signed(q.change), q.settings] for q in queries]
        blocks.append(Title("queries that changed most (mean over their settings)"))
        blocks.append(Table(["query", "B - A", "settings"], rows))
    reading = (
        f"p: two-sided, by {c.cluster} ({c.clusters}); won, lost: share of queries"
        " in all settings where B is better, worse; of rank distance less is better"
    )
    return [*blocks, Text.of(reading), *_notes(c.notes)]


def _headline(c: Comparison) -> Table:
    rows = [
        [row.kind.value, *_cells(row), *(_percent(x) for x in _share(c.shares[row.kind]))]
        for row in c.kinds
    ]
    if c.rank_distance is not None:
        cells = _cells(c.rank_distance, distance=True)
        rows.append(["rank distance", *cells, "", "", ""])
    headers = [f"Holm over {len(rows)}", *HEADERS, "won", "lost", "tied"]
    return Table(headers, rows, spare=("tied", "lost", "won", "p"))


def _settings(rows: Sequence[Row]) -> Table:
    return Table(
        ["setting", *HEADERS], [[_setting(row), *_cells(row)] for row in rows], spare=("p",)
    )


def _setting(row: Row) -> str:
    """Such as ``cross-lingual de-fr``, or ``cross-lingual de`` for all of its passage languages."""
    passage = {None: "", POOL: "-all"}.get(row.passage_lang, f"-{row.passage_lang}")
    return f"{row.kind.value} {row.query_lang}{passage}"


def pairs_blocks(rows: Sequence[PairRow], measure: str, notes: Sequence[str]) -> list[Block]:
    """All pairs of three or more results."""
    cells = [[f"{p.first} / {p.second}", p.row.kind.value, *_cells(p.row)] for p in rows]
    return [
        Title(f"{measure}, all pairs (Holm over {len(rows)})"),
        Table(["A / B", "kind", *HEADERS], cells, text=2, spare=("p",)),
        *_notes(notes),
    ]


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


def _share(share: Share) -> tuple[float, float, float]:
    return share.won, share.lost, share.tied


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _notes(notes: Sequence[str]) -> list[Block]:
    return [Items("notes", tuple(notes))] if notes else []

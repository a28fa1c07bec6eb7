"""Comparisons of two or more results: differences, intervals, tests, and which queries changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from xlir_bench.errors import NotComparableError, UnknownNameError, require_type
from xlir_bench.escaping import visible
from xlir_bench.measures.significance import SIGNIFICANT, Difference, holm
from xlir_bench.records import POOL, Kind, Setting
from xlir_bench.rendering.document import Block, Bold, Lines, Listing, Table, render
from xlir_bench.rendering.numbers import Written, big, bounds, number, p_value, percent, signed
from xlir_bench.reports.pairing import SAME, Pairing, labels, pair, require_comparable
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

FORCE = "--force compares what they share"
MOST = 8
"""How many of the settings that changed most are shown."""


@dataclass(frozen=True, slots=True)
class TestedDifference:
    """One tested difference; `p_holm` is corrected for all rows of its table, shown or not."""

    kind: Kind
    query_lang: str | None
    passage_lang: str | None
    """``*`` for the pool of all languages. Both languages are None where a row is over several."""
    settings: int
    first: float
    second: float
    test: Difference
    p_holm: float


@dataclass(frozen=True, slots=True)
class WinShares:
    """The shares of a kind's values (one per query and setting) that are better, worse, equal in the second result."""

    won: float
    lost: float
    tied: float


@dataclass(frozen=True, slots=True)
class Moved:
    """How much one query of one language changed: a mean over its settings."""

    query_lang: str
    query_id: str
    change: float
    settings: int


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Everything about the difference of two results; differences are second minus first."""

    task: str
    first: str
    second: str
    measure: str
    cluster: str
    clusters: int
    kinds: tuple[TestedDifference, ...]
    langs: tuple[TestedDifference, ...]
    """By kind and query language."""
    settings: tuple[TestedDifference, ...]
    """Every setting, the one that changed most first."""
    rank_distance: TestedDifference | None
    """Its `p_holm` is corrected together with those of `kinds`."""
    shares: Mapping[Kind, WinShares]
    queries: tuple[Moved, ...]
    """Every query of every language, the worst loss first."""
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """In a line: what is compared, and the difference of each kind with its corrected p."""
        rows = [f"{r.kind} {signed(r.test.difference)} (p {p_value(r.p_holm)})" for r in self.kinds]
        what = f"{self.second} against {self.first} on {self.task}, {self.measure}"
        return visible(f"<Comparison of {what}: {', '.join(rows)}>")

    def __str__(self) -> str:
        """The tables that ``xlir-bench compare`` prints."""
        return render(comparison_blocks(self, ()))


Pair = tuple[str, str, TestedDifference]
"""Two of many results by name, and their difference on one kind, corrected for all pairs and kinds."""


def compare(
    first: Result, second: Result, measure: str | None = None, force: bool = False
) -> Comparison:
    """Compare two results of one task on one measure; an error if they do not measure the same thing."""
    for result in (first, second):
        require_type(result, Result, "compare wants two results (Result.load gives one)")
    require_type(measure, str | None, "compare: measure is the name of a measure")
    notes = require_comparable([first, second], force, FORCE, forms_may_differ=True)
    if first.record.encoder.fingerprint == second.record.encoder.fingerprint:
        similarities = [each.record.encoder.similarity or "cosine" for each in (first, second)]
        by = "" if len({*similarities}) == 1 else f", compared by {' and by '.join(similarities)}"
        notes.append(f"both results are of the same encoder (equal fingerprints){by}")
    measure = shared_measure([first, second], measure)
    pairing = _pairing(first.values(measure), second.values(measure))
    names = labels([first, second])
    headline = _rows(pairing, _by_kind)
    kinds = len(headline)
    if all("rank_distance" in result.record.bias for result in (first, second)):
        distances = pair(first.values(RANK_DISTANCE), second.values(RANK_DISTANCE))
        headline += _rows(distances, _by_kind) if len(distances.first.value) else []
    headline = _corrected(headline)
    settings = _rows(pairing, lambda s: (s.kind, s.query_lang, s.passage_lang))
    moved = [Moved(*question, *change) for question, change in pairing.change.by_question().items()]
    return Comparison(
        task=first.record.task.title,
        first=names[0],
        second=names[1],
        measure=measure,
        cluster=first.record.task.cluster,
        clusters=len(pairing.first.clusters),
        kinds=tuple(headline[:kinds]),
        langs=tuple(_rows(pairing, lambda s: (s.kind, s.query_lang, None))),
        settings=tuple(sorted(settings, key=lambda row: -abs(row.test.difference))),
        rank_distance=headline[kinds] if len(headline) > kinds else None,
        shares=_shares(pairing),
        queries=tuple(sorted(moved, key=lambda query: query.change)),
        notes=tuple(notes),
    )


def compare_all(
    results: Sequence[Result], measure: str | None = None, force: bool = False
) -> tuple[list[Pair], list[str]]:
    """Every pair of three or more results by kind, and notes."""
    notes = require_comparable(results, force, FORCE, forms_may_differ=True)
    measure = shared_measure(results, measure)
    values = [result.values(measure) for result in results]
    names = labels(results)
    pairs = list(combinations(range(len(results)), 2))
    first, second, rows = zip(*(
        (names[i], names[j], row)
        for i, j in pairs
        for row in _rows(_pairing(values[i], values[j]), _by_kind, len(Kind) * len(pairs))
    ), strict=True)  # fmt: skip
    return list(zip(first, second, _corrected(rows), strict=True)), notes


def shared_measure(results: Sequence[Result], asked: str | None) -> str:
    """The measure asked for; by default map, or the first that all results have."""
    first, *others = (result.record.options.measures for result in results)
    shared = [m for m in first if all(m in measures for measures in others)]
    if not shared:
        raise NotComparableError("the results share no measure")
    if asked is None:
        return "map" if "map" in shared else shared[0]
    if asked not in shared:
        raise UnknownNameError("measure of these results", [asked], shared)
    return asked


def _pairing(first: QueryValues, second: QueryValues) -> Pairing:
    pairing = pair(first, second)
    if not len(pairing.first.value):
        raise NotComparableError("the results share no setting, or no query of one")
    return pairing


Group = tuple[Kind, str | None, str | None]
"""The settings of one row: their kind, query language and passage language; None for all languages."""


def _by_kind(setting: Setting) -> Group:
    return setting.kind, None, None


def _rows(
    pairing: Pairing, group_of: Callable[[Setting], Group], family: int = 1
) -> list[TestedDifference]:
    """A tested row for each group of settings, corrected for all of them."""
    groups: dict[Group, list[int]] = {}
    for i in pairing.first.of_kinds():
        groups.setdefault(group_of(pairing.first.settings[i]), []).append(i)
    members = list(groups.values())
    means, tests = pairing.means(members), pairing.test(members, family=family)
    rows = [
        TestedDifference(*group, len(settings), *both, test, p_holm=test.p)
        for (group, settings), both, test in zip(groups.items(), means, tests, strict=True)
    ]
    order = list(Kind)
    rows.sort(key=lambda r: (order.index(r.kind), r.query_lang or "", r.passage_lang or ""))
    return _corrected(rows)


def _corrected(rows: Sequence[TestedDifference]) -> list[TestedDifference]:
    adjusted = holm([row.test.p for row in rows])
    return [replace(row, p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True)]


def _shares(pairing: Pairing) -> dict[Kind, WinShares]:
    shares, changes = {}, pairing.change
    for kind in Kind:
        change = changes.value[np.isin(changes.setting, changes.of_kinds([kind]))]
        if len(change):
            won, lost = float(np.mean(change > SAME)), float(np.mean(change < -SAME))
            shares[kind] = WinShares(won, lost, max(0.0, 1 - won - lost))
    return shares


def most_moved(comparison: Comparison, count: int) -> list[Moved]:
    """The queries that lost most, then those that gained most; unchanged queries are left out."""
    lost = [m for m in comparison.queries[:count] if m.change < 0]
    won = [m for m in reversed(comparison.queries[-count:]) if m.change > 0] if count else []
    return lost + won


def comparison_blocks(comparison: Comparison, queries: Sequence[Moved]) -> list[Block]:
    """Every table of a comparison; `queries` are the queries to list."""
    c = comparison
    over = f"Holm over {len(c.kinds) + (c.rank_distance is not None)}"
    headline = [
        {over: row.kind.value} | _cells(row)
        | {share: percent(value) for share, value in asdict(c.shares[row.kind]).items()}
        for row in c.kinds
    ]  # fmt: skip
    if c.rank_distance is not None:
        shares = dict.fromkeys(("won", "lost", "tied"), "")
        headline.append({over: "rank distance"} | _cells(c.rank_distance, big) | shares)
    blocks: list[Block] = [
        Lines(f"{c.task}: {c.measure}", f"A = {c.first}", f"B = {c.second}"),
        Table.of(headline, spare=("tied", "lost", "won", "p")),
        Lines(f"by query language (Holm over {len(c.langs)})"),
        _settings_table(c.langs),
        Lines(f"settings that moved most, of {len(c.settings)} (Holm over all of them)"),
        _settings_table(c.settings[:MOST]),
    ]
    if queries:
        rows = [[f"{q.query_lang} {q.query_id}", signed(q.change), q.settings] for q in queries]
        blocks.append(Lines("queries that changed most (mean over their settings)"))
        blocks.append(Table(["query", "B - A", "settings"], rows))
    reading = (
        f"p: two-sided, by {c.cluster} ({c.clusters}); won, lost: share of queries"
        " in all settings where B is better, worse; a lower rank distance is better"
    )
    return [*blocks, Lines(reading), Listing("notes", c.notes)]


def _settings_table(rows: Sequence[TestedDifference]) -> Table:
    """Rows are named like ``cross-lingual de-fr``, or ``cross-lingual de`` over all passage languages."""
    passage = {None: "", POOL: "-all"}
    names = [f"{r.query_lang}{passage.get(r.passage_lang, f'-{r.passage_lang}')}" for r in rows]
    cells = [
        {"setting": f"{r.kind.value} {n}"} | _cells(r) for n, r in zip(names, rows, strict=True)
    ]
    return Table.of(cells, spare=("p",))


def pairs_blocks(pairs: Sequence[Pair], measure: str, notes: Sequence[str]) -> list[Block]:
    """All pairs of three or more results."""
    rows = [{"A / B": f"{a} / {b}", "kind": row.kind.value} | _cells(row) for a, b, row in pairs]
    return [
        Lines(f"{measure}, all pairs (Holm over {len(rows)})"),
        Table.of(rows, text=2, spare=("p",)),
        Listing("notes", notes),
    ]


def _cells(row: TestedDifference, text: Written = number) -> dict[str, str]:
    test, change = row.test, signed(row.test.difference, text)
    return {
        "A": text(row.first),
        "B": text(row.second),
        "B - A": Bold(change) if row.p_holm < SIGNIFICANT else change,
        "95 % interval": bounds(test.low, test.high, text),
        "p": p_value(test.p),
        "p (Holm)": p_value(row.p_holm),
    }


def comparison_record(comparison: Comparison, queries: Sequence[Moved]) -> dict[str, Any]:
    """A comparison for programs: every setting, and the queries to list; `pairs` is as in `pairs_record`."""
    c = comparison
    pairs = [{"first": c.first, "second": c.second, "row": asdict(row)} for row in c.kinds]
    return asdict(c) | {"queries": [asdict(moved) for moved in queries], "pairs": pairs}


def pairs_record(pairs: Sequence[Pair], measure: str, notes: Sequence[str]) -> dict[str, Any]:
    """All pairs for programs."""
    stated = [{"first": a, "second": b, "row": asdict(row)} for a, b, row in pairs]
    return {"measure": measure, "pairs": stated, "notes": list(notes)}

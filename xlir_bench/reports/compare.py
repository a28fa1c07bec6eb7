"""Two or more results against each other: differences, intervals, tests, and who moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.measures.significance import Difference, holm
from xlir_bench.records import Kind, Setting
from xlir_bench.reports.comparable import labels, require_comparable
from xlir_bench.reports.pairing import SAME, Pairing, pair
from xlir_bench.results import Result
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

FORCE = "--force compares what they share"


@dataclass(frozen=True, slots=True)
class Row:
    """One tested difference; `p_holm` is corrected for all rows of its table, shown or not."""

    kind: Kind
    query_lang: str | None
    passage_lang: str | None
    """``*`` for the pool; None, as for `query_lang`, where a row is over several."""
    settings: int
    first: float
    second: float
    test: Difference
    p_holm: float


@dataclass(frozen=True, slots=True)
class Share:
    """Of the values of a kind (one a query and setting): where the second is better, worse, the same."""

    won: float
    lost: float
    tied: float


@dataclass(frozen=True, slots=True)
class Moved:
    """How far one query of one language moved, as a mean over its settings."""

    query_lang: str
    query_id: str
    change: float
    settings: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that two results say of each other; differences are second minus first."""

    task: str
    first: str
    second: str
    measure: str
    cluster: str
    clusters: int
    kinds: tuple[Row, ...]
    langs: tuple[Row, ...]
    """By kind and query language."""
    settings: tuple[Row, ...]
    """Every setting, the one that moved most first."""
    rank_distance: Row | None
    """Corrected together with `kinds`."""
    shares: Mapping[Kind, Share]
    queries: tuple[Moved, ...]
    """Every query of every language, the worst loss first."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two of many results on one kind; corrected for all pairs and kinds."""

    first: str
    second: str
    row: Row


def compare(
    first: Result, second: Result, measure: str | None = None, force: bool = False
) -> Comparison:
    """Two results of one task on one measure; refused if they do not measure the same thing."""
    notes = require_comparable([first, second], force, FORCE)
    if first.record.encoder.fingerprint == second.record.encoder.fingerprint:
        notes.append("both results are of the same encoder (equal fingerprints)")
    measure = shared_measure([first, second], measure)
    pairing = _pairing(first.values(measure), second.values(measure))
    names = labels([first, second])
    kinds, distance = _headline(_rows(pairing, lambda s: (s.kind, None, None)), first, second)
    return Comparison(
        task=first.record.task.title,
        first=names[0],
        second=names[1],
        measure=measure,
        cluster=first.record.task.cluster,
        clusters=pairing.clusters,
        kinds=kinds,
        langs=tuple(_rows(pairing, lambda s: (s.kind, s.query_lang, None))),
        settings=tuple(
            sorted(
                _rows(pairing, lambda s: (s.kind, s.query_lang, s.passage_lang)),
                key=lambda row: -abs(row.test.difference),
            )
        ),
        rank_distance=distance,
        shares=_shares(pairing),
        queries=tuple(_moved(pairing)),
        notes=tuple(notes),
    )


def compare_all(
    results: Sequence[Result], measure: str | None = None, force: bool = False
) -> tuple[list[PairRow], list[str]]:
    """Every pair of three or more results by kind, and what there is to note."""
    notes = require_comparable(results, force, FORCE)
    measure = shared_measure(results, measure)
    values = [result.values(measure) for result in results]
    names = labels(results)
    pairs = list(combinations(range(len(results)), 2))
    found = []
    for i, j in pairs:
        pairing = _pairing(values[i], values[j])
        found += [
            PairRow(names[i], names[j], row)
            for row in _rows(pairing, lambda s: (s.kind, None, None), len(Kind) * len(pairs))
        ]
    corrected = holm([pair_row.row.test.p for pair_row in found])
    return [
        replace(p, row=replace(p.row, p_holm=float(adjusted)))
        for p, adjusted in zip(found, corrected, strict=True)
    ], notes


def shared_measure(results: Sequence[Result], asked: str | None) -> str:
    """The measure asked for, else map, else the first that all results have."""
    shared = [
        m
        for m in results[0].record.options.measures
        if all(m in r.record.options.measures for r in results)
    ]
    if not shared:
        raise NotComparableError("the results share no measure")
    if asked is None:
        return "map" if "map" in shared else shared[0]
    if asked not in shared:
        raise UnknownNameError("measure of these results", [asked], shared)
    return asked


def _pairing(first: QueryValues, second: QueryValues) -> Pairing:
    pairing = pair(first, second)
    if not len(pairing.setting):
        raise NotComparableError("the results share no setting, or no query of one")
    return pairing


Name = tuple[Kind, str | None, str | None]


def _rows(pairing: Pairing, name: Callable[[Setting], Name], family: int = 1) -> list[Row]:
    """A tested row for each group of settings that have one name; Holm over all of them."""
    groups: dict[Name, list[int]] = {}
    for i in pairing.where(lambda _: True):
        groups.setdefault(name(pairing.settings[i]), []).append(i)
    tests, means = (
        pairing.test(list(groups.values()), family=family),
        pairing.means(list(groups.values())),
    )
    corrected = holm([test.p for test in tests])
    order = {kind: i for i, kind in enumerate(Kind)}
    rows = [
        Row(*key, len(group), *values, test, float(adjusted))
        for (key, group), values, test, adjusted in zip(
            groups.items(), means, tests, corrected, strict=True
        )
    ]
    return sorted(rows, key=lambda r: (order[r.kind], r.query_lang or "", r.passage_lang or ""))


def _headline(
    kinds: Sequence[Row], first: Result, second: Result
) -> tuple[tuple[Row, ...], Row | None]:
    """The kinds and the rank distance: one table, corrected together."""
    distance = _rank_distance(first, second)
    rows = [*kinds, *([distance] if distance else [])]
    corrected = holm([row.test.p for row in rows])
    found = [replace(row, p_holm=float(p)) for row, p in zip(rows, corrected, strict=True)]
    return tuple(found[: len(kinds)]), found[-1] if distance else None


def _rank_distance(first: Result, second: Result) -> Row | None:
    """Both language biases and their difference, where both results have one."""
    if any("rank_distance" not in r.record.bias for r in (first, second)):
        return None
    pairing = pair(first.values(RANK_DISTANCE), second.values(RANK_DISTANCE))
    rows = _rows(pairing, lambda s: (s.kind, None, None)) if len(pairing.setting) else []
    return rows[0] if rows else None


def _shares(pairing: Pairing) -> dict[Kind, Share]:
    shares = {}
    for kind in Kind:
        mine = pairing.change[np.isin(pairing.setting, pairing.of_kind(kind))]
        if len(mine):
            won, lost = float(np.mean(mine > SAME)), float(np.mean(mine < -SAME))
            shares[kind] = Share(won, lost, max(0.0, 1 - won - lost))
    return shares


def _moved(pairing: Pairing) -> list[Moved]:
    langs = sorted({s.query_lang for s in pairing.settings})
    lang = np.array([langs.index(s.query_lang) for s in pairing.settings])[pairing.setting]
    key = lang * len(pairing.query_ids) + pairing.query
    distinct, place, count = np.unique(key, return_inverse=True, return_counts=True)
    change = np.bincount(place, pairing.change) / count
    order = np.argsort(change, kind="stable")
    return [
        Moved(
            langs[distinct[i] // len(pairing.query_ids)],
            pairing.query_ids[distinct[i] % len(pairing.query_ids)],
            float(change[i]),
            int(count[i]),
        )
        for i in order
    ]


def require_several(results: Sequence[Result]) -> None:
    """A comparison wants two results."""
    if len(results) < 2:
        raise InputError("compare wants two results or more: xlir-bench compare A B [C...]")

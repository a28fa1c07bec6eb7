"""Whether an encoder, or what a training gave it, holds away from home: tasks beside a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.measures.bootstrap import ClusterSums, Interval, relative_change
from xlir_bench.records import Floats, Ints, Kind
from xlir_bench.reports.comparable import require_comparable
from xlir_bench.reports.document import Block, Table, Title
from xlir_bench.reports.pairing import pair
from xlir_bench.reports.tables import number
from xlir_bench.results import Result
from xlir_bench.results.values import QueryValues


@dataclass(frozen=True, slots=True)
class Shift:
    """One encoder on one task in one kind of setting, beside what it is measured by."""

    encoder: str
    task: str
    domain: str
    kind: Kind
    reference: float
    value: float
    change: float | None
    """(value - reference) / reference; none where the reference is 0."""
    low: float | None
    high: float | None
    aligned: float | None
    """How often a question finds its translation, where the result has it."""

    @property
    def verdict(self) -> str:
        """Whether the interval leaves out that nothing changed."""
        if self.low is None or self.high is None:
            return "-"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "unclear"


def from_reference(results: Sequence[Result], reference: str, measure: str = "map") -> list[Shift]:
    """Each encoder's tasks beside its own result on the reference task."""
    home = {r.record.encoder.slug: r for r in results if r.record.task.name == reference}
    if not home:
        raise UnknownNameError(
            "task among these results", [reference], sorted({r.record.task.name for r in results})
        )
    _require_distinct(results)
    lacking = sorted({r.record.encoder.slug for r in results} - set(home))
    if lacking:
        raise InputError(
            f"no result on {reference} of {', '.join(lacking)}: run it, or leave it out"
        )
    shifts = []
    for result in results:
        if result.record.task.name == reference:
            continue
        near = home[result.record.encoder.slug]
        first, second = (r.values(measure) for r in (near, result))
        for kind in _shared_kinds(near, result, measure):
            one, other = (
                _sums(v.value, v.setting, v.cluster, len(v.clusters), _of_kind(v, kind))
                for v in (first, second)
            )
            change = relative_change(one, other, paired=False)
            shifts.append(_shift(result, near, kind, measure, change))
    return shifts


def from_baseline(results: Sequence[Result], baseline: str, measure: str = "map") -> list[Shift]:
    """Each encoder beside the baseline encoder on the same task, query by query."""
    names = sorted({r.record.encoder.slug for r in results})
    if baseline not in names:
        raise UnknownNameError("encoder among these results", [baseline], names)
    _require_distinct(results)
    home = {r.record.task.name: r for r in results if r.record.encoder.slug == baseline}
    shifts = []
    for result in results:
        near = home.get(result.record.task.name)
        if near is None:
            raise InputError(
                f"no result of {baseline} on {result.record.task.name}: run it, or leave it out"
            )
        if result is near:
            continue
        require_comparable([near, result], False, "leave one of them out, or run it again")
        pairing = pair(near.values(measure), result.values(measure))
        for kind in _shared_kinds(near, result, measure):
            chosen = pairing.of_kind(kind)
            one, other = (
                _sums(values, pairing.setting, pairing.cluster, pairing.clusters, chosen)
                for values in (pairing.first, pairing.second)
            )
            change = relative_change(one, other, paired=True)
            shifts.append(_shift(result, near, kind, measure, change))
    return shifts


def _require_distinct(results: Sequence[Result]) -> None:
    seen: dict[tuple[str, str], Any] = {}
    for result in results:
        key = (result.record.encoder.slug, result.record.task.name)
        if key in seen:
            raise InputError(
                f"two results of {key[0]} on {key[1]}: {seen[key]} and {result.folder}; name one of them"
            )
        seen[key] = result.folder


def _shared_kinds(first: Result, second: Result, measure: str) -> list[Kind]:
    summaries = first.record.summary, second.record.summary
    return [kind for kind in Kind if all(measure in s.get(kind, {}) for s in summaries)]


def _of_kind(values: QueryValues, kind: Kind) -> list[int]:
    return [i for i in np.unique(values.setting).tolist() if values.settings[i].kind == kind]


def _sums(
    value: Floats, setting: Ints, cluster: Ints, clusters: int, chosen: Sequence[int]
) -> ClusterSums:
    mine = np.isin(setting, chosen)
    columns = np.searchsorted(chosen, setting[mine])
    return ClusterSums.of(value[mine], cluster[mine], columns, (clusters, len(chosen)))


def _shift(
    result: Result, near: Result, kind: Kind, measure: str, change: Interval | None
) -> Shift:
    record = result.record
    pairs = record.alignment.questions.values()
    found = [p.recall["recall@1"] for p in pairs]
    return Shift(
        encoder=record.encoder.slug,
        task=record.task.name,
        domain=record.task.domain,
        kind=kind,
        reference=near.record.summary[kind][measure].mean,
        value=record.summary[kind][measure].mean,
        change=None if change is None else change.mean,
        low=None if change is None else change.low,
        high=None if change is None else change.high,
        aligned=sum(found) / len(found) if found else None,
    )


def robustness_blocks(shifts: Sequence[Shift], beside: str, measure: str) -> list[Block]:
    """One table, encoders one after the other."""
    aligned = any(shift.aligned is not None for shift in shifts)
    rows = []
    for s in shifts:
        row = [s.encoder, s.task, s.domain, s.kind.value]
        row += [number(s.reference), number(s.value), _percent(s.change)]
        row += ["-" if s.low is None else f"{_percent(s.low)} to {_percent(s.high)}", s.verdict]
        rows.append(row + ([number(s.aligned)] if aligned else []))
    headers = [
        "encoder",
        "task",
        "domain",
        "kind",
        "reference",
        measure,
        "change",
        "95 % interval",
        "",
    ]
    headers += ["question finds its translation"] if aligned else []
    return [
        Title(f"{measure} beside {beside}"),
        Table(headers, rows, spare=("domain", "question finds its translation", "reference")),
    ]


def robustness_record(shifts: Sequence[Shift], beside: str, measure: str) -> dict[str, Any]:
    """The same for programs."""
    return {
        "beside": beside,
        "measure": measure,
        "shifts": [asdict(shift) | {"verdict": shift.verdict} for shift in shifts],
    }


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f}%"

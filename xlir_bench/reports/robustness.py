"""Whether the quality of an encoder, or its gain over another, carries over to other tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.measures.bootstrap import relative_change
from xlir_bench.records import Kind
from xlir_bench.rendering.document import Block, Lines, Table
from xlir_bench.rendering.numbers import interval, number, percent
from xlir_bench.reports.pairing import pair, require_comparable
from xlir_bench.results import Result


@dataclass(frozen=True, slots=True)
class Shift:
    """One encoder on one task in one kind of setting, compared with its reference."""

    encoder: str
    task: str
    domain: str
    kind: Kind
    reference: float
    value: float
    change: float | None
    """(value - reference) / reference; None where the reference is 0."""
    low: float | None
    high: float | None
    aligned: float | None
    """How often the nearest question in another language is the translation (recall@1); None if it was not measured."""
    name: str
    """The name of the encoder as people know it; two encoders may share one."""
    part: str
    """What makes this result or its reference a partial run, in words; empty for full runs."""

    @property
    def verdict(self) -> str:
        """``higher`` or ``lower`` if the 95 % interval of the change excludes 0, else ``unclear``; ``-`` without one."""
        if self.low is None or self.high is None:
            return "-"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "unclear"


def shifts(
    results: Sequence[Result],
    measure: str = "map",
    reference: str | None = None,
    baseline: str | None = None,
) -> list[Shift]:
    """Every result compared with its reference.

    That is the result of the same encoder on the `reference` task, or of the `baseline` encoder on the same task.
    """
    of_one_task = baseline is not None
    # A key begins with what a result shares with its reference: the encoder, or the task.
    by_key: dict[tuple[str, str], Result] = {}
    for result in results:
        encoder, task = result.record.encoder.slug, result.record.task.name
        key = (task, encoder) if of_one_task else (encoder, task)
        if key in by_key:
            folders = f"{by_key[key].folder} and {result.folder}"
            raise InputError(f"two results of {encoder} on {task}: {folders}; name one of them")
        by_key[key] = result
    beside = str(baseline if of_one_task else reference)
    references = {shared: result for (shared, own), result in by_key.items() if own == beside}
    if not references:
        what = f"{'encoder' if of_one_task else 'task'} among these results"
        raise UnknownNameError(what, [beside], {own for _, own in by_key})
    if lacking := ", ".join(sorted({shared for shared, _ in by_key} - references.keys())):
        pair_of = f"of {beside} on {lacking}" if of_one_task else f"of {lacking} on {beside}"
        raise InputError(f"no result {pair_of}: run it, or leave out {lacking}")
    all_shifts = []
    for (shared, own), result in by_key.items():
        if own == beside:
            continue
        compared_with = references[shared]
        if of_one_task:
            remedy = "leave one of them out, or run it again"
            require_comparable([compared_with, result], False, remedy)
        all_shifts += _shifts(result, compared_with, measure, paired=of_one_task)
    return all_shifts


def _shifts(result: Result, reference: Result, measure: str, paired: bool) -> list[Shift]:
    """One for each kind of setting; `paired`: both results are of the same queries, which are resampled together."""
    first, second = reference.values(measure), result.values(measure)
    if paired:
        pairing = pair(first, second)
        first, second = pairing.first, pairing.second
    record, recalls = result.record, [p.recall for p in result.record.alignment.questions.values()]
    scores, references = record.summary, reference.record.summary
    shifts = []
    for kind in Kind:
        if measure not in scores.get(kind, {}) or measure not in references.get(kind, {}):
            continue
        before, after = (v.sums(v.of_kinds([kind])) for v in (first, second))
        change = relative_change(before, after, paired)
        shift = Shift(
            encoder=record.encoder.slug,
            task=record.task.name,
            domain=record.task.domain,
            kind=kind,
            reference=references[kind][measure].mean,
            value=scores[kind][measure].mean,
            change=None if change is None else change.mean,
            low=None if change is None else change.low,
            high=None if change is None else change.high,
            aligned=sum(r["recall@1"] for r in recalls) / len(recalls) if recalls else None,
            name=record.encoder.name,
            part="; ".join((record.options.part | reference.record.options.part).values()),
        )
        shifts.append(shift)
    return shifts


def robustness_blocks(shifts: Sequence[Shift], beside: str, measure: str) -> list[Block]:
    """One table, a row for each encoder, task and kind."""
    aligned = any(shift.aligned is not None for shift in shifts)
    share = partial(percent, form="+.1f")
    rows = [
        {
            "encoder": s.encoder,
            "task": s.task,
            "domain": s.domain,
            "kind": s.kind.value,
            "reference": number(s.reference),
            measure: number(s.value),
            "change": share(s.change),
            "95 % interval": interval(s.low, s.high, share),
            "": s.verdict,
        }
        | ({"question finds its translation": number(s.aligned)} if aligned else {})
        for s in shifts
    ]
    spare = ("domain", "question finds its translation", "reference")
    return [Lines(f"{measure} beside {beside}"), Table.of(rows, text=4, spare=spare)]


def robustness_record(shifts: Sequence[Shift], beside: str, measure: str) -> dict[str, Any]:
    """The shifts for programs."""
    rows = [asdict(shift) | {"verdict": shift.verdict} for shift in shifts]
    return {"beside": beside, "measure": measure, "shifts": rows}

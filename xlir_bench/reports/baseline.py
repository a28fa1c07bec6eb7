"""The baseline of a gate: replaced only with a reason, and never without a trace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from xlir_bench.errors import InputError
from xlir_bench.files import explained, held, write
from xlir_bench.records import Kind
from xlir_bench.reports.gate import rules
from xlir_bench.reports.policy import Drop, Policy
from xlir_bench.reports.tables import number
from xlir_bench.reports.verdict import Verdict
from xlir_bench.results import Result
from xlir_bench.untrusted import content_of, parse_json, validated

HISTORY, LOCK = "history.jsonl", ".history.lock"


@dataclass(frozen=True, slots=True)
class Update:
    """One line of a baseline's history, as far as a gate reads it."""

    when: str
    reason: str
    old: Mapping[str, Mapping[str, float]]
    """Macro averages by kind, then measure."""
    new: Mapping[str, Mapping[str, float]]
    task: str
    """The digest of what was evaluated; scores of another task say nothing of this one."""


def update_baseline(baseline: Result, candidate: Result, verdict: Verdict, reason: str) -> Path:
    """Put the candidate in the baseline's place and write why into its history; the folder.

    The history is written first. Its last line counts once its result is there: if this is killed in
    between, the old baseline stands, and the next update drops that line.
    """
    folder = baseline.folder
    if folder is None:
        raise InputError("the baseline lies in no folder; name one with --baseline")
    if not verdict.passed:
        raise InputError("a baseline is replaced only by a candidate that passed")
    if not reason.strip():
        raise InputError("--update-baseline wants a --reason: one line for its history")
    line = json.dumps(_line(baseline, candidate, verdict, reason), ensure_ascii=False)
    with (
        explained(folder, "a baseline lies in a folder that can be written"),
        held(folder / LOCK, f"baseline {folder}", wait=True),
    ):
        history = _history(folder)
        said = " ".join(reason.split())
        lines = [text for text, _ in history]
        again = history and _side(baseline) == _side(candidate) and history[-1][1].reason == said
        if not again:  # else it was killed once it was done: what it had still to tidy up is
            write(folder / HISTORY, "".join(f"{text}\n" for text in (*lines, line)))
        candidate.save(folder)
    return folder.resolve()


def read_history(folder: Path | None) -> list[Update]:
    """Every update of the baseline in this folder, the oldest first."""
    return [] if folder is None else [update for _, update in _history(folder)]


def _history(folder: Path) -> list[tuple[str, Update]]:
    """The lines of the history whose results came to stand here, each as it is written and as it is read."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    lines: list[tuple[str, Update]] = []
    old = new = None
    remedy = "mend it or take it out"
    for i, line in enumerate(content_of(path).decode("utf-8", "replace").splitlines(), 1):
        where = f"{path} line {i}"
        try:
            stated = parse_json(line, lone="replace")
        except ValueError as error:
            raise InputError(f"{where} {error}; {remedy}") from None
        found = validated(_Line, stated, where, "a line of a history", remedy)
        old, new = stated["old"], stated["new"]
        update = Update(
            found.when, found.reason, found.old.scores, found.new.scores, found.new.task
        )
        lines.append((line, update))
    if not lines or old == new:
        return lines
    here = json.loads(json.dumps(_side(Result.load(folder))))
    return lines[:-1] if here == old else lines


class _Side(BaseModel):
    """A baseline that was, or became one."""

    model_config = ConfigDict(allow_inf_nan=False)
    task: str = ""
    scores: dict[str, dict[str, float]]


class _Line(BaseModel):
    """A line of a history."""

    when: str
    reason: str
    old: _Side
    new: _Side


def sunk(history: Sequence[Update], candidate: Result, policy: Policy) -> list[str]:
    """Where many small steps, each allowed, led further down than the policy allows one to."""
    mine = [u for u in history if u.task == candidate.record.task.digest]
    allowances = [r for _, r in rules(policy) if isinstance(r, Drop) and r.per == "kind"]
    found = []
    for rule in (r for r in allowances if r.langs is None):
        for kind in rule.kinds or list(Kind):
            part = candidate.record.summary.get(kind, {}).get(rule.measure)
            past = [
                s[kind][rule.measure] for u in mine for s in (u.old, u.new) if _has(s, kind, rule)
            ]
            if part is None or not past or max(past) - part.mean <= rule.allowed(max(past)):
                continue
            found.append(
                f"{kind.value} {rule.measure} is {number(max(past) - part.mean)} below the best"
                f" baseline there was ({number(max(past))}; {len(mine)} updates in {HISTORY})"
            )
    return found


def _has(scores: Mapping[str, Mapping[str, float]], kind: Kind, rule: Drop) -> bool:
    return rule.measure in scores.get(kind, {})


def _line(baseline: Result, candidate: Result, verdict: Verdict, reason: str) -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": " ".join(reason.split()),
        "verdict": verdict.outcome.value,
        "old": _side(baseline),
        "new": _side(candidate),
    }


def _side(result: Result) -> dict[str, Any]:
    record = result.record
    distance = record.bias.get("rank_distance")
    return {
        "encoder": record.encoder.name,
        "fingerprint": record.encoder.fingerprint,
        "task": record.task.digest,
        "created": record.created,
        "scores": {
            kind.value: {m: part.mean for m, part in by.items()}
            for kind, by in record.summary.items()
        },
        "rank_distance": distance.mean if distance else None,
    }

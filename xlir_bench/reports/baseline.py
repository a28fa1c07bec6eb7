"""The baseline of a gate: replaced only with a reason, and never without a trace."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from xlir_bench.errors import InputError
from xlir_bench.reading import content_of, parse_json, validated
from xlir_bench.records import Kind
from xlir_bench.reports.gate import rules
from xlir_bench.reports.policy import Drop, Policy
from xlir_bench.reports.tables import number
from xlir_bench.reports.verdict import Verdict
from xlir_bench.results import Result
from xlir_bench.results.store import not_writable

HISTORY = "history.jsonl"


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

    The new folder is made whole beside the old one and takes its name: there is never a folder that is
    half old, half new.
    """
    folder = baseline.folder
    if folder is None:
        raise InputError("the baseline lies in no folder; name one with --baseline")
    if not verdict.passed:
        raise InputError("a baseline is replaced only by a candidate that passed")
    if not reason.strip():
        raise InputError("--update-baseline wants a --reason: one line for its history")
    folder = folder.resolve()
    new, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("new", "old"))
    line = json.dumps(_line(baseline, candidate, verdict, reason), ensure_ascii=False)
    try:
        shutil.copytree(folder, new)
        candidate.save(new)
        with (new / HISTORY).open("a", encoding="utf-8") as history:
            history.write(line + "\n")
        folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            old.rename(folder)
            raise
    except OSError as error:
        raise not_writable(folder, error.strerror or str(error), error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def read_history(folder: Path | None) -> list[Update]:
    """Every update of the baseline in this folder, the oldest first."""
    path = None if folder is None else folder / HISTORY
    if path is None or not path.is_file():
        return []
    remedy = "mend it or take it out"
    updates = []
    for i, line in enumerate(content_of(path).splitlines(), 1):
        where = f"{path} line {i}"
        try:
            stated = parse_json(line, lone="replace")
        except ValueError as error:
            raise InputError(f"{where} {error}; {remedy}") from None
        found = validated(_Line, stated, where, "a line of a history", remedy)
        old, new = found.old.scores, found.new.scores
        updates.append(Update(found.when, found.reason, old, new, found.new.task))
    return updates


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

"""The baseline of a gate: replaced only with a reason, which is kept in a history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from xlir_bench.errors import InputError
from xlir_bench.files import explained, held, write
from xlir_bench.results.store import Result
from xlir_bench.untrusted import content_of, parse_json, validated

HISTORY, LOCK = "history.jsonl", ".history.lock"


class Verdict(Protocol):
    """What a gate found."""

    @property
    def passed(self) -> bool:
        """Whether the candidate may take the baseline's place."""

    @property
    def outcome(self) -> StrEnum:
        """The verdict, as the history states it."""


class Side(BaseModel):
    """The old or the new baseline of an update, as far as the gate reads it."""

    model_config = ConfigDict(allow_inf_nan=False)
    task: str = ""
    """The digest of the task: scores on another task cannot be compared."""
    scores: dict[str, dict[str, float]]
    """Macro averages by kind, then measure."""


class Update(BaseModel):
    """One line of a baseline's history."""

    when: str
    reason: str
    old: Side
    new: Side


def update_baseline(baseline: Result, candidate: Result, verdict: Verdict, reason: str) -> Path:
    """Put the candidate in the baseline's place and write why into its history; returns the folder.

    The history is written first. Its last line counts only once the candidate is in place: after a kill
    in between, the old baseline stands, and the next update drops that line.
    """
    folder, reason = baseline.folder, " ".join(reason.split())
    if folder is None:
        raise InputError("the baseline lies in no folder; name one with --baseline")
    if not verdict.passed:
        raise InputError(
            f"{candidate.record.encoder.name} does not replace the baseline {folder}, {baseline.record.encoder.name}:"
            f" its verdict is {verdict.outcome.value}, and only a candidate that passed does"
        )
    if not reason:
        raise InputError("--update-baseline wants a --reason: one line for its history")
    old, new = _side(baseline), _side(candidate)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"when": now, "reason": reason, "verdict": verdict.outcome.value, "old": old, "new": new}
    with (
        explained(folder, "a baseline lies in a folder that can be written"),
        held(folder / LOCK, f"baseline {folder}", wait=True),
    ):
        history = _history(folder)
        # An update that was killed at the very end has written its line already.
        if not (history and old == new and history[-1][1].reason == reason):
            lines = [*(text for text, _ in history), json.dumps(line, ensure_ascii=False)]
            text = "".join(f"{line}\n" for line in lines)
            # Half a surrogate pair (of a name that is not UTF-8) is written as its JSON escape.
            write(folder / HISTORY, text.encode("utf-8", "backslashreplace"))
        # Retrieved passages are left out: baselines are kept in Git, and no gate reads these tables.
        candidate.save(folder, tables=("ranks", "queries"))
    return folder.resolve()


def read_history(folder: Path | None) -> list[Update]:
    """Every update of the baseline in this folder, the oldest first."""
    return [] if folder is None else [update for _, update in _history(folder)]


def _history(folder: Path) -> list[tuple[str, Update]]:
    """The lines of the history whose updates were completed: their text and their content."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    lines: list[tuple[str, Update]] = []
    old = new = None
    remedy = "mend it or take it out"
    # As bytes: a name may hold characters that end a line of text, but not of a file.
    for i, raw in enumerate(content_of(path).splitlines(), 1):
        line = raw.decode("utf-8", "replace")
        where = f"{path} line {i}"
        try:
            stated = parse_json(line, lone="replace")
        except ValueError as error:
            raise InputError(f"{where} {error}; {remedy}") from None
        lines.append((line, validated(Update, stated, where, "a line of a history", remedy)))
        old, new = stated["old"], stated["new"]
    if old != new and _side(Result.load(folder)) == old:
        lines.pop()
    return lines


def _side(result: Result) -> dict[str, Any]:
    record = result.record
    return {
        "encoder": record.encoder.name,
        "fingerprint": record.encoder.fingerprint,
        "task": record.task.digest,
        "created": record.created,
        "scores": {
            kind.value: {measure: part.mean for measure, part in by_measure.items()}
            for kind, by_measure in record.summary.items()
        },
        "rank_distance": record.rank_distance,
    }

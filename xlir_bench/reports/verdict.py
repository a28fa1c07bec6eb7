"""What a gate says: a finding for each test of each rule, and the outcome of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal


class Outcome(StrEnum):
    """What became of a rule, or of all; the worst is last."""

    PASS = "pass"  # noqa: S105
    DRIFT = "drift"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of one rule, or one floor."""

    rule: str
    """``drop``, ``rise`` or ``floor``, with its number in the policy: ``drop 2``."""
    measure: str
    subject: str
    """What it is over, such as ``cross-lingual, query language th``."""
    baseline: float
    candidate: float
    change: float
    """Candidate minus baseline."""
    allowed: float
    """The largest change for the worse; of a floor, the least value."""
    low: float | None
    high: float | None
    """The change's 95 % interval."""
    p: float | None
    """One-sided: how often chance alone makes it as much worse. None for a floor."""
    p_holm: float | None
    """Corrected for every test of the policy."""
    outcome: Outcome

    @property
    def floor(self) -> bool:
        """Whether it is a line that nothing may be under, and not a test."""
        return self.p is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Pass, drift or fail, and why."""

    outcome: Outcome
    task: str
    baseline: str
    candidate: str
    findings: tuple[Finding, ...]
    """The worst first."""
    alpha: float
    tests: int
    """How many were corrected for."""
    cluster: str
    clusters: int
    drift: Literal["warn", "fail"]
    """What the policy says of drift."""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the candidate may go on: no rule failed, and no drift where the policy forbids it."""
        return self.outcome == Outcome.PASS or (
            self.outcome == Outcome.DRIFT and self.drift == "warn"
        )

    @property
    def exit_code(self) -> int:
        """0 for a pass, 1 for a regression."""
        return 0 if self.passed else 1

    def of(self, outcome: Outcome) -> list[Finding]:
        """The findings of one outcome, the worst first."""
        return [f for f in self.findings if f.outcome == outcome]

    @property
    def counts(self) -> Counter[Outcome]:
        """How many findings there are of each outcome."""
        return Counter(f.outcome for f in self.findings)

    def to_record(self) -> dict[str, Any]:
        """The verdict for programs."""
        return {"passed": self.passed, **asdict(self)}

"""What a gate says: a finding for each test of each rule, and the verdict of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal


class Outcome(StrEnum):
    """What became of a test, or of all; the worst is last."""

    PASS = "pass"  # noqa: S105
    UNDECIDED = "undecided"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of one rule, or one floor."""

    rule: str
    """``drop``, ``rise`` or ``floor``, with its number in the policy: ``drop 2``."""
    decides: bool
    """Whether the gate passes only if this does; the others can fail it all the same."""
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
    most: float | None
    """The largest loss that there may be, with 95 % certainty (one-sided); below 0 for a sure gain."""
    p: float | None
    """One-sided: how often chance alone makes it as much worse. None for a floor."""
    p_holm: float | None
    """Corrected for every test of the policy."""
    visible: float | None
    """The smallest loss that this test would have found in 95 % of cases; none if it can find no loss."""
    needed: int | None
    """How many clusters would show the loss that is allowed as often; none if no number would."""
    outcome: Outcome

    @property
    def floor(self) -> bool:
        """Whether it is a line that nothing may be under, and not a test."""
        return self.p is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Pass, undecided or fail, and why."""

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
    undecided: Literal["pass", "fail"]
    """What the policy makes of an undecided gate."""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the candidate may go on: it passed, or is undecided and the policy lets that pass."""
        return self.outcome == Outcome.PASS or (
            self.outcome == Outcome.UNDECIDED and self.undecided == "pass"
        )

    @property
    def exit_code(self) -> int:
        """0 for a pass, 1 for a regression."""
        return 0 if self.passed else 1

    def of(self, outcome: Outcome, decides: bool | None = None) -> list[Finding]:
        """The findings of one outcome, the worst first: all, or those that decide or do not."""
        return [f for f in self.findings if f.outcome == outcome and decides in (None, f.decides)]

    @property
    def counts(self) -> Counter[Outcome]:
        """How many findings there are of each outcome."""
        return Counter(f.outcome for f in self.findings)

    def to_record(self) -> dict[str, Any]:
        """The verdict for programs; `outcome` says the same as `verdict`, for scripts of before."""
        return {"verdict": self.outcome.value, "passed": self.passed, **asdict(self)}

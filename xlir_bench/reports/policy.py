"""The policy of a gate: what may get worse, by how much, and how sure the gate has to be."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xlir_bench.errors import UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.results.values import RANK_DISTANCE
from xlir_bench.untrusted import read_toml, validated

DEFAULT_POLICY = """\
# The policy of `xlir-bench gate`: when is a candidate worse than the baseline?
#
# Each rule makes tests. Let d be the change (positive is better) and delta the loss that is allowed:
#   fail       d < -delta, and chance alone would rarely give as much: the one-sided p of "no change", by
#              clusters (articles), corrected by Holm for every test of every rule below, is under alpha
#   pass       d is above -delta with 95 % certainty (a one-sided bound); or nothing differs at all
#   undecided  neither is shown
# The gate fails if one test fails. It passes if all tests of the rules that decide pass. Else it is
# undecided, and says how large a loss each rule would have found.

alpha = 0.05          # the chance that the gate fails a candidate that is no worse: all rules together
undecided = "pass"    # what an undecided gate is: "pass" (exit 0, and it says so) or "fail" (exit 1)

# The mean of each kind of setting (monolingual, cross-lingual, multilingual) may lose this much.
[[drop]]
measure = "map"     # any measure of the results: map, mrr, ndcg@10, recall@1 ...
per = "kind"        # what a test is over: kind, query-language, passage-language or setting
absolute = 0.005    # delta in points of the measure; or relative = 0.02 for 2 % of the baseline's value
decides = true      # the gate passes only if this does; if no rule says so, every rule decides

# A gain in the mean must not hide a loss in one language. These rules can only fail the gate: one
# language is seldom enough data to show that nothing was lost.
[[drop]]
measure = "map"
per = "query-language"
absolute = 0.01

[[drop]]
measure = "map"
per = "passage-language"
kinds = ["cross-lingual"]
absolute = 0.01

# Language bias: the translations of an answer may move this much further apart in the common pool.
[[rise]]
measure = "rank_distance"
relative = 0.05
decides = true

# Floors are lines that no candidate may be under, whatever the baseline was; nothing is tested.
# [[floor]]
# measure = "map"
# kinds = ["cross-lingual"]
# langs = ["th", "hi"]    # every rule may name query languages (of the passages, per passage-language)
# per = "query-language"
# least = 0.30
"""
"""The default, as `--print-policy` prints it: what people copy is what runs."""

Per = Literal["kind", "query-language", "passage-language", "setting"]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rule(_Part):
    measure: str = "map"
    kinds: Annotated[list[Kind], Field(min_length=1)] | None = None
    """All that there are, if not stated."""
    per: Per = "kind"
    langs: Annotated[list[str], Field(min_length=1)] | None = None
    """Only tests of these languages; a mean over a kind is then over their settings."""
    decides: Annotated[bool, Field(strict=True)] = False
    """Whether the gate passes only if this rule does."""


class _Change(_Rule):
    absolute: Amount | None = None
    relative: Amount | None = None
    """Of the baseline's value."""

    @model_validator(mode="after")
    def _one_amount(self) -> _Change:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("wants either absolute or relative")
        return self

    def allowed(self, baseline: float) -> float:
        """The largest change for the worse from this value."""
        if self.absolute is not None:
            return self.absolute
        return (self.relative or 0.0) * abs(baseline)


class Drop(_Change):
    """A measure of which more is better may fall by so much."""

    @model_validator(mode="after")
    def _more_is_better(self) -> Drop:
        if self.measure == RANK_DISTANCE:
            raise ValueError("rank_distance is worse when it rises: write [[rise]]")
        return self


class Rise(_Change):
    """The rank distance may rise by so much."""

    measure: Literal["rank_distance"] = "rank_distance"
    kinds: None = None
    per: Literal["kind", "query-language"] = "kind"


class Floor(_Rule):
    """A measure may not be under this."""

    least: Annotated[float, Field(allow_inf_nan=False, strict=True)]

    @model_validator(mode="after")
    def _more_is_better(self) -> Floor:
        if self.measure == RANK_DISTANCE:
            raise ValueError("a floor is for measures of which more is better")
        return self


class Policy(_Part):
    """What a candidate is held to."""

    alpha: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.05
    undecided: Literal["pass", "fail"] = "pass"
    drift: Literal["warn", "fail"] | None = None
    """What policies of before said of a loss that was not shown; read as `undecided`."""
    drop: list[Drop] = []
    rise: list[Rise] = []
    floor: list[Floor] = []

    @model_validator(mode="before")
    @classmethod
    def _read_drift(cls, stated: Any) -> Any:
        if isinstance(stated, dict) and stated.get("drift") == "fail":
            return {"undecided": "fail", **stated}
        return stated

    @model_validator(mode="after")
    def _holds_rules(self) -> Policy:
        if not (self.drop or self.rise or self.floor):
            raise ValueError("holds no rule: write [[drop]], [[rise]] or [[floor]]")
        return self

    def decides(self, rule: Drop | Rise | Floor) -> bool:
        """Whether the gate passes only if this rule does: where none is marked, all do."""
        marked = any(r.decides for rules in (self.drop, self.rise, self.floor) for r in rules)
        return rule.decides or not marked


RULES: dict[str, type[_Rule]] = {"drop": Drop, "rise": Rise, "floor": Floor}


def default_policy(measure: str = "map") -> Policy:
    """What a gate goes by if it is given no policy; a task without map is held to its own measure."""
    stated = Policy.model_validate(tomllib.loads(DEFAULT_POLICY))
    drops = [rule.model_copy(update={"measure": measure}) for rule in stated.drop]
    return stated.model_copy(update={"drop": drops})


def read_policy(path: Path) -> Policy:
    """The policy of a TOML file; its first faults are reported at once, unknown keys with near misses."""
    stated = read_toml(path)
    for what, unknown, known in _unknown_keys(stated):
        raise UnknownNameError(f"key in {what} of {path}", unknown, known)
    return validated(Policy, stated, path, "a policy")


def _unknown_keys(stated: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Where a key that means nothing stands, which it is, and which there are."""
    places = [("the policy", Policy.model_fields, stated)]
    for name, rule in RULES.items():
        rows = stated.get(name, [])
        places += [
            (f"[[{name}]]", rule.model_fields, row)
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
        ]
    for what, known, table in places:
        if unknown := [key for key in table if key not in known]:
            yield what, unknown, list(known)

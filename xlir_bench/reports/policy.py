"""The policy of a gate: what may get worse, by how much, and how sure the gate has to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xlir_bench.errors import UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.results.values import RANK_DISTANCE
from xlir_bench.untrusted import parse_toml, read_toml, validated

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

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Table):
    """What the tables of a policy have in common."""

    measure: str = "map"
    kinds: Annotated[list[Kind], Field(min_length=1)] | None = None
    """Kinds of setting; all of them, if not stated."""
    per: Literal["kind", "query-language", "passage-language", "setting"] = "kind"
    langs: Annotated[list[str], Field(min_length=1)] | None = None
    """Only these languages are tested; a mean over a kind is then over their settings."""
    decides: Flag = False
    """Whether the gate passes only if this rule does."""

    @model_validator(mode="after")
    def _more_is_better(self) -> Rule:
        if self.measure == RANK_DISTANCE and not isinstance(self, Rise):
            raise ValueError("rank_distance is worse when it rises: write [[rise]]")
        return self


class _Change(Rule):
    absolute: Amount | None = None
    relative: Amount | None = None
    """As a share of the baseline's value."""

    @model_validator(mode="after")
    def _one_amount(self) -> _Change:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("wants either absolute or relative")
        return self

    def allowed(self, baseline: float) -> float:
        """The largest loss allowed when the baseline has this value."""
        return (self.relative or 0.0) * abs(baseline) if self.absolute is None else self.absolute


class Drop(_Change):
    """A measure may fall by this much."""


class Rise(_Change):
    """The rank distance may rise by this much."""

    measure: Literal["rank_distance"] = "rank_distance"
    kinds: None = None
    per: Literal["kind", "query-language"] = "kind"


class Floor(Rule):
    """A measure may not be below this."""

    least: Annotated[float, Field(allow_inf_nan=False, strict=True)]


class Policy(_Table):
    """What a candidate is held to."""

    alpha: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.05
    undecided: Literal["pass", "fail"] = "pass"
    drift: Literal["warn", "fail"] | None = None
    """The old name of `undecided`; a policy that says ``fail`` is still read as one."""
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
    def _has_rules(self) -> Policy:
        if not self.rules:
            raise ValueError("holds no rule: write [[drop]], [[rise]] or [[floor]]")
        return self

    @property
    def rules(self) -> dict[str, Drop | Rise | Floor]:
        """Every rule by its name: its table and its number in the file, such as ``drop 2``."""
        tables: dict[str, Sequence[Drop | Rise | Floor]] = {
            "drop": self.drop, "rise": self.rise, "floor": self.floor,
        }  # fmt: skip
        return {f"{name} {i}": r for name, rows in tables.items() for i, r in enumerate(rows, 1)}

    def decides(self, rule: Rule) -> bool:
        """Whether the gate passes only if this rule does: where none is marked, all do."""
        return rule.decides or not any(other.decides for other in self.rules.values())


def default_policy(measure: str = "map") -> Policy:
    """The policy of a gate that is given none; a task without map is held to its own measure."""
    stated = Policy.model_validate(parse_toml(DEFAULT_POLICY, "the default policy"))
    drops = [rule.model_copy(update={"measure": measure}) for rule in stated.drop]
    return stated.model_copy(update={"drop": drops})


def read_policy(path: Path) -> Policy:
    """The policy of a TOML file; an unknown key is an error with its near miss."""
    stated = read_toml(path)
    tables: list[tuple[str, type[BaseModel], dict[str, Any]]] = [("the policy", Policy, stated)]
    rules: dict[str, type[BaseModel]] = {"drop": Drop, "rise": Rise, "floor": Floor}
    for name, rule in rules.items():
        rows = stated.get(name)
        tables += [
            (f"[[{name}]]", rule, row)
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
        ]
    for where, model, table in tables:
        if unknown := [key for key in table if key not in model.model_fields]:
            raise UnknownNameError(f"key in {where} of {path}", unknown, model.model_fields)
    return validated(Policy, stated, path, "a policy")

"""The policy of a gate: what may get worse, by how much, and how sure the gate has to be."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from xlir_bench.errors import UnknownNameError
from xlir_bench.records import Kind
from xlir_bench.results.values import RANK_DISTANCE
from xlir_bench.untrusted import parse_toml, read_toml, validated

DEFAULT_POLICY = (files("xlir_bench.reports") / "policy.toml").read_text(encoding="utf-8")
"""The text of the default policy: `gate` runs it, and `--print-policy` prints it."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class Rule(BaseModel, extra="forbid", frozen=True):
    """The keys that every kind of rule has."""

    measure: str = "map"
    kinds: Annotated[list[Kind], Field(min_length=1)] | None = None
    """Kinds of setting; all of them, if not stated."""
    per: Literal["kind", "query-language", "passage-language", "setting"] = "kind"
    langs: Annotated[list[str], Field(min_length=1)] | None = None
    """The query languages to test (with `per` ``passage-language``, the passage languages); a mean over a kind is then over
    their settings only."""
    decides: Flag = False
    """Whether the gate passes only if this rule passes."""

    @model_validator(mode="after")
    def _more_is_better(self) -> Rule:
        if self.measure == RANK_DISTANCE and not isinstance(self, Rise):
            raise ValueError("rank_distance is worse when it rises: write [[rise]]")
        return self


class Drop(Rule):
    """A measure may fall by this much."""

    absolute: Amount | None = None
    relative: Amount | None = None
    """As a share of the baseline's value."""

    @model_validator(mode="after")
    def _one_amount(self) -> Drop:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("needs either absolute or relative")
        return self

    def allowed(self, baseline: float) -> float:
        """The largest loss allowed when the baseline has this value."""
        return (self.relative or 0.0) * abs(baseline) if self.absolute is None else self.absolute


class Rise(Drop):
    """The rank distance (lower is better) may rise by this much."""

    measure: Literal["rank_distance"] = "rank_distance"
    kinds: None = None
    per: Literal["kind", "query-language"] = "kind"


class Floor(Rule):
    """A measure may not be below this."""

    least: Annotated[float, Field(allow_inf_nan=False, strict=True)]


RULES: dict[str, type[Rule]] = {"drop": Drop, "rise": Rise, "floor": Floor}
"""The kinds of rule, by the name of their tables in a policy."""


class Policy(BaseModel, extra="forbid", frozen=True):
    """The rules that a candidate has to meet."""

    alpha: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.05
    undecided: Literal["pass", "fail"] = "pass"
    drift: Literal["warn", "fail"] | None = None
    """The old name of `undecided`: ``fail`` still means the same."""
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
    def rules(self) -> dict[str, Drop | Floor]:
        """Every rule by its name: its table and its number in the file, such as ``drop 2``."""
        return {f"{name} {i}": r for name in RULES for i, r in enumerate(getattr(self, name), 1)}

    def decides(self, rule: Rule) -> bool:
        """Whether the gate passes only if this rule passes; if no rule is marked, every rule decides."""
        return rule.decides or not any(other.decides for other in self.rules.values())


def default_policy(measure: str = "map") -> Policy:
    """The policy of a gate for which none is named; its drops are of `measure`, the main measure of the task."""
    stated = Policy.model_validate(parse_toml(DEFAULT_POLICY, "the default policy"))
    drops = [rule.model_copy(update={"measure": measure}) for rule in stated.drop]
    return stated.model_copy(update={"drop": drops})


def read_policy(path: Path) -> Policy:
    """The policy of a TOML file; the error for an unknown key suggests the nearest known one."""
    stated = read_toml(path)
    tables: list[tuple[str, type[BaseModel], Any]] = [("the policy", Policy, stated)]
    for name, rule in RULES.items():
        rows = stated.get(name)
        tables += [(f"[[{name}]]", rule, row) for row in (rows if isinstance(rows, list) else ())]
    for where, model, table in tables:
        if not isinstance(table, dict):
            continue
        if unknown := [key for key in table if key not in model.model_fields]:
            raise UnknownNameError(f"key in {where} of {path}", unknown, model.model_fields)
    return validated(Policy, stated, path, "a policy")

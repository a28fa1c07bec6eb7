"""training.json, as far as it is read again: by a training that is there already, and by an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from xlir_bench.untrusted import load_json, validated

Count = Annotated[int, Field(ge=0, le=2**53)]
Counts = dict[str, Count]
Figures = dict[str, float]


class _Open(BaseModel):
    """More may stand in it."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class _Source(_Open):
    name: str
    digest: str = ""
    rows: Count


class _Data(_Open):
    sources: list[_Source] = []
    rows: Count = 0
    origins: Counts = {}
    texts_by_language: Counts = {}


class _Batches(_Open):
    left_out: dict[str, list[str]] = {}


class _Outcome(_Open):
    steps: Count
    chosen_step: Count
    seconds: float
    device: str


class _Leakage(_Open):
    leaking: Count = 0
    found: dict[str, dict[str, Counts]] = {}
    checked: dict[str, list[str]] = {}
    unchecked: dict[str, str] = {}
    action: str = ""


class _Look(_Open):
    step: Count
    figures: Figures


class _Environment(_Open):
    versions: dict[str, str] = {}


class TrainingRecord(_Open):
    """What a record of a training may hold; that of an untrained base holds less."""

    data: _Data | None = None
    batches: _Batches | None = None
    outcome: _Outcome | None = None
    leakage: _Leakage | None = None
    before: Figures = {}
    after: Figures = {}
    evaluations: list[_Look] = []
    environment: _Environment | None = None


class FinishedRecord(TrainingRecord):
    """What that of a finished training has to hold."""

    data: _Data
    batches: _Batches
    outcome: _Outcome
    leakage: _Leakage


def read_training(path: Path, model: type[TrainingRecord] = TrainingRecord) -> Mapping[str, Any]:
    """The record in a file, as it stands there."""
    remedy = "remove its folder and train again"
    stated: Mapping[str, Any] = load_json(path, remedy, lone="replace")
    validated(model, stated, path, "the record of a training", remedy)
    return stated

"""The parts of training.json that are read again: by a command whose training is finished, and by an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from xlir_bench.untrusted import load_json, validated

Count = Annotated[int, Field(ge=0, le=2**53)]
Counts = dict[str, Count]
Figures = dict[str, float]


class _Part(BaseModel):
    """Only what is read again is declared: a record holds more."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class _Source(_Part):
    name: str
    digest: str = ""
    rows: Count


class _Data(_Part):
    sources: list[_Source] = []
    rows: Count = 0
    origins: Counts = {}
    texts_by_language: Counts = {}


class _Base(_Part):
    digest: str = ""


class _Batches(_Part):
    left_out: dict[str, list[str]] = {}


class _Outcome(_Part):
    steps: Count
    chosen_step: Count
    seconds: float
    device: str


class _Leakage(_Part):
    leaking: Count = 0
    found: dict[str, dict[str, Counts]] = {}
    checked: dict[str, list[str]] = {}
    unchecked: dict[str, str] = {}
    action: str = ""


class _Evaluation(_Part):
    step: Count
    figures: Figures


class _Environment(_Part):
    versions: dict[str, str] = {}


class TrainingRecord(_Part):
    """The record of a training. An untrained base model has one too, which lacks some parts."""

    base: _Base | None = None
    data: _Data | None = None
    batches: _Batches | None = None
    outcome: _Outcome | None = None
    leakage: _Leakage | None = None
    before: Figures = {}
    after: Figures = {}
    evaluations: list[_Evaluation] = []
    environment: _Environment | None = None


class FinishedRecord(TrainingRecord):
    """The record of a finished training."""

    data: _Data
    batches: _Batches
    outcome: _Outcome
    leakage: _Leakage


def read_training(path: Path, model: type[TrainingRecord] = TrainingRecord) -> Mapping[str, Any]:
    """The record in a file, checked against `model` and returned as it is stored."""
    remedy = "remove its folder and train again"
    stated: Mapping[str, Any] = load_json(path, remedy, lone="replace")
    validated(model, stated, path, "the record of a training", remedy)
    return stated

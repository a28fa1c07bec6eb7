from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from train.rowfiles import row, write_rows

from xlir_bench.options.static import StaticOptions
from xlir_bench.options.training import BatchOptions, TrainingSource, TrainOptions


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty rows in three languages, some with a hard negative."""
    rows = [row(n, negative={"en": f"wrong {n}"} if n % 3 == 0 else {}) for n in range(40)]
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows)


@pytest.fixture
def drawn() -> None:
    """Asked for by tests whose trainings draw their curves."""


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it is as if matplotlib were not installed: to draw takes longer than to train here."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("xlir_bench.train.trainer.draw_curves", lambda log, path: False)


@pytest.fixture
def asked(rows_file: Path, tmp_path: Path) -> Callable[..., TrainOptions]:
    """Options of a very short run; anything may be said otherwise."""

    def make(model: str | Path = "builtin:static:16", **stated: Any) -> TrainOptions:
        batches = {"batch_size": 8, **stated.pop("batches", {})}
        defaults: dict[str, Any] = {"steps": 6, "output": tmp_path / "out", "device": "cpu"}
        defaults |= {"sources": (TrainingSource(str(rows_file)),)}
        defaults |= {"static": StaticOptions(**stated.pop("static", {}))}
        return TrainOptions(str(model), batches=BatchOptions(**batches), **defaults | stated)

    return make

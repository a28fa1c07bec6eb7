"""Training rows written to files, and stores made of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlir_bench.options.training import TrainingSource
from xlir_bench.records import Silent
from xlir_bench.train.row_store import RowStore, store_rows


def row(number: int | str, langs: str = "de en es", **sides: Any) -> dict[str, Any]:
    """A row with texts of its own in some languages; `sides` replaces whole sides."""
    names = langs.split()
    stated = {
        "id": f"row-{number}",
        "dataset": "made",
        "question": {x: f"question {number} in {x}" for x in names},
        "answer": {x: f"answer {number} in {x}" for x in names},
    }
    return stated | sides


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(r, ensure_ascii=False) for r in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def stored(rows: Sequence[Any], folder: Path | None = None, **source: Any) -> RowStore:
    """A store of one source."""
    folder = Path(tempfile.mkdtemp()) if folder is None else folder
    path = write_rows(folder / "rows.jsonl", rows)
    return store_rows([TrainingSource(str(path), **source)], folder / "store", Silent())

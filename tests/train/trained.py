"""What training left behind, and a figure to train by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.options.training import TrainOptions

Asked = Callable[..., TrainOptions]
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        found |= {f"{path.name}:{name}": value for name, value in load_file(path).items()}
    return found


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def falling(model: Any) -> dict[str, float]:
    """A real figure of the model: how near a question is to its answer."""
    question = model.encode_query("question 1 in en", show_progress_bar=False)
    answer = model.encode_document("answer 1 in en", show_progress_bar=False)
    cosine = float(question @ answer / np.linalg.norm(question) / np.linalg.norm(answer))
    return {"pair.monolingual.map": cosine, "pair.rank_distance": 1 - cosine}

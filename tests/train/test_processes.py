"""Two processes of `torchrun` train what one does: the same batches, losses and weights."""

from __future__ import annotations

import json
import socket
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import save_tiny_transformer
from processes import begin
from train.rowfiles import row, write_rows
from train.test_trainer import dropout_off
from train.trained import Asked, log_of, weights

from xlir_bench.errors import InputError
from xlir_bench.options.stating import build
from xlir_bench.options.training import TrainingSource, TrainOptions
from xlir_bench.train.processes import part
from xlir_bench.train.trainer import train

TRAININGS: tuple[dict[str, Any], ...] = (
    {"loss": "lakda", "cached": True, "mini_batch": 2, "vrn_weight": 0.5},
    {"loss": "one-to-k"},
    {"loss": "distil", "infonce_weight": 0.2, "teacher": "builtin:ngram"},
)
SAME = {
    "device": "cpu", "batch_size": 7, "steps": 4, "log_steps": 1, "strategy": "mixed", "warmup": 0.0, "lr": 1e-3,
}  # fmt: skip


def train_all(folder: Path, name: str) -> int:
    """Every training, by this process as its environment says: alone, or one of two."""
    for number, training in enumerate(TRAININGS):
        sources, output = [TrainingSource(f"{folder}/rows.jsonl")], folder / f"{name}-{number}"
        stated = SAME | training | {"model": f"{folder}/base", "sources": sources, "output": output}
        train(build(TrainOptions, stated))
    return 0


def test_parts_are_all_texts_once() -> None:
    for count in range(7):
        parts = [list(range(count))[part(count, rank, 3)] for rank in range(3)]
        assert [n for own in parts for n in own] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Seven rows a batch, some with a hard negative and some with a second language: no column has equal parts, and
    some parts are empty.
    """
    base = save_tiny_transformer(tmp_path / "base")
    dropout_off(base)
    rows = [
        row(n, "de en" if n % 3 else "en", negative={"en": f"no {n}"} if n % 5 == 0 else {})
        for n in range(30)
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def began(name: str, rank: int = 0, **env: str) -> tuple[BaseProcess, Path]:
        """A process with the environment that `torchrun` gives, and what it says."""
        alone = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "127.0.0.1"}
        said = tmp_path / f"said-{name}-{rank}"
        return begin(partial(train_all, tmp_path, name), said, **alone, **env), said

    begun = [began("one")]
    for rank in range(2):
        ranks = {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
        begun.append(began("two", rank, MASTER_PORT=f"{port}", **ranks))
    for process, said in begun:
        process.join(timeout=900)
        assert process.exitcode == 0, said.read_text(encoding="utf-8")[-3000:]
    before = weights(base)
    for n in range(len(TRAININGS)):
        one, two = tmp_path / f"one-{n}", tmp_path / f"two-{n}"
        found, wanted = weights(two), weights(one)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            # The gradient of a bias of attention's keys is nothing but rounding, which Adam makes a whole step of.
            assert name.endswith("key.bias") or np.abs(found[name] - value).max() < 1e-5
        assert any(np.abs(wanted[name] - before[name]).max() > 1e-3 for name in before)
        for mine, other in zip(log_of(two), log_of(one), strict=True):
            del mine["steps_per_second"], other["steps_per_second"]
            assert mine == pytest.approx(other, rel=1e-5, abs=1e-5)
        records = [json.loads((folder / "training.json").read_text()) for folder in (two, one)]
        assert records[0]["batches"] == records[1]["batches"]
        assert not (two / "checkpoints").exists()


def test_a_static_model_is_not_trained_by_several_processes(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"processes .*static model"):
        train(asked())

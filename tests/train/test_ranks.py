"""Two processes of `torchrun` train what one does: the same batches, losses and weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import save_tiny_transformer
from train.rowfiles import row, write_rows
from train.test_trainer import dropout_off
from train.trained import Asked, log_of, weights

from xlir_bench.errors import InputError
from xlir_bench.train import train
from xlir_bench.train.ranks import part

TRAININGS: tuple[dict[str, Any], ...] = (
    {"loss": "lakda", "cached": True, "mini_batch": 2, "vrn_weight": 0.5},
    {"loss": "one-to-k"},
    {"loss": "distil", "infonce_weight": 0.2, "teacher": "builtin:ngram"},
)
SAME = {
    "device": "cpu", "batch_size": 7, "steps": 4, "log_steps": 1, "strategy": "mixed", "warmup": 0.0, "lr": 1e-3,
}  # fmt: skip
SCRIPT = """
import json, sys
from pathlib import Path
from xlir_bench.options.stating import build
from xlir_bench.options.training import TrainingSource
from xlir_bench.train import TrainOptions, train
folder, name, *trainings = json.loads(sys.argv[1])
for number, said in enumerate(trainings):
    places = {"sources": [TrainingSource(f"{folder}/rows.jsonl")], "output": Path(f"{folder}/{name}-{number}")}
    train(build(TrainOptions, {"model": f"{folder}/base", **said, **places}))
"""


def test_parts_are_all_texts_once() -> None:
    for count in range(7):
        parts = [list(range(count))[part(count, rank, 3)] for rank in range(3)]
        assert [n for own in parts for n in own] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Takes some 20 seconds of the processor: three processes load torch, three models are trained in each.

    Seven rows a batch, some with a hard negative and some with a second language: no column has equal parts, and
    some parts are empty.
    """
    base = save_tiny_transformer(tmp_path / "base")
    dropout_off(base)
    rows = [
        row(n, "de en" if n % 3 else "en", negative={"en": f"no {n}"} if n % 5 == 0 else {})
        for n in range(30)
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def begin(name: str, **env: object) -> subprocess.Popen[str]:
        """A process as `torchrun` starts it; the launcher itself would load torch once more."""
        said = json.dumps([str(tmp_path), name, *(SAME | training for training in TRAININGS)])
        alone = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "127.0.0.1"}
        told = os.environ | alone | {name: str(value) for name, value in env.items()}
        command = [sys.executable, str(script), said]
        return subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True)

    begun = [begin("one")]
    for rank in range(2):
        begun.append(begin("two", RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_PORT=port))
    for process in begun:
        _, said = process.communicate(timeout=900)
        assert process.returncode == 0, said[-3000:]
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
    with pytest.raises(InputError, match="a static model trains in one"):
        train(asked())

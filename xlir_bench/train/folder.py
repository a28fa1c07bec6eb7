"""The output folder of a training run: its lock, its files, and the checkpoint to resume from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import InputError
from xlir_bench.files import ELSEWHERE, held, replacing, require_writable, sweep, write
from xlir_bench.untrusted import parse_json, read_json

LOCK = ".training.lock"
RECORD = "training.json"
LOG = "log.jsonl"
CURVES = "curves.png"
PROJECTION = "projection"
"""The projection to a teacher's vectors, stored beside the model: a second stage of training continues with it."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The output folder of one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """What a stopped run resumes from; only here are there pickles, written by the trainer."""
        return self.path / "checkpoints"

    @property
    def data(self) -> Path:
        """Rows and plan of the run; made again from the sources if they are lost."""
        return self.checkpoints / "data"

    @property
    def finished(self) -> bool:
        """Whether the folder holds a finished run."""
        return (self.path / RECORD).is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out while this one works."""
        require_writable(self.path, ELSEWHERE)
        with held(self.path / LOCK, f"output folder {self.path}"):
            sweep(self.path)
            yield

    def require_fresh(self, resume: bool) -> None:
        """Refuse a folder with files in it or, with `resume`, with files that are not of a training run."""
        others = [p.name for p in self.path.iterdir() if p.name != LOCK]
        if not others:
            return
        if not resume:
            hint = "go on with --resume, or name" if self.checkpoints.is_dir() else "name"
            raise InputError(f"{self.path} is not empty: {hint} another with --output")
        if not self.checkpoints.is_dir() and not self.finished:
            raise InputError(f"--resume: {self.path} holds no checkpoints of a training run")

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint; incomplete newer ones, left by a killed run, are removed."""
        for checkpoint in self._newest_first():
            try:  # the trainer writes its state last
                parse_json((checkpoint / "trainer_state.json").read_bytes(), strict=False)
            except (FileNotFoundError, ValueError):
                shutil.rmtree(checkpoint)
            else:
                return checkpoint
        return None

    def last_finite_checkpoint(self) -> Path | None:
        """The newest checkpoint with finite weights; newer ones are useless and are removed."""
        import torch
        from safetensors.torch import load_file

        for checkpoint in self._newest_first():
            weights = (load_file(path).values() for path in checkpoint.rglob("*.safetensors"))
            if all(bool(torch.isfinite(tensor).all()) for file in weights for tensor in file):
                return checkpoint
            shutil.rmtree(checkpoint)
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.checkpoints.glob("checkpoint-*"), key=step_of, reverse=True)

    def remove_checkpoints(self) -> None:
        """Remove what only a stopped run needs. Windows keeps files that are mapped into memory: the next call removes them."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def forget_unbegun(self) -> None:
        """Remove everything of a run that failed before its first checkpoint."""
        if not any(self.checkpoints.glob("checkpoint-*")):
            self.remove_checkpoints()
            (self.path / LOG).unlink(missing_ok=True)

    def remember(self, stated: Mapping[str, Any]) -> None:
        """Store the options of the run; refuse to resume it with different ones."""
        path = self.checkpoints / "options.json"
        self.checkpoints.mkdir(exist_ok=True)
        plain = json.loads(json.dumps(stated, default=str))
        if not path.is_file():
            write_json(path, plain)
            return
        before = read_json(path, dict[str, Any], "the options of a run", "remove the folder")
        changed = sorted(k for k in {*before, *plain} if before.get(k) != plain.get(k))
        if changed:
            raise InputError(
                f"--resume: {self.path} was begun with other options ({', '.join(changed)}): give the same, or another folder"
            )


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an ``.npy`` file whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def step_of(checkpoint: Path) -> int:
    """The step at which a checkpoint was saved; -1 if its name has none."""
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1

"""The output folder of a run: who may use it, what lies where, and which checkpoint to go on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlir_bench.errors import InputError
from xlir_bench.files import ELSEWHERE, held, require_writable, sweep, write
from xlir_bench.untrusted import parse_json, read_json

LOCK = ".training.lock"
RECORD = "training.json"
LOG = "log.jsonl"
CURVES = "curves.png"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One output folder."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """What a stopped run goes on from; the only place where a trainer's pickles lie."""
        return self.path / "checkpoints"

    @property
    def data(self) -> Path:
        """Rows and plan of the run, made again from the sources if they are lost."""
        return self.checkpoints / "data"

    @property
    def finished(self) -> bool:
        """Whether a run came to its end here."""
        return (self.path / RECORD).is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out while this one is at work."""
        require_writable(self.path, ELSEWHERE)
        with held(self.path / LOCK, f"output folder {self.path}"):
            sweep(self.path)
            yield

    def require_fresh(self, resume: bool) -> None:
        """Refuse to write over something else; a stopped run may be gone on with."""
        others = [p.name for p in self.path.iterdir() if p.name != LOCK]
        if not others:
            return
        if not resume:
            hint = "go on with --resume, or name" if self.checkpoints.is_dir() else "name"
            raise InputError(
                f"output folder {self.path} is not empty: {hint} another with --output"
            )
        if not self.checkpoints.is_dir() and not self.finished:
            raise InputError(f"--resume: {self.path} holds no checkpoints of a training run")

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint; one that was being written when the run ended is removed."""
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=step_of)
        while found:
            if _is_whole(found[-1]):
                return found[-1]
            shutil.rmtree(found.pop())
        return None

    def forget_unbegun(self) -> None:
        """Leave nothing behind of a run that failed before its first checkpoint."""
        if not any(self.checkpoints.glob("checkpoint-*")):
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            (self.path / LOG).unlink(missing_ok=True)

    def remember(self, stated: Mapping[str, Any]) -> None:
        """Note what the run was told, or refuse to go on with something else."""
        path = self.checkpoints / "options.json"
        self.checkpoints.mkdir(exist_ok=True)
        plain = json.loads(json.dumps(stated, default=str))
        if not path.is_file():
            write_json(path, plain)
            return
        before = read_json(path, dict[str, Any], "what a run was told", "remove the folder")
        changed = sorted(k for k in {*before, *plain} if before.get(k) != plain.get(k))
        if changed:
            raise InputError(
                f"--resume: {self.path} was begun with other options ({', '.join(changed)});"
                " say the same ones, or name another folder"
            )


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one go."""
    write(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint was made at."""
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _is_whole(checkpoint: Path) -> bool:
    """The trainer writes its state last."""
    try:
        parse_json((checkpoint / "trainer_state.json").read_bytes(), strict=False)
    except (FileNotFoundError, ValueError):
        return False
    return True

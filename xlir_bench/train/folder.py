"""The output folder of a run: who may use it, what lies where, and which checkpoint to go on from."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlir_bench.errors import InputError, XlirError
from xlir_bench.reading import parse_json, read_json

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
        lock = self.path / LOCK
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            take(lock, f"output folder {self.path}", "training run")
        except OSError as error:
            raise InputError(
                f"cannot write to {self.path}: {error.strerror}; name another folder with --output"
            ) from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

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
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint was made at."""
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def take(lock: Path, what: str, by: str) -> None:
    """Make a lock file, or say that another process has `what`."""
    mine = {"pid": os.getpid(), "host": socket.gethostname()}
    for _ in range(2):
        try:
            with lock.open("x", encoding="utf-8") as file:
                json.dump(mine, file)
            return
        except FileExistsError:
            holder = _holder(lock)
            if holder is None or (holder["host"] == mine["host"] and not _alive(holder["pid"])):
                lock.unlink(missing_ok=True)
                continue
            raise InputError(
                f"{what} is in use by another {by} (process {holder['pid']} on {holder['host']}); name another with --output, or remove {lock}"
            ) from None
    raise XlirError(f"cannot take {lock}; another run is trying too")


def _holder(lock: Path) -> dict[str, Any] | None:
    try:
        stated = json.loads(lock.read_text(encoding="utf-8"))
        return {"pid": int(stated["pid"]), "host": str(stated["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_whole(checkpoint: Path) -> bool:
    """The trainer writes its state last."""
    try:
        parse_json((checkpoint / "trainer_state.json").read_bytes(), strict=False)
    except (FileNotFoundError, ValueError):
        return False
    return True

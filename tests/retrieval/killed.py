"""Embeds with a real model in processes that are killed; for a process of its own, because forks want a fresh one.

The libraries are imported once and the model never before a fork: every child starts in a moment and
none inherits a thread.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
from worlds import text_collection

from xlir_bench.encoders import load_encoder
from xlir_bench.records import Silent
from xlir_bench.retrieval import EmbedRequest, embed, encoding


def texts(lang: str, count: int) -> list[str]:
    rng = random.Random(lang)
    return ["".join(rng.choices("abcdefgh äöü", k=rng.randint(3, 90))) for _ in range(count)]


COLLECTION = text_collection(
    {lang: texts(f"query {lang}", 50) for lang in ("de", "en")},
    {lang: texts(f"passage {lang}", 110) for lang in ("de", "en")},
)


def embed_into(model: str, cache: Path, output: Path, batch_tokens: int = 300) -> None:
    found = embed(COLLECTION, load_encoder(model), EmbedRequest(cache, batch_tokens), Silent())
    arrays = {
        f"{role}.{lang}": np.asarray(vectors) for (role, lang), vectors in found.vectors.items()
    }
    counts = np.array([found.encoded, found.cached, len(found.notes)])
    np.savez(output, counts=counts, **arrays)


def child(*args: object) -> int:
    """The process id of a fork that embeds; it leaves by `_exit`, so that nothing of the parent runs twice."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            embed_into(*args)  # type: ignore[arg-type]
            status = 0
        finally:
            os._exit(status)
    return pid


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def blocks(cache: Path) -> int:
    return sum(1 for _ in cache.rglob("*.safetensors"))


def killed(model: str, cache: Path, rng: random.Random) -> int:
    """A run that is killed some random moment after it has written some more blocks."""
    enough = blocks(cache) + rng.randint(0, 4)
    pid = child(model, cache, cache.parent / "never.npz")
    while blocks(cache) < enough and not os.waitid(
        os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ):
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.02))
    os.kill(pid, signal.SIGKILL)
    return wait(pid)


def every_run(model: str, folder: Path, seed: int) -> int:
    """Writes the vectors of each run into the folder, and what happened into `said.json`."""
    import sentence_transformers  # noqa: F401  # imported once, for all children
    import torch
    import transformers.models.bert.modeling_bert  # noqa: F401

    # What is kept at a time is small enough for a kill to find some of it done and some not.
    encoding.BLOCK_TEXTS = 10
    torch.set_num_threads(1)  # two run at once, and others may be busy here
    rng = random.Random(seed)
    said: dict[str, object] = {}
    said["whole"] = wait(child(model, folder / "whole", folder / "whole.npz"))
    said["other"] = wait(child(model, None, folder / "other.npz", 2000))
    said["killed"] = [killed(model, folder / "killed", rng) for _ in range(7)]
    said["blocks left"] = blocks(folder / "killed")
    said["blocks of a whole run"] = blocks(folder / "whole")
    said["killed, then finished"] = wait(child(model, folder / "killed", folder / "killed.npz"))
    both = [child(model, folder / "both", folder / f"both{i}.npz") for i in range(2)]
    said["both"] = [wait(pid) for pid in both]
    said["warm"] = wait(child(model, folder / "both", folder / "warm.npz"))
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")
    return 0

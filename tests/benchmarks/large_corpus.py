"""Search over a million vectors that lie on disk: memory, time against FAISS in memory, and growth.

Each measurement runs in a process of its own; the two searches take turns. The vectors are random.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks.targets import Measured, in_fresh_process
from xlir_bench.shardfile import mapped, write_shard

PASSAGES, QUERIES, DIMENSION, RELEVANT, DEPTH = 1_000_000, 1000, 384, 3, 100
SHARD = 65_536
ROUNDS = 3


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        write_vectors(Path(folder))
        ours: dict[int, list[dict]] = {}
        theirs = []
        child = partial(in_fresh_process, "large_corpus", folder)
        child("sharded", PASSAGES // 16)  # compiled once a machine, not once a search
        for _ in range(ROUNDS):
            theirs.append(child("faiss", PASSAGES))
            for part in (4, 2, 1):
                ours.setdefault(part, []).append(child("sharded", PASSAGES // part))
    seconds = {part: statistics.median(f["seconds"] for f in found) for part, found in ours.items()}
    exact = statistics.median(found["seconds"] for found in theirs)
    memory = max(found["memory"] for found in ours[1]) / 1e9
    same = statistics.mean(found["same"] for found in ours[1])
    shown = ", ".join(f"{PASSAGES // part:,}: {s:.1f} s" for part, s in seconds.items())
    Measured(
        "(a) resident memory, GB", memory, "<= 0.5",
        f"{PASSAGES:,} x {DIMENSION} are {PASSAGES * DIMENSION * 4 / 1e9:.2f} GB on disk",
    ).show()  # fmt: skip
    Measured(
        "(b) time / IndexFlatIP in memory", seconds[1] / exact, "<= 1.05",
        f"{seconds[1]:.1f} s and {exact:.1f} s; ours ranks {QUERIES * RELEVANT:,} passages exactly"
        f" besides; {same:.4%} of the best {DEPTH} at the same place",
    ).show()  # fmt: skip
    for part in (4, 2):
        Measured(
            f"(c) time of all / {part} x time of 1/{part}", seconds[1] / (part * seconds[part]),
            "<= 1.15", shown,
        ).show()  # fmt: skip


def write_vectors(folder: Path) -> None:
    """Shards of random vectors of unit length, and queries."""
    rng = np.random.default_rng(0)
    for number, start in enumerate(range(0, PASSAGES, SHARD)):
        count = min(SHARD, PASSAGES - start)
        rows = rng.standard_normal((count, DIMENSION), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1)[:, None]
        write_shard(folder, f"{number:06d}-", {"vectors": rows})
    queries = rng.standard_normal((QUERIES, DIMENSION), dtype=np.float32)
    np.save(folder / "queries.npy", queries / np.linalg.norm(queries, axis=1)[:, None])


def measure(folder: Path, kind: str, passages: int) -> dict:
    """Seconds of one search, and the most memory that this process held."""
    files = sorted(folder.glob("0*.safetensors"))
    queries = np.load(folder / "queries.npy")
    measured = sharded(files, queries, passages) if kind == "sharded" else flat(files, queries)
    seconds, top = measured
    if kind == "faiss":
        np.save(folder / "top.npy", top)
    known = folder / "top.npy"
    same = float((np.load(known) == top).mean()) if known.is_file() else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "memory": peak, "same": same}


def sharded(files: list[Path], queries: np.ndarray, passages: int) -> tuple[float, np.ndarray]:
    """Our search over the first `passages` vectors on disk."""
    from xlir_bench.records import Collection, Passages, Queries, Relevance, Setting, Silent
    from xlir_bench.retrieval import VectorIndex, Vectors, Want

    rng = np.random.default_rng(1)
    answers = np.sort(rng.integers(0, passages, (QUERIES, RELEVANT)), axis=1)
    rows = np.repeat(np.arange(QUERIES), RELEVANT)
    collection = Collection(
        queries={"en": Queries(tuple(map(str, range(QUERIES))), [""] * QUERIES, ("",) * QUERIES)},
        passages={"en": Passages(range(passages), range(passages))},  # type: ignore[arg-type]
        relevance={("en", "en"): Relevance(rows, answers.ravel(), np.ones(len(rows), np.int64))},
        cluster="question",
        parallel=False,
        digests={},
    )
    sizes = [len(mapped(path)["vectors"]) for path in files]
    parts: list[np.ndarray | Path] = []
    left = passages
    for path, size in zip(files, sizes, strict=True):
        if left > 0:
            parts.append(path if left >= size else mapped(path)["vectors"][:left])
            left -= size
    asked = {("query", "en"): Vectors.of(queries)}
    index = VectorIndex.of({**asked, ("passage", "en"): Vectors.of(*parts)})
    few_vectors = mapped(files[0])["vectors"][:200]
    small = VectorIndex.of({**asked, ("passage", "en"): Vectors.of(few_vectors)})
    few = Relevance(rows[:3], np.arange(3), np.ones(3, np.int64))
    warm = replace(
        collection,
        passages={"en": Passages(range(200), range(200))},  # type: ignore[arg-type]
        relevance={("en", "en"): few},
    )
    english = [Setting("en", ("en",))]
    small.search([Want.of(warm, english, pair_depth=DEPTH)], Silent())
    began = time.perf_counter()
    (found,) = index.search([Want.of(collection, english, pair_depth=DEPTH)], Silent())
    (ranking,) = found.rankings()
    seconds = time.perf_counter() - began
    assert ranking.top is not None
    return seconds, ranking.top


def flat(files: list[Path], queries: np.ndarray) -> tuple[float, np.ndarray]:
    """FAISS, with all vectors in memory."""
    import torch  # noqa: F401  # before faiss

    import faiss  # isort: skip

    index = faiss.IndexFlatIP(DIMENSION)
    for path in files:
        index.add(mapped(path)["vectors"])
    began = time.perf_counter()
    _, top = index.search(queries, DEPTH)
    return time.perf_counter() - began, top


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))

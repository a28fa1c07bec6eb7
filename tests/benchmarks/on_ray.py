"""A corpus on disk, encoded and searched by a Ray cluster of two nodes on this machine, with and without nodes killed.

`python -m tests.benchmarks on_ray`, or a trial: `python -m tests.benchmarks.on_ray 20000`. (a) seconds beside one
process with the same processors, by the clock and of the CPU; other work on the machine does not change the latter (that
process searches with a thread per processor, and encodes with one thread) (b) whether all bits are equal, and the units
that a killed node had begun and another did again (c) start-up (d) memory per passage. The encoder is very cheap, so that
the cost of Ray is not hidden behind it. Each measurement runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.targets import Measured, in_fresh_process
from tests.executor.jobs import Ending
from xlir_bench.records import Silent

PASSAGES, QUERIES, DIMENSION, RELEVANT, DEPTH = 1_000_000, 1000, 384, 3, 100
NODES = 2
STAGES = 2
"""Encoding and search."""
TELL_AGAIN = "is done again"


def encode(texts, role):
    """Numbers that follow from the number at the end of each text."""
    last = (text.rpartition(" ")[2] for text in texts)
    mixed = np.array([int(n) if n.isdigit() else 0 for n in last], np.uint64)[:, None]
    mixed = mixed * np.uint64(DIMENSION) + np.arange(DIMENSION, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed >> np.uint64(40)).astype(np.float32) / 2**23 - 1


def main(passages: int = PASSAGES) -> None:
    """Print every figure."""
    if find_spec("ray") is None:
        print("skipped: Ray is not installed: pip install 'xlir-bench[ray]'")
        return
    parts = (passages // 4, passages)
    with tempfile.TemporaryDirectory() as folder:
        found: dict[tuple[str, int], dict[str, Any]] = {}
        in_fresh_process("on_ray", folder, "local", passages // 16)  # compiled once a machine
        for part in parts:
            for kind in ("local", "ray"):
                found[kind, part] = in_fresh_process("on_ray", folder, kind, part)
        killed = in_fresh_process("on_ray", folder, "killed", passages)
    local, shared = found["local", passages], found["ray", passages]
    clock, processor = (
        {kind: f[f"{what}_seconds"] for kind, f in (("local", local), ("ray", shared))}
        for what in ("clock", "processor")
    )
    Measured(
        "(a) seconds / one process with the same processors, by the clock",
        sum(clock["ray"].values()) / sum(clock["local"].values()), "<= 1.2",
        f"{NODES} workers {_told(clock['ray'])}, one process {_told(clock['local'])}",
    ).show()  # fmt: skip
    Measured(
        "(a) the same in CPU seconds",
        sum(processor["ray"].values()) / sum(processor["local"].values()), "<= 1.2",
        f"all processes {_told(processor['ray'])}, one process {_told(processor['local'])}",
    ).show()  # fmt: skip
    same = sum(f["bits"] != local["bits"] for f in (shared, killed))
    Measured("(b) runs with other vectors, ranks or best lists", same, "<= 0").show()
    again = [line.rpartition(": ")[2] for line in killed["told"] if TELL_AGAIN in line]
    Measured(
        "(b) nodes killed in the middle of a unit", killed["nodes_killed"], f">= {STAGES}",
        f"of {killed['units']} units; {_told(killed['clock_seconds'])}",
    ).show()  # fmt: skip
    Measured("(b) units reported as lost", len(again), f">= {STAGES}", "; ".join(again)).show()
    Measured(
        "(b) units done again / nodes killed", len(again) / max(1, killed["nodes_killed"]), "<= 1"
    ).show()
    Measured(
        "(c) start-up of two workers, seconds", shared["start"], "<= 30",
        f"start-up of the cluster before that: {shared['cluster']:.1f} s",
    ).show()  # fmt: skip
    for who in ("driver", "worker"):
        few, all_of = (found["ray", part]["memory"][who] / 1e6 for part in parts)
        Measured(
            f"(d) bytes a passage that a {who} holds", (all_of - few) * 1e6 / (parts[1] - parts[0]),
            "<= 150", f"{parts[0]:,}: {few:.0f} MB, {parts[1]:,}: {all_of:.0f} MB",
        ).show()  # fmt: skip


def _told(seconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())


@dataclass(frozen=True)
class Together:
    """Units that wait for each other, so that every worker has begun."""

    folder: Path

    def open(self) -> Any:
        def wait(number: int) -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / str(number)).touch()
            until = time.monotonic() + 300
            while len(list(self.folder.iterdir())) < NODES and time.monotonic() < until:
                time.sleep(0.05)

        return wait


@dataclass
class Watch:
    """Samples the memory and the processor's time of all workers, whenever they began and ended."""

    memory: int = 0
    seconds: dict[int, float] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        import psutil

        for process in psutil.process_iter(["cmdline"]):
            try:
                if process.info["cmdline"] and process.info["cmdline"][0].startswith(
                    "ray::_Worker"
                ):
                    times = process.cpu_times()
                    self.seconds[process.pid] = times.user + times.system
                    self.memory = max(self.memory, process.memory_info().rss)
            except psutil.Error:
                continue

    def run(self) -> None:
        while not self.done.wait(0.5):
            self.look()


@contextmanager
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each."""
    here = [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
    os.environ |= {"RAY_worker_niceness": "0", "PYTHONPATH": os.pathsep.join(here)}
    from ray.cluster_utils import Cluster

    nodes = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(NODES - 1):
        nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def killing(nodes: Any, executor: Any, wanted: Path) -> Ending:
    """In each stage, end the node that begins the first unit outside this node; then a new node joins."""
    import ray

    def end(_process: int) -> None:
        nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)

    here = ray.get_runtime_context().get_node_id()
    return Ending(executor, wanted, end, here, lambda: nodes.add_node(num_cpus=1))


def measure(folder: Path, kind: str, passages: int) -> dict[str, Any]:
    """Encode and search with an empty cache."""
    from xlir_bench.encoders import load_encoder
    from xlir_bench.executor import LOCAL, opened
    from xlir_bench.options.encoding import EncoderOptions
    from xlir_bench.retrieval import EmbedRequest, Want, elsewhere, embed, embedding

    embedding.IN_MEMORY = 0  # whatever the size, vectors are on disk
    began, told, progress = time.perf_counter(), list[str](), Silent()
    ending: Ending | None = None
    collection = corpus(folder, passages)
    options, spec, cache = EncoderOptions(), f"py:{__file__}:encode", folder / kind / str(passages)
    result: dict[str, Any] = {"clock_seconds": {}, "processor_seconds": {}}
    watch = Watch()
    with cluster() if kind != "local" else nullcontext() as nodes:
        result["cluster"] = time.perf_counter() - began
        on = "local" if nodes is None else f"ray:{nodes.address}"
        with opened(on, tell=told.append) as executor:
            began = time.perf_counter()
            if executor is not LOCAL:
                units = [(str(n), n) for n in range(NODES)]
                list(executor.run(Together(folder / f"begun-{kind}-{passages}"), units))
            result["start"] = time.perf_counter() - began
            threading.Thread(target=watch.run, daemon=True).start()
            counting = Counting(executor)
            if kind == "killed":
                counting.executor = ending = killing(nodes, executor, folder / "wanted")
            there = None if nodes is None else elsewhere.Elsewhere(counting, spec, options)
            request = EmbedRequest(cache, elsewhere=there)
            encoder = load_encoder(spec, options)

            @contextmanager
            def timed(stage: str) -> Iterator[None]:
                watch.look()
                clock, processor = (
                    time.perf_counter(),
                    time.process_time() + sum(watch.seconds.values()),
                )
                yield
                watch.look()
                spent = time.process_time() + sum(watch.seconds.values()) - processor
                result["clock_seconds"][stage] = time.perf_counter() - clock
                result["processor_seconds"][stage] = spent

            with timed("encode"):
                represented = embed(collection, encoder, request, progress)
            want = Want.of(collection, settings(), pair_depth=DEPTH, pool_depth=DEPTH)
            with timed("search"):
                (partial,) = represented.index.search([want], progress)
            result["units"] = counting.count
            watch.done.set()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (ranking,) = partial.rankings()
    result["bits"] = [
        vectors_digest(cache), digest(ranking.rank), digest(ranking.top), digest(ranking.top_scores)
    ]  # fmt: skip
    return result | {
        "memory": {"driver": peak, "worker": watch.memory},
        "told": told,
        "nodes_killed": ending.ended if ending else 0,
    }


@dataclass
class Counting:
    """An executor that counts its units."""

    executor: Any
    count: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executor, name)

    def run(self, job: Any, units: Any) -> Iterator[Any]:
        for done in self.executor.run(job, units):
            self.count += 1
            yield done


def corpus(folder: Path, passages: int) -> Any:
    """Passages on disk, and questions with a few relevant ones each."""
    from xlir_bench.records import Collection, Queries, Relevance
    from xlir_bench.sources.corpus import Passage, stored_corpus
    from xlir_bench.sources.rows import Faults

    texts = (Passage(str(n), "", f"passage {n}") for n in range(passages))
    stored = stored_corpus(folder / "corpora" / str(passages), "en", texts, Faults(), folder)
    rng, rows = np.random.default_rng(1), np.repeat(np.arange(QUERIES), RELEVANT)
    answers = np.sort(rng.integers(0, passages, (QUERIES, RELEVANT)), axis=1).ravel()
    names = tuple(map(str, range(QUERIES)))
    asked = Queries(names, [f"question {passages + n}" for n in range(QUERIES)], names)
    relevance = Relevance(rows, answers, np.ones(len(rows), np.int64))
    return Collection(
        {"en": asked}, {"en": stored}, {("en", "en"): relevance}, "question", False, {}
    )


def settings() -> list[Any]:
    """The only setting: English questions and passages."""
    from xlir_bench.records import Setting

    return [Setting("en", ("en",))]


def digest(array: np.ndarray) -> str:
    """A digest of the bytes of an array."""
    import hashlib

    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()


def vectors_digest(cache: Path) -> str:
    """A digest of all stored vectors, which does not depend on their shards and order."""
    from xlir_bench.shardfile import mapped

    total, odd = 0, np.arange(1, DIMENSION, 2, dtype=np.uint64)[: DIMENSION // 2]
    seen: set[int] = set()
    for path in sorted(cache.rglob("*.safetensors")):
        shard = mapped(path)
        new = [n for n, key in enumerate(shard["keys"][:, 0].tolist()) if key not in seen]
        # A unit that was lost may have written its vectors, too.
        seen.update(shard["keys"][new, 0].tolist())
        rows = np.ascontiguousarray(shard["vectors"][new]).view(np.uint64)
        with np.errstate(over="ignore"):
            rows = (rows * odd).sum(axis=1) * (shard["keys"][new, 0] | np.uint64(1))
            total = (total + int(rows.sum())) % 2**64
    return f"{len(seen)} texts, {total:016x}"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
    else:
        main(*map(int, sys.argv[1:]))

"""The cost of a run beside the encoder's forward pass, and how much time it saves to encode each text once.

(a) all other stages / encoding                        (c) encoding per setting / encoding once
(b) our batches against SentenceTransformer.encode     (d) a warm run against a cold one
(e) memory that ranking and measuring add              (f) --help against an empty interpreter
(g) encoding by word vectors, whose tokens are known once texts are counted, against tokenising again
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from tests.benchmarks.targets import Measured, data_root, in_fresh_process, minilm

FEW = "en,de"
ROUNDS, WARM_A_ROUND = 2, 3


def xlir(cache: Path, *args: str) -> tuple[dict, float]:
    """A run as a person types it: its result, and seconds from start to end."""
    command = [sys.executable, "-m", "xlir_bench", "run", "--json", "--quiet", *args]
    env = {**os.environ, "XLIR_CACHE": str(cache)}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as output:
        done = subprocess.run(
            [*command, "--output", output], env=env, stdout=subprocess.PIPE, check=True
        )
    return json.loads(done.stdout), time.perf_counter() - began


def cold_and_warm() -> list[Measured]:
    """All of XQuAD-R with an empty cache and with a full one, by turns, so that other work slows both alike."""
    asked = ("--model", str(minilm()), "--task", "xquad-r", "--data", str(data_root()))
    colds: list[tuple[dict, float]] = []
    warms: list[tuple[dict, float]] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            # ranx compiles on its first use; that is paid once a machine, not once a run.
            xlir(Path(cache), "--task", "mini")
            colds.append(xlir(Path(cache), *asked))
            warms += [xlir(Path(cache), *asked) for _ in range(WARM_A_ROUND)]
    encoding = statistics.median(result["profile"]["seconds"]["encode"] for result, _ in colds)
    cold = statistics.median(seconds for _, seconds in colds)
    warm = statistics.median(seconds for _, seconds in warms)
    same = all(result["summary"] == colds[0][0]["summary"] for result, _ in colds + warms)
    stages = ", ".join(f"{k} {v:.1f}" for k, v in warms[-1][0]["profile"]["seconds"].items())
    spread = ", ".join(f"{seconds:.1f}" for _, seconds in warms)
    return [
        Measured(
            "(a) not encoding / encoding", warm / encoding, "<= 0.05",
            f"whole warm runs {spread} s (the last: {stages}); encoding {encoding:.1f} s",
        ),
        Measured(
            "(d) cold / warm", cold / warm, ">= 25",
            f"medians {cold:.1f} s, {warm:.1f} s; summaries equal: {same}",
        ),
    ]  # fmt: skip


def encoding() -> list[Measured]:
    """The same texts through our batches and through the library's, a language at a time."""
    from sentence_transformers import SentenceTransformer

    from xlir_bench.encoders import load_encoder
    from xlir_bench.options.running import RunOptions
    from xlir_bench.records import ROLES, Silent
    from xlir_bench.retrieval import EmbedRequest, embed
    from xlir_bench.sources import load_collection
    from xlir_bench.tasks import catalogue

    task = catalogue().get(["xquad-r"])[0]
    request = RunOptions(data=data_root(), cache=Path("unused"), langs=tuple(FEW.split(",")))
    collection = load_collection(task, request, Silent())
    encoder = load_encoder(str(minilm()))
    encoder.encode(["warm up"], "query")
    model = SentenceTransformer(str(minilm()), device="cpu")
    keys = [(role, lang) for role in ROLES for lang in collection.languages(role)]

    began = time.perf_counter()
    ours = embed(collection, encoder, EmbedRequest(None), Silent()).vectors or {}
    our_seconds = time.perf_counter() - began
    began = time.perf_counter()
    theirs = {
        key: model.encode(list(collection.texts(*key)), show_progress_bar=False) for key in keys
    }
    their_seconds = time.perf_counter() - began
    least = min(float(np.einsum("ij,ij->i", np.asarray(ours[k]), theirs[k]).min()) for k in keys)
    texts = sum(len(collection.texts(*key)) for key in keys)
    per_setting = their_seconds * texts_per_setting(task) / texts
    once = sum(f.queries + f.candidates for f in task.files.values())
    whole = our_seconds * once / texts
    return [
        Measured(
            "(b) texts/s against SentenceTransformer.encode", their_seconds / our_seconds, ">= 1.3",
            f"{texts} texts of {FEW}: {our_seconds:.1f} s, {their_seconds:.1f} s; least cosine {least:.7f}",
        ),
        Measured(
            "(c) encoding per setting / encoding once", per_setting / whole, ">= 10",
            "times by the throughputs of (b), texts counted",
        ),
    ]  # fmt: skip


def tokenising() -> Measured:
    """Word vectors over the tokens of MiniLM, where tokenising is most of the work."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    from xlir_bench.encoders import as_encoder, tokens
    from xlir_bench.options.running import RunOptions
    from xlir_bench.records import Silent
    from xlir_bench.retrieval import EmbedRequest, embed
    from xlir_bench.sources import load_collection
    from xlir_bench.tasks import catalogue

    table = StaticEmbedding(
        Tokenizer.from_file(str(minilm() / "tokenizer.json")), embedding_dim=256
    )
    encoder = as_encoder(SentenceTransformer(modules=[table], device="cpu"))
    task = catalogue().get(["xquad-r"])[0]
    request = RunOptions(data=data_root(), cache=Path("unused"), langs=tuple(FEW.split(",")))
    collection = load_collection(task, request, Silent())
    embed(collection, encoder, EmbedRequest(None), Silent())
    kept = tokens.REMEMBERED
    seconds: dict[int, list[float]] = {kept: [], 0: []}
    for _ in range(ROUNDS):
        for tokens.REMEMBERED, times in seconds.items():
            began = time.perf_counter()
            embed(collection, encoder, EmbedRequest(None), Silent())
            times.append(time.perf_counter() - began)
    tokens.REMEMBERED = kept
    once, twice = (statistics.median(times) for times in seconds.values())
    return Measured(
        "(g) tokenised once / twice", once / twice, "<= 0.95", f"{once:.2f} s, {twice:.2f} s"
    )


def texts_per_setting(task) -> int:
    """How many texts are encoded if each setting encodes its own queries and candidates."""
    return sum(
        task.files[s.query_lang].queries + sum(task.files[p].candidates for p in s.passage_langs)
        for s in task.settings()
    )


def memory() -> Measured:
    """Peak resident memory over all 132 settings of random vectors, the worst case for measuring."""
    added = in_fresh_process("run_cost", "memory")
    return Measured("(e) MB that ranking and measuring add", added, "<= 400")


def memory_added() -> float:
    """The memory that ranking and measuring add to this process, in MB."""
    from tests.benchmarks.against_mteb import drawn, rank_and_measure
    from xlir_bench.measures import score
    from xlir_bench.records import Ranking, Setting

    one = np.ones(1, int)
    ranking = Ranking(Setting("en", ("en",)), 5, one, one, one, one)
    score([ranking], ["map", "mrr", "ndcg@10", "recall@1"])  # ranx compiles
    vectors = drawn()
    before = psutil.Process().memory_info().rss
    rank_and_measure(*vectors)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**20


def help_text() -> Measured:
    """Seconds of `--help` and of an empty Python, by turns: the ratio of their medians."""
    commands = {
        "help": [sys.executable, "-m", "xlir_bench", "--help"],
        "pass": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(15):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - began)
    ours, empty = (statistics.median(times[name]) for name in commands)
    return Measured(
        "(f) --help / python -c pass", ours / empty, "<= 6", f"{ours:.3f} s, {empty:.3f} s"
    )


def main() -> None:
    """Print every figure as it is found."""
    help_text().show()
    tokenising().show()
    memory().show()
    for measured in encoding():
        measured.show()
    for measured in cold_and_warm():
        measured.show()


if __name__ == "__main__":
    print(memory_added()) if sys.argv[1:] == ["memory"] else main()

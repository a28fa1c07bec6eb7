"""docs/miracl-cost.md: the hours and bytes that all of MIRACL takes, from rates that are measured here.

python -m tests.benchmarks.miracl_cost measure     measures, and writes tests/benchmarks/miracl_cost.json
python -m tests.benchmarks.miracl_cost             writes the page from it (`python -m tests.benchmarks miracl_cost`)

Rates are per CPU second of one processor, not by the clock. The rate of a GPU is not measured but taken from a
publication (`--gpu`, tokens and seconds), which the page names.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.targets import data_root
from xlir_bench.executor import processor
from xlir_bench.tasks import catalogue

RATES = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[2] / "docs" / "miracl-cost.md"
SHAPES = {
    384: {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536},
    1024: {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}  # fmt: skip
"""Those of multilingual-e5-small and -large."""
DTYPES = ("float32", "float16")
TEXTS, LENGTH = 4, 128
PASSAGES, QUERIES, DEPTH = 20_000, 500, 100
NODE_CORES, GPUS = 64, 8
STAND_IN, TOKENIZER = "tydiqa-goldp", "package:multilingual-e5-small"
PUBLISHED = {
    "tokens": 1_150_000,
    "seconds": 59.107,
    "gpu": "NVIDIA L4",
    "model": "bge-large-en-v1.5, 24 layers of 1,024, in float16 by sentence-transformers",
    "source": "https://github.com/michaelfeil/infinity/blob/main/docs/docs/benchmarking.md",
}


def main(arguments: list[str] | None = None) -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(prog="miracl_cost", description=__doc__)
    parser.add_argument("do", nargs="?", choices=["measure", "page"], default="page")
    parser.add_argument(
        "--cores", type=int, default=None, help="processors of the machine without GPUs"
    )
    parser.add_argument("--node-cores", type=int, default=NODE_CORES, help="processors of a node")
    parser.add_argument("--gpus", type=int, default=GPUS, help="GPUs of a node")
    parser.add_argument(
        "--gpu", nargs=4, metavar=("TOKENS", "SECONDS", "GPU", "SOURCE"), default=None
    )
    options = parser.parse_args(arguments or [])
    if options.do == "measure":
        RATES.write_text(json.dumps(measured(), indent=1) + "\n", encoding="utf-8")
    rates = json.loads(RATES.read_text(encoding="utf-8"))
    if options.gpu:
        tokens, seconds, gpu, source = options.gpu
        rates["published"] |= {
            "tokens": float(tokens), "seconds": float(seconds), "gpu": gpu, "source": source, "model": "1,024 dimensions",
        }  # fmt: skip
    PAGE.write_text(
        page(rates, options.cores or rates["cores"], options.node_cores, options.gpus), "utf-8"
    )
    print(f"written to {PAGE}")


def measured() -> dict[str, Any]:
    """Measure all rates."""
    rates: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "published": PUBLISHED,
    }
    rates["tokens_a_passage"] = tokens_a_passage()
    rates["tokens_a_second"] = {str(d): tokens_a_second(d) for d in SHAPES}
    for dimension in SHAPES:
        for dtype in DTYPES:
            key = f"{dimension} {dtype}"
            rates[key] = dict(
                zip(("bytes_a_passage", "pairs_a_second"), searched(dimension, dtype), strict=True)
            )
            print(key, rates[key], flush=True)
    return rates


def tokens_a_passage() -> float:
    """The mean over passages of Wikipedia in languages of MIRACL, each with its weight there."""
    from xlir_bench.encoders import load_encoder
    from xlir_bench.options.running import RunOptions
    from xlir_bench.records import Silent
    from xlir_bench.sources import load_collection

    stand_in, miracl = catalogue().get([STAND_IN, "miracl"])
    weights = miracl.counts("candidates")
    paths = {x: data_root() / file.path for x, file in stand_in.files.items() if x in weights}
    langs = [lang for lang, path in paths.items() if path.is_file()]
    collection = load_collection(
        stand_in, RunOptions(data=data_root(), langs=tuple(langs)), Silent()
    )
    encoder = load_encoder(TOKENIZER)
    means = [
        encoder.count_tokens(list(collection.texts("passage", x))[:400], "passage").tokens.mean()  # type: ignore[attr-defined]
        for x in langs
    ]
    return float(np.average(means, weights=[weights[lang] for lang in langs]))


def tokens_a_second(dimension: int) -> float:
    """Tokens that a model of this shape with random weights encodes in a CPU second."""
    import torch
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(vocab_size=1000, **SHAPES[dimension])).eval()
    ids = torch.randint(5, 1000, (TEXTS, LENGTH))
    with torch.inference_mode():
        model(ids[:1, :8])
        began = time.process_time()
        model(ids)
    return TEXTS * LENGTH / (time.process_time() - began)


def searched(dimension: int, dtype: str) -> tuple[float, float]:
    """Bytes a passage on disk, and pairs of a question and a passage that are compared in a second."""
    from xlir_bench.records import Collection, Passages, Queries, Relevance, Setting, Silent
    from xlir_bench.retrieval import VectorIndex, Vectors, Want
    from xlir_bench.retrieval.similarity import COSINE, rounded
    from xlir_bench.retrieval.vector_store import Block, write_block

    rng = np.random.default_rng(0)

    def drawn(count: int) -> np.ndarray:
        rows = rng.standard_normal((count, dimension), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1)[:, None]

    names = tuple(map(str, range(QUERIES)))
    collection = Collection(
        {"en": Queries(names, [""] * QUERIES, names)},
        {"en": Passages(range(PASSAGES), range(PASSAGES))},  # type: ignore[arg-type]
        {("en", "en"): Relevance(np.arange(QUERIES), np.arange(QUERIES), np.ones(QUERIES, np.int64))},
        "question", False, {},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for start in range(0, PASSAGES, 4096):
            rows, count = (
                drawn(min(4096, PASSAGES - start)),
                np.zeros(min(4096, PASSAGES - start), np.int32),
            )
            keys = np.zeros((len(rows), 2), np.uint64) + np.uint64(start)
            parts.append(
                write_block(Path(folder), Block(keys, rounded(rows, dtype, COSINE), count, count))
            )
        size = sum(path.stat().st_size for path in parts) / PASSAGES
        vectors = {
            ("query", "en"): Vectors.of(drawn(QUERIES)),
            ("passage", "en"): Vectors.of(*parts),
        }
        index = VectorIndex.of(vectors)
        want = Want.of(collection, [Setting("en", ("en",))], pair_depth=DEPTH)
        seconds = []
        for _ in range(2):  # the first one compiles
            began = time.process_time()
            index.search([want], Silent())
            seconds.append(time.process_time() - began)
    return size, PASSAGES * QUERIES / min(seconds)


def page(rates: dict[str, Any], cores: int, node_cores: int, gpus: int) -> str:
    """The page."""
    (task,) = catalogue().get(["miracl"])
    passages, queries = task.counts("candidates"), task.counts("queries")
    count = sum(passages.values())
    pairs = sum(passages[lang] * queries[lang] for lang in passages)
    tokens = count * rates["tokens_a_passage"]
    gpu, cpu = rates["published"], rates["tokens_a_second"]
    of_gpu = {d: gpu["tokens"] / gpu["seconds"] * cpu[str(d)] / cpu["1024"] for d in SHAPES}
    machines = {
        f"one machine, {cores} cores": ({d: cpu[str(d)] * cores for d in SHAPES}, cores),
        f"one node, {gpus} GPUs": ({d: of_gpu[d] * gpus for d in SHAPES}, node_cores),
        f"four nodes, {4 * gpus} GPUs": ({d: of_gpu[d] * 4 * gpus for d in SHAPES}, 4 * node_cores),
    }
    rows = []
    for name, (rate, processors) in machines.items():
        for dimension in SHAPES:
            for dtype in DTYPES:
                of = rates[f"{dimension} {dtype}"]
                rows.append(
                    f"| {name} | {dimension:,} | {dtype} | {_hours(tokens / rate[dimension])}"
                    f" | {_hours(pairs / of['pairs_a_second'] / processors)}"
                    f" | {count * of['bytes_a_passage'] / 1e9:,.0f} GB |"
                )
    measured_rows = [
        f"| {d:,}, {dtype} | {cpu[str(d)]:,.0f} | {rates[f'{d} {dtype}']['pairs_a_second'] / 1e6:,.0f}"
        f" million | {rates[f'{d} {dtype}']['bytes_a_passage']:,.0f} |"
        for d in SHAPES
        for dtype in DTYPES
    ]
    return f"""# What MIRACL costs

All of MIRACL: {count:,} passages and {sum(queries.values()):,} questions in {len(passages)} languages. Each question searches the
passages of its own language: {pairs:,} pairs to compare. `python -m tests.benchmarks.miracl_cost` writes this page; with
`measure` it measures again. Options describe other machines (`--cores`, `--node-cores`, `--gpus`, `--gpu TOKENS SECONDS GPU
SOURCE`).

| machine | dimensions | stored as | encode | search | vectors on disk |
|---|---:|---|---:|---:|---:|
{chr(10).join(rows)}

## Measured

In one second on one processor ({rates["processor"]}), and for one passage on disk:

| dimensions, stored as | tokens encoded | pairs compared, exact ranks | bytes of a passage, with its key |
|---|---:|---:|---:|
{chr(10).join(measured_rows)}

- Encoding: a model of 12 layers of 384 (like multilingual-e5-small) and one of 24 layers of 1,024 (like -large), random weights,
  float32, {TEXTS} texts of {LENGTH} tokens.
- Search: {QUERIES:,} questions in {PASSAGES:,} random vectors on disk, ranks and the best {DEPTH} passages.
- A passage has {rates["tokens_a_passage"]:.0f} tokens: the mean of the paragraphs of Wikipedia in `{STAND_IN}`, by the
  tokenizer of multilingual-e5; each language has its share of MIRACL as weight. The tokens of MIRACL itself were not counted.

## Published

- {gpu["gpu"]}: {gpu["tokens"]:,.0f} tokens in {gpu["seconds"]:g} s, {gpu["tokens"] / gpu["seconds"]:,.0f} a second ({gpu["model"]};
  {gpu["source"]}).

## Scaled

- From one processor, GPU or node to many: we assume that each does its share. `python -m tests.benchmarks on_ray` measures
  what Ray itself costs. We also assume that all tokens cost the same, and so do all passages and all pairs.
- A GPU with 384 dimensions: from the GPU with 1,024, by the ratio of the two on a processor, {cpu["384"] / cpu["1024"]:.1f}. A small model uses a GPU
  less well, so its true hours are more.
- Nodes search with their processors, {node_cores} each; `--search-device cuda` is faster.
- Left out: downloads, writing the corpus to disk once, reading vectors from a disk that is slower than the search (1 GB a
  second is {count * rates["1024 float32"]["bytes_a_passage"] / 6e10:.0f} minutes for the largest), and tokenising, which a GPU waits for if there are too few processors.
"""


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return (
        f"{hours:,.0f} h"
        if hours >= 10
        else f"{hours:.1f} h"
        if hours >= 0.1
        else f"{hours * 60:.1f} min"
    )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

"""Very many settings: Belebele's 15,006 and FLORES' 41,412 on random vectors, beside their matrix product.

Each task runs in a process of its own, which measures the product right after the run, on an equally busy machine. For a
tenth of the settings: `python -c "from tests.benchmarks.scale import main; main(10)"`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.targets import Measured, in_fresh_process
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.tasks import catalogue

DIMENSION = 384
QUERIES, PASSAGES = 900, 488
SENTENCES = 1012
BLOCK = 16_384
FEWEST = 100_000
"""A `share` that leaves two languages."""


def main(share: int = 1) -> None:
    """Print every figure; only one of `share` settings is run."""
    for name, most in (("belebele", 3), ("flores-200", 2)):
        in_fresh_process("scale", name, FEWEST)  # compiled once a machine, not once a run
        found = in_fresh_process("scale", name, share)
        shape = f"{found['settings']:,} settings, {found['product']:.1f} s of product"
        Measured(
            f"{name}: all but encoding / product", found["seconds"] / found["product"], f"<= {most}",
            f"{shape}; {found['stages']}",
        ).show()  # fmt: skip
        Measured(f"{name}: peak memory, GB", found["memory"] / 1e9, "<= 3").show()
        Measured(f"{name}: result.json, MB", found["result"] / 1e6, "<= 20").show()
        Measured(f"{name}: page, MB", found["page"] / 1e6, "<= 8").show()


def measure(name: str, share: int) -> dict:
    """One run: seconds without encoding, seconds of the product, memory, and the sizes of the files it wrote."""
    task = catalogue().tasks[name]
    langs = task.languages[: max(2, round(len(task.languages) / share**0.5))]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if name == "belebele":
            write_belebele(folder, langs)
        else:
            write_parallel(folder / f"{name}-alike.jsonl", langs)
            (task,) = catalogue().get([f"parallel:{folder / f'{name}-alike.jsonl'}"])
        options = RunOptions(langs=tuple(langs), data=folder, cache=None)
        began = time.perf_counter()
        result = evaluate(task, vectors_of, options)
        result.save(folder / "results" / "random" / task.name)
        stages = result.record.profile.seconds
        seconds = time.perf_counter() - began - stages["encode"]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        command = ["leaderboard", "--results", "results", "--output", "boards", "--html", "--quiet"]
        subprocess.run([sys.executable, "-m", "xlir_bench", *command], cwd=folder, check=True)
        return {
            "settings": len(result.record.settings),
            "seconds": seconds,
            "product": product(name, len(langs)),
            "stages": ", ".join(f"{stage} {s:.1f}" for stage, s in stages.items()),
            "memory": memory,
            "result": (folder / "results" / "random" / task.name / "result.json").stat().st_size,
            "page": (folder / "boards" / "index.html").stat().st_size,
        }


def product(name: str, langs: int) -> float:
    """Seconds of the scores of all queries and passages, computed in blocks and dropped."""
    queries, passages = (QUERIES, PASSAGES) if name == "belebele" else (SENTENCES, SENTENCES)
    rng = np.random.default_rng(0)
    asked = rng.standard_normal((queries, DIMENSION), np.float32)
    pool = rng.standard_normal((langs * passages, DIMENSION), np.float32)
    room = np.empty((queries, BLOCK), np.float32)
    began = time.perf_counter()
    for _ in range(langs):
        for start in range(0, len(pool), BLOCK):
            part = pool[start : start + BLOCK]
            np.matmul(asked, part.T, out=room[:, : len(part)])
    return time.perf_counter() - began


def vectors_of(texts: Sequence[str], _role: str) -> np.ndarray:
    """A random vector for each text, the same whenever it comes."""
    seeds = (zlib.crc32(text.encode()) for text in texts)
    rows = [np.random.default_rng(s).standard_normal(DIMENSION, np.float32) for s in seeds]
    return np.array(rows).reshape(-1, DIMENSION)


def write_belebele(folder: Path, langs: Sequence[str]) -> None:
    """Questions and passages without meaning, in the layout of Belebele."""
    (folder / "belebele").mkdir()
    for lang in langs:
        rows = [
            {
                "link": f"link {n % PASSAGES}",
                "question_number": n // PASSAGES,
                "flores_passage": f"passage {n % PASSAGES} {lang}",
                "question": f"question {n} {lang}",
            }
            for n in range(QUERIES)
        ]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / "belebele" / f"{lang}.jsonl").write_text(lines)


def write_parallel(path: Path, langs: Sequence[str]) -> None:
    """Parallel text without meaning."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(SENTENCES):
            texts = {lang: f"sentence {n} {lang}" for lang in langs}
            file.write(f"{json.dumps({'id': str(n), 'text': texts})}\n")


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))

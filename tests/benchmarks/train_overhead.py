"""The cost of our batches: the sampler's share of a step, the pace beside a plain trainer, memory of the cached loss.

    python -m tests.benchmarks.train_overhead

The model is a BERT of two layers of 128 with random weights, the rows are drawn words; nothing is downloaded.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.targets import Measured, in_fresh_process
from tests.models import save_tiny_transformer

BATCH, STEPS, REPEATS = 64, 6, 5
WORDS = 24
TOKENS = 24
LANGS = ("de", "en", "es", "fr")


def write_rows(path: Path, count: int) -> Path:
    """Parallel rows of random words."""
    rng = np.random.default_rng(0)

    def text(lang: str) -> str:
        letters = rng.integers(97, 123, (WORDS, 5), dtype=np.uint8)
        return f"{lang} " + " ".join(bytes(word).decode() for word in letters)

    lines = [
        json.dumps(
            {"id": n, **{side: {x: text(x) for x in LANGS} for side in ("question", "answer")}}
        )
        for n in range(count)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


class Bench:
    """A small transformer, rows and a plan, in a folder of their own."""

    def __init__(self, folder: Path, rows: int, steps: int, **stated: Any) -> None:
        from xlir_bench.options.training import BatchOptions, TrainingSource, TrainOptions
        from xlir_bench.records import Silent
        from xlir_bench.train.batches import Planner
        from xlir_bench.train.plan import write_plan
        from xlir_bench.train.row_store import store_rows

        base = save_tiny_transformer(folder / "base", dimension=128)
        source = TrainingSource(str(write_rows(folder / "rows.jsonl", rows)))
        batches = BatchOptions(batch_size=stated.pop("batch_size", BATCH))
        self.folder, self.steps = folder, steps
        self.options = TrainOptions(
            str(base), sources=(source,), output=folder / "out", batches=batches, steps=steps, device="cpu",
            arguments={"save_strategy": "no"}, **{"max_length": TOKENS} | stated,
        )  # fmt: skip
        self.store = store_rows([source], folder / "data", Silent())
        self.planner = Planner(self.store, batches)
        self.plan = write_plan(self.planner, steps, folder / "data", Silent())

    def ours(self) -> float:
        """Seconds of a run of the trainer as `train-hybrid` sets it up, planning included."""
        from xlir_bench.records import Silent
        from xlir_bench.train.bases import load_base
        from xlir_bench.train.batches import Planner
        from xlir_bench.train.folder import RunFolder
        from xlir_bench.train.loop import Loop
        from xlir_bench.train.plan import write_plan

        base = load_base(self.options, self.store, self.folder / "kept")
        output = Path(tempfile.mkdtemp(dir=self.folder))
        began = time.perf_counter()
        planner = Planner(self.store, self.options.batches)
        plan = write_plan(planner, self.steps, self.folder / "data", Silent())
        planned = time.perf_counter() - began
        loop = Loop(self.options, RunFolder(output), base, plan, None, Silent(), str)
        outcome, _ = loop.run()
        return planned + float(outcome["seconds"])

    def plain(self) -> float:
        """Seconds of a plain trainer on the same texts, held in memory, in the same order."""
        from datasets import Dataset
        from sentence_transformers import (
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
        from transformers.trainer_callback import PrinterCallback

        from xlir_bench.train.bases import load_base

        model = load_base(self.options, self.store, self.folder / "kept").model
        lines = [self.collator().read(line)[0] for line in self.plan.dataset()]
        texts = {x: [text for line in lines for text in line[x]] for x in ("question", "answer")}
        ends = np.cumsum([0, *(len(line["question"]) for line in lines)])
        places = [list(range(first, last)) for first, last in pairwise(ends.tolist())]
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=tempfile.mkdtemp(dir=self.folder), max_steps=self.steps, use_cpu=True,
                per_device_train_batch_size=BATCH, report_to="none", disable_tqdm=True,
                save_strategy="no", dataloader_pin_memory=False, logging_strategy="no",
                batch_sampler=lambda *_, **__: places,
            ),
            train_dataset=Dataset.from_dict(texts),
            loss=MultipleNegativesRankingLoss(model),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        began = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began

    def collator(self) -> Any:
        """The reader of the plan; only its texts are used here."""
        from xlir_bench.encoders.prompts import Prompts
        from xlir_bench.train.plan import BatchCollator

        return BatchCollator(self.plan, self.options, dict, Prompts("", ""))

    def sampler(self) -> tuple[float, float]:
        """Seconds a batch for planning, and for fetching its texts."""
        from xlir_bench.train.batches import Planner

        batches = 50
        began = time.perf_counter()
        planned = sum(1 for _ in Planner(self.store, self.options.batches).batches(batches))
        planning = (time.perf_counter() - began) / planned
        dataset, collator = self.plan.dataset(), self.collator()
        began = time.perf_counter()
        for line in dataset:
            collator.read(line)
        return planning, (time.perf_counter() - began) / len(dataset)


def pace() -> Iterator[Measured]:
    """The sampler's share of a step, and the pace beside a plain trainer."""
    from xlir_bench.encoders.libraries import quiet_transformers

    with tempfile.TemporaryDirectory() as name, quiet_transformers():
        bench = Bench(Path(name), rows=4000, steps=STEPS)
        bench.ours(), bench.plain()  # warm up
        rounds = [(bench.ours(), bench.plain()) for _ in range(REPEATS)]
        ours, plain = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
        ratio = statistics.median(b / a for a, b in rounds)
        shares = [bench.sampler() for _ in range(REPEATS)]
        planning, fetching = (statistics.median(s) for s in zip(*shares, strict=True))
        step = plain / STEPS
        detail = f"{planning * 1e3:.2f} ms of {step * 1e3:.0f} ms; fetching texts {fetching * 1e3:.2f} ms"
        yield Measured("sampler's share of a step", planning / step, "<= 0.01", detail)
        detail = f"{STEPS / ours:.2f} against {STEPS / plain:.2f} steps/s, medians of {REPEATS}"
        yield Measured("pace beside a plain trainer", ratio, ">= 0.95", detail)


def peak(loss: str, size: int) -> None:
    """Print the memory (MB) of this process before a step and at its peak."""
    import threading

    import psutil

    from xlir_bench.encoders.libraries import quiet_transformers

    process, seen, done = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            seen[0] = max(seen[0], process.memory_info().rss)

    with tempfile.TemporaryDirectory() as name, quiet_transformers():
        bench = Bench(
            Path(name), rows=2 * size, steps=1, loss=loss, batch_size=size, max_length=128
        )
        before = process.memory_info().rss
        watcher = threading.Thread(target=watch)
        watcher.start()
        bench.ours()
        done.set()
        watcher.join()
        print([before >> 20, seen[0] >> 20])


def memory() -> Measured:
    """The cached loss with 1,024 rows against the plain one with 64, each in a process of its own."""
    before, plain = in_fresh_process("train_overhead", "infonce", BATCH)
    cached_before, cached = in_fresh_process("train_overhead", "cached", 1024)
    detail = (
        f"{cached} MB against {plain} MB at the peak; over what was there before the step:"
        f" {cached - cached_before} against {plain - before} MB"
    )
    return Measured("memory of batch 1,024 cached to 64", cached / plain, "<= 1.3", detail)


def main() -> None:
    """Print every figure as it is found."""
    if len(sys.argv) == 3 and sys.argv[2].isdecimal():
        peak(sys.argv[1], int(sys.argv[2]))
        return
    for measured in pace():
        measured.show()
    memory().show()


if __name__ == "__main__":
    main()

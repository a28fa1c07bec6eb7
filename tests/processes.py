"""Processes of their own that begin in a moment: forks of one that has imported what a training wants.

Only a process of its own can be killed, and six seconds of imports for each would prove nothing.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = [
    "torch", "datasets", "sentence_transformers", "transformers.models.bert.modeling_bert",
    "pandas", "pyarrow.parquet", "scipy.special", "scipy.optimize", "xlir_bench.adapters",
    "xlir_bench.augment.translating", "xlir_bench.train.trainer", "xlir_bench.experiment.running",
    *(f"xlir_bench.cli.{x}" for x in ("augment", "experiment", "gate", "publishing", "run", "train_hybrid")),
]  # fmt: skip
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(IMPORTED)


def begin(work: Callable[[], int], said: Path, **environment: str) -> BaseProcess:
    """A process in this folder that does the work and exits with the code it returns.

    What it says is written into the file `said`.
    """
    process = FORKS.Process(target=_do, args=(work, said, os.environ | environment))
    process.start()
    return process


def _do(work: Callable[[], int], said: Path, environment: Mapping[str, str]) -> None:
    gc.freeze()  # what was imported is no garbage to go through
    # A shell's background job ignores Ctrl-C, and so would the tests' children in one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.exit(work())

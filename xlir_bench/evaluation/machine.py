"""Where a run takes place: versions, processor, memory, and the state of the checkout."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from xlir_bench.encoders.digest import installed_versions
from xlir_bench.executor import processor
from xlir_bench.results.schema import EnvironmentPart, GitPart, MachinePart

PACKAGES = (
    "xlir-bench", "numpy", "torch", "transformers", "tokenizers", "sentence-transformers", "faiss-cpu", "ranx",
)  # fmt: skip


def environment(workers: Mapping[str, int]) -> EnvironmentPart:
    """Where this runs; `workers`: how many of each kind of machine have done the work."""
    return EnvironmentPart(
        python=platform.python_version(),
        platform=platform.platform(),
        processors=os.cpu_count() or 0,
        versions=installed_versions(PACKAGES),
        git=_git(),
        workers=dict(workers) or None,
    )


@cache
def _git() -> GitPart | None:
    """The state of the checkout that this runs from; None where it is installed, or git is not."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(checkout), *words]
        done = subprocess.run(command, capture_output=True, check=True, timeout=10)  # noqa: S603
        return done.stdout.decode("utf-8", "replace").strip()

    try:
        commit, changes = (
            git("rev-parse", "HEAD"),
            git("status", "--porcelain", "--untracked-files=no"),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return GitPart(commit=commit, changed=bool(changes))


def machine(device: str) -> MachinePart:
    """What latencies depend on besides the encoder."""
    processors = os.cpu_count() or 0
    threads, name, memory = processors, device, 0
    with suppress(ImportError):
        import torch

        threads = torch.get_num_threads()
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    with suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return MachinePart(
        processor=processor(),
        processors=processors,
        threads=threads,
        memory_bytes=memory,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        device=name,
    )


def peak_memory() -> int:
    """The most memory this process has held, in bytes; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

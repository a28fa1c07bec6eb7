"""Finds the default device, without importing torch, and checks whether a device can be used."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.errors import InputError

if TYPE_CHECKING:
    import torch


@cache
def default_device() -> str:
    """``cuda``, ``mps`` or ``cpu``: the best that both this machine and the installed torch support."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else "cpu"
    spec = find_spec("torch")
    homes = (spec.submodule_search_locations or ()) if spec else ()
    libraries = (
        Path(home) / "lib" / name
        for home in homes
        for name in ("libtorch_cuda.so", "torch_cuda.dll")
    )
    return "cuda" if any(library.is_file() for library in libraries) and _visible_gpus() else "cpu"


def _visible_gpus() -> int:
    """How many GPUs the driver lists. NVML says it: CUDA would leave state behind that forked processes inherit."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return 0
    library = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
    try:
        nvml = ctypes.CDLL(library)
        count = ctypes.c_uint(0)
        if nvml.nvmlInit_v2() != 0:
            return 0
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        nvml.nvmlShutdown()
    except (OSError, AttributeError):
        return 0
    return count.value


def require_device(name: str, flag: str = "--device") -> torch.device:
    """The torch device of this name; an error if it cannot be used here."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"torch knows no device {name!r}: try cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"this torch cannot use a GPU here: say {flag} cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"this torch cannot use Metal here: say {flag} cpu")
    return device

"""Which kind of device torch will choose, found without importing it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def default_device() -> str:
    """``cuda``, ``mps`` or ``cpu``: the best that this machine and the torch installed here share."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else "cpu"
    return "cuda" if _torch_has_cuda() and _visible_gpus() > 0 else "cpu"


def _torch_has_cuda() -> bool:
    spec = find_spec("torch")
    folders = list(spec.submodule_search_locations or []) if spec else []
    names = ("libtorch_cuda.so", "torch_cuda.dll")
    return any((Path(folder) / "lib" / name).is_file() for folder in folders for name in names)


def _visible_gpus() -> int:
    """How many GPUs the driver names, by NVML: unlike CUDA it leaves no state behind that forks inherit."""
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

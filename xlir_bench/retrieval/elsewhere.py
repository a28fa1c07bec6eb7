"""Where vectors are encoded and compared: by workers, or on a device of this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

from xlir_bench.encoders import Encoder, load_encoder
from xlir_bench.encoders.devices import default_device
from xlir_bench.errors import InputError
from xlir_bench.executor import Executor
from xlir_bench.extras import require
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import CPU
from xlir_bench.retrieval.tiles import NUMBA, Engine

UNITS = 4
"""Units of work for each worker: small enough that no worker waits long for the last one."""

_loaded: dict[tuple[str, EncoderOptions, str], Encoder] = {}
"""The encoder that this process, a worker, loaded last."""


def loaded(spec: str, options: EncoderOptions, fingerprint: str) -> Encoder:
    """The encoder of a spec, kept until another one is asked for; refused if its fingerprint is not this one."""
    wanted = spec, options, fingerprint
    if wanted not in _loaded:
        _loaded.clear()
        encoder = load_encoder(spec, options)
        if encoder.fingerprint != fingerprint:
            raise InputError(
                f"{spec} is not the same model on a worker as here, or its libraries have other versions: all nodes need"
                " the same model and versions"
            )
        _loaded[wanted] = encoder
    return _loaded[wanted]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Workers, and how each of them loads the encoder.

    They write vectors into a cache folder that all processes share, and search the vectors in it.
    """

    executor: Executor
    spec: str
    options: EncoderOptions
    search_device: str = CPU
    """The device on which each worker compares vectors."""

    @property
    def units(self) -> int:
        """How many units the work is best cut into."""
        return UNITS * self.executor.workers

    def loading(self, encoder: Encoder) -> Callable[[], Encoder]:
        """A function that loads this encoder on a worker."""
        return partial(loaded, self.spec, self.options, encoder.fingerprint)


@cache
def engine_for(device: str) -> Engine:
    """Numba for the CPU, torch for another device; a device that is absent or not exact enough is refused."""
    if device == CPU:
        return NUMBA
    require("models", f"--search-device {device}")
    from xlir_bench.retrieval.on_device import TorchEngine

    return TorchEngine.of(device)


def on_device(options: EncoderOptions, executor: Executor) -> EncoderOptions:
    """The options with the workers' device, if none is named: the encoder must be the same here as on workers."""
    if options.device is not None or executor.device in (None, default_device()):
        return options
    return replace(options, device=executor.device)

"""Where vectors are made and compared: by workers, or on a device of this process."""

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
"""For each worker, where there is enough to do: so none waits long for the last one."""

_loaded: dict[tuple[str, EncoderOptions, str], Encoder] = {}
"""Of this process, which is a worker."""


def loaded(spec: str, options: EncoderOptions, fingerprint: str) -> Encoder:
    """The encoder of this fingerprint, kept until another one is wanted; another model of that spec is refused."""
    wanted = spec, options, fingerprint
    if wanted not in _loaded:
        _loaded.clear()
        encoder = load_encoder(spec, options)
        if encoder.fingerprint != fingerprint:
            raise InputError(
                f"{spec} is another model on a worker than here, or its libraries have other versions: every node"
                " wants the same"
            )
        _loaded[wanted] = encoder
    return _loaded[wanted]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Workers, and how each of them loads the encoder.

    They write vectors into the cache, where whoever sent them finds them, and search what they have written.
    """

    executor: Executor
    spec: str
    options: EncoderOptions
    search_device: str = CPU
    """Where each compares vectors."""

    @property
    def units(self) -> int:
        """Into how many units work is best cut."""
        return UNITS * self.executor.workers

    def loading(self, encoder: Encoder) -> Callable[[], Encoder]:
        """What loads this encoder on a worker."""
        return partial(loaded, self.spec, self.options, encoder.fingerprint)


@cache
def engine_for(device: str) -> Engine:
    """Numba for the CPU, torch for another device; one that is not there, or is not exact, is refused."""
    if device == CPU:
        return NUMBA
    require("models", f"--search-device {device}")
    from xlir_bench.retrieval.on_device import TorchEngine

    return TorchEngine.of(device)


def on_device(options: EncoderOptions, executor: Executor) -> EncoderOptions:
    """The options with which an encoder is the same here and on workers, which may have another device."""
    if options.device is not None or executor.device in (None, default_device()):
        return options
    return replace(options, device=executor.device)

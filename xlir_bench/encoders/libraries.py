"""How sentence-transformers and its libraries are called: nothing on the terminal, no pickles, errors of one line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xlir_bench.encoders.devices import require_device
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import EncoderOptions


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars, no log lines and no warnings while a model is loaded or saved."""
    from transformers.utils import logging as library

    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        with _silenced("sentence_transformers"):
            yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()


@contextmanager
def quiet_hub() -> Iterator[None]:
    """No progress bars, log lines or warnings while files are looked up at the hub; does not import transformers."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with _silenced("huggingface_hub"):
            yield
    finally:
        if bars:
            enable_progress_bars()


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def loading(name: str, folder: str, device: str) -> Iterator[None]:
    """Turn an error of a library that loads the model in this folder into an `InputError`."""
    require_device(device)  # the fingerprint is for this device: another one gives other bits
    try:
        with quiet_transformers():
            yield
    except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        text = " ".join(str(error).split())
        reason = f"cannot be loaded from {folder}: {type(error).__name__}: {text[:300]}"
        if "trust_remote_code" in text:
            reason = "brings code of its own: read it, then allow it with --trust-remote-code"
        raise InputError(f"{name} {reason}") from error


def arguments(device: str, options: EncoderOptions) -> dict[str, Any]:
    """The arguments with which a class of sentence-transformers loads a folder."""
    import torch

    return {
        "device": device,
        "trust_remote_code": options.trust_remote_code,
        "local_files_only": options.offline or not options.trust_remote_code,
        "model_kwargs": {"dtype": getattr(torch, options.dtype), "use_safetensors": True},
    }


def load(kind: str, name: str, folder: str, device: str, options: EncoderOptions) -> Any:
    """The model of a folder, loaded as this class of sentence-transformers."""
    import sentence_transformers

    with loading(name, folder, device):
        if not hasattr(sentence_transformers, kind):
            raise InputError(
                f"{name} is a {kind}, which sentence-transformers {sentence_transformers.__version__} does not have:"
                " install a newer one"
            )
        return getattr(sentence_transformers, kind)(folder, **arguments(device, options))

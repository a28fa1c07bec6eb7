"""What a training run says when it breaks off."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xlir_bench.errors import XlirError
from xlir_bench.options.training import TrainOptions
from xlir_bench.train.folder import RunFolder, step_of

_FULL = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


Where = Callable[[], tuple[int, str]]
"""The step that is being done, and its batch in words."""


@contextmanager
def explained(options: TrainOptions, folder: RunFolder, where: Where) -> Iterator[None]:
    """Turn a full memory and a loss that is no number into what to do about it."""
    from xlir_bench.train.losses import LossNotFiniteError

    try:
        yield
    except LossNotFiniteError as error:
        kept = good_checkpoint(folder)
        step, batch = where()
        raise XlirError(
            f"the loss is {error} at step {step} ({batch}); "
            + (f"the last good checkpoint is {kept}" if kept else "there is no checkpoint yet")
            + "; try a lower --lr or --precision fp32"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_full(error):
            raise
        step, batch = where()
        smaller = options.batches.batch_size // 2
        advice = f"a smaller --batch-size (such as {smaller}) or a shorter --max-length"
        if options.loss == "cached":
            advice = f"a smaller --mini-batch-size than {options.mini_batch}, or {advice}"
        else:
            advice = f"--loss cached, which keeps the batch and its negatives, or {advice}"
        raise XlirError(f"out of memory at step {step} ({batch}); try {advice}") from error


def is_full(error: BaseException) -> bool:
    """Whether the memory did not suffice."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in _FULL)


def good_checkpoint(folder: RunFolder) -> Path | None:
    """The newest checkpoint with finite weights; later ones are of no use and are removed."""
    for checkpoint in sorted(folder.checkpoints.glob("checkpoint-*"), key=step_of, reverse=True):
        if all(_is_finite(path) for path in checkpoint.rglob("*.safetensors")):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _is_finite(path: Path) -> bool:
    import torch
    from safetensors import safe_open

    with safe_open(path, "pt") as tensors:
        return all(
            bool(torch.isfinite(tensor).all())
            for tensor in (tensors.get_tensor(name) for name in tensors.keys())  # noqa: SIM118
            if tensor.is_floating_point()
        )

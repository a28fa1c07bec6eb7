"""What a training run says when memory is full or the loss is not a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xlir_bench.errors import XlirError
from xlir_bench.options.training import TrainOptions
from xlir_bench.train.folder import RunFolder

_FULL = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


@contextmanager
def explained(
    options: TrainOptions, folder: RunFolder, where: Callable[[], tuple[int, str]]
) -> Iterator[None]:
    """Turn these two errors into advice; `where` gives the step and its batch in words."""
    from xlir_bench.train.losses import LossNotFiniteError

    try:
        yield
    except LossNotFiniteError as error:
        kept = folder.last_finite_checkpoint()
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
    """Whether an error says that memory did not suffice."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in _FULL)

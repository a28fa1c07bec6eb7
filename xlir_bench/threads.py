"""Threads for matrix products: each thread computes a product of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def product_threads() -> Iterator[tuple[int, ThreadPoolExecutor]]:
    """As many threads as one matrix product would use, and their number.

    Inside the block each product runs in one thread. BLAS's own threads wait for the next product in a busy loop, which
    keeps cores from other work, of this process or another.
    """
    blas = _blas()
    count = max((library["num_threads"] for library in blas.info()), default=os.cpu_count() or 1)
    with blas.limit(limits=1), ThreadPoolExecutor(count) as threads:
        yield count, threads


@cache
def _blas() -> ThreadpoolController:
    """The BLAS library of numpy; it is kept, because finding it takes a millisecond."""
    return ThreadpoolController().select(user_api="blas")

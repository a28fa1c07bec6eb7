"""Threads that each have a matrix product of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def product_threads() -> Iterator[tuple[int, ThreadPoolExecutor]]:
    """As many threads as one matrix product would take, and how many these are.

    A product in several threads takes no others: its threads wait for the next one in a loop, and hold the cores that
    other work wants, of this process or another.
    """
    blas = _blas()
    count = max((library["num_threads"] for library in blas.info()), default=os.cpu_count() or 1)
    with blas.limit(limits=1), ThreadPoolExecutor(count) as threads:
        yield count, threads


@cache
def _blas() -> ThreadpoolController:
    """That of numpy, which is loaded with it: to look for it takes a millisecond."""
    return ThreadpoolController().select(user_api="blas")

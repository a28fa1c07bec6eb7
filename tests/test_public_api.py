from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import xlir_bench as xb


def test_the_public_names_are_these_and_no_others() -> None:
    assert xb.__all__ == [
        "Collection",
        "Encoder",
        "EncoderOptions",
        "Kind",
        "Result",
        "RunOptions",
        "Setting",
        "Task",
        "TrainOptions",
        "XlirError",
        "catalogue",
        "compare",
        "evaluate",
        "load_encoder",
        "load_results",
        "train_hybrid",
    ]


@pytest.mark.parametrize("name", xb.__all__)
def test_every_public_name_is_there_documented_and_listed(name: str) -> None:
    assert getattr(xb, name).__doc__
    assert name in dir(xb)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'evaluates'"):
        _ = xb.evaluates  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_installed_package() -> None:
    assert xb.__version__ == version("xlir-bench")


HEAVY = {
    "numpy", "pandas", "pyarrow", "pydantic", "torch", "transformers", "sentence_transformers",
    "faiss", "ranx", "numba", "datasets", "httpx", "click", "tqdm", "tabulate",
}  # fmt: skip


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, xlir_bench; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & set(loaded)
    assert [name for name in loaded if name.startswith("xlir_bench")] == [
        "xlir_bench",
        "xlir_bench.version",
    ]


def test_a_star_import_brings_every_name() -> None:
    program = "from xlir_bench import *; print(evaluate.__module__, Result.__module__)"
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout.split() == ["xlir_bench.evaluation.run", "xlir_bench.results.store"]


def test_the_package_says_that_it_is_typed() -> None:
    from importlib.resources import files

    assert (files("xlir_bench") / "py.typed").is_file()

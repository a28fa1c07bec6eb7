"""Packages that the core does not need, and which extra installs them."""

from __future__ import annotations

from importlib.util import find_spec

from xlir_bench.errors import InputError

EXTRAS = {
    "models": ("torch", "transformers", "sentence_transformers"),
    "train": ("torch", "transformers", "sentence_transformers", "datasets", "accelerate"),
    "plot": ("matplotlib",),
    "ray": ("ray",),
    "s3": ("s3fs",),
    "xor": ("nltk",),
}
"""The modules that each extra installs; they are imported only where they are used."""


def require(extra: str, what: str) -> None:
    """Raise an error that names the extra that `what` wants, unless all its modules are installed."""
    lacking = [name.replace("_", "-") for name in EXTRAS[extra] if find_spec(name) is None]
    if lacking:
        raise InputError(
            f"{what} wants {', '.join(lacking)}, not installed here: pip install 'xlir-bench[{extra}]'"
        )

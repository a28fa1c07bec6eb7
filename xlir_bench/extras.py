"""What the core does without, and which extra brings it."""

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
"""The modules of each; `xlir_bench` itself imports them where they are used."""


def require(extra: str, what: str) -> None:
    """Say which extra `what` wants, unless all of it is installed."""
    lacking = [name.replace("_", "-") for name in EXTRAS[extra] if find_spec(name) is None]
    if lacking:
        raise InputError(
            f"{what} wants {', '.join(lacking)}, not installed here: pip install 'xlir-bench[{extra}]'"
        )

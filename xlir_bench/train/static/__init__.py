"""`builtin:static:<dim>`: a table of sub-word vectors, made from nothing and trained on a CPU."""

from xlir_bench.train.static.identity import Identity
from xlir_bench.train.static.table import is_static, new_static, quantise
from xlir_bench.train.static.vocabulary import Floats, weights_of

__all__ = [
    "Floats",
    "Identity",
    "is_static",
    "new_static",
    "quantise",
    "weights_of",
]

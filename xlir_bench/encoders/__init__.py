"""Encoders turn texts into vectors, behind one Protocol; no encoder knows about tasks."""

from xlir_bench.encoders.check import checked
from xlir_bench.encoders.loading import as_encoder, describe, load_encoder
from xlir_bench.encoders.protocol import Encoder, EncoderCard, Tokenizing
from xlir_bench.encoders.rerankers import Reranker, load_reranker
from xlir_bench.encoders.vectors import StoredVectors
from xlir_bench.options.encoding import EncoderOptions

__all__ = [
    "Encoder",
    "EncoderCard",
    "EncoderOptions",
    "Reranker",
    "StoredVectors",
    "Tokenizing",
    "as_encoder",
    "checked",
    "describe",
    "load_encoder",
    "load_reranker",
]

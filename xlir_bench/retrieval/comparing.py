"""How the vectors of an encoder are compared, and what a result says of it."""

from __future__ import annotations

from dataclasses import replace

from xlir_bench.encoders import Encoder, EncoderCard, describe
from xlir_bench.encoders.multivector import MultiVectorEncoder
from xlir_bench.encoders.sparse import SparseEncoder
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import SimilarityName
from xlir_bench.retrieval.maxsim import MaxSim
from xlir_bench.retrieval.similarity import COSINE, Dense, Similarity
from xlir_bench.retrieval.sparse import Sparse
from xlir_bench.untrusted import shortened


def similarity_of(asked: SimilarityName, encoder: Encoder) -> Similarity:
    """What `--similarity` asks for; an encoder that registers none is compared by cosine.

    Sparse vectors, and those of tokens, are compared in their own way.
    """
    if isinstance(encoder, SparseEncoder):
        return Sparse()
    if isinstance(encoder, MultiVectorEncoder):
        return MaxSim()
    name = (describe(encoder).similarity or "cosine") if asked == "model" else asked
    if name not in ("cosine", "dot"):
        raise InputError(
            f"--similarity model: {encoder.name} registers {shortened(repr(name))}, and there are only cosine and dot"
        )
    return Dense(cosine=name == "cosine")


def compared(card: EncoderCard, similarity: Similarity) -> EncoderCard:
    """What a result records of an encoder whose vectors are compared so."""
    name, registered = "cosine" if similarity == COSINE else "dot", card.similarity
    slug, notes = card.slug, list(card.notes)
    if isinstance(similarity, MaxSim):
        name = registered = "maxsim"  # or its mean, which ranks alike
    if similarity == Dense(cosine=False):
        slug += "~dot"
        notes.append("a score is the inner product of two vectors as they are (dot)")
    elif registered not in (None, name):
        remedy = " (--similarity model)" if registered == "dot" else ""
        notes.append(f"a score is by {name}; the model registers {shortened(registered)}{remedy}")
    return replace(card, slug=slug, similarity=name, notes=tuple(notes))

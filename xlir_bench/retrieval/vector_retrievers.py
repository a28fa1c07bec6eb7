"""Retrievers whose texts have vectors, of an encoder or of the user's own; and how these are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xlir_bench.encoders import Encoder, EncoderCard, StoredVectors, checked, describe
from xlir_bench.encoders.multivector import MultiVectorEncoder
from xlir_bench.encoders.transformer import SparseEncoder
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import SimilarityName
from xlir_bench.options.running import Shard
from xlir_bench.records import ROLES, Collection, Progress
from xlir_bench.retrieval.embedding import Encoding, embed, zero_vectors
from xlir_bench.retrieval.encoding import EmbedRequest
from xlir_bench.retrieval.passing import embed_in_passing
from xlir_bench.retrieval.retriever import Represented, Retriever
from xlir_bench.retrieval.similarity import COSINE, Dense, MaxSim, Similarity, Sparse
from xlir_bench.retrieval.tiles import NUMBA, Engine
from xlir_bench.retrieval.vector_index import VectorIndex
from xlir_bench.retrieval.vectors import Vectors
from xlir_bench.untrusted import shortened


@dataclass(frozen=True, slots=True)
class VectorRetriever(Retriever):
    """An encoder whose vectors are compared with each other."""

    encoder: Encoder
    request: EmbedRequest
    parts = ()

    @property
    def card(self) -> EncoderCard:
        """What a result records of the encoder."""
        return compared(describe(self.encoder), self.request.similarity)

    @property
    def device(self) -> str | None:
        """Where the encoder runs, where that is known."""
        return getattr(self.encoder, "device", None)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Every distinct text is encoded once, or found in the cache."""
        if not self.request.keep:
            return embed_in_passing(collection, self.encoder, self.request, progress)
        return embed(collection, self.encoder, self.request, progress)

    def encode_shard(self, collection: Collection, shard: Shard, progress: Progress) -> int:
        """One part of the texts. Vectors have the same bits however these are shared out."""
        encoding = Encoding.of(collection, self.encoder, self.request, progress)
        if encoding.store.folder is None:
            raise InputError(
                "a part of the vectors is written into the cache, and there is none: name one by XLIR_CACHE"
            )
        missing = encoding.missing
        for texts in encoding.roles:
            encoding.encode(texts, shard)
        if encoding.store.notes:
            raise InputError("; ".join(sorted(encoding.store.notes)))
        return missing - encoding.missing


@dataclass(frozen=True, slots=True)
class StoredRetriever(Retriever):
    """Vectors that a user has already."""

    stored: StoredVectors
    limited: bool
    """Only the first queries are wanted (`--limit`): there may be vectors of more."""
    similarity: Similarity = COSINE
    engine: Engine = NUMBA
    parts = ()

    @property
    def card(self) -> EncoderCard:
        """What a result records of them."""
        return compared(self.stored.card, self.similarity)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """The vectors as they are."""
        vectors, notes = {}, []
        for role in ROLES:
            for lang in collection.languages(role):
                texts = collection.texts(role, lang)
                # A NaN is never lower than anything: unseen, it would stand at rank 1.
                rows = self.stored.vectors(role, lang, len(texts), self.limited and role == "query")
                vectors[role, lang] = Vectors.of(checked(rows, texts))
                notes += zero_vectors(role, texts.__getitem__, np.flatnonzero(~rows.any(axis=1)))
        index = VectorIndex.of(vectors, self.similarity, self.engine)
        return Represented(index, self.stored.dimension, vectors, notes=tuple(notes))


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
    if similarity.form == "tokens":
        name = registered = "maxsim"  # or its mean, which ranks alike
    if similarity == Dense(cosine=False):
        slug += "~dot"
        notes.append("a score is the inner product of two vectors as they are (dot)")
    elif registered not in (None, name):
        remedy = " (--similarity model)" if registered == "dot" else ""
        notes.append(f"a score is by {name}; the model registers {shortened(registered)}{remedy}")
    return replace(card, slug=slug, similarity=name, notes=tuple(notes))

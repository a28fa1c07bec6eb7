"""Retrievers that compare vectors, of an encoder or of the user's own; and the choice of a similarity."""

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
        """The device that the encoder runs on, if known."""
        return getattr(self.encoder, "device", None)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Every distinct text is encoded once, or found in the cache."""
        if not self.request.keep:
            return embed_in_passing(collection, self.encoder, self.request, progress)
        return embed(collection, self.encoder, self.request, progress)

    def encode_shard(self, collection: Collection, shard: Shard, progress: Progress) -> int:
        """Encode one part of the texts into the cache. Vectors have the same bits however many parts there are."""
        encoding = Encoding.of(collection, self.encoder, self.request, progress)
        if encoding.store.folder is None:
            raise InputError(
                "a part of the vectors is written into the cache, but there is none: XLIR_CACHE names one"
            )
        missing = encoding.missing
        for texts in encoding.roles:
            encoding.encode(texts, shard)
        if encoding.store.notes:
            raise InputError("; ".join(sorted(encoding.store.notes)))
        return missing - encoding.missing


@dataclass(frozen=True, slots=True)
class StoredRetriever(Retriever):
    """Compares vectors that a user has made."""

    stored: StoredVectors
    limited: bool
    """Only the first queries are wanted (`--limit`): there may be more vectors than queries."""
    similarity: Similarity = COSINE
    engine: Engine = NUMBA
    parts = ()

    @property
    def card(self) -> EncoderCard:
        """What a result records of the vectors."""
        return compared(self.stored.card, self.similarity)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Read the vectors, and check that they are usable."""
        vectors, notes = {}, []
        for role in ROLES:
            for lang in collection.languages(role):
                texts = collection.texts(role, lang)
                # No score is higher than a NaN: unchecked, a NaN would have rank 1.
                rows = self.stored.vectors(role, lang, len(texts), self.limited and role == "query")
                vectors[role, lang] = Vectors.of(checked(rows, texts))
                notes += zero_vectors(role, texts.__getitem__, np.flatnonzero(~rows.any(axis=1)))
        index = VectorIndex.of(vectors, self.similarity, self.engine)
        return Represented(index, self.stored.dimension, vectors, notes=tuple(notes))


def similarity_of(option: SimilarityName, encoder: Encoder) -> Similarity:
    """The similarity that `--similarity` asks for; for `model`, the one that the encoder registers, else cosine.

    Sparse and multi-vector encoders have a similarity of their own, whatever the option says.
    """
    if isinstance(encoder, SparseEncoder):
        return Sparse()
    if isinstance(encoder, MultiVectorEncoder):
        return MaxSim()
    name = (describe(encoder).similarity or "cosine") if option == "model" else option
    if name not in ("cosine", "dot"):
        raise InputError(
            f"--similarity model: {encoder.name} registers {shortened(repr(name))}, but the choice is cosine or dot"
        )
    return Dense(cosine=name == "cosine")


def compared(card: EncoderCard, similarity: Similarity) -> EncoderCard:
    """What a result records of an encoder whose vectors are compared by this similarity."""
    name, registered = "cosine" if similarity == COSINE else "dot", card.similarity
    slug, notes = card.slug, list(card.notes)
    if similarity.form == "tokens":
        name = registered = "maxsim"  # or the mean over tokens, which gives the same ranks
    if similarity == Dense(cosine=False):
        slug += "~dot"
        notes.append("a score is the inner product of two vectors that keep their length (dot)")
    elif registered not in (None, name):
        remedy = " (--similarity model)" if registered == "dot" else ""
        notes.append(
            f"scores are by {name}, but the model registers {shortened(registered)}{remedy}"
        )
    return replace(card, slug=slug, similarity=name, notes=tuple(notes))

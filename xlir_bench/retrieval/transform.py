"""Changes of vectors without training: what sets languages apart is taken out of their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from xlir_bench.encoders import EncoderCard
from xlir_bench.encoders.digest import fingerprint, short, slug
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import Transform
from xlir_bench.records import ROLES, Collection, Floats, Progress, Role
from xlir_bench.retrieval.retriever import Represented, Retriever
from xlir_bench.retrieval.similarity import normalised
from xlir_bench.retrieval.vector_index import VectorIndex
from xlir_bench.retrieval.vectors import Vectors

VERSION = 1
"""Raised when the computation changes: the fingerprint contains it."""
SAMPLE = 10_000
"""The moves are estimated on all texts of a role and language or, if there are more, on this many to twice as many."""
LEAST_VARIANCE = 1e-6
"""Directions with a smaller share of the largest variance are taken out: whitening would blow up noise."""


@dataclass(frozen=True, slots=True)
class TransformedRetriever(Retriever):
    """A retriever whose vectors are moved, so that its languages come closer to each other.

    `centroids` subtracts the mean of each role and language. `offsets` subtracts only the difference between this mean and
    the mean of all languages; on parallel text it is the mean offset between translations (the idea of arXiv 2606.18801, but
    no layer inside the model is touched, and queries and passages have their own offsets). `whitening` subtracts the mean
    of all languages, and gives all languages together equal variance in every direction.
    """

    retriever: Retriever
    transform: Transform
    text: Collection | None = None
    """Parallel text that the moves are estimated on; None: the task's own texts."""

    @property
    def card(self) -> EncoderCard:
        """What a result records."""
        card = self.retriever.card
        how: dict[str, object] = {"transform": self.transform, "version": VERSION}
        name, source = f"{card.name} | {self.transform}", "the task's own texts"
        if self.text is not None:
            how["text"] = sorted(self.text.digests.values())
            name += " of held-out text"
            source = f"held-out text ({short(fingerprint(how))})"
        return replace(
            card,
            name=name,
            slug=slug(card.slug, how),
            fingerprint=fingerprint({"of": card.fingerprint, **how}),
            transform=f"{self.transform}, estimated on {source}",
            notes=(f"vectors are moved: {self.transform}, estimated on {source}", *card.notes),
        )

    @property
    def parts(self) -> tuple[Retriever]:
        """The retriever whose vectors are moved."""
        return (self.retriever,)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """Represent the texts, and move their vectors; texts whose vectors are cached are not encoded again."""
        wanted = {*collection.queries, *collection.passages}
        if self.text is not None and (lacking := sorted(wanted - {*self.text.queries})):
            raise InputError(
                f"--transform-text has no text in {', '.join(lacking)};"
                " --langs leaves languages out"
            )
        plain = self.retriever.represent(collection, progress)
        if plain.vectors is None:
            raise InputError(f"--transform moves vectors, but {self.retriever.card.name} has none")
        vectors = samples = plain.vectors
        if self.text is not None:
            text = _in_languages_of(collection, self.text)
            samples = self.retriever.represent(text, progress).vectors or {}
        moves = _moves(self.transform, samples)
        moved = {key: rows.made(partial(_moved, *moves[key])) for key, rows in vectors.items()}
        index = VectorIndex.of(moved, engine=plain.index.engine)
        return replace(plain, index=index, vectors=moved)


def _moved(offset: Floats, matrix: Floats | None, vectors: Floats) -> Floats:
    """Vectors at unit length, minus an offset, multiplied by a matrix if there is one."""
    unit = normalised(vectors)
    moved = unit.astype(np.float64) - offset
    if matrix is not None:
        # Not a matrix product: its last bits would depend on which rows are read together.
        moved = np.einsum("ij,jk->ik", moved, matrix, optimize=False)
    moved[~unit.any(axis=1)] = 0  # a zero vector stays zero
    return moved.astype(np.float32)


def _in_languages_of(collection: Collection, text: Collection) -> Collection:
    """The text in the collection's languages only: others would change the mean of all languages."""
    return replace(
        text,
        queries={lang: x for lang, x in text.queries.items() if lang in collection.queries},
        passages={lang: x for lang, x in text.passages.items() if lang in collection.passages},
    )


def _moves(
    transform: Transform, vectors: Mapping[tuple[Role, str], Vectors]
) -> dict[tuple[Role, str], tuple[Floats, Floats | None]]:
    """By role and language: the offset that is subtracted from each vector, and the matrix that then multiplies it."""
    samples = {
        key: normalised(rows.rows(slice(0, None, max(1, len(rows) // SAMPLE)))).astype(np.float64)
        for key, rows in vectors.items()
    }
    means = {key: rows.mean(axis=0) for key, rows in samples.items()}
    if transform == "centroids":
        return {key: (mean, None) for key, mean in means.items()}
    moves: dict[tuple[Role, str], tuple[Floats, Floats | None]] = {}
    for role in ROLES:
        keys = [key for key in samples if key[0] == role]
        mean_of_all = np.mean([means[key] for key in keys], axis=0)
        if transform == "offsets":
            moves |= {key: (means[key] - mean_of_all, None) for key in keys}
        else:
            matrix = _whitening(np.concatenate([samples[key] for key in keys]) - mean_of_all)
            moves |= dict.fromkeys(keys, (mean_of_all, matrix))
    return moves


def _whitening(centred: Floats) -> Floats:
    """The symmetric matrix that gives rows equal variance in every direction (ZCA)."""
    variance, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = variance > max(0, LEAST_VARIANCE * variance[-1])
    scale = np.where(kept, 1 / np.sqrt(np.where(kept, variance, 1)), 0)
    return np.asarray((directions * scale) @ directions.T)

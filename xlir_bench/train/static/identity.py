"""Random dimensions of a static model, each sub-word's own, beside its trained ones.

Training brings together what means alike, within a language too, and with it words that no training text
told apart. Random numbers keep each sub-word at a distance from all others, so that the same words still
find each other in texts unlike the training's; a translation is found a little less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlir_bench.train.static.vocabulary import Floats, weights_of

SMOOTHING = 1e-3
"""A sub-word of frequency p counts a / (a + p) here, however its trained numbers are weighted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is put beside the trained numbers of a table."""

    dimensions: int
    weight: float
    """How long the new part is beside the trained one, over the running training text."""
    shares: Floats
    """The share of each sub-word in that text."""
    seed: int

    def beside(self, model: Any) -> Any:
        """A model of the same vocabulary with these dimensions more."""
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding

        trained = model[0].embedding.weight.detach().cpu().numpy()
        table = np.concatenate([trained, self._own(trained)], axis=1)
        module = StaticEmbedding(model[0].tokenizer, embedding_weights=table)
        made = SentenceTransformer(modules=[module], device="cpu")
        made.prompts = dict(model.prompts)
        return made

    def _own(self, trained: Floats) -> Floats:
        same = int(
            trained.shape[1] == self.dimensions
        )  # the table began with what [seed, size] draws
        rng = np.random.default_rng([self.seed, self.dimensions, same])
        own = rng.standard_normal((len(trained), self.dimensions), dtype=np.float32)
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        own *= weights_of(self.shares, SMOOTHING)[:, None]
        own *= self.weight * self._length(trained) / self._length(own)
        return own

    def _length(self, table: Floats) -> float:
        """The root of the mean squared length of a vector, over the running text."""
        return math.sqrt(self.shares @ np.square(table).sum(axis=1))

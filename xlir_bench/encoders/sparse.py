"""Sparse encoders, such as SPLADE: a weight for each of few words of a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.encoders.check import check_finite
from xlir_bench.encoders.hub import Place
from xlir_bench.encoders.layout import SPARSE
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, EncoderCard
from xlir_bench.encoders.transformer import OPTIONS_IN_SLUG, TransformerEncoder
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Role

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class SparseEncoder(TransformerEncoder):
    """A `SparseEncoder` of sentence-transformers."""

    kind = "sparse"
    model_type = SPARSE
    is_compared_by_choice = False
    options_in_slug = tuple(name for name in OPTIONS_IN_SLUG if name != "truncate_dim")

    def __init__(self, place: Place, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(place, options)
        if self._layout.bare and not self._layout.is_masked_lm:
            raise InputError(
                f"sparse:{place.name}: its config.json names no model ForMaskedLM, whose head gives each word a weight"
            )

    def _card(
        self, stem: str, options: Sequence[str], notes: Sequence[str], **more: Any
    ) -> EncoderCard:
        """A folder that does not say that it is sparse is a dense model too, with results of its own."""
        stem += "-sparse" * self._layout.bare
        return super()._card(stem, options, notes, **more)

    @cached_property
    def dimension(self) -> int:
        """How many words its vocabulary has; loads the model."""
        return int(self.encode(["dimension"], "query").shape[1])

    def encode(self, texts: Sequence[str], role: Role) -> csr_array:
        """One sparse row per text, as one batch; loads the model."""
        from scipy.sparse import csr_array

        if not texts:
            return csr_array((0, self.dimension), dtype=np.float32)
        rows = self._encode(texts, role, convert_to_sparse_tensor=True, save_to_cpu=True).coalesce()
        row, column = rows.indices().numpy()
        weights = rows.values().float().numpy()
        check_finite(weights, row, texts)
        kept = weights != 0
        made = csr_array((weights[kept], (row[kept], column[kept])), shape=tuple(rows.shape))
        made.sort_indices()
        return made

"""The losses: InfoNCE over the batch, in four forms; a temperature divides the cosines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch import Tensor, nn

Features = Sequence[dict[str, Tensor]]


class OneToKLoss(nn.Module):
    """All answers of a row are its positives: the mean of their log-softmax terms over all answers.

    After arXiv 2406.18254. The labels say which row each answer belongs to; hard negatives only push away.
    """

    def __init__(self, model: Any, scale: float) -> None:
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, features: Features, labels: Tensor) -> Tensor:
        """The loss of one batch."""
        vectors = [
            nn.functional.normalize(self.model(column)["sentence_embedding"], dim=-1)
            for column in features
        ]
        scores = vectors[0] @ torch.cat(vectors[1:]).T * self.scale
        terms = torch.log_softmax(scores.float(), dim=1)
        terms = terms[labels, torch.arange(len(labels), device=labels.device)]
        count = torch.bincount(labels, minlength=len(scores)).to(terms.dtype)
        return -(terms / count[labels]).sum() / len(scores)


class LossNotFiniteError(Exception):
    """The loss of a batch is infinite or not a number."""


class FiniteLoss(nn.Module):
    """Any loss, stopped at the first batch where it is not finite."""

    def __init__(self, model: Any, loss: nn.Module) -> None:
        super().__init__()
        self.model = model  # the trainer looks here for what it wraps
        self.loss = loss

    def forward(self, features: Features, labels: Tensor | None) -> Tensor:
        """The loss of one batch."""
        value: Tensor = self.loss(features, labels)
        if not torch.isfinite(value).all():
            raise LossNotFiniteError(f"{float(value.detach()):g}")
        return value


def build_loss(name: str, model: Any, temperature: float, mini_batch: int) -> FiniteLoss:
    """The loss of this name; the cached one holds `mini_batch` texts at a time."""
    scale = 1 / temperature
    loss: nn.Module
    if name == "one-to-k":
        loss = OneToKLoss(model, scale)
    elif name == "cached":
        loss = CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=mini_batch)
    elif name == "symmetric":
        both = ("query_to_doc", "doc_to_query")
        loss = MultipleNegativesRankingLoss(
            model, scale=scale, directions=both, partition_mode="per_direction"
        )
    else:
        loss = MultipleNegativesRankingLoss(model, scale=scale)
    return FiniteLoss(model, loss)

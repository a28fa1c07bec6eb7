"""What is minimised: InfoNCE over the batch, in four forms; a temperature divides the cosines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    After arXiv 2406.18254. The labels say whose each answer is; hard negatives only push away.
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
    """The loss of a batch is infinite or no number."""


class WatchedLoss(nn.Module):
    """Any loss, stopped at the first batch where it is no finite number."""

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


def _infonce(model: Any, scale: float, _size: int) -> nn.Module:
    loss: nn.Module = MultipleNegativesRankingLoss(model, scale=scale)
    return loss


def _symmetric(model: Any, scale: float, _size: int) -> nn.Module:
    loss: nn.Module = MultipleNegativesRankingLoss(
        model,
        scale=scale,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    return loss


def _cached(model: Any, scale: float, size: int) -> nn.Module:
    loss: nn.Module = CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=size)
    return loss


def _one_to_k(model: Any, scale: float, _size: int) -> nn.Module:
    return OneToKLoss(model, scale)


_LOSSES: dict[str, Callable[[Any, float, int], nn.Module]] = {
    "infonce": _infonce,
    "symmetric": _symmetric,
    "cached": _cached,
    "one-to-k": _one_to_k,
}


def build_loss(name: str, model: Any, temperature: float, mini_batch: int) -> WatchedLoss:
    """The loss of this name; `mini_batch` is how many texts the cached one holds at a time."""
    return WatchedLoss(model, _LOSSES[name](model, 1 / temperature, mini_batch))

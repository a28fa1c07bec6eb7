"""Trains a table of token vectors by the rows that a batch uses: their gradient, and Adam over them.

A batch uses a few thousand of a vocabulary's sub-words. A gradient of the whole table would be mostly
zeros, and would have to be cleared, filled and searched at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class SparseTable(nn.EmbeddingBag):
    """A table of token vectors whose gradient has only the rows that were used."""

    @classmethod
    def of(cls, table: nn.EmbeddingBag) -> SparseTable:
        """The same weights, not a copy."""
        size, dimension = table.weight.shape
        return cls(size, dimension, mode=table.mode, _weight=table.weight.data)

    def forward(self, input: Tensor, offsets: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The mean of the vectors of each text."""
        if not torch.is_grad_enabled():
            return super().forward(input, offsets)
        # EmbeddingBag(sparse=True) would list a row once a token; here each row has one entry.
        used, places = torch.unique(input, return_inverse=True)
        rows = nn.functional.embedding(used, self.weight, sparse=True)
        return nn.functional.embedding_bag(places, rows, offsets, mode=self.mode)


def clip_gradients(parameters: Iterable[Tensor], longest: float) -> Tensor:
    """As `torch.nn.utils.clip_grad_norm_`, which knows no norm of sparse gradients."""
    used = [p for p in parameters if p.grad is not None]
    for parameter in used:
        parameter.grad = parameter.grad.coalesce()  # type: ignore[union-attr]
    values = [p.grad.values() for p in used]  # type: ignore[union-attr]
    norm = nn.utils.get_total_norm(values)
    if norm > longest:
        for gradient in values:
            gradient.mul_(longest / norm)
    return norm


class RowAdam(torch.optim.Optimizer):
    """Lazy Adam: rows without a gradient, and their moments, stay as they are.

    Adam divides a gradient by its own size, so a fixed factor in front of a row would not slow it down: a rate
    for each row does. Tokens that are everywhere move little and weigh little.
    """

    def __init__(self, params: Iterable[Tensor], rates: Tensor, lr: float) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "rates": rates})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        if closure is not None:
            raise TypeError("RowAdam takes no closure: a batch is met once")
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, table.grad.coalesce(), group)

    def _move(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rows, values = gradient.indices().squeeze(0), gradient.values()
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(table)
            state["square"] = torch.zeros_like(table)
        state["step"] += 1
        (fast, slow), step = group["betas"], float(state["step"])
        mean = state["mean"][rows].lerp_(values, 1 - fast)
        square = state["square"][rows].mul_(slow).addcmul_(values, values, value=1 - slow)
        state["mean"][rows], state["square"][rows] = mean, square
        divisor = (square / (1 - slow**step)).sqrt_().add_(group["eps"])
        rate = group["rates"].to(table.device)[rows, None] * (group["lr"] / (1 - fast**step))
        table.index_add_(0, rows, mean.div_(divisor).mul_(rate), alpha=-1)

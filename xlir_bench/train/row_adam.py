"""Adam for a table of token vectors: only rows that a batch met move, each at its own rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RowAdam(torch.optim.Optimizer):
    """Lazy Adam: rows without a gradient, and their moments, stay as they are.

    Adam does not see the scale of a gradient, so a rate for each row is what a fixed factor in front of
    each row would be: tokens that are everywhere move little and weigh little.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        rates: Tensor,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "rates": rates})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        if closure is not None:
            raise TypeError("RowAdam takes no closure: a batch is met once")
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, table.grad, group)

    def _move(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rows = gradient.any(dim=1).nonzero().squeeze(1)
        values = gradient[rows]
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

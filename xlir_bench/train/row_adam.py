"""Adam for a table of token vectors: only rows that a batch met move, each at its own rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RowAdam(torch.optim.Optimizer):
    """Lazy Adam on sparse gradients.

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

        self._gradients: dict[Tensor, Tensor] = {}
        for group in self.param_groups:
            for table in group["params"]:
                table.register_post_accumulate_grad_hook(self._keep)

    def _keep(self, table: Tensor) -> None:
        """Take a gradient out of the trainer's sight: it measures its norm, which sparse ones have not."""
        if table.grad is not None:
            before = self._gradients.get(table)
            self._gradients[table] = table.grad if before is None else before + table.grad
            table.grad = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        if closure is not None:
            raise NotImplementedError("RowAdam takes no closure")
        for group in self.param_groups:
            for table in group["params"]:
                if table in self._gradients:
                    self._move(table, self._gradients.pop(table).coalesce(), group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients that no step has used."""
        self._gradients.clear()
        super().zero_grad(set_to_none)

    def _move(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rows, values = gradient.indices()[0], gradient.values()
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

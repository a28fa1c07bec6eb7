"""Gradients of the rows that a batch met, and Adam over them, against torch's own over the whole table."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xlir_bench.train.sparse import RowAdam, SparseTable, clip_gradients

SIZE, WIDTH = 30, 6


def tables() -> tuple[nn.EmbeddingBag, SparseTable]:
    torch.manual_seed(0)
    plain = nn.EmbeddingBag(SIZE, WIDTH, mode="mean")
    return plain, SparseTable.of(
        nn.EmbeddingBag(SIZE, WIDTH, mode="mean", _weight=plain.weight.data.clone())
    )


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Five texts; sub-words repeat within and across them, and one text is empty."""
    return torch.tensor([3, 3, 7, 21, 7, 2, 3, 29]), torch.tensor([0, 3, 3, 5, 7])


def loss(table: nn.Module) -> torch.Tensor:
    vectors = table(*texts())
    found: torch.Tensor = (
        vectors * torch.arange(vectors.numel()).reshape(vectors.shape)
    ).sum() ** 2
    return found


def test_vectors_and_gradients_are_those_of_the_whole_table() -> None:
    plain, sparse = tables()
    with torch.no_grad():
        assert torch.equal(plain(*texts()), sparse(*texts()))
    assert torch.allclose(plain(*texts()), sparse(*texts()))
    loss(plain).backward()
    loss(sparse).backward()
    assert sparse.weight.grad is not None
    assert sparse.weight.grad.is_sparse
    assert torch.allclose(plain.weight.grad, sparse.weight.grad.to_dense())  # type: ignore[arg-type]
    assert sorted(sparse.weight.grad.coalesce().indices()[0].tolist()) == [2, 3, 7, 21, 29]


def test_its_weights_are_those_it_was_made_of() -> None:
    plain, _ = tables()
    made = SparseTable.of(plain)
    assert made.weight.data_ptr() == plain.weight.data_ptr()
    assert made.state_dict().keys() == plain.state_dict().keys()


def test_rows_that_are_met_at_every_step_move_as_under_adam() -> None:
    plain, sparse = tables()
    adam = torch.optim.Adam(plain.parameters(), lr=0.01)
    lazy = RowAdam(sparse.parameters(), torch.ones(SIZE), lr=0.01)
    for _ in range(5):
        for table, optimizer in ((plain, adam), (sparse, lazy)):
            optimizer.zero_grad()
            loss(table).backward()
            optimizer.step()
    assert torch.allclose(plain.weight, sparse.weight, atol=1e-6)


def test_rows_that_are_not_met_stay_and_rates_scale_the_step() -> None:
    _, sparse = tables()
    before = sparse.weight.detach().clone()
    rates = torch.ones(SIZE)
    rates[7] = 0.25
    lazy = RowAdam(sparse.parameters(), rates, lr=0.01)
    loss(sparse).backward()
    lazy.step()
    moved = (sparse.weight.detach() - before).abs()
    assert set(moved.any(dim=1).nonzero().squeeze(1).tolist()) == {2, 3, 7, 21, 29}
    assert moved[7].max() == pytest.approx(0.25 * float(moved[3].max()), rel=1e-3)


def test_both_columns_of_a_batch_add_up() -> None:
    plain, sparse = tables()
    (loss(plain) + 3 * plain(torch.tensor([7, 8]), torch.tensor([0])).sum()).backward()
    (loss(sparse) + 3 * sparse(torch.tensor([7, 8]), torch.tensor([0])).sum()).backward()
    assert sparse.weight.grad is not None
    assert torch.allclose(plain.weight.grad, sparse.weight.grad.to_dense())  # type: ignore[arg-type]


@pytest.mark.parametrize("longest", [float("inf"), 1.0])
def test_gradients_are_clipped_as_those_of_the_whole_table(longest: float) -> None:
    plain, sparse = tables()
    for table in (plain, sparse):
        (loss(table) + loss(table)).backward()
    norm = nn.utils.clip_grad_norm_(plain.parameters(), longest)
    assert clip_gradients(sparse.parameters(), longest) == pytest.approx(float(norm), rel=1e-6)
    assert sparse.weight.grad is not None
    assert torch.allclose(plain.weight.grad, sparse.weight.grad.to_dense(), rtol=1e-5)  # type: ignore[arg-type]


def test_a_closure_is_refused() -> None:
    _, sparse = tables()
    with pytest.raises(TypeError, match="met once"):
        RowAdam(sparse.parameters(), torch.ones(SIZE), lr=0.01).step(lambda: 0.0)

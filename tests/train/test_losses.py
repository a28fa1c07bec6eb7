"""Each loss against its formula in plain numpy, in float64, and with gradient caching against itself without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from xlir_bench.options.stating import build
from xlir_bench.options.training import Loss, TrainOptions
from xlir_bench.train.losses import (
    LOSSES,
    BatchLoss,
    EncodedBatch,
    batch_figures,
    infonce,
    symmetric,
    vrn,
)

Array = NDArray[np.float64]
SIZE, WIDTH = 6, 5
EVERY = slice(0, SIZE)
SECOND = [0, 2, 5]


def options(**stated: Any) -> TrainOptions:
    return build(
        TrainOptions, {"sources": "rows.jsonl", "output": "out", "temperature": 0.2, **stated}
    )


def made(loss: str, seed: int = 0, dtype: Any = torch.float64) -> EncodedBatch:
    """A batch with a repeated answer, hard negatives, and what the loss wants."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    question, answer, negative = random(SIZE, WIDTH), random(SIZE, WIDTH), random(3, WIDTH)
    answer[4] = answer[1]
    more: dict[str, Any] = {}
    if loss == "one-to-k":
        answer = torch.cat([answer, random(4, WIDTH)])
        more["answer_row"] = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 4, 5])
    if loss == "lakda":
        more |= {"second": random(3, WIDTH), "second_row": torch.tensor(SECOND)}
    if loss == "distil":
        taught = torch.ones(2, SIZE, dtype=dtype)
        taught[0, 3] = taught[1, 3] = taught[1, 0] = 0
        teacher = random(2, SIZE, 4) * taught[..., None]
        more |= {"projected": random(2, SIZE, 4), "teacher": teacher, "taught": taught}
    return EncodedBatch(question, answer, negative, **more)


def unit(vectors: torch.Tensor) -> Array:
    array = vectors.numpy()
    return array / np.maximum(np.linalg.norm(array, axis=-1, keepdims=True), 1e-300)


def softmax(scores: Array) -> Array:
    powers = np.exp(scores)
    return powers / powers.sum()


def nce(batch: EncodedBatch) -> float:
    passages = np.concatenate([unit(batch.answer), unit(batch.negative)])  # type: ignore[arg-type]
    rows = [-np.log(softmax(passages @ q / 0.2)[i]) for i, q in enumerate(unit(batch.question))]
    return float(np.mean(rows))


def by_hand(loss: str, batch: EncodedBatch) -> float:
    """The formula of the paper, a row at a time."""
    q, p = unit(batch.question), unit(batch.answer)
    if loss in ("infonce", "cached"):
        return nce(batch)
    if loss == "symmetric":
        back = np.mean([-np.log(softmax(q @ p[i] / 0.2)[i]) for i in range(SIZE)])
        return float(nce(batch) + back) / 2
    if loss == "one-to-k":
        passages = np.concatenate([p, unit(batch.negative)])  # type: ignore[arg-type]
        rows = []
        for i in range(SIZE):
            own = np.flatnonzero(batch.answer_row == i)  # type: ignore[arg-type]
            rows.append(np.mean(-np.log(softmax(passages @ q[i] / 0.2)[own])))
        return float(np.mean(rows))
    if loss == "lakda":
        second = unit(batch.second)  # type: ignore[arg-type]
        apart = []
        for other, i in zip(second, SECOND, strict=True):
            one, two = softmax(p @ q[i]), softmax(p @ other)
            apart.append(np.sum(two * np.log(two / one)))
        return 0.7 * nce(batch) + 0.3 * float(np.mean(apart))
    mine, teacher = unit(batch.projected), unit(batch.teacher)  # type: ignore[arg-type]
    taught = batch.taught.numpy() == 1  # type: ignore[union-attr]
    far = [1 - mine[x] @ teacher[x] for x in zip(*np.nonzero(taught), strict=True)]
    return 0.2 * nce(batch) + 0.8 * float(np.mean(far))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_its_formula_a_few_rows_at_a_time_too(loss: str) -> None:
    said = options(loss=loss, lakda_weight=0.3, infonce_weight=0.2)
    batch = made(loss)
    whole = LOSSES[loss](batch, EVERY, said)
    assert float(whole.mean()) == pytest.approx(by_hand(loss, batch), abs=1e-12)
    parts = [LOSSES[loss](batch, slice(n, n + 2), said) for n in range(0, SIZE, 2)]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-12)


def test_the_table_has_every_loss_that_can_be_asked_for() -> None:
    assert set(LOSSES) == set(get_args(Loss))


def test_vrn_is_its_formula() -> None:
    batch = made("infonce")
    cosines = unit(batch.question) @ unit(batch.answer).T
    other = ~np.eye(SIZE, dtype=bool)
    wanted = ((cosines[other] + 1 / (SIZE - 1)) ** 2).sum() / (SIZE * (SIZE - 1))
    assert float(vrn(batch, EVERY).mean()) == pytest.approx(wanted, abs=1e-12)


def test_rows_without_a_second_language_or_a_text_of_the_teacher_count_for_infonce_alone() -> None:
    plain = made("infonce")
    said = options(loss="lakda", lakda_weight=0.3, infonce_weight=0.2)
    assert float(LOSSES["lakda"](plain, EVERY, said).mean()) == pytest.approx(0.7 * nce(plain))
    zeros = torch.zeros(2, SIZE, 4, dtype=torch.float64)
    untaught = EncodedBatch(
        plain.question, plain.answer, plain.negative, projected=zeros + 1, teacher=zeros, taught=zeros[..., 0]
    )  # fmt: skip
    assert float(LOSSES["distil"](untaught, EVERY, said).mean()) == pytest.approx(0.2 * nce(plain))


def test_infonce_and_symmetric_are_the_librarys_to_the_last_bit() -> None:
    both = ("query_to_doc", "doc_to_query")
    for loss, how in ((infonce, {}), (symmetric, {"directions": both, "partition_mode": "per_direction"})):  # fmt: skip
        library = MultipleNegativesRankingLoss(None, scale=1 / 0.2, **how)
        batch = made("infonce", dtype=torch.float32)
        found = []
        for ours in (True, False):
            leaves = [x.clone().requires_grad_() for x in (batch.question, batch.answer)]
            value = library.compute_loss_from_embeddings(leaves, None)
            if ours:
                value = loss(EncodedBatch(*leaves), EVERY, options()).mean()
            value.backward()
            found.append([value.detach(), *(leaf.grad for leaf in leaves)])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class Letters(torch.nn.Module):
    """As much of a model as a loss asks of it: a vector a token, averaged, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = torch.nn.Embedding(20, WIDTH + 4, dtype=torch.float64)
        self.dropout = torch.nn.Dropout(0.3)

    def __getitem__(self, _: int) -> None:
        return None

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tokens = self.dropout(self.table(features["input_ids"])).mean(dim=1)
        return {"sentence_embedding": torch.tanh(tokens)}


def encoded(loss: str, cached: bool) -> tuple[float, torch.Tensor]:
    """The loss of a batch of texts and the gradient of the model."""
    generator = torch.Generator().manual_seed(1)

    def texts(count: int) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.randint(20, (count, 3), generator=generator)}

    counts = {"question": SIZE, "answer": SIZE, "negative": 3}
    batch, label = made(loss), dict[str, Any]()
    if loss == "one-to-k":
        counts["answer"], label["answer_row"] = 10, batch.answer_row
    if loss == "lakda":
        counts["second"], label["second_row"] = 3, batch.second_row
    if loss == "distil":
        label |= {"teacher": batch.teacher, "taught": batch.taught}
    model = Letters()
    weight = 0.0 if loss == "one-to-k" else 0.5
    said = options(loss=loss, cached=cached, mini_batch=2, infonce_weight=0.2, vrn_weight=weight)
    asked = BatchLoss(model, said)
    columns = [texts(count) for count in counts.values()]
    if not cached:  # the same dropout: by mini-batches, in the order of the columns
        model.forward = in_mini_batches(model.forward)  # type: ignore[method-assign]
    torch.manual_seed(7)
    value = asked(columns, label | {"counts": counts, "figures": {}})
    value.backward()
    assert set(asked.take_figures()) == {"alignment", "uniformity", "negatives_variance"}
    gradient = model.table.weight.grad
    assert gradient is not None
    return float(value.detach()), gradient


def in_mini_batches(forward: Any) -> Any:
    def encode(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        parts = [forward({"input_ids": ids}) for ids in features["input_ids"].split(2)]
        return {"sentence_embedding": torch.cat([x["sentence_embedding"] for x in parts])}

    return encode


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "cached"])
def test_gradient_caching_changes_neither_loss_nor_gradients(loss: str) -> None:
    (plain, gradient), (cached, same) = encoded(loss, cached=False), encoded(loss, cached=True)
    assert cached == pytest.approx(plain, abs=1e-12)
    assert torch.allclose(same, gradient, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss: str) -> None:
    batch, said = made(loss), options(loss=loss, infonce_weight=0.2)
    names = [
        name
        for name in ("question", "answer", "negative", "second", "projected")
        if getattr(batch, name) is not None
    ]

    def value(*leaves: torch.Tensor) -> torch.Tensor:
        moved = replace(batch, **dict(zip(names, leaves, strict=True)))
        total = LOSSES[loss](moved, EVERY, said).mean()
        return total if loss == "one-to-k" else total + 0.5 * vrn(moved, EVERY).mean()

    leaves = [getattr(batch, name).clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(value, leaves)


@pytest.mark.parametrize("loss", ["infonce", "one-to-k"])
def test_alignment_uniformity_and_variance_are_their_formulas(loss: str) -> None:
    batch = made(loss)
    q, p = unit(batch.question), unit(batch.answer)
    row = np.arange(SIZE) if batch.answer_row is None else batch.answer_row.numpy()
    pairs = [(i, k) for i in range(SIZE) for k in range(len(p))]
    own = [np.sum((q[i] - p[k]) ** 2) for i, k in pairs if row[k] == i]
    others = [q[i] @ p[k] for i, k in pairs if row[k] != i]

    def uniformity(x: Array) -> float:
        near = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(len(x)) for j in range(i)]
        return float(np.log(np.mean(near)))

    found = {name: float(value) for name, value in batch_figures(batch).items()}
    assert found == pytest.approx(
        {
            "alignment": np.mean(own),
            "uniformity": (uniformity(q) + uniformity(p)) / 2,
            "negatives_variance": np.var(others),
        },
        rel=1e-5,
    )

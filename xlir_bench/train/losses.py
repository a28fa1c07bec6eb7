"""The losses, as functions of the vectors of a whole batch, and the other figures of a batch for the log.

Every loss is a mean over the rows of a batch; its function gives the values of some rows. So a loss can be computed a
few rows at a time, as gradient caching (arXiv 2101.06983) does: it encodes all texts without gradients, computes the
gradient of the loss with respect to each vector, then encodes the texts again, a few at a time, with gradients.

In the formulas q is a question, p an answer, n a hard negative, c a cosine, t the temperature; i counts the B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.util import cos_sim
from torch import Tensor, nn

from xlir_bench.arrays import slices
from xlir_bench.options.training import TrainOptions
from xlir_bench.train.processes import gathered

PAIRED = 1024
"""Rows that `batch_figures` uses, at most: the number of their pairs grows with the square."""


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The vectors of a whole batch as the model gives them, from all processes."""

    question: Tensor
    answer: Tensor
    negative: Tensor | None = None
    answer_row: Tensor | None = None
    """If rows have several answers: the row of each answer, in ascending order."""
    second: Tensor | None = None
    """The questions of some rows in a second language."""
    second_row: Tensor | None = None
    """The rows of these questions."""
    projected: Tensor | None = None
    """``[2, B, width]``: questions and answers, projected into the space of the teacher's vectors."""
    teacher: Tensor | None = None
    """``[2, B, width]``: the teacher's vectors of the same questions and answers in its own language."""
    taught: Tensor | None = None
    """``[2, B]``: 1 if the row has this text in the teacher's language, else 0."""

    @property
    def passages(self) -> Tensor:
        """Answers, then hard negatives."""
        return self.answer if self.negative is None else torch.cat([self.answer, self.negative])


RowLosses = Callable[[EncodedBatch, slice, TrainOptions], Tensor]
"""The loss of the rows from a start to a stop, one value each; the loss of the batch is their mean over all rows."""


def infonce(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """l_i = -c(q_i, p_i)/t + log sum_x exp(c(q_i, x)/t), over all answers and hard negatives x.

    In batches across languages this is MIMO's XLCO (arXiv 2605.31171).
    """
    scores = _scores(batch.question[rows], batch.passages, options)
    return torch.logsumexp(scores, dim=1) - _own(scores, rows)


def symmetric(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """The mean of `infonce` and of InfoNCE from answers to questions, which has no hard negatives."""
    questions, answers = batch.question[rows], batch.answer[rows]
    scores = _scores(questions, batch.passages, options)
    back = _scores(batch.question, answers, options).T
    own = _own(scores, rows)
    return (torch.logsumexp(scores, dim=1) + torch.logsumexp(back, dim=1)) / 2 - own


def one_to_k(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """l_i = -mean_k log(exp(c(q_i, p_ik)/t) / sum_x exp(c(q_i, x)/t)), where p_ik are all answers of the row.

    After arXiv 2406.18254. Hard negatives count only among the x.
    """
    scores = _scores(batch.question[rows], batch.passages, options)
    terms = torch.log_softmax(_wide(scores), dim=1)
    answer_row = _required(batch.answer_row)
    places = torch.nonzero((answer_row >= rows.start) & (answer_row < rows.stop))[:, 0]
    row = answer_row[places]
    count = torch.bincount(answer_row, minlength=len(batch.question)).to(terms.dtype)
    terms = terms[row - rows.start, places] / count[row]
    return -terms.new_zeros(len(scores)).index_add(0, row - rows.start, terms)


def lakda(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """(1 - a) infonce + a KL(softmax_j c(q'_i, p_j) || softmax_j c(q_i, p_j)), where q'_i is q_i in a second language.

    After Yang et al., MRL 2024: the softmax is over the answers of the batch, cosines are not divided by the temperature,
    and both questions get gradients. The divergence is the mean over the rows that have a second language; other rows
    count only for InfoNCE. a is `--lakda-weight`.
    """
    weight = options.lakda_weight
    losses = (1 - weight) * infonce(batch, rows, options)
    if batch.second is None or batch.second_row is None:
        return losses
    chosen = (batch.second_row >= rows.start) & (batch.second_row < rows.stop)
    row = batch.second_row[chosen]
    first, second = (
        torch.log_softmax(_wide(cos_sim(questions, batch.answer)), dim=1)
        for questions in (batch.question[row], batch.second[chosen])
    )
    divergence = (second.exp() * (second - first)).sum(dim=1)
    share = len(batch.second) / len(batch.question)
    return losses.index_add(0, row - rows.start, (weight * divergence / share).to(losses.dtype))


def distil(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """w infonce + (1 - w) (1 - c(W v(x), T(x'))), where x' is the text x in the teacher's language, W a linear projection.

    After MIMO (arXiv 2605.31171): v is the model in training, T the frozen teacher. The distance is the
    mean over the questions and answers of the batch that have an x'; the others count only for InfoNCE.
    w is `--infonce-weight`: 0 in MIMO's first stage, 0.2 in its second.
    """
    weight = options.infonce_weight
    projected, teacher, taught = map(_required, (batch.projected, batch.teacher, batch.taught))
    cosines = nn.functional.cosine_similarity(projected[:, rows], teacher[:, rows], dim=-1)
    share = taught.sum().clamp(min=1) / len(batch.question)
    distance = ((1 - cosines) * taught[:, rows]).sum(dim=0) / share
    return weight * infonce(batch, rows, options) + (1 - weight) * distance


def vrn(batch: EncodedBatch, rows: slice) -> Tensor:
    """l_i = sum_{j != i} (c(q_i, p_j) + 1/(B - 1))^2 / (B - 1): makes negatives vary less (arXiv 2506.09781)."""
    others = len(batch.question) - 1
    squares = (cos_sim(batch.question[rows], batch.answer) + 1 / others) ** 2
    losses: Tensor = (squares.sum(dim=1) - _own(squares, rows)) / others
    return losses


LOSSES: Mapping[str, RowLosses] = {
    "infonce": infonce,
    "symmetric": symmetric,
    "cached": infonce,
    "one-to-k": one_to_k,
    "lakda": lakda,
    "distil": distil,
}
"""By the names of `--loss`; `cached` is InfoNCE with gradient caching."""


def _required(value: Tensor | None) -> Tensor:
    """An optional part of a batch, which the collator adds for every loss that needs it."""
    if value is None:
        raise AssertionError("the batch lacks what its loss needs")
    return value


def _scores(questions: Tensor, passages: Tensor, options: TrainOptions) -> Tensor:
    scores: Tensor = cos_sim(questions, passages) * (1 / options.temperature)
    return scores


def _wide(values: Tensor) -> Tensor:
    """The values in 32 bits or more."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _own(scores: Tensor, rows: slice) -> Tensor:
    """The score of each row with its own answer."""
    return scores[torch.arange(len(scores)), torch.arange(rows.start, rows.stop)]


@torch.no_grad()
def batch_figures(batch: EncodedBatch) -> dict[str, Tensor]:
    """How near questions and their answers are, and how the other vectors spread; all vectors at unit length.

    - alignment: the mean of |q - p|^2 over questions and their answers (arXiv 2005.10242)
    - uniformity: the log of the mean of exp(-2 |x - y|^2) over all pairs of questions, and over all pairs of
      answers; their mean
    - negatives_variance: the variance of the cosines of questions and the answers of other rows
    """
    questions = nn.functional.normalize(_wide(batch.question[:PAIRED]), dim=1)
    row = batch.answer_row
    row = torch.arange(len(batch.answer), device=questions.device) if row is None else row
    answers = nn.functional.normalize(_wide(batch.answer[row < PAIRED]), dim=1)
    is_own = row[row < PAIRED] == torch.arange(len(questions), device=row.device)[:, None]
    cosines = questions @ answers.T

    def uniformity(vectors: Tensor) -> Tensor:
        pairs = (vectors @ vectors.T)[~torch.eye(len(vectors), dtype=torch.bool, device=row.device)]
        return (4 * pairs - 4).exp().mean().log()

    return {
        "alignment": (2 - 2 * cosines[is_own]).mean(),
        "uniformity": (uniformity(questions) + uniformity(answers)) / 2,
        "negatives_variance": cosines[~is_own].var(correction=0),
    }


class LossNotFiniteError(Exception):
    """The loss of a batch is infinite or not a number."""


class BatchLoss(CachedLossMixin, nn.Module):  # type: ignore[misc]
    """A loss of `LOSSES`, with or without gradient caching; raises at the first batch where the loss is not finite."""

    def __init__(self, model: Any, options: TrainOptions) -> None:
        super().__init__()
        self.model = model  # the trainer expects the model here, to wrap it
        self.options = options
        self.mini_batch_size = options.mini_batch
        self._sums: dict[str, Any] = {}
        self._batches = 0

    def forward(self, features: Sequence[dict[str, Tensor]], labels: Mapping[str, Any]) -> Tensor:
        """The loss of one batch; `labels` is the label that `BatchCollator` makes."""
        value: Tensor
        if self.options.caches_gradients:
            value = self.forward_cached(features, labels)  # type: ignore[operator]
        else:
            vectors = embed_columns(self.model, features)
            value = self.calculate_loss([[column] for column in vectors], labels)
        if not torch.isfinite(value):
            raise LossNotFiniteError(f"{float(value.detach()):g}")
        return value

    def calculate_loss(
        self,
        reps: Sequence[Sequence[Tensor]],
        labels: Mapping[str, Any],
        *,
        with_backward: bool = False,
    ) -> Tensor:
        """The loss from the vectors of a batch, column by column; with gradient caching, some rows at a time."""
        batch = as_batch([torch.cat(list(column)) for column in reps], labels)
        self._batches += 1
        for name, value in (batch_figures(batch) | labels["figures"]).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        options, size = self.options, len(batch.question)
        total = torch.zeros((), device=batch.question.device)
        at_a_time = self.mini_batch_size if with_backward else size
        for rows in slices(size, at_a_time):
            losses = LOSSES[options.loss](batch, rows, options)
            if options.vrn_weight:
                losses = losses + options.vrn_weight * vrn(batch, rows)
            part = losses.mean()
            if rows.stop - rows.start < size:
                part = part * (rows.stop - rows.start) / size
            if with_backward:
                part.backward()  # type: ignore[no-untyped-call]
                part = part.detach()
            total = total + part
        return total

    def take_figures(self) -> dict[str, float]:
        """The means of the batch figures since the last call."""
        means = {name: float(value) / self._batches for name, value in self._sums.items()}
        self._sums, self._batches = {}, 0
        return means


def as_batch(columns: Sequence[Tensor], labels: Mapping[str, Any]) -> EncodedBatch:
    """The whole batch, from the columns that this process encoded and those of the other processes."""
    whole = {
        name: gathered(vectors, count)
        for (name, count), vectors in zip(labels["counts"].items(), columns, strict=True)
    }
    fields = {name: x for name, x in labels.items() if name not in ("counts", "figures")}
    if "teacher" in fields:
        # The projection has put its vectors behind the model's own.
        width = fields["teacher"].shape[-1]
        pair = torch.stack([whole["question"], whole["answer"]])
        fields["projected"] = pair[..., -width:]
        whole = {name: vectors[:, :-width] for name, vectors in whole.items()}
    return EncodedBatch(**whole, **fields)

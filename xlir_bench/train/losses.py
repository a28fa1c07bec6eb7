"""The losses: functions of the vectors of a whole batch, in one table; and what is logged of a batch beside its loss.

Every loss is a mean over the rows of a batch, and gives the value of some of them. So each can be computed a few
rows at a time, which is what gradient caching (arXiv 2101.06983) does: all texts are encoded without gradients,
then the loss says in which direction each vector should move, then the texts are encoded again, a few at a time.

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
"""Rows of a batch that `batch_figures` looks at, at most: their pairs grow with the square."""


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The vectors of a whole batch as the model gives them, whichever process encoded each."""

    question: Tensor
    answer: Tensor
    negative: Tensor | None = None
    answer_row: Tensor | None = None
    """Where rows have several answers: which row each belongs to, in order."""
    second: Tensor | None = None
    """Questions of some rows in a second language."""
    second_row: Tensor | None = None
    """Which rows these are."""
    projected: Tensor | None = None
    """``[2, B, width]``: questions and answers as a projection takes them to the space of the teacher."""
    teacher: Tensor | None = None
    """``[2, B, width]``: the teacher's vectors of them in its language."""
    taught: Tensor | None = None
    """``[2, B]``: 1 where there is such a text, else 0."""

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
    """The mean of `infonce` and of the same from answers to questions, without hard negatives."""
    questions, answers = batch.question[rows], batch.answer[rows]
    scores = _scores(questions, batch.passages, options)
    back = _scores(batch.question, answers, options).T
    own = _own(scores, rows)
    return (torch.logsumexp(scores, dim=1) + torch.logsumexp(back, dim=1)) / 2 - own


def one_to_k(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """l_i = -mean_k log(exp(c(q_i, p_ik)/t) / sum_x exp(c(q_i, x)/t)), p_ik being all answers of the row.

    After arXiv 2406.18254. Hard negatives only push away.
    """
    scores = _scores(batch.question[rows], batch.passages, options)
    terms = torch.log_softmax(_wide(scores), dim=1)
    of_answer = _given(batch.answer_row)
    places = torch.nonzero((of_answer >= rows.start) & (of_answer < rows.stop))[:, 0]
    row = of_answer[places]
    count = torch.bincount(of_answer, minlength=len(batch.question)).to(terms.dtype)
    terms = terms[row - rows.start, places] / count[row]
    return -terms.new_zeros(len(scores)).index_add(0, row - rows.start, terms)


def lakda(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """(1 - a) infonce + a KL(softmax_j c(q'_i, p_j) || softmax_j c(q_i, p_j)), q'_i being q_i in a second language.

    After Yang et al., MRL 2024: over the answers of the batch, cosines as they are, gradients into both
    questions. The divergence is the mean over the rows that have a second language; the others count for
    InfoNCE alone. a: `--lakda-weight`.
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
    apart = (second.exp() * (second - first)).sum(dim=1)
    share = len(batch.second) / len(batch.question)
    return losses.index_add(0, row - rows.start, (weight * apart / share).to(losses.dtype))


def distil(batch: EncodedBatch, rows: slice, options: TrainOptions) -> Tensor:
    """w infonce + (1 - w) (1 - c(W v(x), T(x'))): x' is the text x in the teacher's language, W a linear projection.

    After MIMO (arXiv 2605.31171): v is the model that is trained, T the frozen teacher. The distance is the
    mean over the questions and answers of the batch that have such a text; the others count for InfoNCE alone.
    w: `--infonce-weight`, 0 in MIMO's first stage and 0.2 in its second.
    """
    weight = options.infonce_weight
    projected, teacher, taught = map(_given, (batch.projected, batch.teacher, batch.taught))
    cosines = nn.functional.cosine_similarity(projected[:, rows], teacher[:, rows], dim=-1)
    share = taught.sum().clamp(min=1) / len(batch.question)
    apart = ((1 - cosines) * taught[:, rows]).sum(dim=0) / share
    return weight * infonce(batch, rows, options) + (1 - weight) * apart


def vrn(batch: EncodedBatch, rows: slice) -> Tensor:
    """l_i = sum_{j != i} (c(q_i, p_j) + 1/(B - 1))^2 / (B - 1): negatives that vary less (arXiv 2506.09781)."""
    others = len(batch.question) - 1
    apart = (cos_sim(batch.question[rows], batch.answer) + 1 / others) ** 2
    losses: Tensor = (apart.sum(dim=1) - _own(apart, rows)) / others
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


def _given(value: Tensor | None) -> Tensor:
    """This part of a batch, which the collator gives wherever a loss needs it."""
    if value is None:
        raise AssertionError("the batch lacks what its loss needs")
    return value


def _scores(questions: Tensor, passages: Tensor, options: TrainOptions) -> Tensor:
    scores: Tensor = cos_sim(questions, passages) * (1 / options.temperature)
    return scores


def _wide(values: Tensor) -> Tensor:
    """In 32 bits or more."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _own(scores: Tensor, rows: slice) -> Tensor:
    """The score of each row with its own answer."""
    return scores[torch.arange(len(scores)), torch.arange(rows.start, rows.stop)]


@torch.no_grad()
def batch_figures(batch: EncodedBatch) -> dict[str, Tensor]:
    """How near pairs are and how far apart the rest, of unit vectors.

    - alignment: the mean of |q - p|^2 over questions and their answers (arXiv 2005.10242)
    - uniformity: the log of the mean of exp(-2 |x - y|^2) over all pairs of questions, and over all pairs of
      answers; their mean
    - negatives_variance: of the cosines of questions and the answers of others
    """
    questions = nn.functional.normalize(_wide(batch.question[:PAIRED]), dim=1)
    row = batch.answer_row
    row = torch.arange(len(batch.answer), device=questions.device) if row is None else row
    answers = nn.functional.normalize(_wide(batch.answer[row < PAIRED]), dim=1)
    own = row[row < PAIRED] == torch.arange(len(questions), device=row.device)[:, None]
    cosines = questions @ answers.T

    def uniformity(vectors: Tensor) -> Tensor:
        pairs = (vectors @ vectors.T)[~torch.eye(len(vectors), dtype=torch.bool, device=row.device)]
        return (4 * pairs - 4).exp().mean().log()

    return {
        "alignment": (2 - 2 * cosines[own]).mean(),
        "uniformity": (uniformity(questions) + uniformity(answers)) / 2,
        "negatives_variance": cosines[~own].var(correction=0),
    }


class LossNotFiniteError(Exception):
    """The loss of a batch is infinite or not a number."""


class BatchLoss(CachedLossMixin, nn.Module):  # type: ignore[misc]
    """A loss of the table, with or without gradient caching; it stops at the first batch where it is not finite."""

    def __init__(self, model: Any, options: TrainOptions) -> None:
        super().__init__()
        self.model = model  # the trainer looks here for what it wraps
        self.options = options
        self.mini_batch_size = options.mini_batch
        self._sums: dict[str, Any] = {}
        self._batches = 0

    def forward(self, features: Sequence[dict[str, Tensor]], labels: Mapping[str, Any]) -> Tensor:
        """The loss of one batch; `labels` is what the collator says of it."""
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
        """The loss of the vectors of a batch, column by column; with gradient caching some rows at a time."""
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
        """The means of what was noted since the last time."""
        means = {name: float(value) / self._batches for name, value in self._sums.items()}
        self._sums, self._batches = {}, 0
        return means


def as_batch(columns: Sequence[Tensor], labels: Mapping[str, Any]) -> EncodedBatch:
    """The batch of what was encoded of it, here and by other processes."""
    whole = {
        name: gathered(vectors, count)
        for (name, count), vectors in zip(labels["counts"].items(), columns, strict=True)
    }
    beside = {name: x for name, x in labels.items() if name not in ("counts", "figures")}
    if "teacher" in beside:
        # The projection has put its vectors behind the model's own.
        width = beside["teacher"].shape[-1]
        pair = torch.stack([whole["question"], whole["answer"]])
        beside["projected"] = pair[..., -width:]
        whole = {name: vectors[:, :-width] for name, vectors in whole.items()}
    return EncodedBatch(**whole, **beside)

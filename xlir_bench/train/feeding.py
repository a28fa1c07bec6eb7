"""How the plan reaches the model: a sampler that reads it in order, and a collator that tokenizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler

Tokenize = Callable[..., Mapping[str, Any]]
"""From texts and a prompt to what a model's first module wants."""
REMEMBERED = 1_000_000
"""Texts whose tokens a static model's collator keeps: about 100 MB of a million sentences."""


class PlanSampler(DefaultBatchSampler):  # type: ignore[misc]
    """Gives the places of the plan's entries, a batch at a time."""

    def __init__(self, dataset: Any, starts: NDArray[np.int64], batch_size: int) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False)
        self._starts = starts

    def __iter__(self) -> Iterator[list[int]]:
        for first, last in zip(self._starts[:-1], self._starts[1:], strict=True):
            yield list(range(int(first), int(last)))

    def __len__(self) -> int:
        return len(self._starts) - 1


class RememberedTokens:
    """Tokenizes for a static model, each text once: there it is most of the work of a step."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, NDArray[np.int32]] = {}

    def __call__(self, texts: Sequence[str], prompt: str | None = None) -> dict[str, torch.Tensor]:
        """Token ids of all texts in a row, and where each begins."""
        if prompt:
            texts = [prompt + text for text in texts]
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > REMEMBERED:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        found = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        for text, encoding in zip(new, found, strict=True):
            self._known[text] = np.array(encoding.ids, np.int32)
        rows = [self._known[text] for text in texts]
        offsets = np.cumsum([0, *(len(row) for row in rows[:-1])])
        return {
            "input_ids": torch.from_numpy(np.concatenate(rows).astype(np.int64)),
            "offsets": torch.from_numpy(offsets),
        }


@dataclass
class BatchCollator:
    """Tokenizes the columns of a batch, each with its prompt.

    Rows without a hard negative have none; a negative that is someone's question or answer is left out.
    """

    tokenize: Tokenize
    prompts: Mapping[str, str]
    valid_label_columns: list[str] = field(default_factory=lambda: ["label"])

    def __call__(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the trainer wants: tensors by column, and with several answers a row, whose each is."""
        batch: dict[str, Any] = {}
        answers = [_listed(entry["answer"]) for entry in entries]
        questions = [entry["question"] for entry in entries]
        flat = [text for its in answers for text in its]
        self._add(batch, "question", questions)
        self._add(batch, "answer", flat)
        taken = {*questions, *flat}
        negatives = [n for entry in entries if (n := entry.get("negative")) and n not in taken]
        if negatives:
            self._add(batch, "negative", negatives)
        if entries and isinstance(entries[0]["answer"], list):
            batch["label"] = torch.tensor([i for i, its in enumerate(answers) for _ in its])
        return batch

    def _add(self, batch: dict[str, Any], column: str, texts: list[str]) -> None:
        role = "question" if column == "question" else "answer"
        features = self.tokenize(texts, prompt=self.prompts[role] or None)
        batch.update({f"{column}_{name}": value for name, value in features.items()})


def _listed(answer: Any) -> list[str]:
    return answer if isinstance(answer, list) else [answer]

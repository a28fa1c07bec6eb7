"""How the plan reaches the model: a sampler that gives its batches in order, and a collator that tokenizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler

from xlir_bench.encoders.prompts import Prompts
from xlir_bench.encoders.tokens import in_a_row
from xlir_bench.records import Role
from xlir_bench.train.plan import COLUMNS, Plan
from xlir_bench.train.ranks import part, processes, rank

PROMPTED: Mapping[str, Role] = {
    "question": "query", "answer": "passage", "negative": "passage", "second": "query",
}  # fmt: skip
"""The columns of a batch that are encoded, and with which prompt."""
REMEMBERED = 1_000_000
"""Texts whose tokens `RememberedTokens` keeps: about 100 MB if they are sentences."""


class PlanSampler(DefaultBatchSampler):  # type: ignore[misc]
    """The places of the plan's entries, a batch at a time; the trainer's wish to shuffle is ignored."""

    def __init__(self, starts_file: Path, dataset: Any, batch_size: int, **_: Any) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False)
        self._starts = np.load(starts_file, allow_pickle=False)

    def __iter__(self) -> Iterator[list[int]]:
        for first, last in zip(self._starts[:-1], self._starts[1:], strict=True):
            yield list(range(int(first), int(last)))

    def __len__(self) -> int:
        return len(self._starts) - 1


class RememberedTokens:
    """Tokenizes for a static model, each text once: tokenizing is most of the work of its steps."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, NDArray[np.int32]] = {}

    def __call__(self, texts: Sequence[str], prompt: str | None = None) -> dict[str, torch.Tensor]:
        """Token ids of all texts in a row, and where each text begins."""
        if prompt:
            texts = [prompt + text for text in texts]
        new = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if len(self._ids) + len(new) > REMEMBERED:
            self._ids.clear()
            new = list(dict.fromkeys(texts))
        encodings = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        for text, encoding in zip(new, encodings, strict=True):
            self._ids[text] = np.array(encoding.ids, np.int32)
        return in_a_row([self._ids[text] for text in texts])


@dataclass
class BatchCollator:
    """Tokenizes the texts of a batch, column by column, each with its prompt; of several processes each its part of them.

    A hard negative that is a question or an answer of the batch is left out.
    """

    plan: Plan
    tokenize: Callable[..., Mapping[str, Any]]
    """From texts and a prompt to the inputs of the model's first module."""
    prompts: Prompts
    valid_label_columns: list[str] = field(default_factory=lambda: ["label"])

    def __call__(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The trainer's batch: tensors by column, and as its label what the loss has to know of the whole batch."""
        texts = self.plan.texts({name: [entry[name] for entry in entries] for name in COLUMNS})
        taken = {*texts["question"], *texts["answer"]}
        texts["negative"] = [text for text in texts["negative"] if text not in taken]
        rows = {name: texts[name] for name in ("answer_row", "second_row") if name in texts}
        label: dict[str, Any] = {name: torch.as_tensor(places) for name, places in rows.items()}
        label["figures"] = {}
        if "second" in texts:
            label["figures"]["infonce_alone"] = 1 - len(texts["second"]) / len(entries)
        if "teacher" in texts:
            # From [row, question or answer] to [question or answer, row].
            vectors, taught = (
                torch.from_numpy(np.asarray(texts[name], np.float32)).transpose(0, 1)
                for name in ("teacher", "taught")
            )
            label |= {"teacher": vectors, "taught": taught}
            label["figures"]["infonce_alone"] = 1 - float(taught.mean())
        label["counts"] = {name: len(texts[name]) for name in PROMPTED if texts.get(name)}
        batch: dict[str, Any] = {}
        for name, count in label["counts"].items():
            own = texts[name][part(count, rank(), processes())]
            features = self.tokenize(
                own or texts[name][:1], prompt=self.prompts.of(PROMPTED[name]) or None
            )
            batch |= {f"{name}_{key}": value for key, value in features.items()}
        return batch | {"label": label}

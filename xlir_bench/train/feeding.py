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
from xlir_bench.train.ranks import part, processes, rank

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
        ids = [self._ids[text] for text in texts]
        offsets = np.cumsum([0, *(len(of_text) for of_text in ids[:-1])])
        return {
            "input_ids": torch.from_numpy(np.concatenate(ids).astype(np.int64)),
            "offsets": torch.from_numpy(offsets),
        }


@dataclass
class BatchCollator:
    """Tokenizes the columns of a batch, each with its prompt; of several processes each its part of them.

    A hard negative that is a question or an answer of the batch is left out.
    """

    tokenize: Callable[..., Mapping[str, Any]]
    """From texts and a prompt to the inputs of the model's first module."""
    prompts: Prompts
    valid_label_columns: list[str] = field(default_factory=lambda: ["label"])

    def __call__(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The trainer's batch: tensors by column, and as its label what the loss has to know of the whole batch."""
        questions = [entry["question"] for entry in entries]
        answers = [entry["answer"] for entry in entries]
        label: dict[str, Any] = {"figures": {}}
        if isinstance(answers[0], list):
            rows = [n for n, of_row in enumerate(answers) for _ in of_row]
            label["answer_row"] = torch.tensor(rows)
            answers = [text for of_row in answers for text in of_row]
        taken = {*questions, *answers}
        columns = {
            "question": questions,
            "answer": answers,
            "negative": [n for x in entries if (n := x.get("negative")) and n not in taken],
        }
        if "second" in entries[0]:
            rows = [n for n, entry in enumerate(entries) if entry["second"]]
            columns["second"] = [entries[n]["second"] for n in rows]
            label["second_row"] = torch.tensor(rows)
            label["figures"]["infonce_alone"] = 1 - len(rows) / len(entries)
        if "teacher" in entries[0]:
            # From [row, question or answer] to [question or answer, row].
            vectors, taught = (
                torch.from_numpy(np.array([x[name] for x in entries], np.float32)).transpose(0, 1)
                for name in ("teacher", "taught")
            )
            label |= {"teacher": vectors, "taught": taught}
            label["figures"]["infonce_alone"] = 1 - float(taught.mean())
        label["counts"] = {name: len(texts) for name, texts in columns.items() if texts}
        batch: dict[str, Any] = {}
        for name in label["counts"]:
            prompt = self.prompts.of("query" if name in ("question", "second") else "passage")
            texts = columns[name][part(len(columns[name]), rank(), processes())]
            features = self.tokenize(texts or columns[name][:1], prompt=prompt or None)
            batch |= {f"{name}_{key}": value for key, value in features.items()}
        return batch | {"label": label}

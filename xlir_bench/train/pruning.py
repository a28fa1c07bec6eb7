"""`--prune-vocabulary`: a transformer that keeps the pieces which some texts use, and what that loses elsewhere.

Most weights of a multilingual model are a table of pieces, of which a training meets a tenth.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.encoders.layout import OFFSET_POSITIONS
from xlir_bench.errors import InputError, XlirError
from xlir_bench.files import replacing
from xlir_bench.records import ROLES, Floats, Progress
from xlir_bench.train.bases import Base
from xlir_bench.train.folder import write_json
from xlir_bench.train.pieces import Flags, Ids, every, kept_ids, parts_of, pruned
from xlir_bench.train.shaping import Asked, ShapingTexts
from xlir_bench.train.store import RowStore
from xlir_bench.untrusted import read_array, read_json

IDS, RECORD = "pieces.npy", "pruning.json"
PAGE = 64
PROVEN = 16
"""Texts of the rows whose vectors are compared before and after, in every run."""


@dataclass(frozen=True)
class Pruning:
    """Cuts the vocabulary of a base, in place."""

    base: Base
    progress: Progress

    def of(self, texts: ShapingTexts, store: RowStore, kept: Path) -> Base:
        """The base with the pieces of these texts; a folder keeps which they are for a resumed run."""
        if not (kept / RECORD).is_file():
            write_json(kept / RECORD, self._found(texts, store, kept))
        else:
            self._cut(read_array(kept / IDS))
        record = read_json(
            kept / RECORD, dict[str, Any], "what was pruned", "remove the output folder"
        )
        if record["base"] != self.base.digest:
            raise InputError(f"--resume: {self.base.name} is not the model that was pruned")
        whole, left = record["pieces"]
        note = f"its vocabulary was cut from {whole:,} pieces to the {left:,} that some texts use"
        return replace(self.base, pruning=record, notes=(*self.base.notes, note))

    def _found(self, texts: ShapingTexts, store: RowStore, kept: Path) -> dict[str, Any]:
        """Find the pieces, cut the model, and compare it with what it was."""
        used = self._used(texts, store)
        ids = kept_ids(self._stated, used)
        number = np.full(len(used), -1)
        number[ids] = np.arange(len(ids))
        tasks, others = texts.elsewhere()
        proof: Asked = [("", role, text) for text in store.sample(PROVEN) for role in ROLES]
        asked, first = others + proof, len(others)
        size, before = self._megabytes(), [number[found] for found in self._tokens(asked)]
        vectors = self._vectors(asked)
        self._cut(ids)
        after = self._tokens(asked)
        cosines = (vectors * self._vectors(asked)).sum(axis=1)
        alike = all(map(np.array_equal, before[first:], after[first:]))
        if not alike or cosines[first:].min() < 1 - 1e-5:
            raise XlirError(
                f"--prune-vocabulary: with fewer pieces {self.base.name} has other vectors for the same"
                " texts: train it without"
            )
        kept.mkdir(parents=True, exist_ok=True)
        with replacing(kept / IDS) as temporary, temporary.open("wb") as file:
            np.save(file, ids, allow_pickle=False)
        unknown = self.base.model[0].tokenizer.unk_token_id
        losses = _losses(others, before, after, cosines, unknown)
        return {
            "base": self.base.digest,
            "texts": texts.read,
            "pieces": [len(every(self._stated)), len(ids)],
            "megabytes": [round(size, 1), round(self._megabytes(), 1)],
            "elsewhere": {"tasks": tasks, "languages": losses},
        }

    @cached_property
    def _stated(self) -> dict[str, Any]:
        """The whole tokenizer."""
        tokenizer: Any = getattr(self.base.model[0], "tokenizer", None)
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise InputError(
                f"--prune-vocabulary is for transformers with a tokenizer of the `tokenizers` library;"
                f" {self.base.name} is none"
            )
        stated: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
        return stated

    def _used(self, texts: ShapingTexts, store: RowStore) -> Flags:
        """The pieces of all texts, with each prompt and without; flags are all that is held of them."""
        transformer, model = self.base.model[0], self._stated["model"]
        tokenizer, config = transformer.tokenizer.backend_tokenizer, transformer.auto_model.config
        used = np.zeros(max(every(self._stated).values()) + 1, np.bool_)
        named = [n for n in _token_ids(config).values() if 0 <= n < len(used)]
        used[named + transformer.tokenizer.all_special_ids] = True
        if config.model_type in OFFSET_POSITIONS:
            # Positions begin behind the padding id, and MPNet's behind 1: these ids do not move.
            used[: max(1, config.pad_token_id) + 1] = True
        pieces = model["type"] == "WordPiece"
        unknown = model["vocab"].get(model["unk_token"]) if pieces else None
        tokenizer.no_truncation()  # the library says so itself before each of its calls
        tokenizer.no_padding()
        self.progress.start("find the pieces in use", 0, "texts")
        for page in texts.pages(store):
            for prompt in {"", self.base.prompts.query, self.base.prompts.passage}:
                asked = [prompt + text for text in page]
                for text, found in zip(asked, tokenizer.encode_batch_fast(asked), strict=True):
                    used[found.ids] = True
                    if unknown in found.ids:
                        used[
                            [n for word in _words(tokenizer, text) for n in parts_of(model, word)]
                        ] = 1
            self.progress.advance(len(page))
        self.progress.finish()
        return used

    def _cut(self, ids: Ids) -> None:
        """Leave only these pieces, and the rows of the model that are theirs."""
        import torch

        transformer = self.base.model[0]
        transformer.tokenizer._tokenizer = pruned(self._stated, ids)
        number = {int(old): new for new, old in enumerate(ids)}
        table: Any = transformer.auto_model.get_input_embeddings().weight
        left = torch.nn.Parameter(
            table.data[torch.from_numpy(ids).to(table.device)], requires_grad=table.requires_grad
        )
        for module in transformer.auto_model.modules():
            if getattr(module, "weight", None) is table:  # tied ones have the same
                module.weight, module.num_embeddings = left, len(ids)
                module.padding_idx = number.get(module.padding_idx)
        whole = transformer.auto_model.config
        for config in {id(c): c for c in (whole, whole.get_text_config())}.values():
            for name, old in _token_ids(config).items():
                setattr(config, name, number.get(old))
            config.vocab_size = len(ids)

    def _megabytes(self) -> float:
        """Of the weights and of the tokenizer."""
        weights = sum(p.numel() * p.element_size() for p in self.base.model.parameters())
        tokenizer = self.base.model[0].tokenizer.backend_tokenizer
        return float(weights + len(tokenizer.to_str(pretty=True).encode())) / 1e6

    def _tokens(self, asked: Asked) -> list[Ids]:
        """The pieces of each text, without prompts and special tokens."""
        texts = [text for _, _, text in asked]
        tokenizer = self.base.model[0].tokenizer.backend_tokenizer
        tokenizer.no_truncation()
        found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.int64) for encoding in found]

    def _vectors(self, asked: Asked) -> Floats:
        """A vector of length 1 of each text, with the prompt of its role."""
        prompts = {"query": self.base.prompts.query, "passage": self.base.prompts.passage}
        texts = [prompts[role] + text for _, role, text in asked]
        options = {"prompt": "", "normalize_embeddings": True, "show_progress_bar": False}
        found = []
        self.progress.start("compare with the whole vocabulary", len(texts), "texts")
        for first in range(0, len(texts), PAGE):
            found.append(self.base.model.encode(texts[first : first + PAGE], **options))
            self.progress.advance(len(found[-1]))
        self.progress.finish()
        return np.concatenate(found)


def _token_ids(config: Any) -> dict[str, int]:
    """The ids that a model's configuration names."""
    stated = config.to_dict().items()
    return {name: n for name, n in stated if name.endswith("_token_id") and isinstance(n, int)}


def _words(tokenizer: Any, text: str) -> list[str]:
    """As the model of a tokenizer gets them."""
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    splitter = tokenizer.pre_tokenizer
    return [text] if splitter is None else [word for word, _ in splitter.pre_tokenize_str(text)]


def _losses(
    asked: Asked, before: Sequence[Ids], after: Sequence[Ids], cosines: Floats, unknown: int | None
) -> Mapping[str, Mapping[str, float]]:
    """By language what other text loses; ids are the new ones, -1 where there is none."""
    found: dict[str, Mapping[str, float]] = {}
    for lang in dict.fromkeys(lang for lang, _, _ in asked):
        places = [n for n, item in enumerate(asked) if item[0] == lang and len(before[n])]
        pairs = [(before[n], after[n]) for n in places]
        gone = sum((Counter(a.tolist()) - Counter(b.tolist())).total() for a, b in pairs)
        figures = {
            "lost": gone / sum(len(a) for a, _ in pairs),
            "unknown": np.mean(np.concatenate([b for _, b in pairs]) == unknown),
            "growth": np.mean([len(b) / len(a) for a, b in pairs]) - 1,
            "cosine": cosines[places].mean(),
            "lowest": cosines[places].min(),
        }
        found[lang] = {"texts": len(places)} | {k: round(float(x), 6) for k, x in figures.items()}
    return found

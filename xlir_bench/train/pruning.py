"""`--prune-vocabulary`: a transformer keeps the pieces that some texts use; what that costs other text.

Most weights of a multilingual model are a table of pieces, of which a training meets a tenth.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.encoders.digest import fingerprint
from xlir_bench.encoders.layout import OFFSET_POSITIONS
from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError, XlirError
from xlir_bench.files import file_digest, raw_lines
from xlir_bench.options.running import RunOptions
from xlir_bench.places import data_cache
from xlir_bench.records import ROLES, Collection, Floats, Progress, Role, Silent
from xlir_bench.sources import ON_DISK, DataState, data_state, load_collection
from xlir_bench.tasks import Task
from xlir_bench.train.bases import Base
from xlir_bench.train.folder import write_array, write_json
from xlir_bench.train.pieces import (
    Flags,
    Ids,
    all_pieces,
    kept_ids,
    pieces_in,
    pruned_tokenizer,
)
from xlir_bench.train.store import RowStore
from xlir_bench.untrusted import read_array, read_json

ROWS = "rows"
IDS, RECORD = "pieces.npy", "pruning.json"
PAGE = 256
"""Texts that are tokenized at a time."""
BATCH = 64
"""Texts that are encoded at a time."""
PROVEN = 16
"""Texts of the rows whose vectors are compared before and after, in every run."""
MOST, ALTOGETHER, LONGEST = 200, 1100, 200
"""Other texts of one language and of all, and characters of each: they cost as much as ten steps."""
Sample = tuple[str, Role, str]
"""Language, role and text."""


@dataclass(frozen=True)
class Pruning:
    """Which texts keep their pieces: those of the training rows, and of tasks and files by name."""

    names: Sequence[str]
    tasks: Mapping[str, Task]
    root: Path | None
    progress: Progress

    def check(self) -> None:
        """Refuse names that cannot be read before anything is."""
        for name in self.names:
            if name == ROWS or (name not in self.tasks and Path(name).is_file()):
                continue
            if name not in self.tasks:
                known = [ROWS, "a file of texts", *self.tasks]
                raise UnknownNameError("text of --prune-vocabulary", [name], known)
            state = self._state(name)
            if state.missing:
                raise OutOfReachError(
                    f"--prune-vocabulary {name}: {', '.join(state.missing)} not in {state.folder};"
                    f" `xlir-bench data fetch {name}` fetches it, or name a root with --data"
                )

    def prune(self, base: Base, store: RowStore, kept: Path) -> Base:
        """The base, cut in place; the folder keeps which pieces stayed, for a resumed run."""
        resumed = (kept / RECORD).is_file()
        if not resumed:
            write_json(kept / RECORD, self._first_cut(base, store, kept))
        remedy = "remove the output folder"
        record = read_json(kept / RECORD, dict[str, Any], "what was pruned", remedy)
        if record["base"] != base.digest:
            raise InputError(f"--resume: {base.name} is not the model that was pruned")
        if resumed:
            _cut(base.model, _tokenizer_json(base), read_array(kept / IDS))
        whole, left = record["pieces"]
        note = f"its vocabulary was cut from {whole:,} pieces to the {left:,} that some texts use"
        return replace(base, pruning=record, notes=(*base.notes, note))

    def _first_cut(self, base: Base, store: RowStore, kept: Path) -> dict[str, Any]:
        """Find the pieces, cut the model and compare it with what it was; the record of it."""
        tokenizer = _tokenizer_json(base)
        used, texts = self._used_pieces(base, tokenizer, store)
        ids = kept_ids(tokenizer, used)
        new_id = np.full(len(used), -1)
        new_id[ids] = np.arange(len(ids))
        tasks, others = self._other_texts()
        samples = others + [("", role, text) for text in store.sample(PROVEN) for role in ROLES]
        first = len(others)
        megabytes, before = _megabytes(base.model), [new_id[n] for n in _tokens(base, samples)]
        vectors = self._vectors(base, samples)
        _cut(base.model, tokenizer, ids)
        after = _tokens(base, samples)
        cosines = (vectors * self._vectors(base, samples)).sum(axis=1)
        same_pieces = all(map(np.array_equal, before[first:], after[first:]))
        if not same_pieces or cosines[first:].min() < 1 - 1e-5:
            raise XlirError(
                f"--prune-vocabulary: with fewer pieces {base.name} has other vectors for the same"
                " texts: train it without"
            )
        write_array(kept / IDS, ids)
        unknown = base.model[0].tokenizer.unk_token_id
        losses = _losses(others, before, after, cosines, unknown)
        return {
            "base": base.digest,
            "texts": texts,
            "pieces": [len(all_pieces(tokenizer)), len(ids)],
            "megabytes": [round(megabytes, 1), round(_megabytes(base.model), 1)],
            "elsewhere": {"tasks": tasks, "languages": losses},
        }

    def _used_pieces(
        self, base: Base, tokenizer_json: Mapping[str, Any], store: RowStore
    ) -> tuple[Flags, list[dict[str, str | int]]]:
        """Flags of the pieces that texts use, with each prompt and without; and which texts were read."""
        transformer, model = base.model[0], tokenizer_json["model"]
        tokenizer, config = transformer.tokenizer.backend_tokenizer, transformer.auto_model.config
        used = np.zeros(max(all_pieces(tokenizer_json).values()) + 1, np.bool_)
        named = [n for n in _token_ids(config).values() if 0 <= n < len(used)]
        used[named + transformer.tokenizer.all_special_ids] = True
        if config.model_type in OFFSET_POSITIONS:
            # Positions begin behind the padding id, and MPNet's behind 1: these ids do not move.
            used[: max(1, config.pad_token_id) + 1] = True
        wordpiece = model["type"] == "WordPiece"
        unknown = model["vocab"].get(model["unk_token"]) if wordpiece else None
        tokenizer.no_truncation()  # the library says so itself before each of its calls
        tokenizer.no_padding()
        texts: list[dict[str, str | int]] = []
        self.progress.start("find the pieces in use", 0, "texts")
        for name, digest, pages in self._sources(store):
            count = 0
            for page in pages:
                for prompt in {"", base.prompts.query, base.prompts.passage}:
                    prompted = [prompt + text for text in page]
                    encodings = tokenizer.encode_batch_fast(prompted)
                    for text, encoding in zip(prompted, encodings, strict=True):
                        used[encoding.ids] = True
                        if unknown in encoding.ids:
                            for word in _words(tokenizer, text):
                                used[pieces_in(model, word)] = True
                count += len(page)
                self.progress.advance(len(page))
            texts.append({"name": name, "digest": digest, "texts": count})
        self.progress.finish()
        return used, texts

    def _sources(self, store: RowStore) -> Iterator[tuple[str, str, Iterator[Sequence[str]]]]:
        """Name, digest and pages of each source of texts."""
        digest = fingerprint({"rows": [source.digest for source in store.sources]})
        yield ROWS, digest, (store.texts[place]["text"][:] for place in _places(len(store.texts)))
        for name in dict.fromkeys(self.names):
            if name in self.tasks:
                data = self._load(name)
                texts = [data.texts(role, x) for role in ROLES for x in data.languages(role)]
                pages = (some[place] for some in texts for place in _places(len(some)))
                yield name, fingerprint(dict(data.digests)), pages
            elif name != ROWS:
                path = Path(name)
                yield path.name, f"sha256:{file_digest(path, 'sha256')}", _lines(path)

    def _other_texts(self) -> tuple[list[str], list[Sample]]:
        """Tasks on disk that were not named, and texts evenly over each."""
        names = [
            n for n, t in self.tasks.items() if n not in self.names and t.format not in ON_DISK
        ]
        here = {name: langs for name in names if (langs := self._state(name).here)}
        tasks_with = Counter(lang for langs in here.values() for lang in langs)
        each = min(MOST, ALTOGETHER // max(1, len(tasks_with)))
        samples: list[Sample] = []
        for name in here:
            data = self._load(name)
            for lang in here[name]:
                roles = [role for role in ROLES if lang in data.languages(role)]
                pool = [(lang, role, text) for role in roles for text in data.texts(role, lang)]
                count = min(len(pool), each // tasks_with[lang])
                places = np.linspace(0, len(pool), count, endpoint=False, dtype=int)
                samples += [(*pool[n][:2], pool[n][2][:LONGEST]) for n in places]
        return list(here), sorted(samples)

    def _vectors(self, base: Base, samples: Sequence[Sample]) -> Floats:
        """A vector of length 1 of each text, with the prompt of its role."""
        prompts = {"query": base.prompts.query, "passage": base.prompts.passage}
        texts = [prompts[role] + text for _, role, text in samples]
        options = {"prompt": "", "normalize_embeddings": True, "show_progress_bar": False}
        vectors = []
        self.progress.start("compare with the whole vocabulary", len(texts), "texts")
        for first in range(0, len(texts), BATCH):
            vectors.append(base.model.encode(texts[first : first + BATCH], **options))
            self.progress.advance(len(vectors[-1]))
        self.progress.finish()
        return np.concatenate(vectors)

    def _state(self, name: str) -> DataState:
        return data_state(self.tasks[name], self.root, data_cache())

    def _load(self, name: str) -> Collection:
        langs = self._state(name).here
        options = RunOptions(data=self.root, langs=langs, offline=True, allow_changed_data=True)
        return load_collection(self.tasks[name], options, Silent())


def _tokenizer_json(base: Base) -> dict[str, Any]:
    tokenizer: Any = getattr(base.model[0], "tokenizer", None)
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise InputError(
            f"--prune-vocabulary is for transformers with a tokenizer of the `tokenizers` library;"
            f" {base.name} has none"
        )
    stated: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return stated


def _cut(model: Any, tokenizer_json: Mapping[str, Any], ids: Ids) -> None:
    """Leave only these pieces, and their rows of the model's tables."""
    import torch

    transformer = model[0]
    transformer.tokenizer._tokenizer = pruned_tokenizer(tokenizer_json, ids)
    new_id = {int(old): new for new, old in enumerate(ids)}
    table: Any = transformer.auto_model.get_input_embeddings().weight
    left = torch.nn.Parameter(
        table.data[torch.from_numpy(ids).to(table.device)], requires_grad=table.requires_grad
    )
    for module in transformer.auto_model.modules():
        if getattr(module, "weight", None) is table:  # tied modules share it
            module.weight, module.num_embeddings = left, len(ids)
            module.padding_idx = new_id.get(module.padding_idx)
    whole = transformer.auto_model.config
    for config in {id(c): c for c in (whole, whole.get_text_config())}.values():
        for name, old in _token_ids(config).items():
            setattr(config, name, new_id.get(old))
        config.vocab_size = len(ids)


def _megabytes(model: Any) -> float:
    """Of the weights and of the tokenizer."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    tokenizer = model[0].tokenizer.backend_tokenizer
    return float(weights + len(tokenizer.to_str(pretty=True).encode())) / 1e6


def _tokens(base: Base, samples: Sequence[Sample]) -> list[Ids]:
    """The pieces of each text, without prompts and special tokens."""
    tokenizer = base.model[0].tokenizer.backend_tokenizer
    tokenizer.no_truncation()
    texts = [text for _, _, text in samples]
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.array(encoding.ids, np.int64) for encoding in encodings]


def _token_ids(config: Any) -> dict[str, int]:
    """The ids that a model's configuration names."""
    stated = config.to_dict().items()
    return {name: n for name, n in stated if name.endswith("_token_id") and isinstance(n, int)}


def _words(tokenizer: Any, text: str) -> list[str]:
    """The words of a text, as the model of the tokenizer gets them."""
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    splitter = tokenizer.pre_tokenizer
    return [text] if splitter is None else [word for word, _ in splitter.pre_tokenize_str(text)]


def _losses(
    samples: Sequence[Sample],
    before: Sequence[Ids],
    after: Sequence[Ids],
    cosines: Floats,
    unknown: int | None,
) -> Mapping[str, Mapping[str, float]]:
    """What other text loses, by language; `before` has the new ids, -1 for a piece that is gone."""
    losses: dict[str, Mapping[str, float]] = {}
    for lang in dict.fromkeys(lang for lang, _, _ in samples):
        places = [n for n, sample in enumerate(samples) if sample[0] == lang and len(before[n])]
        pairs = [(before[n], after[n]) for n in places]
        gone = sum((Counter(a.tolist()) - Counter(b.tolist())).total() for a, b in pairs)
        figures = {
            "lost": gone / sum(len(a) for a, _ in pairs),
            "unknown": np.mean(np.concatenate([b for _, b in pairs]) == unknown),
            "growth": np.mean([len(b) / len(a) for a, b in pairs]) - 1,
            "cosine": cosines[places].mean(),
            "lowest": cosines[places].min(),
        }
        losses[lang] = {"texts": len(places)} | {k: round(float(x), 6) for k, x in figures.items()}
    return losses


def _places(count: int) -> Iterator[slice]:
    return (slice(first, first + PAGE) for first in range(0, count, PAGE))


def _lines(path: Path) -> Iterator[list[str]]:
    """The lines of a file, a page of them at a time."""
    page: list[str] = []
    try:
        for line in raw_lines(path):
            page.append(line.decode().strip())
            if len(page) == PAGE:
                yield page
                page = []
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"--prune-vocabulary {path} is no file of texts in UTF-8: {error}"
        ) from error
    yield page

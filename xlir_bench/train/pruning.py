"""`--prune-vocabulary`: cuts a transformer to the pieces that given texts use, and measures what other texts lose.

Most weights of a multilingual model are the table of its pieces, of which a training uses about a tenth.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from xlir_bench.arrays import slices
from xlir_bench.encoders.digest import fingerprint
from xlir_bench.encoders.layout import OFFSET_POSITIONS
from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError, XlirError
from xlir_bench.records import ROLES, Floats, Ints, Progress, Role
from xlir_bench.sources import ON_DISK, DataState, data_state, load_present
from xlir_bench.sources.rows import Faults, read_lines
from xlir_bench.tasks import Task
from xlir_bench.train.bases import Base
from xlir_bench.train.folder import write_array, write_json
from xlir_bench.train.row_files import source_digest
from xlir_bench.train.row_store import RowStore
from xlir_bench.train.rows import chunked
from xlir_bench.untrusted import read_array, read_json

ROWS = "rows"
IDS, RECORD = "pieces.npy", "pruning.json"
KINDS = ("Unigram", "WordPiece", "BPE")
BYTE_LETTERS = 0x144
"""Lower code points are Latin letters, and the characters that stand for bytes in byte-level vocabularies."""
BATCH = 64
"""Texts that are encoded at a time."""
COMPARED = 16
"""How many texts of the rows are encoded before and after, to check that their vectors stay."""
MOST_OF_A_LANGUAGE, MOST_OF_ALL, LONGEST = 200, 1100, 200
"""Other texts per language and in all, and characters of each, at most: they cost as much as ten training steps."""
Sample = tuple[str, Role, str]
"""Language, role and text."""


@dataclass(frozen=True)
class Pruning:
    """The texts that keep their pieces: those of the training rows, and of the tasks and files in `names`."""

    names: Sequence[str]
    tasks: Mapping[str, Task]
    root: Path | None
    progress: Progress

    def check(self) -> None:
        """Refuse names that cannot be read, before anything is read."""
        for name in self.names:
            if name in self.tasks:
                state = self._state(name)
                if state.missing:
                    raise OutOfReachError(
                        f"--prune-vocabulary {name}: {', '.join(state.missing)} not in {state.folder};"
                        f" `xlir-bench data fetch {name}` fetches it, or name a root with --data"
                    )
            elif name != ROWS and not Path(name).is_file():
                known = [ROWS, "a file of texts", *self.tasks]
                raise UnknownNameError("text of --prune-vocabulary", [name], known)

    def prune(self, base: Base, store: RowStore, kept: Path) -> Base:
        """Cut the model of the base in place. The folder `kept` gets the ids of the pieces that stay, for a resumed run."""
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
        note = (
            f"its vocabulary was cut from {whole:,} pieces to the {left:,} that the named texts use"
        )
        return replace(base, pruning=record, notes=(*base.notes, note))

    def _first_cut(self, base: Base, store: RowStore, kept: Path) -> dict[str, Any]:
        """Find the pieces in use, cut the model, and compare it with the whole one; returns the record of this."""
        tokenizer = _tokenizer_json(base)
        used, texts = self._used_pieces(base, tokenizer, store)
        ids = _kept_ids(tokenizer, used)
        tasks, others = self._other_texts()
        compared = [("", role, text) for text in store.sample(COMPARED) for role in ROLES]
        samples = [*others, *compared]
        new_id = {int(old): new for new, old in enumerate(ids)}
        before = [[new_id.get(n, -1) for n in of_text] for of_text in _pieces_of(base, samples)]
        megabytes, vectors = _megabytes(base.model), self._vectors(base, samples)
        _cut(base.model, tokenizer, ids)
        after = _pieces_of(base, samples)
        cosines = (vectors * self._vectors(base, samples)).sum(axis=1)
        first = len(others)
        if before[first:] != after[first:] or cosines[first:].min() < 1 - 1e-5:
            raise XlirError(
                f"--prune-vocabulary: with fewer pieces {base.name} gives the same texts other vectors: leave the option out"
            )
        write_array(kept / IDS, ids)
        unknown = base.model[0].tokenizer.unk_token_id
        losses = _cost_elsewhere(others, before, after, cosines, unknown)
        return {
            "base": base.digest,
            "texts": texts,
            "pieces": [len(_all_pieces(tokenizer)), len(ids)],
            "megabytes": [round(megabytes, 1), round(_megabytes(base.model), 1)],
            "elsewhere": {"tasks": tasks, "languages": losses},
        }

    def _used_pieces(
        self, base: Base, stated: Mapping[str, Any], store: RowStore
    ) -> tuple[set[int], list[dict[str, str | int]]]:
        """The ids of the pieces that the texts use, with each prompt and without one; and which texts were read."""
        transformer, model = base.model[0], stated["model"]
        tokenizer, config = transformer.tokenizer.backend_tokenizer, transformer.auto_model.config
        highest = max(_all_pieces(stated).values())
        used = {n for n in _token_ids(config).values() if 0 <= n <= highest}
        used.update(transformer.tokenizer.all_special_ids)
        if config.model_type in OFFSET_POSITIONS:
            # Positions are numbered from the padding id on (in MPNet from 1 on), so ids up to there must not change.
            used.update(range(max(1, config.pad_token_id) + 1))
        wordpiece = model["type"] == "WordPiece"
        unknown = model["vocab"].get(model["unk_token"]) if wordpiece else None
        tokenizer.no_truncation()  # transformers sets both again before each of its calls
        tokenizer.no_padding()
        read: list[dict[str, str | int]] = []
        self.progress.start("find the pieces in use", 0, "texts")
        for name, digest, texts in self._sources(store):
            count = 0
            for page in chunked(texts):
                for prompt in {"", base.prompts.query, base.prompts.passage}:
                    prompted = [prompt + text for text in page]
                    encodings = tokenizer.encode_batch_fast(prompted)
                    for text, encoding in zip(prompted, encodings, strict=True):
                        used.update(encoding.ids)
                        if unknown in encoding.ids:
                            used.update(_pieces_within(tokenizer, model, text))
                count += len(page)
                self.progress.advance(len(page))
            read.append({"name": name, "digest": digest, "texts": count})
        self.progress.finish()
        return used, read

    def _sources(self, store: RowStore) -> Iterator[tuple[str, str, Iterable[str]]]:
        """Name, digest and texts of each source of texts."""
        digest = fingerprint({"rows": [source.digest for source in store.sources]})
        yield ROWS, digest, store.every_text()
        for name in dict.fromkeys(self.names):
            if name in self.tasks:
                data = load_present(self.tasks[name], self.root, self._state(name).here)
                sides = [(role, lang) for role in ROLES for lang in data.languages(role)]
                texts = (text for side in sides for text in data.texts(*side))
                yield name, fingerprint(dict(data.digests)), texts
            elif name != ROWS:
                yield Path(name).name, source_digest(name), _lines(Path(name))

    def _other_texts(self) -> tuple[list[str], list[Sample]]:
        """The tasks on disk that were not named, and a sample of texts spread evenly over each."""
        names = [n for n, t in self.tasks.items() if not (n in self.names or t.format in ON_DISK)]
        here = {name: langs for name in names if (langs := self._state(name).here)}
        tasks_with = Counter(lang for langs in here.values() for lang in langs)
        each = min(MOST_OF_A_LANGUAGE, MOST_OF_ALL // max(1, len(tasks_with)))
        samples: list[Sample] = []
        for name, langs in here.items():
            data = load_present(self.tasks[name], self.root, langs)
            for lang in langs:
                roles = [role for role in ROLES if lang in data.languages(role)]
                pool = [(lang, role, text) for role in roles for text in data.texts(role, lang)]
                count = min(len(pool), each // tasks_with[lang])
                places = np.linspace(0, len(pool), count, endpoint=False, dtype=int)
                samples += [(*pool[n][:2], pool[n][2][:LONGEST]) for n in places]
        return list(here), sorted(samples)

    def _vectors(self, base: Base, samples: Sequence[Sample]) -> Floats:
        """A vector of length 1 for each text, with the prompt of its role."""
        texts = [base.prompts.of(role) + text for _, role, text in samples]
        options = {"prompt": "", "normalize_embeddings": True, "show_progress_bar": False}
        vectors = []
        self.progress.start("compare with the whole vocabulary", len(texts), "texts")
        for batch in slices(len(texts), BATCH):
            vectors.append(base.model.encode(texts[batch], **options))
            self.progress.advance(len(vectors[-1]))
        self.progress.finish()
        return np.concatenate(vectors)

    def _state(self, name: str) -> DataState:
        return data_state(self.tasks[name], self.root)


def _tokenizer_json(base: Base) -> dict[str, Any]:
    tokenizer: Any = getattr(base.model[0], "tokenizer", None)
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise InputError(
            f"--prune-vocabulary: {base.name} has no tokenizer of the library `tokenizers`: leave the option out"
        )
    stated: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return stated


def _model_pieces(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """The id of each piece of a tokenizer, given as its JSON, without added tokens."""
    model = tokenizer["model"]
    if model["type"] not in KINDS:
        raise InputError(
            f"--prune-vocabulary knows tokenizers of {', '.join(KINDS)}, not of {model['type']}: leave the option out"
        )
    if model["type"] == "Unigram":
        return {piece: n for n, (piece, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _all_pieces(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """The id of each piece of a tokenizer, and of each added token."""

    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    return _model_pieces(tokenizer) | added


def _kept_ids(tokenizer: Mapping[str, Any], used: set[int]) -> Ints:
    """The ids that have to stay so that texts are split into the same pieces as before; in their new order.

    A smaller vocabulary splits the texts in the same way for these reasons:

    - Unigram takes the path through a text with the highest score. Without unused pieces there are fewer paths, and
      the best one is still among them. A path through an unknown character must not become better either. Such a
      character scores 10 less than the lowest piece; so the lowest piece stays, and with it that score.
    - WordPiece takes the longest piece that fits next, and this piece stays. If none fits, the whole word is unknown.
      All pieces inside such a word stay (`_pieces_within`): without one of them a shorter piece would be taken, and
      the word might become known.
    - BPE joins the pair that comes first in its list. All joins that lead to a used piece stay, in their order.

    Single characters of used pieces stay, and bytes, too: other words are spelt with them.
    """
    model, pieces = tokenizer["model"], _model_pieces(tokenizer)
    kept = used.union(token["id"] for token in tokenizer["added_tokens"])
    if model["type"] == "Unigram":
        kept.add(min(range(len(model["vocab"])), key=lambda n: model["vocab"][n][1]))
    unknown = model.get("unk_id", pieces.get(model.get("unk_token", "")))
    if unknown is not None:
        kept.add(unknown)
    letters = {c for piece, n in pieces.items() if n in used for c in piece}
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    for piece, n in pieces.items():
        core = piece.removeprefix(prefix).removesuffix(suffix)
        single = len(core) == 1 and (core in letters or ord(core) < BYTE_LETTERS)
        if single or re.fullmatch("<0x[0-9A-F]{2}>", piece):
            kept.add(n)
    if model["type"] == "BPE":
        joins: dict[str, set[str]] = {}
        for pair in model["merges"]:
            joins.setdefault(_joined(model, pair), set()).update(pair)
        left = [piece for piece, n in pieces.items() if n in kept]
        while left:
            parts = joins.pop(left.pop(), set())
            kept.update(pieces[part] for part in parts)
            left += parts
    of_model = kept.intersection(pieces.values())  # the library numbers them before added tokens
    return np.array(sorted(of_model) + sorted(kept - of_model), np.int64)


def _pieces_within(tokenizer: Any, model: Mapping[str, Any], text: str) -> Iterator[int]:
    """Every piece of a WordPiece model that occurs anywhere in a word of a text, except in words that are too long for it."""
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    words = [text]
    if tokenizer.pre_tokenizer is not None:
        words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    for word in words:
        if len(word) > model["max_input_chars_per_word"]:
            continue
        for start in range(len(word)):
            prefix = model["continuing_subword_prefix"] if start else ""
            for end in range(start + 1, len(word) + 1):
                if (part := prefix + word[start:end]) in model["vocab"]:
                    yield model["vocab"][part]


def _joined(model: Mapping[str, Any], pair: tuple[str, str]) -> str:
    """The piece that a BPE model makes of a pair."""

    return pair[0] + pair[1].removeprefix(model["continuing_subword_prefix"] or "")


def _cut(model: Any, stated: Mapping[str, Any], ids: Ints) -> None:
    """Leave only the pieces with these ids in the tokenizer, and their rows in the model's table."""
    transformer = model[0]
    new_id = {int(old): new for new, old in enumerate(ids)}
    transformer.tokenizer._tokenizer = _small_tokenizer(stated, new_id)
    table: Any = transformer.auto_model.get_input_embeddings().weight
    rows = table.data[torch.from_numpy(ids).to(table.device)]
    left = torch.nn.Parameter(rows, requires_grad=table.requires_grad)
    for module in transformer.auto_model.modules():
        if getattr(module, "weight", None) is table:  # tied modules share the table
            module.weight, module.num_embeddings = left, len(ids)
            module.padding_idx = new_id.get(module.padding_idx)
    whole = transformer.auto_model.config
    for config in {id(c): c for c in (whole, whole.get_text_config())}.values():
        for name, old in _token_ids(config).items():
            setattr(config, name, new_id.get(old))
        config.vocab_size = len(ids)


def _small_tokenizer(stated: Mapping[str, Any], new_id: Mapping[int, int]) -> Any:
    """The `tokenizers.Tokenizer` that has only the pieces with a new id."""
    model, pieces = dict(stated["model"]), _model_pieces(stated)
    if model["type"] == "Unigram":
        model["vocab"] = [entry for n, entry in enumerate(model["vocab"]) if n in new_id]
        model["unk_id"] = new_id.get(model["unk_id"])
    else:
        model["vocab"] = {piece: new_id[n] for piece, n in pieces.items() if n in new_id}
    if model["type"] == "BPE":
        model["merges"] = [x for x in model["merges"] if _joined(model, x) in model["vocab"]]
    added = [token | {"id": new_id[token["id"]]} for token in stated["added_tokens"]]
    parts = {
        "model": model,
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "post_processor": _renumbered(stated["post_processor"], new_id.__getitem__),
        "padding": None,
    }
    small = Tokenizer.from_str(json.dumps({**stated, **parts}))
    if small.get_vocab() != {x: new_id[n] for x, n in _all_pieces(stated).items() if n in new_id}:
        raise XlirError(
            "--prune-vocabulary: this tokenizer numbers its pieces in a way of its own: leave the option out"
        )
    return small


def _renumbered(part: Any, new: Callable[[int], int]) -> Any:
    """A post-processor with new ids: those in lists, such as ``"ids": [2]`` and ``["[SEP]", 102]``."""
    if isinstance(part, dict):
        return {key: _renumbered(value, new) for key, value in part.items()}
    if isinstance(part, list):
        return [new(x) if isinstance(x, int) else _renumbered(x, new) for x in part]
    return part


def _token_ids(config: Any) -> dict[str, int]:
    """The token ids that a model's configuration names."""
    stated = config.to_dict().items()
    return {name: n for name, n in stated if name.endswith("_token_id") and isinstance(n, int)}


def _megabytes(model: Any) -> float:
    """The size of the weights and of the tokenizer."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    tokenizer = model[0].tokenizer.backend_tokenizer
    return float(weights + len(tokenizer.to_str(pretty=True).encode())) / 1e6


def _pieces_of(base: Base, samples: Sequence[Sample]) -> list[list[int]]:
    """The ids of the pieces of each text, without prompts and special tokens."""
    tokenizer = base.model[0].tokenizer.backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = [text for _, _, text in samples]
    return [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _cost_elsewhere(
    samples: Sequence[Sample],
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    cosines: Floats,
    unknown: int | None,
) -> Mapping[str, Mapping[str, float]]:
    """What other texts lose, by language; `before` has the new ids of their pieces, -1 for a piece that is gone."""
    losses: dict[str, Mapping[str, float]] = {}
    for lang in dict.fromkeys(lang for lang, _, _ in samples):
        places = [n for n, sample in enumerate(samples) if sample[0] == lang and before[n]]
        pairs = [(before[n], after[n]) for n in places]
        gone = sum((Counter(a) - Counter(b)).total() for a, b in pairs)
        figures = {
            "lost": gone / sum(len(a) for a, _ in pairs),
            "unknown": np.mean([n == unknown for _, b in pairs for n in b]),
            "growth": np.mean([len(b) / len(a) for a, b in pairs]) - 1,
            "cosine": cosines[places].mean(),
            "lowest": cosines[places].min(),
        }
        losses[lang] = {"texts": len(places)} | {k: round(float(x), 6) for k, x in figures.items()}
    return losses


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file of texts."""
    faults = Faults("the texts of --prune-vocabulary")
    for _, line in read_lines(path, faults, str.strip, blank=True):
        yield line
    faults.check()

"""A tokenizer with some of its pieces: which have to stay for some texts, and its JSON without the others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import InputError, XlirError

Flags = NDArray[np.bool_]
Ids = NDArray[np.int64]
KINDS = ("Unigram", "WordPiece", "BPE")
BYTES = 0x144
"""Characters below it are Latin letters, and those that stand for bytes in byte-level vocabularies."""


def model_pieces(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """The pieces of the model itself, without added tokens; `tokenizer` is its JSON."""
    model = tokenizer["model"]
    if model["type"] not in KINDS:
        raise InputError(
            f"--prune-vocabulary knows tokenizers of the kinds {', '.join(KINDS)}; this one is of"
            f" {model['type']}: train without it"
        )
    if model["type"] == "Unigram":
        return {piece: n for n, (piece, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def all_pieces(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """The pieces of the model, and added tokens."""
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    return model_pieces(tokenizer) | added


def kept_ids(tokenizer: Mapping[str, Any], used: Flags) -> Ids:
    """The ids that have to stay if texts are to keep the pieces they use; in their new order.

    Why the texts keep their pieces:
    Unigram takes the path with the highest score. Without pieces that are on no best path there are fewer
    paths, and the best is still there. An unknown character scores 10 less than the lowest piece: that piece
    stays, so that no path through a character that is now unknown scores more than it did.
    WordPiece takes the longest piece that fits, and that stays. Of words that it gives up, every piece stays
    (`pieces_in`), or a shorter one might lead to an end.
    BPE joins the pair that comes first in its list; all joins that lead to a piece stay, in their order.

    Single characters (of pieces that are used) and bytes stay, too: other words are spelt with them.
    """
    model, pieces, kept = tokenizer["model"], model_pieces(tokenizer), used.copy()
    kept[[token["id"] for token in tokenizer["added_tokens"]]] = True
    if model["type"] == "Unigram":
        kept[min(range(len(model["vocab"])), key=lambda n: model["vocab"][n][1])] = True
    unknown = model.get("unk_id", pieces.get(model.get("unk_token", "")))
    if unknown is not None:
        kept[unknown] = True
    letters = {c for piece, n in pieces.items() if used[n] for c in piece}
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    for piece, n in pieces.items():
        core = piece.removeprefix(prefix).removesuffix(suffix)
        single = len(core) == 1 and (core in letters or ord(core) < BYTES)
        kept[n] |= single or re.fullmatch("<0x[0-9A-F]{2}>", piece) is not None
    if model["type"] == "BPE":
        joins: dict[str, set[str]] = {}
        for pair in model["merges"]:
            joins.setdefault(_joined(model, pair), set()).update(pair)
        left = [piece for piece, n in pieces.items() if kept[n]]
        while left:
            parts = joins.pop(left.pop(), set())
            kept[[pieces[part] for part in parts]] = True
            left += parts
    own = {n for n in pieces.values() if kept[n]}  # the library numbers them before added tokens
    added = {*np.flatnonzero(kept).tolist()} - own
    return np.array(sorted(own) + sorted(added), np.int64)


def pieces_in(model: Mapping[str, Any], word: str) -> list[int]:
    """Every piece of WordPiece that stands anywhere in a word, if the word is not too long to be tried."""
    if len(word) > model["max_input_chars_per_word"]:
        return []
    prefix, ends = model["continuing_subword_prefix"], range(1, len(word) + 1)
    parts = ((prefix if n else "") + word[n:end] for end in ends for n in range(end))
    return [model["vocab"][part] for part in parts if part in model["vocab"]]


def pruned_tokenizer(tokenizer: Mapping[str, Any], kept: Ids) -> Any:
    """The `tokenizers.Tokenizer` that has these pieces alone, numbered anew."""
    from tokenizers import Tokenizer

    number = {int(old): new for new, old in enumerate(kept)}
    model = dict(tokenizer["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [entry for n, entry in enumerate(model["vocab"]) if n in number]
        model["unk_id"] = number.get(model["unk_id"])
    else:
        model["vocab"] = {x: number[n] for x, n in model_pieces(tokenizer).items() if n in number}
    if model["type"] == "BPE":
        model["merges"] = [x for x in model["merges"] if _joined(model, x) in model["vocab"]]
    added = [token | {"id": number[token["id"]]} for token in tokenizer["added_tokens"]]
    parts = {
        "model": model,
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "post_processor": _renumbered(tokenizer["post_processor"], number.__getitem__),
        "padding": None,
    }
    small = Tokenizer.from_str(json.dumps({**tokenizer, **parts}))
    if small.get_vocab() != {x: number[n] for x, n in all_pieces(tokenizer).items() if n in number}:
        raise XlirError("--prune-vocabulary: this tokenizer numbers its pieces in a way of its own")
    return small


def _renumbered(part: Any, new: Callable[[int], int]) -> Any:
    """A post-processor with new ids: those in lists, such as ``"ids": [2]`` and ``["[SEP]", 102]``."""
    if isinstance(part, dict):
        return {key: _renumbered(value, new) for key, value in part.items()}
    if isinstance(part, list):
        return [new(x) if isinstance(x, int) else _renumbered(x, new) for x in part]
    return part


def _joined(model: Mapping[str, Any], pair: tuple[str, str]) -> str:
    return pair[0] + pair[1].removeprefix(model["continuing_subword_prefix"] or "")

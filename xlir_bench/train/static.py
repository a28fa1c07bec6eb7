"""`builtin:static:<dim>`: a table of token vectors, its sub-word vocabulary learnt from the training text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import InputError
from xlir_bench.train.romanise import rules
from xlir_bench.train.store import RowStore

PREFIX = "builtin:static"
VOCABULARY = 32_000
"""Sub-words, if nothing else is asked for."""
SAMPLE = 200_000
"""Texts from which the vocabulary is learnt, at most."""
SMOOTHING = 1e-3
"""A token of frequency p weighs a / (a + p)."""
SPREAD = 0.1
"""Standard deviation of the untrained vectors."""
UNKNOWN = "[UNK]"
RATES = "rates.npy"
Floats = NDArray[np.float32]


def static_dimension(spec: str) -> int:
    """The dimension that ``builtin:static:<dim>`` names."""
    text = spec.removeprefix(PREFIX).removeprefix(":") or "256"
    if not text.isdecimal() or not 1 <= int(text) <= 8192:
        raise InputError(f"{spec}: {PREFIX}:<dim> wants a dimension, such as {PREFIX}:256")
    return int(text)


@dataclass(frozen=True, slots=True)
class StaticShape:
    """What a static model is made like."""

    dimension: int
    vocabulary: int = VOCABULARY
    smoothing: float = SMOOTHING
    romanise: bool = False


def new_static(store: RowStore, shape: StaticShape, seed: int) -> tuple[Any, Floats]:
    """An untrained model of random vectors, and the weight of each token."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = learn_tokenizer(store.sample(SAMPLE), shape.vocabulary, shape.romanise)
    weights = token_weights(tokenizer, store.sample(SAMPLE), shape.smoothing)
    rng = np.random.default_rng([seed, shape.dimension])
    vectors = SPREAD * rng.standard_normal((len(weights), shape.dimension), dtype=np.float32)
    module = StaticEmbedding(tokenizer, embedding_weights=vectors * weights[:, None])
    return SentenceTransformer(modules=[module], device="cpu"), weights


def learn_tokenizer(texts: Iterable[str], size: int, romanise: bool = False) -> Any:
    """A byte-pair vocabulary of these texts; the same one from the same texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    latin = [normalizers.Replace(old, new) for old, new in rules()] if romanise else []
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), *latin]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("isolated"), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[UNKNOWN],
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_weights(tokenizer: Any, texts: Iterable[str], smoothing: float = SMOOTHING) -> Floats:
    """The weight of each token, by its share of the tokens of these texts."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for some in _lists(texts):
        ids = [x.ids for x in tokenizer.encode_batch_fast(some, add_special_tokens=False)]
        counts += np.bincount([i for of_text in ids for i in of_text], minlength=len(counts))
    share = counts / max(1, counts.sum())
    weights: Floats = (smoothing / (smoothing + share)).astype(np.float32)
    return weights


def is_static(model: Any) -> bool:
    """Whether a model is a table of token vectors and nothing else."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return isinstance(model[0], StaticEmbedding)


def quantise(folder: Path) -> None:
    """Store a saved model as int8 with a scale for each row, its vocabulary packed; it loads as before."""
    from safetensors.numpy import load_file, save_file

    [path] = folder.rglob("model.safetensors")
    table = load_file(path)["embedding.weight"]
    scale = np.maximum(np.abs(table).max(axis=1), 1e-12) / 127
    small = np.rint(table / scale[:, None]).astype(np.int8)
    save_file({"embeddings": small, "weights": scale.astype(np.float32)}, path)
    [vocabulary] = folder.rglob("tokenizer.json")
    stated = json.loads(vocabulary.read_text(encoding="utf-8"))
    packed = json.dumps(stated, ensure_ascii=False, separators=(",", ":"))
    vocabulary.write_text(packed, encoding="utf-8")


def _lists(texts: Iterable[str]) -> Iterator[list[str]]:
    source = iter(texts)
    while some := list(islice(source, 1024)):
        yield some

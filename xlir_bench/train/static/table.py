"""The table of a static model: made from nothing, and stored small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.options.static import StaticOptions
from xlir_bench.train.static.vocabulary import Floats, learn_tokenizer, token_shares, weights_of
from xlir_bench.train.store import RowStore

SAMPLE = 200_000
"""Texts from which the vocabulary is learnt, at most."""
SPREAD = 0.1
"""Standard deviation of the untrained vectors."""


def new_static(
    store: RowStore, dimension: int, options: StaticOptions, seed: int
) -> tuple[Any, Floats]:
    """An untrained model of random vectors, and the share of each sub-word in the training text."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = learn_tokenizer(store.sample(SAMPLE), options.vocabulary, options.romanise)
    shares = token_shares(tokenizer, store.sample(SAMPLE))
    rng = np.random.default_rng([seed, dimension])
    vectors = SPREAD * rng.standard_normal((len(shares), dimension), dtype=np.float32)
    vectors *= weights_of(shares, options.smoothing)[:, None]
    module = StaticEmbedding(tokenizer, embedding_weights=vectors)
    return SentenceTransformer(modules=[module], device="cpu"), shares


def is_static(model: Any) -> bool:
    """Whether a model is a table of token vectors, and nothing that learns stands behind it."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    first, *others = model
    learning = any(True for module in others for _ in module.parameters())
    return isinstance(first, StaticEmbedding) and not learning


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

"""The model that training starts from: loaded, or made; with its prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.encoders.digest import fingerprint
from xlir_bench.encoders.hub import locate
from xlir_bench.encoders.layout import ModelLayout
from xlir_bench.encoders.prompts import Prompts, chosen
from xlir_bench.encoders.quiet import quiet_transformers
from xlir_bench.encoders.transformer import TransformerEncoder
from xlir_bench.errors import InputError
from xlir_bench.files import replacing
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.static import StaticOptions, static_dimension
from xlir_bench.options.training import TrainOptions
from xlir_bench.train.static import Floats, Identity, new_static, weights_of
from xlir_bench.train.store import RowStore
from xlir_bench.untrusted import read_array

SHARES = "shares.npy"
"""Beside the model that was made: what its sub-words weigh follows from it."""


@dataclass(frozen=True)
class Base:
    """A model that is ready to be trained, and where it came from."""

    model: Any
    name: str
    digest: str
    """Of its weights, or of what it was made from."""
    prompts: Prompts
    notes: tuple[str, ...]
    rates: Floats | None = None
    """For a static model that was made here the weight of each sub-word."""
    identity: Identity | None = None
    """What is put beside the trained numbers of such a model."""
    pruning: Mapping[str, Any] | None = None
    """What is recorded of a vocabulary that was cut."""

    @property
    def column_prompts(self) -> Mapping[str, str]:
        """The prompts by column of a batch."""
        return {"question": self.prompts.query, "answer": self.prompts.passage}

    def whole(self, model: Any) -> Any:
        """The model as it is evaluated and saved, `model` being what is trained of it."""
        return model if self.identity is None else self.identity.beside(model)


def load_base(options: TrainOptions, store: RowStore, kept: Path) -> Base:
    """The model that `options` name; one that is made is kept in a folder, and taken from there again."""
    base = _static(options, store, kept) if options.from_nothing else _stored(options)
    if base.prompts.query or base.prompts.passage:
        prompts = {"query": base.prompts.query, "document": base.prompts.passage}
        base.model.prompts = {**base.model.prompts, **prompts}
    if options.max_length is not None:
        _cut(base.model, options.max_length)
    data = base.model.model_card_data
    data.local_files_only = True  # its own card would look the base up at the hub
    data.widget = [{"text": ""}]  # else it samples a thousand texts for a page that we do not write
    return base


def _static(options: TrainOptions, store: RowStore, kept: Path) -> Base:
    dimension, static, seed = static_dimension(options.model), options.static, options.batches.seed
    if not (kept / SHARES).is_file():
        model, shares = new_static(store, dimension, static, seed)
        model.save(str(kept), create_model_card=False)
        with replacing(kept / SHARES) as temporary, temporary.open("wb") as file:
            np.save(file, shares, allow_pickle=False)
    from sentence_transformers import SentenceTransformer

    with quiet_transformers():
        model = SentenceTransformer(str(kept), device="cpu", local_files_only=True)
    shares = read_array(kept / SHARES)
    made_of = {"static": dimension, "seed": seed, "sources": [s.digest for s in store.sources]}
    return Base(
        model=model,
        name=options.model,
        digest=fingerprint(made_of | dict(static.made_of())),
        prompts=Prompts(options.query_prompt or "", options.passage_prompt or ""),
        notes=(
            "made from nothing: vocabulary learnt from the training text, random vectors",
            *_identity_notes(static),
        ),
        rates=weights_of(shares, static.smoothing),
        identity=Identity(static.identity, static.identity_weight, shares, seed)
        if static.identity
        else None,
    )


def _identity_notes(static: StaticOptions) -> tuple[str, ...]:
    if not static.identity:
        return ()
    return (
        f"beside what is trained {static.identity} random dimensions, each sub-word's own, of weight"
        f" {static.identity_weight:g}",
    )


def _stored(options: TrainOptions) -> Base:
    """A model of a folder or the hub; pooling is added to a plain transformer."""
    import torch
    from sentence_transformers import SentenceTransformer

    wanted = EncoderOptions(
        query_prompt=options.query_prompt,
        passage_prompt=options.passage_prompt,
        device=options.device,
        offline=options.offline,
        trust_remote_code=options.trust_remote_code,
    )
    place = locate(options.model, wanted)
    layout = ModelLayout(place.folder)
    encoder = TransformerEncoder(place, wanted)  # refuses what is no safe dense encoder
    arguments: dict[str, Any] = {
        "device": options.device or "cpu",
        "trust_remote_code": options.trust_remote_code,
        "local_files_only": options.offline or not options.trust_remote_code,
        "model_kwargs": {"dtype": torch.float32, "use_safetensors": True},
    }
    notes = place.notes
    try:
        with quiet_transformers():
            if layout.bare:
                model = SentenceTransformer(modules=_pooled(place.folder, options), device="cpu")
                notes += (f"a plain transformer: {options.pooling} pooling added",)
            else:
                model = SentenceTransformer(str(place.folder), **arguments)
    except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{place.name} cannot be loaded from {place.folder}: {type(error).__name__}: {reason}"
        ) from error
    model.float()
    prompts = chosen(
        replace(wanted, device=None),
        layout.registered_prompts,
        layout.default_prompt,
        [place.name, *layout.ancestors],
    )
    notes += prompts.notes
    return Base(model, place.name, encoder.weights_digest, prompts, notes)


def _pooled(folder: Path, options: TrainOptions) -> list[Any]:
    import torch
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(
        str(folder),
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    size = transformer.get_embedding_dimension()
    return [transformer, Pooling(size, pooling_mode=options.pooling)]


def _cut(model: Any, tokens: int) -> None:
    tokenizer: Any = getattr(model[0], "tokenizer", None)
    if hasattr(tokenizer, "enable_truncation"):
        tokenizer.enable_truncation(tokens)
        return
    limit = getattr(getattr(model[0], "config", None), "max_position_embeddings", None)
    if limit is not None and tokens > limit:
        raise InputError(f"--max-length {tokens}: the positions of the model end at {limit} tokens")
    model.max_seq_length = tokens

"""Loads the encoder that a spec names."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from xlir_bench.encoders.builtin import load_builtin
from xlir_bench.encoders.digest import short, slug
from xlir_bench.encoders.http import load_http
from xlir_bench.encoders.hub import locate
from xlir_bench.encoders.layout import MULTI_VECTOR, SPARSE
from xlir_bench.encoders.multivector import MultiVectorEncoder
from xlir_bench.encoders.packaged import packaged_folder
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, Encoder, EncoderCard
from xlir_bench.encoders.python import PythonEncoder, PythonTarget, python_target
from xlir_bench.encoders.transformer import InMemoryEncoder, SparseEncoder, TransformerEncoder
from xlir_bench.encoders.vectors import StoredVectors
from xlir_bench.errors import InputError, UnknownNameError, require_type
from xlir_bench.extras import require
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.places import expanded

PREFIXES: dict[str, Callable[[str, EncoderOptions], Encoder]] = {
    "builtin": load_builtin,
    "py": lambda spec, options: PythonEncoder(*python_target(spec), options),
    "sparse": lambda spec, options: load_model(spec, options, SPARSE),
    "colbert": lambda spec, options: load_model(spec, options, MULTI_VECTOR),
    "npy": lambda folder, options: StoredVectors(expanded(folder), options),
    "package": lambda name, options: _load_packaged(name, options),
    "http": lambda rest, options: load_http(f"http:{rest}", options),
    "https": lambda rest, options: load_http(f"https:{rest}", options),
}
"""By the prefix before the first colon, what loads the rest of a spec. Without a prefix it is a folder or a hub id."""


def load_model(spec: str, options: EncoderOptions, model_type: str | None = None) -> Encoder:
    """The encoder of a folder, a package or a hub id; without a `model_type` its files say of which type it is."""
    prefix = {SPARSE: "sparse:", MULTI_VECTOR: "colbert:"}.get(model_type or "", "")
    require("models", f"{prefix}{spec}")
    place = locate(spec, options)
    kinds = {x.model_type: x for x in (TransformerEncoder, SparseEncoder, MultiVectorEncoder)}
    kind = model_type or place.layout.kind
    return kinds.get(kind or "", TransformerEncoder)(place, options)


def _load_packaged(name: str, options: EncoderOptions) -> Encoder:
    packaged_folder(name)  # before torch is asked for: the extra of the package brings both
    return load_model(f"package:{name}", options)


def load_encoder(spec: str, options: EncoderOptions = DEFAULT_OPTIONS) -> Encoder:
    """The encoder that `spec` names: ``builtin:``, ``sparse:``, ``py:``, ``http:`` …, a folder or a hub id."""
    require_type(
        spec, str | os.PathLike, "load_encoder wants a spec, such as builtin:ngram or a folder"
    )
    require_type(options, EncoderOptions, "load_encoder wants EncoderOptions")
    spec = os.fspath(spec)
    if not spec.strip():
        raise InputError(
            "the name of the model is empty: give a folder, a hub id or a prefix like builtin:ngram"
        )
    prefix, colon, rest = spec.partition(":")
    if colon and prefix in PREFIXES:
        return PREFIXES[prefix](rest, options)
    if colon and re.fullmatch("[a-z][a-z0-9+-]+", prefix) and not Path(spec).exists():
        raise UnknownNameError("kind of encoder", [f"{prefix}:"], [f"{name}:" for name in PREFIXES])
    return load_model(spec, options)


def as_encoder(thing: object, options: EncoderOptions = DEFAULT_OPTIONS) -> Encoder:
    """An encoder from a spec, a path, an encoder, a SentenceTransformer or a function ``encode(texts, role)``."""
    if isinstance(thing, str):
        return load_encoder(thing, options)
    if isinstance(thing, PythonTarget):
        return PythonEncoder(*thing, options)
    if isinstance(thing, os.PathLike):
        return load_model(os.fspath(thing), options)
    if _has(thing, "name", "fingerprint", "dimension", "encode"):
        return cast(Encoder, thing)
    # A caller that has a model of the library has imported it.
    library = sys.modules.get("sentence_transformers")
    owner = getattr(thing, "__self__", None)
    if library is not None and isinstance(owner, library.SentenceTransformer):
        thing = owner  # it was given as its method `encode`
    if library is not None and isinstance(thing, library.SentenceTransformer):
        return InMemoryEncoder(thing, options)
    for kind in (SPARSE, MULTI_VECTOR):
        if isinstance(thing, getattr(library, kind, ())):
            raise InputError(f"a {kind} in memory is no encoder here: save it, and give its folder")
    if callable(thing) or callable(getattr(thing, "encode", None)):
        name = getattr(thing, "name", None)
        if not isinstance(name, str):
            name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
        return PythonEncoder(name, thing, None, options)
    if hasattr(thing, "represent"):
        raise InputError(
            f"{type(thing).__name__} is no retriever: derive it from xlir_bench.retrieval.Retriever"
        )
    raise InputError(
        f"{type(thing).__name__} is no encoder: give a spec, a path, an Encoder, a model or a function encode(texts, role)"
    )


def describe(encoder: Encoder) -> EncoderCard:
    """What a result records of an encoder: its own card if it has one."""
    card = getattr(encoder, "card", None)
    if isinstance(card, EncoderCard):
        return card
    name, digest = encoder.name, encoder.fingerprint
    return EncoderCard(name, "python", slug(f"{name}-{short(digest)}"), digest)


def _has(thing: object, *names: str) -> bool:
    """Whether it has all these attributes. isinstance with a Protocol would read them: reading `dimension` loads a model."""
    absent = object()
    return all(inspect.getattr_static(thing, name, absent) is not absent for name in names)

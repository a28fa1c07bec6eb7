"""Refuses a model of another kind than is wanted, or whose files may run code."""

from __future__ import annotations

from xlir_bench.encoders.hub import Place
from xlir_bench.encoders.layout import (
    CROSS,
    MODEL_TYPES,
    MULTI_VECTOR,
    PICKLES,
    PYLATE_DENSE,
    SPARSE,
    ModelLayout,
    joined,
    matches,
)
from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.untrusted import shortened

TRAINER = ("optimizer*", "scheduler*", "scaler*", "rng_state*", "training_args*", "*_states.pt")
"""What a trainer writes into a checkpoint beside the weights."""


def refuse_unsafe(place: Place, trust_remote_code: bool, wanted: str) -> None:
    """Raise an error unless the model is of the kind wanted, in safetensors, and uses only the library's own code."""
    layout = place.layout
    name, kind = visible(str(place.folder) if place.local else place.name), layout.kind or wanted
    if wanted == CROSS:
        _refuse_no_reranker(name, layout)
    elif kind == CROSS:
        raise InputError(
            f"{name} is a CrossEncoder: it scores pairs of texts and gives no vectors; `run --rerank` takes it"
        )
    elif kind != wanted:
        raise InputError(
            f"{name} is a {shortened(kind)}, not a model that gives {MODEL_TYPES[wanted][1]}"
        )
    adapted = any("adapter_config.json" in layout.files_at(path) for path in layout.paths)
    if adapted and all(file.endswith("adapter_model.safetensors") for file in layout.weights):
        raise InputError(
            f"{name} holds an adapter, not a whole model: load it with peft, call merge_and_unload() and save that"
        )
    known = ["sentence_transformers.", "transformers."]
    known += [PYLATE_DENSE] if wanted == MULTI_VECTOR else []
    foreign = [m.type for m in layout.modules if not m.type.startswith(tuple(known))]
    if foreign and not trust_remote_code:
        raise InputError(
            f"{name} brings code of its own ({shortened(foreign[0])}): read it, then say --trust-remote-code"
        )
    pickles = [
        joined(path, file)
        for path in layout.paths
        if not layout.weights_at(path)
        for file in layout.files_at(path)
        if matches(file, PICKLES) and not matches(file, TRAINER)
    ]
    if pickles:
        conversion = f"python -c \"from sentence_transformers import {wanted} as S; S({name!r}).save('converted')\""
        raise InputError(
            f"{name} has weights only as a pickle ({', '.join(pickles[:3])}), which can run code; if trusted:"
            f" {conversion}"
        )
    if not layout.weights:
        raise InputError(
            f"{name} has no weights in safetensors; an unfinished training has weights in its checkpoints/,"
            " and continues with --resume"
        )
    if layout.bare and wanted == SPARSE and not layout.architecture.endswith("ForMaskedLM"):
        raise InputError(
            f"sparse:{place.name}: its config.json names no model ForMaskedLM, whose head gives each word a weight"
        )
    if layout.bare and wanted == MULTI_VECTOR and not layout.is_stanford_colbert:
        raise InputError(
            f"colbert:{place.name} is a bare transformers model, which does not say how to make vectors of tokens"
        )


def _refuse_no_reranker(name: str, layout: ModelLayout) -> None:
    """Raise an error if a model does not give exactly one score per pair."""
    if (count := layout.scores_a_pair) not in (None, 1):
        raise InputError(f"{name} gives {count} scores a pair; a reranker gives one")
    # A causal language model scores a pair by the words yes and no.
    scores_words = layout.bare and layout.architecture.endswith("ForCausalLM")
    if layout.kind != CROSS and not scores_words:
        what = layout.architecture or "model" if layout.bare else str(layout.kind)
        raise InputError(
            f"{name} is a {shortened(what)}, not a CrossEncoder: --rerank takes only a CrossEncoder, --model a model that gives vectors"
        )

"""Weights of a transformer that a training leaves as they are: less memory, and less time a step."""

from __future__ import annotations

from typing import Any

from xlir_bench.errors import InputError


def freeze(model: Any, count: int) -> str:
    """Freeze all up to so many layers, or for 0 the vectors of the vocabulary alone; what to say of it."""
    transformer = model[0].auto_model
    words = transformer.get_input_embeddings()
    if not count:
        parts, told = [words], "the vectors of its vocabulary"
    else:
        layers = _layers(transformer)
        if count >= len(layers):
            raise InputError(
                f"--freeze layers:{count}: the model has {len(layers)} layers, and one or more have to be trained"
            )
        # Whatever holds the word vectors holds the positions too, and what else comes before the layers.
        first = next(part for part in transformer.children() if words in part.modules())
        parts = [first, *layers[:count]]
        told = f"all that comes before its layers, and the first {count} of {len(layers)}"
    for part in parts:
        part.requires_grad_(False)
    weights = list(model.parameters())
    still = sum(p.numel() for p in weights if not p.requires_grad)
    every = sum(p.numel() for p in weights)
    return f"not trained: {told} ({still / 1e6:,.1f} of {every / 1e6:,.1f} M weights)"


def _layers(transformer: Any) -> Any:
    """The list of its layers."""
    from torch.nn import ModuleList

    count = getattr(transformer.config, "num_hidden_layers", None)
    for part in transformer.modules():
        if isinstance(part, ModuleList) and len(part) == count:
            return part
    raise InputError(
        f"--freeze layers:N: {type(transformer).__name__} does not say which its layers are; `embeddings` goes"
    )

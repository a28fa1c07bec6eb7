"""The base: the model that training starts from, loaded or made from nothing, with prompts, perhaps partly frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from torch.nn import ModuleList

from xlir_bench.encoders.digest import fingerprint
from xlir_bench.encoders.hub import locate
from xlir_bench.encoders.libraries import arguments, loading, quiet_transformers
from xlir_bench.encoders.prompts import Prompts
from xlir_bench.encoders.transformer import TransformerEncoder, cut_texts
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.static import static_dimension
from xlir_bench.options.training import TrainOptions
from xlir_bench.records import Floats
from xlir_bench.train.folder import write_array
from xlir_bench.train.row_store import RowStore
from xlir_bench.train.static import add_identity, new_static, weights_of
from xlir_bench.untrusted import read_array

SHARES = "shares.npy"
"""The file beside a static model made here with the share of each sub-word in the training text."""


@dataclass(frozen=True)
class Base:
    """A model that is ready to be trained, and where it came from."""

    model: Any
    name: str
    digest: str
    """The digest of its weights, or of what it was made from."""
    prompts: Prompts
    notes: tuple[str, ...]
    token_weights: Floats | None = None
    """For a static model made here: the weight of each sub-word, which scales its learning rate."""
    finished: Callable[[Any], Any] = lambda model: model
    """Makes the model that is evaluated and saved from the one that is trained."""
    pruning: Mapping[str, Any] | None = None
    """How its vocabulary was cut, in the form of the run's record."""

    @property
    def is_static(self) -> bool:
        """Whether it is a table of token vectors, and no module behind the table is trained."""
        first, *others = self.model
        learning = any(True for module in others for _ in module.parameters())
        return isinstance(first, StaticEmbedding) and not learning


def load_base(options: TrainOptions, store: RowStore, kept: Path) -> Base:
    """The model that `options` name. A model made from nothing is saved in the folder `kept`, for a resumed run."""
    base = _made(options, store, kept) if options.from_nothing else _loaded(options)
    if base.prompts.query or base.prompts.passage:
        prompts = {"query": base.prompts.query, "document": base.prompts.passage}
        base.model.prompts = {**base.model.prompts, **prompts}
    if options.max_length is not None:
        cut_texts(base.model, options.max_length)
    card = base.model.model_card_data
    card.local_files_only = True  # the library's own card would look the base up at the hub
    card.widget = [
        {"text": ""}
    ]  # without it the library samples a thousand texts for a page that we do not write
    return base


def _made(options: TrainOptions, store: RowStore, kept: Path) -> Base:
    """A static model of random vectors, or the one in the folder `kept` if the run is resumed."""
    dimension, static, seed = static_dimension(options.model), options.static, options.batches.seed
    if not (kept / SHARES).is_file():
        model, shares = new_static(store, dimension, static, seed)
        model.save(str(kept), create_model_card=False)
        write_array(kept / SHARES, shares)
    with quiet_transformers():
        model = SentenceTransformer(str(kept), device="cpu", local_files_only=True)
    shares = read_array(kept / SHARES)
    made_of = {"static": dimension, "seed": seed, "sources": [s.digest for s in store.sources]}
    notes = ["made from nothing: vocabulary learnt from the training text, random vectors"]
    if static.identity:
        notes.append(
            f"{static.identity} random dimensions, different for each sub-word, beside the trained ones, with weight"
            f" {static.identity_weight:g}"
        )
    return Base(
        model=model,
        name=options.model,
        digest=fingerprint(made_of | dict(static.made_of())),
        prompts=Prompts(options.query_prompt or "", options.passage_prompt or ""),
        notes=tuple(notes),
        token_weights=weights_of(shares, static.smoothing),
        finished=lambda model: add_identity(model, static, shares, seed),
    )


def _loaded(options: TrainOptions) -> Base:
    """A model in a folder or on the hub; a plain transformer gets pooling."""
    wanted = EncoderOptions(
        query_prompt=options.query_prompt,
        passage_prompt=options.passage_prompt,
        max_length=options.max_length,
        device=options.device,
        offline=options.offline,
        trust_remote_code=options.trust_remote_code,
    )
    place = locate(options.model, wanted)
    encoder = TransformerEncoder(place, wanted)  # refuses a model that is not a safe dense encoder
    notes, bare = place.notes, place.layout.bare
    device = "cpu" if bare else options.device or "cpu"
    with loading(place.name, encoder.folder, device):
        if bare:
            weights = arguments(device, wanted)["model_kwargs"]
            transformer = Transformer(encoder.folder, model_kwargs=weights)
            size = transformer.get_embedding_dimension()
            modules = [transformer, Pooling(size, pooling_mode=options.pooling)]
            model = SentenceTransformer(modules=modules, device=device)
            notes += (f"a plain transformer: {options.pooling} pooling added",)
        else:
            model = SentenceTransformer(encoder.folder, **arguments(device, wanted))
    model.float()
    prompts = encoder.prompts
    return Base(model, place.name, place.weights_digest, prompts, notes + prompts.notes)


def freeze(base: Base, count: int) -> Base:
    """Do not train the vectors of the vocabulary and, if `count` is above 0, anything up to the layer of that number."""
    transformer = base.model[0].auto_model
    words = transformer.get_input_embeddings()
    parts, frozen = [words], "the vectors of its vocabulary"
    if count:
        number = getattr(transformer.config, "num_hidden_layers", None)
        lists = (part for part in transformer.modules() if isinstance(part, ModuleList))
        layers: Any = next((part for part in lists if len(part) == number), None)
        if layers is None:
            raise InputError(
                f"--freeze layers:N: {type(transformer).__name__} does not say which modules are its layers; `embeddings` works"
            )
        if count >= len(layers):
            raise InputError(
                f"--freeze layers:{count}: the model has {len(layers)} layers, and at least one has to be trained"
            )
        # The module with the word vectors also has the positions, and everything else before the layers.
        first = next(part for part in transformer.children() if words in part.modules())
        parts = [first, *layers[:count]]
        frozen = f"all that comes before its layers, and the first {count} of {len(layers)}"
    for part in parts:
        part.requires_grad_(False)
    total = sum(p.numel() for p in base.model.parameters())
    untrained = sum(p.numel() for p in base.model.parameters() if not p.requires_grad)
    note = f"not trained: {frozen} ({untrained / 1e6:,.1f} of {total / 1e6:,.1f} M weights)"
    return replace(base, notes=(*base.notes, note))

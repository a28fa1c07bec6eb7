"""Sentence-transformers models, of a folder or in memory; torch and the library wait until a vector is asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.encoders.check import as_floats
from xlir_bench.encoders.devices import default_device, require_device
from xlir_bench.encoders.digest import files_digest, fingerprint, package_versions, short, slug
from xlir_bench.encoders.hub import Place
from xlir_bench.encoders.layout import DENSE, UNLIMITED
from xlir_bench.encoders.prompts import Prompts, chosen
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, EncoderCard, changed_options, unused_notes
from xlir_bench.encoders.quiet import quiet_transformers
from xlir_bench.encoders.tokens import ModelTokens, is_bare
from xlir_bench.errors import InputError
from xlir_bench.options.encoding import EncoderOptions, LoadOptions
from xlir_bench.options.stating import MODEL, options_of
from xlir_bench.records import Floats, Role, TokenCounts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

KIND = "sentence-transformers"
OPTIONS_IN_MEMORY = ("query_prompt", "passage_prompt", "truncate_dim")
"""The options that a model in memory takes. They are in its slug."""
OPTIONS_IN_SLUG = tuple(
    option.name
    for option in options_of(LoadOptions)
    if option.group == MODEL and option.decides and option.name != "revision"
)
"""Of a model that is loaded here; the revision is in what its slug begins with."""
TRAINING = "training.json"
"""What `train-hybrid` records beside a model."""


class SentenceTransformerEncoder:
    """Encodes and counts with one model, and leaves the model as it was."""

    kind = KIND
    _model: Any

    def __init__(
        self, name: str, prompts: Prompts, options: EncoderOptions, max_tokens: int | None
    ) -> None:
        self.name = name
        self.max_tokens = max_tokens
        """Where a text is cut."""
        self.prompts = prompts
        """What is put before its texts."""
        self._options = options

    @cached_property
    def dimension(self) -> int:
        """Length of its vectors, cut or not; loads the model."""
        model, asked = self._model, self._options.truncate_dim
        own, model.truncate_dim = model.truncate_dim, None
        try:
            stated = model.get_embedding_dimension()
            whole = int(stated or self._dense(["dimension"], "query", None).shape[1])
        finally:
            model.truncate_dim = own
        if asked is not None and asked > whole:
            raise InputError(f"--truncate-dim {asked}: {self.name} gives only {whole} numbers")
        cut = own if asked is None else asked
        return whole if cut is None else min(whole, cut)

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row per text, as one batch; loads the model."""
        dimension = self.dimension
        if not texts:
            return np.zeros((0, dimension), np.float32)
        return as_floats(self._dense(texts, role, self._options.truncate_dim))

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens as the model's own tokenizer counts them, prompt and special tokens included, uncut.

        Their ids are kept for `encode`, until other texts are counted.
        """
        return self._tokens.count(texts, self.prompts.of(role))

    @property
    def max_query_tokens(self) -> int | None:
        """Where queries are cut, if elsewhere than passages."""
        return None

    @property
    def fills_queries(self) -> bool:
        """Whether every query has so many tokens."""
        return False

    def _fingerprint(self, **parts: Any) -> str:
        apart = self.max_query_tokens
        parts |= {} if apart is None else {"max_query_tokens": apart}
        return fingerprint(
            {
                "kind": self.kind,
                "max_tokens": self.max_tokens,
                "truncate_dim": self._options.truncate_dim,
                "prompts": [self.prompts.query, self.prompts.passage],
                "versions": package_versions(),
                **parts,
            }
        )

    def _card(
        self, stem: str, options: Sequence[str], notes: Sequence[str], **more: Any
    ) -> EncoderCard:
        """A card whose slug begins with `stem` and tells models with other `options` apart."""
        return EncoderCard(
            name=self.name,
            kind=self.kind,
            max_tokens=self.max_tokens,
            max_query_tokens=self.max_query_tokens,
            fills_queries=self.fills_queries,
            slug=slug(stem, changed_options(self._options, options)),
            query_prompt=self.prompts.query,
            passage_prompt=self.prompts.passage,
            notes=(*self.prompts.notes, *notes),
            **more,
        )

    def _dense(self, texts: Sequence[str], role: Role, size: int | None) -> Any:
        return self._encode(
            texts, role, convert_to_numpy=True, normalize_embeddings=False, truncate_dim=size
        )

    def _encode(self, texts: Sequence[str], role: Role, **how: Any) -> Any:
        """What the model makes of one batch."""
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        how |= {"prompt": self.prompts.of(role), "batch_size": len(texts)}
        model = self._model
        training, preprocess = model.training, model.preprocess
        own = vars(model).get("preprocess")
        model.preprocess = partial(self._tokens.features, preprocess)
        try:
            return encode(list(texts), show_progress_bar=False, **how)
        finally:
            del model.preprocess
            if own is not None:
                model.preprocess = own
            model.train(training)

    @cached_property
    def _tokens(self) -> ModelTokens:
        return ModelTokens(self._model[0], self.max_tokens)


class TransformerEncoder(SentenceTransformerEncoder):
    """A model of a folder: name, card and fingerprint come from its files, the rest loads it."""

    model_type = DENSE
    options_in_slug: tuple[str, ...] = OPTIONS_IN_SLUG
    is_compared_by_choice = True
    """Whether its vectors can be compared in more than one way."""
    has_family = True
    """Whether models of its name were trained with the prompts that are known of them."""

    def __init__(self, place: Place, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        layout = place.layout(options, self.model_type)
        length, positions = options.max_length, layout.positions
        if length is not None and length < 1:
            raise InputError(f"--max-length {length}: a text has at least 1 token")
        if length is not None and positions is not None and length > positions:
            raise InputError(f"--max-length {length}: {place.name} ends at {positions} tokens")
        names = [place.name, *layout.ancestors] if self.has_family else []
        folder = place.name if place.guessed else ""
        prompts = chosen(options, layout.registered_prompts, layout.default_prompt, names, folder)
        super().__init__(place.name, prompts, options, length or layout.max_tokens)
        self.folder = str(place.folder)
        self.device = options.device or default_device()
        self._place = place
        self._layout = layout

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @cached_property
    def weights_digest(self) -> str:
        """Of the files of its weights: identifies a checkpoint."""
        return files_digest(self._place.folder, self._layout.weights)

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that changes its vectors; a README, a picture or an evaluation beside them does not."""
        return self._fingerprint(
            weights=self.weights_digest,
            files=files_digest(self._place.folder, self._layout.configuration),
            revision=None if self._place.local else self._options.revision,
            dtype=self._options.dtype,
            remote_code=self._options.trust_remote_code,
            device=self.device.partition(":")[0],
        )

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        bare = "no modules.json: a bare transformers model, pooled as sentence-transformers does by default"
        used = (*self.options_in_slug, "revision", "device", "trust_remote_code")
        also = () if self.is_compared_by_choice else ("similarity",)
        return self._card(
            self._place.slug_stem(self.weights_digest),
            self.options_in_slug,
            (
                *self._place.notes,
                *([bare] if self._layout.bare else []),
                *self._own_notes(),
                *unused_notes(self._options, self.kind, used, also),
            ),
            fingerprint=self.fingerprint,
            weights_digest=self.weights_digest,
            dtype=self._options.dtype,
            parameters=self._layout.parameters,
            similarity=self._layout.similarity,
            chosen_on=chosen_on(self._place.folder / TRAINING),
        )

    def _own_notes(self) -> list[str]:
        """What there is to say of models of this kind."""
        return []

    @cached_property
    def _model(self) -> Any:
        import sentence_transformers
        import torch

        dtype = getattr(torch, self._options.dtype)
        with loading(self.name, self.folder, self.device):
            load = getattr(sentence_transformers, self.model_type, None)
            if load is None:
                raise InputError(
                    f"{self.name} is a {self.model_type}, which sentence-transformers {sentence_transformers.__version__}"
                    " does not have: install a newer one"
                )
            model = load(self.folder, **arguments(self.device, self._options))
        # What the constructor leaves open: the dtype of modules without a transformer, and the cut.
        for module in model.children():
            _pin_dtype(module, dtype)
            if self._options.max_length is not None:
                getattr(module, "processing_kwargs", {}).get("text", {}).pop("max_length", None)
        self._cut(model)
        return model.eval()

    def _cut(self, model: Any) -> None:
        """Let the model cut texts after `max_tokens`."""
        if self.max_tokens is not None:
            cut_texts(model, self.max_tokens)


class InMemoryEncoder(SentenceTransformerEncoder):
    """A `SentenceTransformer` that someone has loaded, perhaps in the middle of its training."""

    def __init__(
        self, model: SentenceTransformer, options: EncoderOptions = DEFAULT_OPTIONS
    ) -> None:
        data = getattr(model, "model_card_data", None)
        config = getattr(getattr(model, "transformers_model", None), "config", None)
        ancestors = [getattr(data, "base_model", None), getattr(config, "_name_or_path", None)]
        known = [str(name) for name in (getattr(data, "model_id", None), *ancestors) if name]
        prompts = chosen(options, model.prompts, model.default_prompt_name, known)
        length = model.max_seq_length  # infinite for a static embedding
        limited = length is not None and length <= UNLIMITED
        name = known[0] if known else "model in memory"
        super().__init__(name, prompts, options, int(length) if limited else None)
        self._model = model

    @cached_property
    def weights_digest(self) -> str:
        """Of the weights as they were when it was first asked for."""
        import torch

        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return "sha256:" + digest.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """Of weights, tokenizer, modules, prompts and versions."""
        tokenizer: Any = getattr(self._model[0], "tokenizer", None)
        backend: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
        return self._fingerprint(
            weights=self.weights_digest,
            modules=str(self._model),
            tokenizer=backend.to_str() if hasattr(backend, "to_str") else repr(backend),
            device=self._model.device.type,
        )

    @property
    def device(self) -> str:
        """Where it runs now: batches are larger on a GPU."""
        return str(self._model.device)

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        return self._card(
            f"{self.name.rstrip('/').split('/')[-1]}-{short(self.weights_digest)}",
            OPTIONS_IN_MEMORY,
            unused_notes(self._options, "loaded", OPTIONS_IN_MEMORY),
            fingerprint=self.fingerprint,
            weights_digest=self.weights_digest,
            dtype=str(self._model.dtype).removeprefix("torch."),
            parameters=sum(p.numel() for p in self._model.parameters()),
            similarity=self._model.similarity_fn_name,
        )


def cut_texts(model: SentenceTransformer, tokens: int) -> None:
    """Have a model cut its texts after so many tokens."""
    tokenizer: Any = getattr(model[0], "tokenizer", None)
    if is_bare(tokenizer):
        tokenizer.enable_truncation(tokens)
    elif tokenizer is not None:
        model[0].max_seq_length = tokens


def chosen_on(record: Path) -> tuple[str, ...]:
    """The tasks that `train-hybrid` chose the best step by, as its record beside the model says."""
    try:
        stated = json.loads(record.read_bytes())
        if stated["options"]["select_by"] == "last":
            return ()
        figures = {str(name) for look in stated["evaluations"] for name in look["figures"]}
        tasks = {f.removesuffix(".rank_distance").rsplit(".", 2)[0] for f in figures if "." in f}
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return ()  # none, or the file of another program
    return tuple(sorted(tasks))


def _pin_dtype(module: Any, dtype: Any) -> None:
    """Transformers were loaded in it, and keep a few tables in float32 that have to stay so."""
    if hasattr(module, "auto_model"):
        return
    if any(hasattr(inner, "auto_model") for inner in module.modules()):
        for child in module.children():
            _pin_dtype(child, dtype)
    else:
        module.to(dtype)


@contextmanager
def loading(name: str, folder: str, device: str) -> Iterator[None]:
    """Whatever keeps a model of this folder from being loaded becomes an `InputError`."""
    require_device(device)  # the fingerprint is for this device: another one gives other bits
    try:
        with quiet_transformers():
            yield
    except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        text = " ".join(str(error).split())
        reason = f"cannot be loaded from {folder}: {type(error).__name__}: {text[:300]}"
        if "trust_remote_code" in text:
            reason = "brings code of its own: read it, then allow it with --trust-remote-code"
        raise InputError(f"{name} {reason}") from error


def arguments(device: str, options: EncoderOptions) -> dict[str, Any]:
    """The arguments with which a class of sentence-transformers loads a folder."""
    import torch

    return {
        "device": device,
        "trust_remote_code": options.trust_remote_code,
        "local_files_only": options.offline or not options.trust_remote_code,
        "model_kwargs": {"dtype": getattr(torch, options.dtype), "use_safetensors": True},
    }

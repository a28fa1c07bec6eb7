"""Sentence-transformers models, in a folder or in memory; torch and the library are imported only for vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.encoders.check import as_floats, check_finite
from xlir_bench.encoders.devices import default_device
from xlir_bench.encoders.digest import fingerprint, package_versions, short, slug
from xlir_bench.encoders.hub import Place
from xlir_bench.encoders.layout import DENSE, MULTI_VECTOR, SPARSE, UNLIMITED
from xlir_bench.encoders.libraries import load
from xlir_bench.encoders.prompts import Prompts, chosen
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, EncoderCard, changed_options, unused_notes
from xlir_bench.encoders.refusal import refuse_unsafe
from xlir_bench.encoders.tokens import ModelTokens, is_bare
from xlir_bench.errors import InputError
from xlir_bench.files import parts_digest
from xlir_bench.options.encoding import EncoderOptions, LoadOptions
from xlir_bench.options.stating import MODEL, options_of
from xlir_bench.records import Floats, Role, TokenCounts

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from sentence_transformers import SentenceTransformer

OPTIONS_IN_MEMORY = ("query_prompt", "passage_prompt", "truncate_dim")
"""The options that a model in memory takes; they are in its slug."""
OPTIONS_OF_FOLDERS = tuple(option for option in options_of(LoadOptions) if option.group == MODEL)
"""The options that a model in a folder takes."""
OPTIONS_IN_SLUG = tuple(o.name for o in OPTIONS_OF_FOLDERS if o.decides and o.name != "revision")
"""Those of them that are in its slug. The revision is not one: it is in the beginning of the slug."""
IN_PARTS = {"query_prompt", "passage_prompt", "revision", "dtype", "max_length", "truncate_dim"}
"""The options whose effect is in a fingerprint, such as the prompts in use; the others are in it as given."""
TRAINING = "training.json"
"""What `train-hybrid` records beside a model."""


class SentenceTransformerEncoder:
    """Encodes and counts with one model, and leaves the model as it was."""

    kind = "sentence-transformers"
    max_query_tokens: int | None = None
    """After how many tokens queries are cut, if that differs from passages."""
    fills_queries = False
    """Whether every query is filled up to that number of tokens."""
    _model: Any

    def __init__(
        self, name: str, prompts: Prompts, options: EncoderOptions, max_tokens: int | None
    ) -> None:
        self.name = name
        self.max_tokens = max_tokens
        """After how many tokens a text is cut."""
        self.prompts = prompts
        """The prompts before its texts."""
        self._options = options

    @cached_property
    def dimension(self) -> int:
        """Length of its vectors, as `--truncate-dim` leaves them; loads the model."""
        return int(self.encode(["dimension"], "query").shape[1])

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row per text, as one batch; loads the model."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        size = self._options.truncate_dim
        how = {"convert_to_numpy": True, "normalize_embeddings": False, "truncate_dim": size}
        vectors = as_floats(self._encode(texts, role, **how))
        if size is not None and size > vectors.shape[1]:
            raise InputError(
                f"--truncate-dim {size}: {self.name} gives only {vectors.shape[1]} numbers"
            )
        return vectors

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens as the model's own tokenizer counts them, prompt and special tokens included, before any cut.

        The ids are kept for `encode`, until other texts are counted.
        """
        return self._tokens.count(texts, self.prompts.of(role))

    def _fingerprint(self, **parts: Any) -> str:
        query_tokens = self.max_query_tokens
        parts |= {} if query_tokens is None else {"max_query_tokens": query_tokens}
        parts |= changed_options(self._options, set(OPTIONS_IN_SLUG) - IN_PARTS)
        return fingerprint(
            {
                "kind": self.kind,
                "max_tokens": self.max_tokens,
                "truncate_dim": self._options.truncate_dim,
                "prompts": [self.prompts.query, self.prompts.passage],
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

    def _encode(self, texts: Sequence[str], role: Role, **how: Any) -> Any:
        """The model's own output for one batch, with the ids of texts that were counted before."""
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        how |= {"prompt": self.prompts.of(role), "batch_size": len(texts)}
        model = self._model
        training, preprocess = model.training, model.preprocess
        replaced = vars(model).get("preprocess")
        model.preprocess = partial(self._tokens.features, preprocess)
        try:
            return encode(list(texts), show_progress_bar=False, **how)
        finally:
            del model.preprocess
            if replaced is not None:
                model.preprocess = replaced
            model.train(training)

    @cached_property
    def _tokens(self) -> ModelTokens:
        return ModelTokens(self._model[0], self.max_tokens)


class TransformerEncoder(SentenceTransformerEncoder):
    """A model in a folder. Name, card and fingerprint are read from its files; everything else loads the model."""

    model_type = DENSE

    def __init__(self, place: Place, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        refuse_unsafe(place, options.trust_remote_code, self.model_type)
        layout, length = place.layout, options.max_length
        if length is not None and layout.positions is not None and length > layout.positions:
            raise InputError(
                f"--max-length {length}: {place.name} ends at {layout.positions} tokens"
            )
        # Late-interaction models are not trained with the prompts that `FAMILIES` has for their names.
        names = [] if self.model_type == MULTI_VECTOR else [place.name, *layout.ancestors]
        folder = place.name if place.guessed else ""
        prompts = chosen(options, layout.registered_prompts, layout.default_prompt, names, folder)
        super().__init__(place.name, prompts, options, length or layout.max_tokens)
        self.folder = str(place.folder)
        self.device = options.device or default_device()
        self._place = place

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @cached_property
    def fingerprint(self) -> str:
        """The digest of everything that changes its vectors: no README, picture or evaluation beside the weights."""
        revision = None if self._place.local else self._options.revision
        return self._fingerprint(
            **self._place.decisive(self._options, self.device), revision=revision
        )

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        place, layout = self._place, self._place.layout
        is_dense, queries = self.model_type == DENSE, self.max_query_tokens
        bare = "no modules.json: a bare transformers model, pooled as sentence-transformers does by default"
        used = [o.name for o in OPTIONS_OF_FOLDERS if is_dense or o.name != "truncate_dim"]
        # A bare folder can also be a dense model, whose results need another folder.
        sparse = "-sparse" if self.model_type == SPARSE and layout.bare else ""
        return self._card(
            place.slug_stem + sparse,
            [name for name in used if name in OPTIONS_IN_SLUG],
            (
                *place.notes,
                *([bare] if layout.bare else []),
                *([] if queries is None else [f"queries are cut at {queries} tokens"]),
                *unused_notes(self._options, self.kind, used, [] if is_dense else ["similarity"]),
            ),
            fingerprint=self.fingerprint,
            weights_digest=place.weights_digest,
            dtype=self._options.dtype,
            parameters=layout.parameters,
            similarity=layout.similarity,
            chosen_on=chosen_on(place.folder / TRAINING),
        )

    @cached_property
    def _model(self) -> Any:
        import torch

        model = load(self.model_type, self.name, self.folder, self.device, self._options)
        # The constructor sets neither the dtype of modules without a transformer nor the cut.
        for module in model.children():
            _pin_dtype(module, getattr(torch, self._options.dtype))
            if self._options.max_length is not None:
                getattr(module, "processing_kwargs", {}).get("text", {}).pop("max_length", None)
        self._cut(model)
        return model.eval()

    def _cut(self, model: Any) -> None:
        """Let the model cut texts after `max_tokens`."""
        if self.max_tokens is not None:
            cut_texts(model, self.max_tokens)


class SparseEncoder(TransformerEncoder):
    """A `SparseEncoder` of sentence-transformers, such as SPLADE: a text gets weights for a few words of a vocabulary."""

    kind = "sparse"
    model_type = SPARSE

    def encode(self, texts: Sequence[str], role: Role) -> csr_array:
        """One sparse row per text, as one batch; loads the model."""
        from scipy.sparse import csr_array

        if not texts:
            return csr_array((0, self.dimension), dtype=np.float32)
        rows = self._encode(texts, role, convert_to_sparse_tensor=True, save_to_cpu=True).coalesce()
        row, column = rows.indices().numpy()
        weights = rows.values().float().numpy()
        check_finite(weights, row, texts)
        kept = weights != 0
        vectors = csr_array((weights[kept], (row[kept], column[kept])), shape=tuple(rows.shape))
        vectors.sort_indices()
        return vectors


class InMemoryEncoder(SentenceTransformerEncoder):
    """A `SentenceTransformer` that the caller has loaded, perhaps in the middle of its training."""

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
        """The digest of the weights at the time of the first call."""
        import torch

        def parts() -> Iterator[bytes | memoryview]:
            for name, tensor in sorted(self._model.state_dict().items()):
                yield f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()
                yield tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data

        return f"sha256:{parts_digest(parts())}"

    @cached_property
    def fingerprint(self) -> str:
        """The digest of weights, tokenizer, modules, prompts and versions."""
        tokenizer: Any = getattr(self._model[0], "tokenizer", None)
        backend: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
        return self._fingerprint(
            weights=self.weights_digest,
            modules=str(self._model),
            tokenizer=backend.to_str() if hasattr(backend, "to_str") else repr(backend),
            device=self._model.device.type,
            versions=package_versions(),
        )

    @property
    def device(self) -> str:
        """Where it runs now; batches are larger on a GPU."""
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
    """Make a model cut its texts after this number of tokens."""
    tokenizer: Any = getattr(model[0], "tokenizer", None)
    if is_bare(tokenizer):
        tokenizer.enable_truncation(tokens)
    elif tokenizer is not None:
        model[0].max_seq_length = tokens


def chosen_on(record: Path) -> tuple[str, ...]:
    """The tasks by which `train-hybrid` chose the best step, from its record beside the model."""
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
    """Convert modules without a transformer. A transformer was loaded in its dtype, and keeps a few tables in float32."""
    if hasattr(module, "auto_model"):
        return
    if any(hasattr(inner, "auto_model") for inner in module.modules()):
        for child in module.children():
            _pin_dtype(child, dtype)
    else:
        module.to(dtype)

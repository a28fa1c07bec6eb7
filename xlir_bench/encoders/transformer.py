"""A sentence-transformers model of a folder or the hub; torch and the library wait until a vector is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlir_bench.encoders.devices import default_device
from xlir_bench.encoders.digest import (
    files_digest,
    fingerprint,
    package_versions,
    short,
)
from xlir_bench.encoders.hub import Place, locate
from xlir_bench.encoders.layout import ModelLayout
from xlir_bench.encoders.options import DEFAULT_OPTIONS, given
from xlir_bench.encoders.prompts import chosen
from xlir_bench.encoders.protocol import EncoderCard
from xlir_bench.encoders.quiet import quiet_transformers
from xlir_bench.encoders.session import Session
from xlir_bench.encoders.slugs import slug
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.extras import require
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.stating import check_bounds
from xlir_bench.records import Floats, Role, TokenCounts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DTYPES = ("float32", "float16", "bfloat16")
NAMED_OPTIONS = ("query_prompt", "passage_prompt", "dtype", "max_length", "truncate_dim")
"""The options that give a model another slug."""
TRAINING = "training.json"


class TransformerEncoder:
    """Name, card and fingerprint come from the files; `dimension`, `encode`, `count_tokens` load the model."""

    kind = "sentence-transformers"

    def __init__(self, place: Place, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        if options.dtype not in DTYPES:
            raise UnknownNameError("dtype", [options.dtype], DTYPES)
        check_bounds(options)
        self.name = place.name
        self._place = place
        self._options = options
        self._layout = ModelLayout(place.folder)
        self._layout.refuse_unsafe(
            str(place.folder if place.local else place.name), options.trust_remote_code
        )
        self._check_max_length()
        self._prompts = chosen(
            options,
            self._layout.registered_prompts,
            self._layout.default_prompt,
            [place.name, *self._layout.ancestors],
        )

    def __repr__(self) -> str:
        return f"TransformerEncoder({self.name!r})"

    @property
    def folder(self) -> str:
        """Where its files lie."""
        return str(self._place.folder)

    @cached_property
    def weights_digest(self) -> str:
        """Of the files of its weights: names a checkpoint."""
        return files_digest(self._place.folder, self._layout.weights)

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that changes its vectors; a card, a picture or an evaluation beside them does not."""
        options = self._options
        return fingerprint(
            {
                "kind": self.kind,
                "weights": self.weights_digest,
                "files": files_digest(self._place.folder, self._layout.configuration),
                "revision": None if self._place.local else options.revision,
                "dtype": options.dtype,
                "max_tokens": self.max_tokens,
                "truncate_dim": options.truncate_dim,
                "prompts": [self._prompts.query, self._prompts.passage],
                "remote_code": options.trust_remote_code,
                "device": self.device.partition(":")[0],
                "versions": package_versions(),
            }
        )

    @property
    def max_tokens(self) -> int | None:
        """Where a text is cut: as asked, else as the model's files say."""
        return self._options.max_length or self._layout.max_tokens

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        piece = f"-{short(self.weights_digest)}" if self._place.local else ""
        return EncoderCard(
            name=self.name,
            kind=self.kind,
            slug=slug(self._place.stem + piece, given(self._options, NAMED_OPTIONS)),
            fingerprint=self.fingerprint,
            dtype=self._options.dtype,
            max_tokens=self.max_tokens,
            query_prompt=self._prompts.query,
            passage_prompt=self._prompts.passage,
            weights_digest=self.weights_digest,
            parameters=self._layout.parameters,
            chosen_on=chosen_on(self._layout.folder / TRAINING),
            notes=self._notes(),
        )

    @property
    def dimension(self) -> int:
        """Length of its vectors; loads the model."""
        return self._session.dimension

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row a text, as one batch; loads the model."""
        return self._session.encode(texts, role)

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        """Tokens and unknown tokens of each text; loads the model."""
        return self._session.count_tokens(texts, role)

    @cached_property
    def device(self) -> str:
        """Where it runs: batches are larger on a GPU."""
        return self._options.device or default_device()

    @cached_property
    def _session(self) -> Session:
        model = self._load()
        return Session(model, self._prompts, self._options.truncate_dim)

    def _check_max_length(self) -> None:
        length, positions = self._options.max_length, self._layout.positions
        if length is None:
            return
        if length < 1:
            raise InputError(f"--max-length {length}: a text has at least 1 token")
        if positions is not None and length > positions:
            raise InputError(
                f"--max-length {length}: the positions of {self.name} end at {positions} tokens"
            )

    def _notes(self) -> tuple[str, ...]:
        notes = self._prompts.notes + self._place.notes
        if self._layout.bare:
            notes += (
                "no modules.json: a bare transformers model, pooled as sentence-transformers does by default",
            )
        return notes

    def _load(self) -> SentenceTransformer:
        import torch
        from sentence_transformers import SentenceTransformer

        self._check_device(torch)
        try:
            with quiet_transformers():
                model = SentenceTransformer(
                    str(self._place.folder),
                    device=self.device,
                    trust_remote_code=self._options.trust_remote_code,
                    local_files_only=self._options.offline or not self._options.trust_remote_code,
                    model_kwargs={
                        "dtype": getattr(torch, self._options.dtype),
                        "use_safetensors": True,
                    },
                )
        except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
            raise InputError(self._reason(error)) from error
        self._pin(model, getattr(torch, self._options.dtype))
        return model.eval()

    def _pin(self, model: SentenceTransformer, dtype: Any) -> None:
        """What the constructor leaves open: the dtype of modules without a transformer, and the cut."""
        for module in model.children():
            _pin_dtype(module, dtype)
            if self._options.max_length is not None:
                getattr(module, "processing_kwargs", {}).get("text", {}).pop("max_length", None)
        if self.max_tokens is not None:
            _cut_at(model[0], self.max_tokens)

    def _check_device(self, torch: Any) -> None:
        """The fingerprint was made for this device; another one would give other bits."""
        try:
            kind = torch.device(self.device).type
        except RuntimeError as error:
            raise InputError(
                f"torch knows no device {self.device!r}: try cpu, cuda, cuda:1 or mps"
            ) from error
        if kind == "cuda" and not torch.cuda.is_available():
            raise InputError("this torch cannot use a GPU here: say --device cpu")
        if kind == "mps" and not torch.backends.mps.is_available():
            raise InputError("this torch cannot use Metal here: say --device cpu")

    def _reason(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            return f"{self.name} brings code of its own: read it, then allow it with --trust-remote-code"
        return f"{self.name} cannot be loaded from {self._place.folder}: {type(error).__name__}: {text[:300]}"


def load_transformer(spec: str, options: EncoderOptions) -> TransformerEncoder:
    """The encoder of a folder or a hub id."""
    require("models", f"--model {spec}")
    return TransformerEncoder(locate(spec, options), options)


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


def _cut_at(module: Any, tokens: int) -> None:
    tokenizer: Any = getattr(module, "tokenizer", None)
    if hasattr(tokenizer, "enable_truncation"):
        tokenizer.enable_truncation(tokens)
    elif tokenizer is not None:
        module.max_seq_length = tokens

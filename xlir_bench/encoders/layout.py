"""What the files of a sentence-transformers model say of it, read without torch or the library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from math import prod
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from xlir_bench.errors import InputError
from xlir_bench.escaping import visible
from xlir_bench.untrusted import load_json, parse_json, shortened, validated

T = TypeVar("T")

CONFIGURATION = (
    "*config*.json",
    "modules.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges*.txt",
    "*.model",
    "*.bpe",
    "*.tiktoken",
    "chat_template*",
    "stop*words*",
    "*.py",
)
"""Files beside the weights that change what a model computes."""
UNRELATED = (
    "data_config.json",
    "generation_config.json",
    "train*_config*.json",
    "*eval*",
    "*quant*config*.json",
)
"""Files that `CONFIGURATION` matches and that do not."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
TRAINING_PICKLES = (
    "optimizer*",
    "scheduler*",
    "scaler*",
    "rng_state*",
    "training_args*",
    "*_states.pt",
)
"""What a trainer leaves in a checkpoint beside the weights."""
SENTENCE_CONFIGS = (
    "sentence_bert_config.json",
    *(
        f"sentence_{kind}_config.json"
        for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)
OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Model types whose positions begin behind the padding index: 514 of them hold 512 tokens."""
UNLIMITED = 1_000_000
"""A longer maximum is how tokenizers write "none"."""


class _File(BaseModel):
    """What is read of a JSON file of a model; whatever else stands in it is none of our business."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class _Module(_File):
    type: str
    path: str | None = None


class Settings(_File):
    """`config_sentence_transformers.json`."""

    model_type: str = "SentenceTransformer"
    prompts: dict[str, Any] | None = None
    default_prompt_name: str | None = None


class _Positions(_File):
    model_type: Any = None
    max_position_embeddings: Any = None
    pad_token_id: Any = None

    @property
    def tokens(self) -> int | None:
        stated = self.max_position_embeddings
        if not isinstance(stated, int) or not 0 < stated < UNLIMITED:
            return None
        if not isinstance(self.model_type, str) or self.model_type not in OFFSET_POSITIONS:
            return stated
        padding = self.pad_token_id if isinstance(self.pad_token_id, int) else 0
        return stated - padding - 1


class _Config(_Positions):
    """`config.json` of a transformers model."""

    text_config: _Positions | None = None
    name_or_path: str | None = Field(default=None, alias="_name_or_path")


Limit = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0)] | None
"""Tokens; tokenizers write "none" as 1e30."""


class _Tokenizer(_File):
    model_max_length: Limit = None


class _Text(_File):
    max_length: Limit = None


class _Processing(_File):
    text: _Text | None = None


class _SentenceConfig(_File):
    max_seq_length: Limit = None
    processing_kwargs: _Processing | None = None
    processor_kwargs: _Tokenizer | None = None
    tokenizer_args: _Tokenizer | None = None


class _Truncating(_File):
    truncation: _Text | None = None


class _Router(_File):
    types: dict[str, str] | None = None


class _Shards(_File):
    weight_map: dict[str, str] | None = None


class _Tensor(_File):
    shape: list[Annotated[int, Field(ge=0)]]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ModuleFolder:
    """One module of the pipeline: its class and where its files lie, ``""`` for the model's own folder."""

    type: str
    path: str

    @property
    def is_transformer(self) -> bool:
        """Whether a transformers model and its tokenizer lie there."""
        return self.type.endswith("Transformer")


@dataclass(frozen=True)
class ModelLayout:
    """A folder that holds a model."""

    folder: Path

    @cached_property
    def modules(self) -> tuple[ModuleFolder, ...]:
        """What `modules.json` lists, routes included; a bare transformers model is one module."""
        listed = self._read("modules.json", list[_Module], [])
        if not listed:
            return (ModuleFolder("transformers.Transformer", ""),)
        modules = [ModuleFolder(m.type, m.path or "") for m in listed]
        for module in list(modules):
            if module.type.endswith("Router") or module.type.endswith("Asym"):
                modules += self._routes(module)
        for module in modules:
            path = PurePosixPath(module.path)
            if path.is_absolute() or ".." in path.parts or "\\" in module.path:
                raise InputError(
                    f"{self.folder / 'modules.json'} names {module.path!r}, outside its folder"
                )
        return tuple(modules)

    @property
    def bare(self) -> bool:
        """Whether this is a transformers model that sentence-transformers never saved."""
        return not (self.folder / "modules.json").is_file()

    @cached_property
    def settings(self) -> Settings:
        """`config_sentence_transformers.json`."""
        return self._read("config_sentence_transformers.json", Settings, Settings())

    @cached_property
    def _config(self) -> _Config:
        absent = _Config()
        return self._read(self._at("config.json"), _Config, absent) if self._transformer else absent

    @property
    def registered_prompts(self) -> dict[str, str]:
        """Prompts by name, as the model registers them."""
        prompts = self.settings.prompts or {}
        return {name: text for name, text in prompts.items() if isinstance(text, str)}

    @property
    def default_prompt(self) -> str | None:
        """The name of the prompt that the model takes where none is asked for."""
        return self.settings.default_prompt_name

    @property
    def ancestors(self) -> list[str]:
        """What the model was made from, as its configuration and its card say."""
        path = self._config.name_or_path
        named = ["/".join(path.replace("\\", "/").rstrip("/").split("/")[-2:])] if path else []
        return named + _base_models(self.folder / "README.md")

    @property
    def positions(self) -> int | None:
        """How many tokens its positions hold; None where its configuration sets no limit."""
        return (self._config.text_config or self._config).tokens

    @cached_property
    def max_tokens(self) -> int | None:
        """Where the model cuts a text by itself; None where it does not."""
        if self._transformer is None:
            return self._static_limit()
        stated = self._stated_limit()
        limits = [n for n in (stated, self.positions) if n is not None and n < UNLIMITED]
        return min(limits, default=None)

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """The files of the weights, relative to the folder."""
        return tuple(name for path in self._paths for name in self._weights_at(path))

    @cached_property
    def configuration(self) -> tuple[str, ...]:
        """The other files that change what it computes: tokenizer, modules, code."""
        return tuple(
            _joined(path, file.name)
            for path in self._paths
            for file in self._files_at(path)
            if _matches(file.name, CONFIGURATION) and not _matches(file.name.lower(), UNRELATED)
        )

    @cached_property
    def parameters(self) -> int:
        """The number of its weights, from the headers of its files."""
        return sum(count_parameters(self.folder / name) for name in self.weights)

    def refuse_unsafe(self, name: str, trust_remote_code: bool) -> None:
        """An error for whatever is no dense encoder in safetensors whose code the library itself has."""
        kind = self.settings.model_type
        if kind != "SentenceTransformer":
            raise InputError(
                f"{visible(name)} is a {shortened(kind)}: a model that gives one dense vector a text is wanted"
            )
        if self._any("adapter_config.json") and not self.weights_without_adapters():
            raise InputError(
                f"{name} holds an adapter, not a whole model: load it with peft, call merge_and_unload() "
                "and save that"
            )
        foreign = [
            m.type
            for m in self.modules
            if not m.type.startswith(("sentence_transformers.", "transformers."))
        ]
        if foreign and not trust_remote_code:
            raise InputError(
                f"{visible(name)} brings code of its own ({shortened(foreign[0])}): read it, then allow it with "
                "--trust-remote-code"
            )
        for path in self._paths:
            self._refuse_pickles(name, path)
        if not self.weights:
            raise InputError(
                f"{name} has no weights in safetensors ({self.folder} holds no model.safetensors); "
                "if there are only pickles (pytorch_model.bin), convert them where you trust them: "
                f"{_conversion(name)}"
            )

    def weights_without_adapters(self) -> bool:
        """Whether there are weights besides those of adapters."""
        return any(not name.endswith("adapter_model.safetensors") for name in self.weights)

    def _refuse_pickles(self, name: str, path: str) -> None:
        if self._weights_at(path):
            return
        pickles = [
            _joined(path, f.name)
            for f in self._files_at(path)
            if _matches(f.name, PICKLES) and not _matches(f.name, TRAINING_PICKLES)
        ]
        if pickles:
            raise InputError(
                f"{name} has weights only as a pickle ({', '.join(pickles[:3])}), which can run code when it "
                f"is opened; where you trust it, convert it once: {_conversion(name)}"
            )

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        """The folders of the modules, the model's own among them, each once."""
        return tuple(dict.fromkeys(["", *(m.path for m in self.modules)]))

    @cached_property
    def _transformer(self) -> ModuleFolder | None:
        return next((m for m in self.modules if m.is_transformer), None)

    def _at(self, file: str) -> str:
        return _joined(self._transformer.path if self._transformer else "", file)

    def _any(self, file: str) -> bool:
        return any((self.folder / path / file).is_file() for path in self._paths)

    def _files_at(self, path: str) -> list[Path]:
        folder = self.folder / path
        return sorted(f for f in folder.iterdir() if f.is_file()) if folder.is_dir() else []

    def _weights_at(self, path: str) -> list[str]:
        found = [f.name for f in self._files_at(path) if f.suffix == ".safetensors"]
        name = _joined(path, "model.safetensors.index.json")
        index = self._read(name, _Shards, _Shards()).weight_map
        if "model.safetensors" in found:
            found = ["model.safetensors"]
        elif index is not None:
            found = sorted({*index.values()} & set(found))
        return [_joined(path, file) for file in found]

    def _routes(self, router: ModuleFolder) -> list[ModuleFolder]:
        names = (_joined(router.path, name) for name in ("router_config.json", "config.json"))
        stated = next((t for n in names if (t := self._read(n, _Router, _Router()).types)), {})
        return [ModuleFolder(kind, _joined(router.path, path)) for path, kind in stated.items()]

    def _stated_limit(self) -> int | None:
        """As the library finds it: its own file first, then the tokenizer's."""
        files = (self._read(self._at(name), _SentenceConfig, None) for name in SENTENCE_CONFIGS)
        own = next((stated for stated in files if stated), _SentenceConfig())
        text = own.processing_kwargs and own.processing_kwargs.text
        tokenizer = own.processor_kwargs or own.tokenizer_args
        stated = self._read(self._at("tokenizer_config.json"), _Tokenizer, _Tokenizer())
        limits = (
            text.max_length if text else None,
            tokenizer.model_max_length if tokenizer else None,
            own.max_seq_length,
            stated.model_max_length,
        )
        return next((int(limit) for limit in limits if limit is not None), None)

    def _static_limit(self) -> int | None:
        """A static embedding cuts only where its tokenizer file says so."""
        path = self.modules[0].path if self.modules else ""
        cut = self._read(_joined(path, "tokenizer.json"), _Truncating, _Truncating()).truncation
        return None if cut is None or cut.max_length is None else int(cut.max_length)

    def _read(self, name: str, model: type[T], absent: T) -> T:
        path = self.folder / name
        if not path.is_file():
            return absent
        stated = load_json(path, lone="replace", strict=False)
        return validated(model, stated, path, "what a model's folder holds under that name")


def count_parameters(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header."""
    remedy = "was the download cut, or git lfs pull left out?"
    what = "a whole safetensors file"
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size < 100_000_000:
                raise ValueError("it has no header")
            header = parse_json(file.read(size), strict=False)
        if isinstance(header, dict):
            header.pop("__metadata__", None)
        tensors = validated(dict[str, _Tensor], header, path, what, remedy).values()
        expected = 8 + size + max((tensor.data_offsets[1] for tensor in tensors), default=0)
        if path.stat().st_size < expected:
            raise ValueError(f"{path.stat().st_size} bytes of {expected}")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not {what} ({error}): {remedy}") from error
    return sum(prod(tensor.shape) for tensor in tensors)


def _base_models(card: Path) -> list[str]:
    """What the front matter of a model card names as `base_model`."""
    try:
        text = card.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^base_model:(.*(?:\n\s*- .*)*)", front[1], re.MULTILINE) if front else None
    lines = found[1].splitlines() if found else []
    names = [line.strip().removeprefix("- ").strip(" '\"") for line in lines]
    return [name for name in names if name]


def _conversion(name: str) -> str:
    return (
        'python -c "from sentence_transformers import SentenceTransformer as S; '
        f"S({name!r}).save('converted')\""
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name

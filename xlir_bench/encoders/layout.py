"""What the files of a sentence-transformers model say of it, read without torch or the library."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from xlir_bench.errors import InputError

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
        listed = self._json("modules.json", [])
        if not listed:
            return (ModuleFolder("transformers.Transformer", ""),)
        try:
            modules = [ModuleFolder(str(m["type"]), str(m.get("path") or "")) for m in listed]
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{self.folder / 'modules.json'} does not list modules: {error!r}"
            ) from error
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
    def settings(self) -> dict[str, Any]:
        """`config_sentence_transformers.json`."""
        return self._object("config_sentence_transformers.json")

    @cached_property
    def config(self) -> dict[str, Any]:
        """`config.json` of the transformers model, ``{}`` where there is none."""
        return self._object(self._at("config.json")) if self._transformer else {}

    @property
    def registered_prompts(self) -> dict[str, str]:
        """Prompts by name, as the model registers them."""
        prompts = self.settings.get("prompts") or {}
        return {str(name): text for name, text in prompts.items() if isinstance(text, str)}

    @property
    def default_prompt(self) -> str | None:
        """The name of the prompt that the model takes where none is asked for."""
        return self.settings.get("default_prompt_name")

    @property
    def ancestors(self) -> list[str]:
        """What the model was made from, as its configuration and its card say."""
        path = self.config.get("_name_or_path")
        named = ["/".join(str(path).replace("\\", "/").rstrip("/").split("/")[-2:])] if path else []
        return named + _base_models(self.folder / "README.md")

    @property
    def positions(self) -> int | None:
        """How many tokens its positions hold; None where its configuration sets no limit."""
        config = self.config.get("text_config") or self.config
        stated = config.get("max_position_embeddings")
        if not isinstance(stated, int) or stated <= 0:
            return None
        if config.get("model_type") in OFFSET_POSITIONS:
            padding = config.get("pad_token_id")
            return stated - (1 if padding is None else int(padding)) - 1
        return stated

    @cached_property
    def max_tokens(self) -> int | None:
        """Where the model cuts a text by itself; None where it does not."""
        if self._transformer is None:
            return self._static_limit()
        stated = self._stated_limit()
        limits = [n for n in (stated, self.positions) if isinstance(n, int) and n < UNLIMITED]
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
        kind = self.settings.get("model_type", "SentenceTransformer")
        if kind != "SentenceTransformer":
            raise InputError(
                f"{name} is a {kind}: a model that gives one dense vector a text is wanted"
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
                f"{name} brings code of its own ({foreign[0]}): read it, then allow it with "
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
        index = self._object(_joined(path, "model.safetensors.index.json")).get("weight_map")
        if "model.safetensors" in found:
            found = ["model.safetensors"]
        elif isinstance(index, dict):
            found = sorted({str(shard) for shard in index.values()} & set(found))
        return [_joined(path, file) for file in found]

    def _routes(self, router: ModuleFolder) -> list[ModuleFolder]:
        stated = self._object(_joined(router.path, "router_config.json"))
        stated = stated or self._object(_joined(router.path, "config.json"))
        types = stated.get("types") or {}
        return [ModuleFolder(str(t), _joined(router.path, str(path))) for path, t in types.items()]

    def _stated_limit(self) -> int | None:
        """As the library finds it: its own file first, then the tokenizer's."""
        files = (self._object(self._at(name)) for name in SENTENCE_CONFIGS)
        own = next((stated for stated in files if stated), {})
        processing = ((own.get("processing_kwargs") or {}).get("text") or {}).get("max_length")
        tokenizer = own.get("processor_kwargs") or own.get("tokenizer_args") or {}
        stated = self._object(self._at("tokenizer_config.json")).get("model_max_length")
        for limit in (
            processing,
            tokenizer.get("model_max_length"),
            own.get("max_seq_length"),
            stated,
        ):
            if limit is not None:
                return int(limit)
        return None

    def _static_limit(self) -> int | None:
        """A static embedding cuts only where its tokenizer file says so."""
        path = self.modules[0].path if self.modules else ""
        truncation = self._object(_joined(path, "tokenizer.json")).get("truncation") or {}
        return truncation.get("max_length")

    def _object(self, name: str) -> dict[str, Any]:
        found = self._json(name, {})
        if not isinstance(found, dict):
            raise InputError(f"{self.folder / name} holds no JSON object")
        return found

    def _json(self, name: str, absent: Any) -> Any:
        path = self.folder / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return absent
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as JSON: {error}") from error


def count_parameters(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size < 100_000_000:
                raise ValueError("no header")
            header = json.loads(file.read(size))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + size + max((entry["data_offsets"][1] for entry in tensors), default=0)
        if path.stat().st_size < expected:
            raise ValueError(f"{path.stat().st_size} bytes of {expected}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}): was the download cut, or git lfs pull left out?"
        ) from error
    return sum(prod(entry["shape"]) for entry in tensors)


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

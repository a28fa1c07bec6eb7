"""What the files of a sentence-transformers model say about it, read without torch or the library."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cached_property
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from xlir_bench.errors import InputError
from xlir_bench.untrusted import load_json, shortened

T = TypeVar("T")
JSON_NAMES: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}

CONFIGURATION = (
    *("*config*.json", "modules.json", "*.py", "chat_template*", "stop*words*"),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json"),
    "artifact.metadata",
    *("vocab*", "merges*.txt", "*.model", "*.bpe", "*.tiktoken"),
)
"""Files beside the weights that change the vectors."""
UNRELATED = (
    *("data_config.json", "generation_config.json", "train*_config*.json"),
    *("*eval*", "*quant*config*.json"),
)
"""Files that match `CONFIGURATION` but do not change the vectors."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
PAIRS = "ForSequenceClassification"
"""The end of the name of an architecture with a head that scores pairs of texts."""
SENTENCE_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Where sentence-transformers keeps its settings of a transformer."""
PROCESSED = "processing_kwargs.text.max_length"
"""The key under which such a file states where every text is cut, before all other limits; `--max-length` replaces it."""
LIMITS = ("tokenizer_args.model_max_length", "processor_kwargs.model_max_length", "max_seq_length")
"""Its other keys for the longest text; the first that it has counts, as in the library."""
DENSE, SPARSE, MULTI_VECTOR = "SentenceTransformer", "SparseEncoder", "MultiVectorEncoder"
CROSS = "CrossEncoder"
MODEL_TYPES = {
    MULTI_VECTOR: ("multi_vector_encoder", "a vector for each token"),
    SPARSE: ("sparse_encoder", "sparse vectors"),
    DENSE: ("sentence_transformer", "one dense vector per text"),
}
"""By class of sentence-transformers: the package that its modules are in, and what it makes of texts."""
PYLATE_DENSE = "pylate.models.Dense."
"""PyLate's name of a module; sentence-transformers uses its own module in its place."""
SETTINGS = "config_sentence_transformers.json"
STANFORD = "artifact.metadata"
"""The file of settings that the original ColBERT writes."""
OF_PYLATE = {
    *("query_length", "document_length", "query_prefix", "document_prefix", "skiplist_words"),
    *("do_query_expansion", "attend_to_expansion_tokens", "attend_to_mask_tokens"),
}
"""Keys of `SETTINGS` that only models of PyLate have."""
FILLED = 32
"""The length of ColBERT's queries if its files state none."""
UNLIMITED = 1_000_000
"""Tokenizers write "no limit" as a larger number."""
OFFSET_POSITIONS = (
    *("camembert", "data2vec-text", "ibert", "lilt", "longformer", "luke", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Model types whose positions begin after the padding index: with 514 positions they take 512 tokens."""


class Module(NamedTuple):
    """One module of the pipeline."""

    type: str
    path: str
    """Where its files are; ``""`` is the model's own folder."""


class ModelLayout:
    """What the files of a model's folder say. A malformed file is an `InputError` that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def bare(self) -> bool:
        """Whether this is a transformers model that sentence-transformers never saved."""
        return not (self.folder / "modules.json").is_file()

    @cached_property
    def kind(self) -> str | None:
        """The class of sentence-transformers that the model was saved as; for a bare model, the class that its head fits."""
        if stated := self._value(SETTINGS, str, "model_type"):
            return MULTI_VECTOR if stated == "ColBERT" else stated
        if self.bare:
            pairs = CROSS if self.scores_a_pair == 1 else None
            return MULTI_VECTOR if self.is_stanford_colbert else pairs
        types = [module.type for module in self.modules]
        of_pylate = any(name.startswith(PYLATE_DENSE) for name in types)
        if of_pylate or "query_prefix" in self._texts(SETTINGS):
            return MULTI_VECTOR
        homes = {name.split(".")[1] for name in types if "." in name}
        return next((kind for kind, (package, _) in MODEL_TYPES.items() if package in homes), DENSE)

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """What `modules.json` lists, and the routes of a router; a bare transformers model is one module."""
        modules = []
        for module in self._value("modules.json", list) or []:
            facts = module if isinstance(module, dict) else {}
            kind, path = facts.get("type"), facts.get("path") or ""
            if not isinstance(kind, str) or not isinstance(path, str):
                wanted = 'a list of modules, each with "type" and "path"'
                raise self._wrong("modules.json", "", wanted)
            modules.append(Module(kind, path))
        routers = [path for kind, path in modules if kind.endswith(("Router", "Asym"))]
        modules += [route for path in routers for route in self._routes(path)]
        for _, path in modules:
            parts = PurePosixPath(path)
            if parts.is_absolute() or ".." in parts.parts or "\\" in path:
                raise InputError(
                    f"{self.folder / 'modules.json'} names {shortened(repr(path))}, outside its folder"
                )
        return tuple(modules) or (Module("transformers.Transformer", ""),)

    @property
    def registered_prompts(self) -> dict[str, str]:
        """Prompts by name, as the model registers them, with the tokens that mark queries and passages."""
        prompts = self._texts(SETTINGS, "prompts")
        for name, key in (("query", "query_prefix"), ("document", "document_prefix")):
            if mark := self._value(SETTINGS, str, key):
                prompts[name] = mark + prompts.get(name, "").removeprefix(mark)
        if self.is_stanford_colbert:
            for name, key, usual in (("query", "query", 0), ("document", "doc", 1)):
                mark = self._value(STANFORD, str, f"{key}_token_id")
                prompts[name] = (mark or f"[unused{usual}]") + " "
        return prompts

    @property
    def default_prompt(self) -> str | None:
        """The name of the prompt that the model uses where none is asked for."""
        return self._value(SETTINGS, str, "default_prompt_name")

    @property
    def similarity(self) -> str | None:
        """The name of the similarity that the model registers."""
        return self._value(SETTINGS, str, "similarity_fn_name")

    @property
    def ancestors(self) -> list[str]:
        """The models that this one was made from, as its configuration and its README say."""
        stated = self._config.get("_name_or_path")
        path = stated.replace("\\", "/").rstrip("/") if isinstance(stated, str) else ""
        names = ["/".join(path.split("/")[-2:]), *_base_models(self.folder / "README.md")]
        return [name for name in names if name]

    @cached_property
    def positions(self) -> int | None:
        """How many tokens the model has positions for; None where its configuration sets no limit."""
        text_config = self._config.get("text_config")
        config = text_config if isinstance(text_config, dict) else self._config
        limit, padding = config.get("max_position_embeddings"), config.get("pad_token_id")
        if not isinstance(limit, int) or not 0 < limit < UNLIMITED:
            return None
        if config.get("model_type") not in OFFSET_POSITIONS:
            return limit
        return limit - (padding if isinstance(padding, int) else 0) - 1

    @cached_property
    def max_tokens(self) -> int | None:
        """After how many tokens the model itself cuts a text; None if it does not."""
        if self._transformer is None:
            # A static embedding cuts only where its tokenizer file says so.
            file = joined(self.modules[0].path, "tokenizer.json")
            return self._longest((file, "truncation.max_length"))
        library_file = self._library_file
        return self._longest(
            (library_file, PROCESSED),
            (library_file, "document_length"),
            (SETTINGS, "document_length"),
            (STANFORD, "doc_maxlen"),
            *self._limits_of_all,
        )

    def query_tokens(self, max_length: int | None) -> int | None:
        """After how many tokens a late-interaction model cuts queries, if no text may be longer than `max_length`."""
        library_file = self._library_file
        strategy, filled = self._expansion
        if strategy == "fixed":
            return filled
        if max_length is None and self._limit((library_file, PROCESSED)) is not None:
            return self._longest((library_file, PROCESSED))
        most = self._longest((self._stating("query_length"), "query_length"), *self._limits_of_all)
        if max_length is not None:
            most = min(max_length, most or max_length)
        return most if most is None or strategy is None else max(most, filled)

    @property
    def fills_queries(self) -> bool:
        """Whether a late-interaction model fills up all queries to the length at which they are cut."""
        return self._expansion[0] == "fixed"

    @cached_property
    def _expansion(self) -> tuple[str | None, int]:
        """The strategy by which a late-interaction model fills up queries, and to how many tokens.

        Older files, which name no strategy, mean "fixed".
        """
        file = self._stating("query_expansion")
        settings = self._object(SETTINGS)
        if "query_expansion" in self._object(file):
            strategy = self._value(file, str, "query_expansion.strategy")
            length = self._limit((file, "query_expansion.length"))
        elif self.is_stanford_colbert or (
            settings.keys() & OF_PYLATE and settings.get("do_query_expansion") is not False
        ):
            strategy = "fixed"
            length = self._limit((SETTINGS, "query_length"), (STANFORD, "query_maxlen"))
        else:
            strategy = length = None
        return strategy, int(length or FILLED)

    def _stating(self, key: str) -> str:
        """The file that decides about a key: the library's own file if it has the key, whatever its value, else `SETTINGS`."""
        library_file = self._library_file
        return library_file if key in self._object(library_file) else SETTINGS

    @property
    def _limits_of_all(self) -> list[tuple[str, str]]:
        """The files and keys that may state the longest text of either role; the first counts."""
        tokenizer = self._transformer_file("tokenizer_config.json")
        return [*((self._library_file, key) for key in LIMITS), (tokenizer, "model_max_length")]

    def _longest(self, *places: tuple[str, str]) -> int | None:
        """The first length that these files and keys state, but no more than the model has positions."""
        lengths = (self._limit(*places), self.positions)
        limits = [n for n in lengths if n is not None and n < UNLIMITED]
        return int(min(limits)) if limits else None

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """The files of the weights, relative to the folder."""
        return tuple(name for path in self.paths for name in self.weights_at(path))

    @cached_property
    def configuration(self) -> tuple[str, ...]:
        """The other files that change the vectors: tokenizer, modules, code."""
        return tuple(
            joined(path, name)
            for path in self.paths
            for name in self.files_at(path)
            if matches(name, CONFIGURATION) and not matches(name.lower(), UNRELATED)
        )

    @cached_property
    def parameters(self) -> int:
        """The number of weights, from the headers of the files."""
        return sum(count_parameters(self.folder / name) for name in self.weights)

    @property
    def is_stanford_colbert(self) -> bool:
        """Whether the model was saved by the first ColBERT."""
        return self.bare and self.architecture == "HF_ColBERT"

    @property
    def scores_a_pair(self) -> int | None:
        """How many scores the head gives a pair of texts; None without such a head. Classifiers, as of NLI, give several."""
        if not self.architecture.endswith(PAIRS):
            return None
        labels = self._config.get("id2label")
        # transformers writes no labels if there are two.
        return len(labels) if isinstance(labels, dict) else 2

    @property
    def architecture(self) -> str:
        """The class of transformers that its configuration names; empty if it names none."""
        named = self._config.get("architectures")
        return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The folders of the modules, the model's own first, each once."""
        return tuple(dict.fromkeys(["", *(module.path for module in self.modules)]))

    @cached_property
    def _transformer(self) -> Module | None:
        return next((each for each in self.modules if each.type.endswith("Transformer")), None)

    @cached_property
    def _config(self) -> dict[str, Any]:
        """`config.json` of the transformer; empty where there is none."""
        return self._object(self._transformer_file("config.json")) if self._transformer else {}

    @property
    def _library_file(self) -> str:
        """The file of `SENTENCE_CONFIGS` that the transformer has."""
        files = [self._transformer_file(name) for name in SENTENCE_CONFIGS]
        return next((file for file in files if (self.folder / file).is_file()), files[0])

    def _transformer_file(self, name: str) -> str:
        return joined(self._transformer.path if self._transformer else "", name)

    def files_at(self, path: str) -> list[str]:
        """The names of the files of a module."""
        return sorted(file.name for file in (self.folder / path).glob("*") if file.is_file())

    def weights_at(self, path: str) -> list[str]:
        """The safetensors files of a module: one, those that an index lists, or all there are."""
        files = [name for name in self.files_at(path) if name.endswith(".safetensors")]
        index = joined(path, "model.safetensors.index.json")
        if "model.safetensors" in files:
            files = ["model.safetensors"]
        elif listed := self._texts(index, "weight_map"):
            files = sorted({*listed.values()} & {*files})
        return [joined(path, name) for name in files]

    def _routes(self, router: str) -> list[Module]:
        files = (joined(router, name) for name in ("router_config.json", "config.json"))
        types = next((types for file in files if (types := self._texts(file, "types"))), {})
        return [Module(kind, joined(router, path)) for path, kind in types.items()]

    def _texts(self, file: str, key: str = "") -> dict[str, str]:
        """The texts of an object, by name; empty where there is none."""
        stated = self._object(file, key).items()
        return {name: text for name, text in stated if isinstance(text, str)}

    def _object(self, file: str, key: str = "") -> dict[str, Any]:
        """An object of a JSON file; empty where there is none."""
        return self._value(file, dict, key) or {}

    def _limit(self, *places: tuple[str, str]) -> float | None:
        """A number of tokens, perhaps infinite: the first that is stated in these files under these keys."""
        for file, key in places:
            value = self._value(file, object, key)
            if value is None:
                continue
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                return value
            raise self._wrong(file, key, "a number, 0 or more")
        return None

    def _value(self, file: str, kind: type[T], key: str = "") -> T | None:
        """The value of a key of a JSON file, such as ``prompts`` or ``truncation.max_length``; None if it has none."""
        path = self.folder / file
        value = load_json(path, lone="replace", strict=False) if path.is_file() else None
        names = key.split(".") if key else []
        for number, name in enumerate(names):
            if value is not None and not isinstance(value, dict):
                raise self._wrong(file, ".".join(names[:number]), "an object")
            value = value.get(name) if value else None
        if value is not None and not isinstance(value, kind):
            raise self._wrong(file, key, JSON_NAMES[kind])
        return value

    def _wrong(self, file: str, key: str, wanted: str) -> InputError:
        return InputError(f"{self.folder / file} is not valid: {key or 'it'} should be {wanted}")


def count_parameters(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no dict
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({shortened(str(error))}): was the download cut, or git lfs pull left out?"
        ) from error


def _base_models(card: Path) -> list[str]:
    """What the front matter of a model's README names as `base_model`."""
    try:
        text = card.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    stated = re.search(r"^base_model:(.*(?:\n\s*- .*)*)", head[1], re.MULTILINE) if head else None
    lines = stated[1].splitlines() if stated else []
    return [name for line in lines if (name := line.strip().removeprefix("- ").strip(" '\""))]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file's name is like one of these."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def joined(path: str, name: str) -> str:
    """A file of a module, relative to the model's folder."""
    return f"{path}/{name}" if path else name

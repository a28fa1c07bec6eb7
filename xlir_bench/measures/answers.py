"""Whether an answer is in the text that was ranked first: a measure for tasks that judge no passage.

``recall@2kt`` of XOR-Retrieve: the ranked passages are cut into tokens, the first 2,000 of them joined by spaces, and a
question counts if any of its answers is part of that text. The official evaluation first cuts passages into sentences,
by a model that has to be downloaded; here they are cut into words at once. The two differ where a full stop ends a
sentence inside a passage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain, islice

import numpy as np

from xlir_bench.records import Ranking, Scores

TokensOf = Callable[[int], Sequence[str]]
KEPT = 16_384
"""Passages whose tokens are kept: about 100 MB, of 100 words each."""
DEPTH = 1000
"""Passages that are looked at: enough for 5,000 tokens if each has five."""


def token_budget(measure: str) -> int | None:
    """How many tokens a measure looks at; None for any other measure."""
    matched = re.fullmatch(r"recall@([1-9]\d{0,3})kt", measure)
    return int(matched[1]) * 1000 if matched else None


def score_answers(
    ranking: Ranking,
    answers: Sequence[tuple[str, ...]],
    tokens_of: TokensOf,
    measures: Sequence[str],
) -> Scores:
    """Whether one of each query's answers is within each budget of tokens, from its best passages."""
    budgets = {measure: token_budget(measure) or 0 for measure in measures}
    top = ranking.top if ranking.top is not None else np.empty((len(ranking.scored), 0), np.int64)
    values = {measure: np.zeros(len(top)) for measure in measures}
    for place, (row, best) in enumerate(zip(ranking.scored, top, strict=True)):
        passages = (tokens_of(position) for position in best.tolist() if position >= 0)
        tokens = list(islice(chain.from_iterable(passages), max(budgets.values())))
        for measure, budget in budgets.items():
            seen = " ".join(tokens[:budget])
            values[measure][place] = any(answer in seen for answer in answers[row])
    return Scores(ranking.setting, ranking.candidates, ranking.scored, values)


def tokens_of(texts: Sequence[str]) -> TokensOf:
    """The tokens of a text by its position, from NLTK's tokenizer, which needs no model; the latest are kept."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenizer = NLTKWordTokenizer()

    @lru_cache(maxsize=KEPT)
    def cut(position: int) -> Sequence[str]:
        tokens: list[str] = tokenizer.tokenize(texts[position])
        return tokens

    return cut

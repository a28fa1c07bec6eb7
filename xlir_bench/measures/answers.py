"""Whether an answer stands in what was ranked first: a measure for tasks that judge no passage.

``recall@2kt`` of XOR-Retrieve: the ranked passages are cut into tokens, the first 2,000 of them joined by
spaces, and a question counts if any of its answers is part of that text. The official evaluation cuts
passages into sentences first, by a model that has to be downloaded; here the words are cut at once. The two
differ where a full stop ends a sentence inside a passage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from xlir_bench.records import Ranking, Scores

Tokenize = Callable[[str], list[str]]
DEPTH = 1000
"""Passages that are looked at: enough for 5,000 tokens if each has five."""


def token_budget(measure: str) -> int | None:
    """How many tokens a measure looks at; None for any other measure."""
    found = re.fullmatch(r"recall@([1-9]\d{0,3})kt", measure)
    return int(found[1]) * 1000 if found else None


def score_answers(
    ranking: Ranking,
    answers: Sequence[tuple[str, ...]],
    texts: Sequence[str],
    measures: Sequence[str],
) -> Scores:
    """Whether each query's answers stand within each budget, from its best passages in this pool."""
    budgets = {measure: token_budget(measure) or 0 for measure in measures}
    tokenize = word_tokenizer()
    top = ranking.top if ranking.top is not None else np.empty((len(ranking.scored), 0), np.int64)
    values = {measure: np.zeros(len(top)) for measure in measures}
    for place, (row, best) in enumerate(zip(ranking.scored, top, strict=True)):
        ranked = (texts[position] for position in best if position >= 0)
        tokens = first_tokens(ranked, tokenize, max(budgets.values()))
        for measure, budget in budgets.items():
            seen = " ".join(tokens[:budget])
            values[measure][place] = any(answer in seen for answer in answers[row])
    return Scores(ranking.setting, ranking.candidates, ranking.scored, values)


def first_tokens(texts: Iterable[str], tokenize: Tokenize, count: int) -> list[str]:
    """So many tokens of the texts put together."""
    found: list[str] = []
    for text in texts:
        found += tokenize(text)
        if len(found) >= count:
            break
    return found[:count]


def word_tokenizer() -> Tokenize:
    """NLTK's, which needs no model."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenize: Tokenize = NLTKWordTokenizer().tokenize
    return tokenize

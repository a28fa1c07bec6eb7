"""The alignment of a result by kind of text, then by pair of languages."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TypeVar

from xlir_bench.measures.alignment import PairAlignment, Relevance
from xlir_bench.results.schema import AlignmentPart

Part = TypeVar("Part", PairAlignment, Relevance)
Pair = tuple[str, str]


def translations(part: AlignmentPart) -> dict[str, dict[Pair, PairAlignment]]:
    """Of ``questions``, and of the passages that are their ``answers``; a kind without translations is left out."""
    kinds = {"questions": part.questions, "answers": part.answers}
    return {kind: by_pair for kind in kinds if (by_pair := _by_pair(kinds[kind], part))}


def relevance(part: AlignmentPart) -> dict[Pair, Relevance]:
    """Of questions and their passages, where the task has no translations."""
    return _by_pair(part.relevance, part)


def _by_pair(pairs: Mapping[str, Part], part: AlignmentPart) -> dict[Pair, Part]:
    # Codes of languages have hyphens too: a name is compared with every pair, never cut at one.
    langs = sorted({lang for by_lang in part.anisotropy.values() for lang in by_lang})
    return {(a, b): pairs[f"{a}-{b}"] for a, b in product(langs, repeat=2) if f"{a}-{b}" in pairs}

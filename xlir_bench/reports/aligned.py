"""Alignment as it is shown: by kind of text, then by pair of languages."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TypeVar

from xlir_bench.results.schema import AlignmentPart, PairAlignmentPart, RelevancePart

Part = TypeVar("Part", PairAlignmentPart, RelevancePart)
Pair = tuple[str, str]


def translations(part: AlignmentPart) -> dict[str, dict[Pair, PairAlignmentPart]]:
    """Of questions and of the passages that answer them; a kind without translations is left out."""
    found = {
        "questions": _split(part.questions, part),
        "answers": _split(part.answers, part),
    }
    return {name: pairs for name, pairs in found.items() if pairs}


def relevance(part: AlignmentPart) -> dict[Pair, RelevancePart]:
    """Of questions and their passages, where nothing is a translation of anything."""
    return _split(part.relevance, part)


def _split(pairs: Mapping[str, Part], part: AlignmentPart) -> dict[Pair, Part]:
    # Codes of languages have hyphens too: a name is compared with every pair, never cut at one.
    langs = sorted({lang for by_lang in part.anisotropy.values() for lang in by_lang})
    return {(a, b): pairs[f"{a}-{b}"] for a, b in product(langs, repeat=2) if f"{a}-{b}" in pairs}

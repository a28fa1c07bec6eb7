"""How well the vectors of the languages are aligned: whether translations are near each other, in results and trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

import numpy as np

from xlir_bench.measures.alignment import PairAlignment, RelevanceCosines
from xlir_bench.rendering.document import Block, Table
from xlir_bench.rendering.numbers import (
    interval,
    mean_and_deviation,
    number,
    percent,
    rounded,
    signed,
)
from xlir_bench.results.schema import AlignmentPart, ResultRecord

Part = TypeVar("Part", PairAlignment, RelevanceCosines)
Pair = tuple[str, str]
MATRIX_DIGITS = 5
"""The decimal places that index.html stores, one more than it shows: matrices of many languages are most of its size."""


def languages(part: AlignmentPart) -> list[str]:
    """The languages whose vectors were compared, sorted by code."""
    return sorted({lang for by_lang in part.anisotropy.values() for lang in by_lang})


def translations(part: AlignmentPart) -> dict[str, dict[Pair, PairAlignment]]:
    """The alignment by language pair, of ``questions`` and of the passages that are their ``answers``.

    Texts without translations are left out.
    """
    kinds = {"questions": part.questions, "answers": part.answers}
    return {kind: by_pair for kind in kinds if (by_pair := _by_pair(kinds[kind], part))}


def relevance(part: AlignmentPart) -> dict[Pair, RelevanceCosines]:
    """The cosines of questions and their passages by language pair, where the task has no translations."""
    return _by_pair(part.relevance, part)


def _by_pair(pairs: Mapping[str, Part], part: AlignmentPart) -> dict[Pair, Part]:
    # Language codes may have hyphens, so a name such as de-en cannot be split: every pair of languages is looked up.
    possible = product(languages(part), repeat=2)
    return {(a, b): pairs[f"{a}-{b}"] for a, b in possible if f"{a}-{b}" in pairs}


def alignment_table(part: AlignmentPart) -> Table:
    """A row for each language: means over the other languages."""
    rows = []
    for lang in [*languages(part), None]:
        row = {"language": "mean" if lang is None else lang}
        for kind, by_pair in translations(part).items():
            text = kind.removesuffix("s")
            pairs = [p for (first, _), p in by_pair.items() if lang in (None, first)]
            row[f"{text} finds its translation"] = _mean([p.recall["recall@1"] for p in pairs])
            row[f"{text} margin"] = _mean([p.margin for p in pairs])
        for role, texts in (("query", "queries"), ("passage", "passages")):
            by_lang = part.anisotropy.get(role, {})
            cosines = [cosine for x, cosine in by_lang.items() if lang in (None, x)]
            row[f"cosine of two {texts}"] = _mean(cosines)
        rows.append(row)
    return Table.of(rows)


def _mean(values: Sequence[float]) -> str:
    return number(sum(values) / len(values)) if values else "-"


def alignment_lines(record: ResultRecord) -> list[str]:
    """The figures of all languages together, a line each."""
    part = record.alignment
    variance = " and ".join(
        f"{percent(share, '.0f')} of the variance of {role} vectors"
        for role, share in part.language_variance.items()
    )
    lines = [f"language explains {variance}"]
    for kind, value in part.map_without_centroids.items():
        before = record.average(kind, "map")
        change = "" if before is None else f" ({signed(value - before.mean)})"
        lines.append(f"{kind.value} map without the languages' centroids: {number(value)}{change}")
    for texts, (value, chance) in part.affinity.items():
        low, high = part.affinity_interval.get(texts, (None, None))
        between = "" if low is None else f"95 % {interval(low, high)}, "
        lines.append(
            f"semantic affinity of {texts}: {number(value)} ({between}by chance {number(chance)})"
        )
    if part.hubness is not None:
        lines.append(f"hubness: {part.hubness:.2f} (0: all passages are found equally often)")
    return lines


def relevance_table(part: AlignmentPart) -> Table:
    """A row for each pair of languages, where the task has no translations."""
    return Table.of([
        {
            "query-passage": pair,
            "cosine with relevant": number(p.relevant),
            "with others": number(p.others),
            "margin": number(p.relevant - p.others),
        }
        for pair, p in part.relevance.items()
    ])  # fmt: skip


FIGURES: Mapping[str, Callable[[AlignmentPart], float]] = {
    "recall@1": lambda a: float(np.mean([p.recall["recall@1"] for p in a.questions.values()])),
    "cosine of translations": lambda a: float(np.mean([p.translations for p in a.questions.values()])),
    "of other pairs": lambda a: float(np.mean([p.others for p in a.questions.values()])),
    "of texts of one language": lambda a: float(np.mean([*a.anisotropy["query"].values()])),
    "between languages": lambda a: a.language_variance["query"],
}  # fmt: skip
"""The columns of the table of trainings."""


def trained_alignment(
    trainings: Sequence[tuple[str, Sequence[AlignmentPart]]],
) -> list[str | Block]:
    """Two tables of trainings, which have one part for each seed: means over language pairs, and every pair.

    Trainings without translations are left out.
    """
    aligned = [
        (label, seeds) for label, seeds in trainings if seeds and all(s.questions for s in seeds)
    ]
    if not aligned:
        return []
    means = [
        {"batches": label, "seeds": str(len(seeds))}
        | {
            name: mean_and_deviation([figure(part) for part in seeds])
            for name, figure in FIGURES.items()
        }
        for label, seeds in aligned
    ]
    pairs = []
    for pair in sorted(aligned[0][1][0].questions):
        of_pair = [[part.questions[pair] for part in seeds] for _, seeds in aligned]
        recalls = [
            number(float(np.mean([p.recall["recall@1"] for p in seeds]))) for seeds in of_pair
        ]
        margins = [number(float(np.mean([p.margin for p in seeds]))) for seeds in of_pair]
        cells = (f"{recall} | {margin}" for recall, margin in zip(recalls, margins, strict=True))
        pairs.append([pair.replace("-", " to "), *cells])
    return [
        "Questions, or sentences, and their translations, all encoded as questions; mean over ordered pairs of"
        " languages. A text finds its translation if no other text of that language is nearer (recall@1);"
        " `between languages` is the share of the variance that lies between the means of the languages.",
        Table.of(means),
        "By pair of languages (texts of the first, their translations in the second): recall@1 | cosine of"
        " translations minus cosine of other pairs.",
        Table(["", *(label for label, _ in aligned)], pairs),
    ]


def alignment_data(part: AlignmentPart) -> Any:
    """The alignment for index.html, with a matrix for each figure; None if it was not measured."""
    if not part.anisotropy:
        return None
    matrices = []
    for name, pairs in translations(part).items():
        figures = {
            langs: {"margin": p.margin, "near": p.translations, **p.recall}
            for langs, p in pairs.items()
        }
        matrices.append(_matrices(name, figures, {langs: p.items for langs, p in pairs.items()}))
    if related := relevance(part):
        figures = {
            langs: {"margin": p.relevant - p.others, "near": p.relevant}
            for langs, p in related.items()
        }
        matrices.append(_matrices("relevance", figures, {}))
    return rounded({
        "texts": matrices,
        "cosines": [
            [lang, *(by_lang.get(lang) for by_lang in part.anisotropy.values())]
            for lang in languages(part)
        ],
        "variance": list(part.language_variance.items()),
        "centred": list(part.map_without_centroids.items()),
        "hubness": part.hubness,
    }, MATRIX_DIGITS)  # fmt: skip


def _matrices(
    name: str, pairs: Mapping[Pair, Mapping[str, float]], items: Mapping[Pair, int]
) -> dict[str, Any]:
    langs = sorted({lang for pair in pairs for lang in pair})
    figures = dict.fromkeys(figure for by_figure in pairs.values() for figure in by_figure)
    return {
        "name": name,
        "langs": langs,
        "n": [[items.get((a, b)) for b in langs] for a in langs] if items else None,
        "values": {
            figure: [[pairs.get((a, b), {}).get(figure) for b in langs] for a in langs]
            for figure in figures
        },
    }

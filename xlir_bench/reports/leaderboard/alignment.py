"""What index.html is told of alignment: a matrix a figure, in the order of its languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlir_bench.reports.aligned import Pair, relevance, translations
from xlir_bench.results.schema import AlignmentPart

DIGITS = 5
"""One more than a page shows: matrices of many languages are most of its size."""


def alignment_data(part: AlignmentPart) -> dict[str, Any] | None:
    """None where the result was made without `--alignment`."""
    if not part.anisotropy:
        return None
    texts = [
        _matrices(
            name,
            {
                pair: {"margin": found.margin, "near": found.translations, **found.recall}
                for pair, found in pairs.items()
            },
            {pair: found.items for pair, found in pairs.items()},
        )
        for name, pairs in translations(part).items()
    ]
    related = {
        pair: {"margin": found.relevant - found.others, "near": found.relevant}
        for pair, found in relevance(part).items()
    }
    if related:
        texts.append(_matrices("relevance", related, {}))
    return {
        "texts": texts,
        "cosines": [
            [lang, *(_short(by_lang.get(lang)) for by_lang in part.anisotropy.values())]
            for lang in sorted({lang for by in part.anisotropy.values() for lang in by})
        ],
        "variance": [[role, _short(share)] for role, share in part.language_variance.items()],
        "centred": [[k.value, _short(value)] for k, value in part.map_without_centroids.items()],
        "hubness": _short(part.hubness),
    }


def _matrices(
    name: str, pairs: Mapping[Pair, Mapping[str, float]], items: Mapping[Pair, int]
) -> dict[str, Any]:
    langs = sorted({lang for pair in pairs for lang in pair})
    figures = list(dict.fromkeys(figure for by_figure in pairs.values() for figure in by_figure))
    return {
        "name": name,
        "langs": langs,
        "n": [[items.get((a, b)) for b in langs] for a in langs] if items else None,
        "values": {
            figure: [[_short(pairs.get((a, b), {}).get(figure)) for b in langs] for a in langs]
            for figure in figures
        },
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)

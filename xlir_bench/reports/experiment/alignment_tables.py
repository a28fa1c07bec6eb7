"""Whether translations find each other, before and after training: the tables of an experiment that asks for alignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xlir_bench.recipe import Variant
from xlir_bench.rendering.document import Block, Table
from xlir_bench.rendering.numbers import number
from xlir_bench.reports.experiment.stored import Experiment, mean_and_deviation
from xlir_bench.results.schema import AlignmentPart


def alignment_parts(experiment: Experiment, task: str) -> list[str | Block]:
    """Two tables of a task: means over its language pairs, and every pair; nothing where it has no translations."""
    aligned: dict[Variant, list[AlignmentPart]] = {}
    for variant in experiment.recipe.variants():
        found = [r.record.alignment for r in experiment.evaluated(variant, task).values()]
        if found and all(each.questions for each in found):
            aligned[variant] = found
    if not aligned:
        return []
    return [
        "Questions, or sentences, and their translations, all encoded as questions; mean over ordered pairs of"
        " languages. A text finds its translation if none of the other language is nearer (recall@1); between"
        " languages lies the share of all variance that their means have.",
        _means(experiment, aligned),
        "By pair of languages (of the first, found in the second): recall@1 | cosine of translations, less that of"
        " other pairs.",
        _pairs(experiment, aligned),
    ]


def _means(experiment: Experiment, aligned: dict[Variant, list[AlignmentPart]]) -> Table:
    columns: dict[str, Callable[[AlignmentPart], float]] = {
        "recall@1": lambda a: _mean([pair.recall["recall@1"] for pair in a.questions.values()]),
        "cosine of translations": lambda a: _mean([p.translations for p in a.questions.values()]),
        "of other pairs": lambda a: _mean([pair.others for pair in a.questions.values()]),
        "of texts of one language": lambda a: _mean([*a.anisotropy["query"].values()]),
        "between languages": lambda a: a.language_variance["query"],
    }
    label = experiment.recipe.label
    rows = [
        [label(variant), str(len(found)), *(mean_and_deviation([of(a) for a in found]) for of in columns.values())]
        for variant, found in aligned.items()
    ]  # fmt: skip
    return Table(["batches", "seeds", *columns], rows, text=1)


def _pairs(experiment: Experiment, aligned: dict[Variant, list[AlignmentPart]]) -> Table:
    pairs = sorted(next(iter(aligned.values()))[0].questions)
    rows = []
    for pair in pairs:
        cells = []
        for found in aligned.values():
            of_pair = [each.questions[pair] for each in found]
            recall = _mean([each.recall["recall@1"] for each in of_pair])
            cells.append(f"{number(recall)} | {number(_mean([each.margin for each in of_pair]))}")
        rows.append([pair.replace("-", " to "), *cells])
    return Table(["", *map(experiment.recipe.label, aligned)], rows, text=1)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))

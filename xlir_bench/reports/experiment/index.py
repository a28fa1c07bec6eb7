"""What a folder of experiments found, a paragraph each: from their stored results, never by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xlir_bench.errors import InputError
from xlir_bench.recipe import HYBRID, Recipe, Variant, parse_recipe
from xlir_bench.reports.experiment.judging import (
    CANNOT_FAIL,
    FAILS,
    HOLDS,
    NOT_SHOWN,
    Against,
    Contrasts,
    Judged,
    against_baselines,
    judge,
)
from xlir_bench.reports.experiment.pages import PAGE, RECIPE, counted
from xlir_bench.reports.experiment.stored import read_experiment
from xlir_bench.reports.markup import code, escape

BEGIN = (
    "<!-- made by xlir-bench experiment --index: changes before the next mark are overwritten -->"
)
END = "<!-- end of what was made -->"
TOLD = {HOLDS: "Shown", FAILS: "The opposite is shown", NOT_SHOWN: "Not shown", CANNOT_FAIL: "Claimed, but so that it cannot fail"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Found:
    """What one experiment found."""

    folder: str
    recipe: Recipe
    missing: int
    judged: Sequence[Judged]
    beside: Sequence[Against]
    """Every training beside the baselines, on all tasks."""


def index_text(folder: Path) -> str:
    """The page of a folder; what stands in it outside the marks is kept."""
    section = f"{BEGIN}\n\n{_section(folder)}\n\n{END}"
    path = folder / PAGE
    if not path.is_file():
        return f"# Experiments\n\n{section}\n"
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise InputError(
            f"{path} has no place for what is found; put these two lines where it should stand:\n{BEGIN}\n{END}"
        )
    return before + section + after


def _section(folder: Path) -> str:
    found = [_found(path.parent) for path in sorted(folder.glob(f"*/{RECIPE}"))]
    if not found:
        raise InputError(f"no folder in {folder} is an experiment; name one with experiments in it")
    models = dict.fromkeys(model for f in found for model in f.recipe.models)
    beside = [a for f in found for a in f.beside]
    hybrid = [a for a in beside if _mixes(a.variant) and not _mixes(a.baseline)]
    told = (
        f"{counted([j for f in found for j in f.judged])} {_compared(hybrid, 'hybrid batches')}"
        f" What is not shown may still be true: it is no sign of equality. All of it is of"
        f" {', '.join(map(code, models))}, and says nothing of other models."
    )
    return "\n\n".join([told, *map(_paragraph, found)])


def _found(folder: Path) -> _Found:
    recipe = parse_recipe((folder / RECIPE).read_text(encoding="utf-8"), str(folder / RECIPE))
    experiment = read_experiment(recipe, folder)
    contrasts = Contrasts(experiment)
    beside = [a for task in recipe.tasks for a in against_baselines(contrasts, task)]
    return _Found(folder.name, recipe, len(experiment.missing), judge(contrasts), beside)


def _paragraph(found: _Found) -> str:
    title = escape(found.recipe.title)
    parts = [f"**[{escape(found.folder)}]({found.folder}/{PAGE}): {title}**"]
    if found.missing:
        parts.append(f"Not finished: {found.missing} trainings are not there.")
    for outcome, told in TOLD.items():
        claims = [j.claim for j in found.judged if j.outcome == outcome]
        texts = [f"{escape(c.text)} ({escape(c.task)})" for c in claims]
        if texts:
            parts.append(f"{told}: {'; '.join(texts)}.")
    return " ".join([*parts, _compared(found.beside, "trainings")]).strip()


def _compared(beside: Sequence[Against], what: str) -> str:
    if not beside:
        return ""
    count = Counter(a.verdict for a in beside)
    return (
        f"Of {len(beside)} comparisons of {what} with a baseline {count['better']} show them to be better"
        f" and {count['worse']} worse."
    )


def _mixes(variant: Variant) -> bool:
    """Whether its batches are of both kinds; a share of 0 or 1 leaves one of them."""
    return variant.strategy == HYBRID and variant.alpha not in (0, 1)

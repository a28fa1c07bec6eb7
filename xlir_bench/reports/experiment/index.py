"""The page of a folder of experiments: a paragraph for each, from its stored results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from xlir_bench.errors import InputError
from xlir_bench.recipe import HYBRID, Variant, parse_recipe
from xlir_bench.rendering.document import code, escape
from xlir_bench.reports.experiment.judging import Judged, VersusBaseline, against_baselines, judge
from xlir_bench.reports.experiment.pages import PAGE, RECIPE, counted
from xlir_bench.reports.experiment.stored import Experiment, read_experiment

BEGIN = (
    "<!-- made by xlir-bench experiment --index: changes before the next mark are overwritten -->"
)
END = "<!-- end of what was made -->"
OUTCOMES = {
    "holds": "Shown",
    "fails": "The opposite is shown",
    "not shown": "Not shown",
    "cannot fail": "Claimed in a way that cannot fail",
}


def read_experiments(folder: Path) -> dict[str, tuple[str, Experiment]]:
    """Every experiment in a folder: its recipe's text and what is stored, by the name of its own folder."""
    experiments = {}
    for path in sorted(folder.glob(f"*/{RECIPE}")):
        text = path.read_text(encoding="utf-8")
        experiments[path.parent.name] = (
            text,
            read_experiment(parse_recipe(text, str(path)), path.parent),
        )
    if not experiments:
        raise InputError(f"no folder in {folder} is an experiment; name one with experiments in it")
    return experiments


def index_text(folder: Path, experiments: Mapping[str, tuple[str, Experiment]]) -> str:
    """The page of a folder; text outside the marks is kept."""
    section = f"{BEGIN}\n\n{_section(experiments)}\n\n{END}"
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
            f"{path} has no place for the generated text; put these two lines where it should stand:\n{BEGIN}\n{END}"
        )
    return before + section + after


def _section(experiments: Mapping[str, tuple[str, Experiment]]) -> str:
    paragraphs: list[str] = []
    models: dict[str, None] = {}
    judged: list[Judged] = []
    compared: list[VersusBaseline] = []
    for name, (_, experiment) in experiments.items():
        recipe, claims = experiment.recipe, judge(experiment)
        versus = [each for task in recipe.tasks for each in against_baselines(experiment, task)]
        judged += claims
        compared += versus
        models |= dict.fromkeys(recipe.models)
        sentences = [f"**[{escape(name)}]({name}/{PAGE}): {escape(recipe.title)}**"]
        if experiment.missing:
            missing = len(experiment.missing)
            sentences.append(f"Not finished: {missing} trainings are missing.")
        for outcome, heading in OUTCOMES.items():
            texts = [
                f"{escape(each.claim.text)} ({escape(each.claim.task)})"
                for each in claims
                if each.outcome == outcome
            ]
            if texts:
                sentences.append(f"{heading}: {'; '.join(texts)}.")
        paragraphs.append(" ".join([*sentences, _compared(versus, "trainings")]).strip())
    hybrid = [each for each in compared if _mixes(each.variant) and not _mixes(each.baseline)]
    summary = (
        f"{counted(judged)} {_compared(hybrid, 'hybrid batches')}"
        f" What is not shown may still be true: it is no sign of equality. All of this was measured on"
        f" {', '.join(map(code, models))}, and says nothing about other models."
    )
    return "\n\n".join([summary, *paragraphs])


def _compared(compared: Sequence[VersusBaseline], what: str) -> str:
    if not compared:
        return ""
    count = Counter(each.verdict for each in compared)
    return (
        f"Of {len(compared)} comparisons of {what} with a baseline {count['better']} show them to be better"
        f" and {count['worse']} worse."
    )


def _mixes(variant: Variant) -> bool:
    """Whether some batches are monolingual and some cross-lingual: not with an alpha of 0 or 1."""
    return variant.strategy == HYBRID and variant.alpha not in (0, 1)

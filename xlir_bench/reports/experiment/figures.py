"""The plots of an experiment: trainings side by side, and over alpha, batch size and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xlir_bench.escaping import visible
from xlir_bench.recipe import Variant
from xlir_bench.records import Kind
from xlir_bench.rendering.canvas import (
    ACCENT,
    INK,
    MARKS,
    MUTED,
    SERIES,
    grid_lines,
    new_figure,
    plain_ticks,
    style,
    svg,
    titled,
)
from xlir_bench.reports.experiment.stored import Experiment
from xlir_bench.reports.generated import Drawing
from xlir_bench.reports.scores import DISTANCE, Score
from xlir_bench.results.frame import part_of
from xlir_bench.results.schema import ResultRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Line = dict[float | None, list[float]]
"""The values of all seeds by place on the x axis; under None, those of a training without a place on that axis."""
Panels = Mapping[Score, dict[str, Line]]
"""For each score, its lines by label: one panel of a plot."""


WHILE_TRAINING = "while training"
"""The section of plots over steps; the section of other plots is their task."""


def plots(experiment: Experiment) -> list[Drawing]:
    """The plots that the recipe asks for and that there are values for."""
    drawings: list[Drawing] = []
    recipe, look = experiment.recipe, experiment.recipe.look
    for n, model in enumerate(recipe.models, 1):
        suffix = f"-model-{n}.svg" if len(recipe.models) > 1 else ".svg"
        for task in recipe.tasks:
            result = experiment.any_result(task)
            if result is None:
                continue
            title = visible(result.record.task.title)
            for name, axis, heading, panels in (
                ("strategies", "trainings", "Strategies", _side_by_side(experiment, model, task)),
                ("alpha", "alpha", "By alpha", _over(experiment, model, task, "alpha")),
                ("batch-size", "batch size", "By batch size", _over(experiment, model, task, "batch_size")),
            ):  # fmt: skip
                if panels:
                    file = f"figures/{task}-{name}{suffix}"
                    records = [result.record]
                    drawings.append(plot(file, task, f"{heading}, {title}", axis, panels, records))
        panels = _over_steps(experiment, model)
        if panels and look is not None:
            file, heading = f"figures/{look.task}-steps{suffix}", f"By steps, {look.task}"
            drawings.append(plot(file, WHILE_TRAINING, heading, "steps", panels))
    return drawings


def plot(
    file: str,
    section: str,
    title: str,
    axis: str,
    panels: Panels,
    records: Sequence[ResultRecord] = (),
) -> Drawing:
    """One plot as SVG; the same figures give the same bytes.

    `axis`: ``trainings``, or what the x axis shows. `records`: a result, to say whether it is of a part of the task.
    """

    def draw_svg() -> str:
        with style():
            if axis == "trainings":
                return svg(_dots(title, panels, records))
            return svg(_lines(title, axis, panels, records))

    parts = [record.options.part for record in records]
    return Drawing(file, title, section, f"{title} {axis} {panels} {parts}", draw_svg)


def _side_by_side(experiment: Experiment, model: str, task: str) -> Panels:
    recipe = experiment.recipe
    variants = [v for v in recipe.variants() if v.model == model and experiment.evaluated(v, task)]
    return {
        column: {
            recipe.label(v): {None: values}
            for v in variants
            if (values := experiment.values(v, task, column))
        }
        for column in experiment.columns(task)
    }


def _over(experiment: Experiment, model: str, task: str, factor: str) -> Panels:
    """A line for each group of trainings that differ in this factor alone; one without it has no place on the axis."""
    recipe = experiment.recipe
    trained = [v for v in recipe.variants() if v.model == model and v.trained]
    places = {getattr(v, factor) for v in trained if experiment.evaluated(v, task)} - {None}
    if len(places) < 2:
        return {}
    word = factor.removesuffix("_size") + " "
    without: dict[str, Any] = {factor: None}
    panels = {}
    for column in experiment.columns(task):
        lines: dict[Variant, Line] = {}
        labels = {}
        for variant in trained:
            if values := experiment.values(variant, task, column):
                group = replace(variant, **without)
                lines.setdefault(group, {})[getattr(variant, factor)] = values
                parts = recipe.label(variant).split(", ")
                labels[group] = ", ".join(part for part in parts if not part.startswith(word))
        panels[column] = {labels[group]: line for group, line in lines.items()}
    return panels


def _over_steps(experiment: Experiment, model: str) -> Panels:
    """The scores on the task of the recipe's look while models were trained."""
    recipe, look = experiment.recipe, experiment.recipe.look
    if look is None:
        return {}
    names = {Score(kind, "map"): f"{look.task}.{kind.value}.map" for kind in Kind}
    names[DISTANCE] = f"{look.task}.{DISTANCE.measure}"
    panels: dict[Score, dict[str, Line]] = {}
    for column, name in names.items():
        for variant in (v for v in recipe.variants() if v.model == model and v.trained):
            line: Line = {}
            for record in experiment.training(variant):
                looks = ((look.step, look.figures) for look in record.trained.evaluations)
                for step, figures in [(0, record.trained.before), *looks]:
                    if name in figures:
                        line.setdefault(step, []).append(figures[name])
            if line:
                by_step = sorted(line.items(), key=lambda each: each[0] or 0)
                panels.setdefault(column, {})[recipe.label(variant)] = dict(by_step)
    return panels


def _deviation(values: list[float]) -> float:
    """The standard deviation over seeds; 0 for a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _dots(title: str, panels: Panels, records: Sequence[ResultRecord]) -> Figure:
    names = list(dict.fromkeys(label for panel in panels.values() for label in panel))
    count = len(panels)
    figure, frames = new_figure(2.4 + 2.1 * count, 0.7 + 0.34 * len(names), 1, count, sharey=True)
    for axes, (column, panel) in zip(frames, panels.items(), strict=True):
        for label, line in panel.items():
            row, values = names.index(label), line[None]
            axes.plot(values, [row] * len(values), "o", color=ACCENT, alpha=0.3, markersize=4)
            axes.errorbar(
                float(np.mean(values)), row, xerr=_deviation(values) or None, fmt="|", color=INK,
                markersize=11, markeredgewidth=2, elinewidth=1.4,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), [visible(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.14)
        _frame(axes, column, "x")
    subtitle = "mean and standard deviation over seeds; faint: each seed"
    return titled(figure, title, subtitle, map(part_of, records))


def _lines(title: str, axis: str, panels: Panels, records: Sequence[ResultRecord]) -> Figure:
    figure, frames = new_figure(1.0 + 2.5 * len(panels), 2.9, 1, len(panels))
    names = list(dict.fromkeys(label for panel in panels.values() for label in panel))
    for axes, (column, panel) in zip(frames, panels.items(), strict=True):
        key = []
        for label, line in panel.items():
            n = names.index(label)
            key += _line(axes, visible(label), line, SERIES[n % len(SERIES)], MARKS[n % len(MARKS)])
        axes.set_xlabel(axis)
        _frame(axes, column, "y")
        if axis == "batch size":
            places = sorted({x for line in panel.values() for x in line if x is not None})
            axes.set_xscale("log")
            axes.set_xticks(places, [f"{place:.0f}" for place in places])
            axes.minorticks_off()
    subtitle = "mean over seeds; bands: standard deviation over seeds"
    return titled(figure, title, subtitle, map(part_of, records), key)


def _line(axes: Axes, label: str, line: Line, colour: str, mark: str) -> list[Line2D]:
    means = np.array([np.mean(values) for values in line.values()])
    x = [place for place in line if place is not None]
    if not x:  # this training does not have the factor
        return [
            axes.axhline(float(means[0]), color=colour, linewidth=1.3, linestyle="--", label=label)
        ]
    spread = np.array([_deviation(values) for values in line.values()])
    axes.fill_between(x, means - spread, means + spread, color=colour, alpha=0.13, linewidth=0)
    return axes.plot(x, means, f"{mark}-", color=colour, linewidth=1.6, markersize=4, label=label)


def _frame(axes: Axes, column: Score, value_axis: str) -> None:
    """Give a panel its heading, grid lines, and a few ticks on the axis of its values (``x`` or ``y``)."""
    remark = " (less is better)" if column.lower_is_better else ""
    axes.set_title(column.name + remark, fontsize=9.5, color=MUTED, loc="center", pad=6)
    grid_lines(axes)
    plain_ticks(axes.xaxis if value_axis == "x" else axes.yaxis, column.lower_is_better)

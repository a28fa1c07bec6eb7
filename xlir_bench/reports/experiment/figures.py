"""The plots of an experiment: trainings side by side, and over alpha, batch size and steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xlir_bench.escaping import visible
from xlir_bench.recipe import HYBRID, RANK_DISTANCE, Variant
from xlir_bench.records import Kind
from xlir_bench.reports.experiment.judging import Column, columns
from xlir_bench.reports.experiment.stored import Experiment
from xlir_bench.reports.plots.canvas import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    grid_lines,
    new_figure,
    svg,
    write_title,
)
from xlir_bench.reports.tables import big, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b5aa8", "#c45a00", "#2f7d5b", "#a83279", "#6b4fa0", "#8a6d00", "#4a8fb5", "#5b5b5b")
MARKS = "osD^vP*X"
UNDER = "mean and standard deviation over seeds; faint: each seed"


@dataclass(frozen=True, slots=True)
class Point:
    """The values of all seeds at one place."""

    x: float
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Over seeds; 0 of a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line in one panel; of a single point, a level."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """What stands in one frame."""

    column: Column
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: its file, its task and title, how it is drawn and what is in it."""

    file: str
    task: str
    title: str
    axis: str
    """``trainings`` or what runs along the foot."""
    panels: tuple[Panel, ...]


def plots(experiment: Experiment) -> list[Plot]:
    """The plots that the recipe gives rise to, and for which something is there."""
    found: list[Plot] = []
    models = experiment.recipe.models
    for n, model in enumerate(models, 1):
        suffix = f"-model-{n}" if len(models) > 1 else ""
        for task in experiment.recipe.tasks:
            result = experiment.any_result(task)
            if result is None:
                continue
            title = visible(result.record.task.title)
            for axis, panels in (
                ("trainings", _side_by_side(experiment, model, task)),
                ("alpha", _over(experiment, model, task, "alpha")),
                ("batch size", _over(experiment, model, task, "batch_size")),
            ):
                name = "strategies" if axis == "trainings" else axis.replace(" ", "-")
                if panels:
                    head = "Strategies" if axis == "trainings" else f"By {axis}"
                    plot = Plot(
                        f"figures/{task}-{name}{suffix}.svg", task, f"{head}, {title}", axis, panels
                    )
                    found.append(plot)
        steps = _over_steps(experiment, model)
        if steps and experiment.recipe.look is not None:
            task = experiment.recipe.look.task
            found.append(
                Plot(f"figures/{task}-steps{suffix}.svg", task, f"By steps, {task}", "steps", steps)
            )
    return found


def drawn(plot: Plot) -> str:
    """A plot as SVG; the same figures give the same bytes."""
    from xlir_bench.reports.plots.canvas import style

    with style():
        return svg(_dots(plot) if plot.axis == "trainings" else _lines(plot))


def _values(
    experiment: Experiment, variant: Variant, task: str, column: Column
) -> tuple[float, ...]:
    found = (column.of(r) for _, r in sorted(experiment.of(variant, task).items()))
    return tuple(value for value in found if value is not None)


def _side_by_side(experiment: Experiment, model: str, task: str) -> tuple[Panel, ...]:
    recipe = experiment.recipe
    mine = [v for v in recipe.variants() if v.model == model and experiment.of(v, task)]
    return tuple(
        Panel(
            column,
            tuple(
                Line(recipe.label(v), (Point(0, values),))
                for v in mine
                if (values := _values(experiment, v, task, column))
            ),
        )
        for column in columns(experiment, task)
    )


def _over(experiment: Experiment, model: str, task: str, factor: str) -> tuple[Panel, ...]:
    """A line for the trainings that differ in one factor alone; the others are levels."""
    recipe = experiment.recipe
    stated = {"alpha": recipe.alphas, "batch_size": recipe.batch_sizes}[factor]
    if len(stated) < 2 or (factor == "alpha" and HYBRID not in recipe.strategies):
        return ()
    mine = [v for v in recipe.variants() if v.model == model and v.trained]
    panels = []
    for column in columns(experiment, task):
        lines: dict[Variant, list[Point]] = {}
        for variant in mine:
            values = _values(experiment, variant, task, column)
            if values:
                x = getattr(variant, factor)
                key = replace(
                    variant,
                    alpha=None if factor == "alpha" else variant.alpha,
                    batch_size=None if factor == "batch_size" else variant.batch_size,
                )
                lines.setdefault(key, []).append(Point(-1.0 if x is None else float(x), values))
        labels = {v: ", ".join(_without(recipe.label(v), factor)) for v in lines}
        panels.append(
            Panel(column, tuple(Line(labels[v], tuple(points)) for v, points in lines.items()))
        )
    return tuple(panels)


def _without(label: str, factor: str) -> list[str]:
    word = "batch " if factor == "batch_size" else "alpha "
    return [part for part in label.split(", ") if not part.startswith(word)]


def _over_steps(experiment: Experiment, model: str) -> tuple[Panel, ...]:
    """What was seen on the way, from the records of the trainings."""
    recipe, look = experiment.recipe, experiment.recipe.look
    if look is None:
        return ()
    names = {Column(kind, "map"): f"{look.task}.{kind.value}.map" for kind in Kind}
    names[Column(Kind.MULTILINGUAL, RANK_DISTANCE)] = f"{look.task}.{RANK_DISTANCE}"
    panels = []
    for column, name in names.items():
        lines = []
        for variant in (v for v in recipe.variants() if v.model == model and v.trained):
            seen: dict[int, list[float]] = {}
            for record in experiment.training(variant):
                for step, figures in _looks(record.training):
                    if name in figures:
                        seen.setdefault(step, []).append(figures[name])
            if seen:
                points = tuple(Point(step, tuple(v)) for step, v in sorted(seen.items()))
                lines.append(Line(recipe.label(variant), points))
        if lines:
            panels.append(Panel(column, tuple(lines)))
    return tuple(panels)


def _looks(training: Mapping[str, object]) -> list[tuple[int, Mapping[str, float]]]:
    """Steps and what was seen at them, the beginning among them."""
    before, seen = training.get("before"), training.get("evaluations")
    first = [(0, before)] if isinstance(before, dict) and before else []
    rest = seen if isinstance(seen, list) else []
    return first + [(int(look["step"]), look["figures"]) for look in rest]


def _dots(plot: Plot) -> Figure:
    names = list(dict.fromkeys(line.label for panel in plot.panels for line in panel.lines))
    height = 1.5 + 0.34 * len(names)
    figure, frames = new_figure(
        2.4 + 2.1 * len(plot.panels), height, 1, len(plot.panels), sharey=True
    )
    for axes, panel in zip(frames, plot.panels, strict=True):
        for line in panel.lines:
            at, point = names.index(line.label), line.points[0]
            axes.plot(
                point.values, [at] * len(point.values), "o", color=ACCENT, alpha=0.3, markersize=4
            )
            axes.errorbar(
                point.mean, at, xerr=point.deviation or None, fmt="|", color=INK, markersize=11,
                markeredgewidth=2, elinewidth=1.4,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), [visible(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.14)
        _head(axes, panel.column)
        axes.xaxis.set_major_formatter(_format(panel.column))
        _few_ticks(axes, "x")
    write_title(figure, plot.title, UNDER)
    return figure


def _lines(plot: Plot) -> Figure:
    figure, frames = new_figure(2.6 + 2.5 * len(plot.panels), 3.7, 1, len(plot.panels))
    names = list(dict.fromkeys(line.label for panel in plot.panels for line in panel.lines))
    for axes, panel in zip(frames, plot.panels, strict=True):
        for line in panel.lines:
            n = names.index(line.label)
            _line(axes, line, COLOURS[n % len(COLOURS)], MARKS[n % len(MARKS)])
        _head(axes, panel.column)
        axes.set_xlabel(plot.axis, color=MUTED)
        axes.yaxis.set_major_formatter(_format(panel.column))
        _few_ticks(axes, "y")
        if plot.axis == "batch size":
            places = sorted({p.x for line in panel.lines for p in line.points})
            axes.set_xscale("log")
            axes.set_xticks(places, [f"{place:.0f}" for place in places])
            axes.minorticks_off()
    handles, labels = frames[0].get_legend_handles_labels()
    figure.legend(
        handles, [visible(x) for x in labels], loc="outside right upper",
        frameon=False, fontsize=8.5,
    )  # fmt: skip
    write_title(figure, plot.title, "mean over seeds; bands: standard deviation over seeds")
    return figure


def _line(axes: Axes, line: Line, colour: str, mark: str) -> None:
    if len(line.points) == 1 and line.points[0].x < 0:  # one level, whatever the factor
        axes.axhline(
            line.points[0].mean, color=colour, linewidth=1.3, linestyle="--", label=line.label
        )
        return
    x = [p.x for p in line.points]
    means, spread = (np.array([getattr(p, a) for p in line.points]) for a in ("mean", "deviation"))
    axes.fill_between(x, means - spread, means + spread, color=colour, alpha=0.13, linewidth=0)
    axes.plot(x, means, f"{mark}-", color=colour, linewidth=1.6, markersize=4, label=line.label)


def _head(axes: Axes, column: Column) -> None:
    distance = column.measure == RANK_DISTANCE
    name = "rank distance (less is better)" if distance else f"{column.kind.value} {column.measure}"
    axes.set_title(name, fontsize=9.5, color=MUTED)
    grid_lines(axes)
    axes.grid(color=LINE, linewidth=0.7)


def _few_ticks(axes: Axes, axis: str) -> None:
    from matplotlib.ticker import MaxNLocator

    getattr(axes, f"{axis}axis").set_major_locator(MaxNLocator(4))


def _format(column: Column) -> Callable[[float, float], str]:
    if column.measure == RANK_DISTANCE:
        return lambda value, _: big(value).removesuffix(".0")
    return lambda value, _: number(value).rstrip("0") if value else "0"

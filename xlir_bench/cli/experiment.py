"""`xlir-bench experiment`: the grid of a recipe, trained, evaluated, tested and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.options import (
    FOLDER,
    Names,
    canonical_command,
    data_option,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.progress import Bars
from xlir_bench.cli.terminal import say, say_blocks
from xlir_bench.escaping import visible
from xlir_bench.extras import require

if TYPE_CHECKING:
    from xlir_bench.experiment.running import Planned, Where
    from xlir_bench.recipe import Cell, Recipe
    from xlir_bench.reports.experiment import Experiment, Made
    from xlir_bench.reports.leaderboard.files import Differences


@click.command()
@click.argument("name", required=False, metavar="[RECIPE]")
@click.option(
    "--output",
    type=FOLDER,
    metavar="DIR",
    help="Where everything goes.  [default: experiments/<recipe>]",
)
@click.option("--dry-run", is_flag=True, help="Print the grid, what is done, and the time left.")
@click.option(
    "--check", is_flag=True,
    help="Train nothing: make the pages again from stored results; exit 1 if a byte differs.",
)  # fmt: skip
@click.option(
    "--index", type=FOLDER, metavar="DIR",
    help="Train nothing: tell in DIR/README.md what each experiment in DIR found, from stored results.",
)  # fmt: skip
@click.option(
    "--print", "print_recipe", is_flag=True, help="Print the recipe, to make your own of it."
)
@click.option(
    "--skip-tasks", type=Names(), metavar="a,b",
    help="Leave these tasks of the recipe out for now; without it, they are evaluated later.",
)  # fmt: skip
@click.option(
    "--discard-models", is_flag=True, help="Keep results alone: a model goes once it is evaluated."
)
@data_option
@tasks_dir_option
@click.option("--device", metavar="cpu|cuda|mps", help="[default: the best there is]")
@click.option("--offline", is_flag=True, help="Download nothing.")
@click.option("--quiet", is_flag=True, help="No progress and no tables.")
@verbose_option
def experiment(name: str | None, **stated: Any) -> int:
    """Train and evaluate the grid of a recipe over seeds, and say which of its claims hold.

    RECIPE is a file (TOML), or the name of one that comes with the package; without it they are listed. A
    recipe names base models, data, strategies, alphas, batch sizes, losses, seeds, steps, tasks and claims.

    Every cell is kept when it is finished and never run again; after a kill the same command goes on. Then
    DIR/README.md has the tables (mean and deviation over seeds), the tests against the recipe's baselines, the
    claims that hold, fail, or are not shown; DIR/figures the plots. More seeds in the recipe: the same command.

    \b
    Examples:
      xlir-bench experiment                                  the recipes there are
      xlir-bench experiment mini --dry-run
      xlir-bench experiment mini --output out                minutes, no download
      xlir-bench experiment mini --output out --check        the same pages, from stored results
      xlir-bench experiment paper-xlmr --print > mine.toml   edit it, then: experiment mine.toml
      xlir-bench experiment --index experiments              what all experiments in a folder found
    """
    from xlir_bench.experiment import find_recipe

    if stated["index"] is not None:
        return _index(name, stated["index"], stated["check"])
    if name is None:
        _list_recipes()
        return 0
    recipe, text = find_recipe(name)
    if stated["print_recipe"]:
        say(text, nl=False)
        return 0
    folder = stated["output"] or Path("experiments") / recipe.name
    if stated["check"]:
        return _check(recipe, text, folder)
    where = _where(recipe, folder, stated)
    if stated["dry_run"]:
        _show_plan(recipe, where)
        return 0
    return _run(recipe, text, where, stated["quiet"])


def _where(recipe: Recipe, folder: Path, stated: dict[str, Any]) -> Where:
    """The place of the run; tasks that the recipe names and nobody knows are refused."""
    require("train", "experiment")
    from xlir_bench.errors import InputError, UnknownNameError
    from xlir_bench.experiment.running import Where
    from xlir_bench.places import data_root
    from xlir_bench.tasks import catalogue

    wanted = [*recipe.tasks, *([recipe.look.task] if recipe.look else [])]
    tasks = catalogue(*stated["tasks_dirs"]).get(list(dict.fromkeys(wanted)))
    skip = frozenset(stated["skip_tasks"] or ())
    if unknown := sorted(skip - set(recipe.tasks)):
        raise UnknownNameError("task of the recipe", unknown, recipe.tasks)
    if skip.issuperset(recipe.tasks):
        raise InputError("--skip-tasks leaves no task of the recipe to evaluate")
    return Where(
        folder=folder,
        tasks={task.name: task for task in tasks},
        data=data_root(stated["data"]),
        device=stated["device"],
        offline=stated["offline"],
        skip=skip,
        discard_models=stated["discard_models"],
        command=canonical_command(),
    )


def _run(recipe: Recipe, text: str, where: Where, quiet: bool) -> int:
    from xlir_bench.experiment.running import run_cells
    from xlir_bench.reports.experiment import (
        experiment_texts,
        read_experiment,
        report_files,
        require_ours,
    )

    require_ours(where.folder)

    def tell(line: str) -> None:
        if not quiet:
            say(line, err=True)

    try:
        with Bars(quiet) as bars:
            failed = run_cells(recipe, where, tell, bars)
    except KeyboardInterrupt:
        say("\nstopped: the same command goes on; finished cells are kept", err=True)
        return 130
    found = read_experiment(recipe, where.folder)
    made = experiment_texts(found, text)
    report_files(where.folder, made, check=False)
    if not quiet:
        say(_told(found, made, where.folder))
    return _tell_failed(failed)


def _check(recipe: Recipe, text: str, folder: Path) -> int:
    from xlir_bench.reports.experiment import (
        comparable,
        experiment_texts,
        read_experiment,
        report_files,
    )

    made = comparable(folder, experiment_texts(read_experiment(recipe, folder), text))
    if not made.pictures:
        say("plots are not compared: no matplotlib here, or another release", err=True)
    differ = report_files(folder, made, check=True)
    _tell_check(differ, folder)
    return 1 if differ else 0


def _index(name: str | None, folder: Path, check: bool) -> int:
    from xlir_bench.errors import InputError
    from xlir_bench.files import explained, write
    from xlir_bench.reports.experiment import index_text

    if name is not None:
        raise InputError(f"--index is of all experiments in {folder}; leave {name} out")
    path, text = folder / "README.md", index_text(folder)
    if path.is_file() and path.read_bytes() == text.encode():
        return 0
    if check:
        say(f"differs: {path}")
        say("the same command without --check mends this", err=True)
        return 1
    with explained(path, "name another folder with --index"):
        write(path, text)
    say(f"written to {path}", err=True)
    return 0


def _list_recipes() -> None:
    from xlir_bench.experiment import shipped_recipes

    for name, (recipe, _) in shipped_recipes().items():
        say(f"{name:<16} {len(recipe.cells()):>3} cells  {visible(recipe.title)}")


def _show_plan(recipe: Recipe, where: Where) -> None:
    from xlir_bench.experiment.running import missing_data, plan_cells, time_left
    from xlir_bench.reports.document import Table

    planned = plan_cells(recipe, where)
    several = len(recipe.models) > 1
    rows = [
        [
            recipe.label(p.cell.variant) + (f" ({p.cell.variant.model})" if several else ""),
            str(p.cell.seed),
            p.state,
            _clock(p.seconds),
        ]
        for p in planned
    ]
    say(visible(recipe.title) + "\n")
    say(visible(f"base models: {', '.join(recipe.models)}"))
    say(f"tasks: {', '.join(recipe.tasks)}; {recipe.steps:,} steps\n")
    say_blocks([Table(["batches", "seed", "", "time"], rows)])
    say(f"\n{_summed(planned, time_left(planned))}")
    if missing := missing_data(recipe, where):
        say("\nnot here:\n" + "\n".join(f"  {line}" for line in missing))


def _summed(planned: Sequence[Planned], left: float | None) -> str:
    todo = sum(p.state != "done" for p in planned)
    if not todo:
        return f"all {len(planned)} cells are done"
    time = "unknown until the first ones are done" if left is None else f"about {_clock(left)}"
    return f"{todo} of {len(planned)} cells to run; time left: {time}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def _told(found: Experiment, made: Made, folder: Path) -> str:
    lines = [f"{j.outcome}: {j.claim.text} ({j.why})" for j in made.judged]
    if not made.pictures:
        lines.append("no plots: they need matplotlib (pip install 'xlir-bench[plot]')")
    cells = len(found.recipe.cells())
    lines.append(f"{len(found.records)} of {cells} cells; written to {folder / 'README.md'}")
    return "\n".join(lines)


def _tell_failed(failed: Mapping[Cell, str]) -> int:
    for cell, why in failed.items():
        say(visible(f"failed: {cell.name}: {why}"), err=True)
    if failed:
        say("the same command tries them again", err=True)
    return 4 if failed else 0


def _tell_check(found: Differences, folder: Path) -> None:
    for what in ("changed", "missing", "extra"):
        for name in getattr(found, what):
            say(f"{'differs' if what == 'changed' else what}: {folder / name}")
    if found:
        say("the same command without --check mends this", err=True)

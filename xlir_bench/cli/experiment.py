"""`xlir-bench experiment`: the grid of a recipe, trained, evaluated, tested and drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from xlir_bench.cli.command import (
    OFFLINE,
    QUIET,
    argument,
    canonical_command,
    command,
)
from xlir_bench.cli.terminal import SLOW, Bars, say, say_blocks, say_differences, teller
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.escaping import visible
from xlir_bench.executor import opened
from xlir_bench.extras import require
from xlir_bench.files import explained, write
from xlir_bench.options.running import DataOptions, WorkOptions
from xlir_bench.options.stating import MODEL, OUTPUT, option
from xlir_bench.rendering.document import Block, Lines, Listing, Table

if TYPE_CHECKING:
    from xlir_bench.experiment.running import Trainings
    from xlir_bench.reports.experiment.stored import Experiment

DONE = "What is done"


@command()
def experiment(
    *,
    name: str | None = argument("[RECIPE]", None),
    dry_run: bool = option("Print the grid, what is done, and the time left.", False, group=DONE),
    check: bool = option(
        "Train nothing: make the pages again from stored results and compare them; exit 1 if a byte differs.", False, group=DONE
    ),
    index: Path | None = option(
        "Train nothing: make the pages of each experiment in DIR again from stored results, and summarise all in"
        " DIR/README.md; with --check, only compare them.",
        None, group=DONE, metavar="DIR",
    ),
    print_recipe: bool = option(
        "Print the recipe, as a start for your own.", False, group=DONE, flag="print"
    ),
    skip_tasks: tuple[str, ...] = option(
        "Skip these tasks of the recipe for now; the same command without this option evaluates them later.",
        (), group=DONE, metavar="a,b",
    ),
    output: Path | None = option(
        "Where everything goes.  [default: experiments/<recipe>]", None, group=OUTPUT, metavar="DIR"
    ),
    discard_models: bool = option(
        "Keep only results: each model is deleted once it is evaluated.", False, group=OUTPUT
    ),
    quiet: bool = QUIET,
    data: DataOptions,
    device: str | None = option(
        "Where models run.  [default: the fastest available]", None, group=MODEL, metavar="cpu|cuda|mps"
    ),
    offline: bool = OFFLINE,
    work: WorkOptions,
) -> int:  # fmt: skip
    """Train and evaluate the grid of a recipe over seeds, and say which of its claims hold.

    RECIPE is a TOML file, or the name of a recipe of the package; without RECIPE, these are listed. A recipe
    names base models, data, strategies, alphas, batch sizes, losses, seeds, steps, tasks and claims.

    A cell is one training with one seed. Finished cells are kept and never run again: after an interruption,
    or with more seeds in the recipe, run the same command. At the end DIR/README.md has the tables (mean and
    deviation over seeds), the tests against the recipe's baselines, and the claims that hold, fail or are not
    shown; DIR/figures has the plots.

    \b
    Examples:
      xlir-bench experiment                                  list the recipes
      xlir-bench experiment mini --dry-run
      xlir-bench experiment mini --output out                minutes, no download
      xlir-bench experiment mini --output out --check        compare the pages
      xlir-bench experiment paper-xlmr --print > mine.toml   edit it, run it
      xlir-bench experiment mini --output out --on ray       cells in parallel
      xlir-bench experiment --index experiments              a summary of all
    """
    from xlir_bench.experiment import bundled_recipes, find_recipe, recipe_tasks

    if index is not None and name is not None:
        raise InputError(f"--index makes the pages of all experiments in {index}: leave {name} out")
    if index is not None:
        return _index(index, check, quiet)
    if name is None:
        recipes = bundled_recipes()
        width = max(map(len, recipes))
        lines = [
            f"{known:<{width}} {len(recipe.cells()):>3} cells  {recipe.title}"
            for known, (recipe, _) in recipes.items()
        ]
        say_blocks([Lines(*lines)])
        return 0
    recipe, text = find_recipe(name)
    if print_recipe:
        say(text, nl=False)
        return 0
    folder = output or Path("experiments") / recipe.name
    if check:
        from xlir_bench.reports.experiment.stored import read_experiment

        return _pages(folder, read_experiment(recipe, folder), text, check)

    require("train", "experiment")
    from xlir_bench.experiment.running import Trainings

    wanted = [*recipe.tasks, *([recipe.look.task] if recipe.look else [])]
    tasks = data.catalogue(recipe_tasks()).get(list(dict.fromkeys(wanted)))
    if unknown := sorted({*skip_tasks} - {*recipe.tasks}):
        raise UnknownNameError("task of the recipe", unknown, recipe.tasks)
    if {*skip_tasks} >= {*recipe.tasks}:
        raise InputError("--skip-tasks leaves no task of the recipe to evaluate")
    trainings = Trainings(
        recipe,
        folder=folder,
        tasks={task.name: task for task in tasks},
        data=data.root,
        device=device,
        offline=offline,
        skip=frozenset(skip_tasks),
        discard_models=discard_models,
        command=canonical_command(),
    )
    if dry_run:
        say_blocks(_plan(trainings))
        return 0
    return _run(trainings, text, work, quiet)


def _run(trainings: Trainings, text: str, work: WorkOptions, quiet: bool) -> int:
    from xlir_bench.reports.experiment.pages import (
        experiment_pages,
        report_files,
        require_generated,
    )
    from xlir_bench.reports.experiment.stored import read_experiment

    folder = trainings.folder
    require_generated(folder)
    tell = teller(quiet)
    try:
        with (
            opened(work.on, work.workers, work.gpus_per_worker, tell) as executor,
            Bars(quiet) as of_workers,
            Bars(quiet) as bars,
        ):
            failed = replace(trainings, progress=bars).run(tell, executor, of_workers)
    except KeyboardInterrupt:
        say("\nstopped: finished cells are kept; run the same command to continue", err=True)
        return 130
    stored = read_experiment(trainings.recipe, folder)
    pages = experiment_pages(stored, text)
    _, with_plots = report_files(folder, pages, check=False)
    if not quiet:
        for judged in pages.judged:
            say(f"{judged.outcome}: {judged.claim.text} ({judged.why})")
        if not with_plots:
            say("no plots: they need matplotlib (pip install 'xlir-bench[plot]')")
        done = f"{len(stored.records)} of {len(trainings.recipe.cells())} cells"
        say(f"{done}; written to {folder / 'README.md'}")
    for cell, why in failed.items():
        say(visible(f"failed: {cell.name}: {why}"), err=True)
    if failed:
        say("run the same command to try them again", err=True)
    return 4 if failed else 0


def _pages(folder: Path, stored: Experiment, recipe: str, check: bool) -> int:
    """Make the pages of an experiment again, or compare them; the exit code."""
    from xlir_bench.reports.experiment.pages import experiment_pages, report_files

    differences, with_plots = report_files(folder, experiment_pages(stored, recipe), check)
    if not with_plots:
        say(
            f"plots of {folder} are left as they are: matplotlib is missing, or another release",
            err=True,
        )
    return say_differences(differences, folder) if check else 0


def _index(folder: Path, check: bool, quiet: bool) -> int:
    from xlir_bench.records import followed
    from xlir_bench.reports.experiment.index import index_text, read_experiments
    from xlir_bench.reports.generated import Differences

    experiments = read_experiments(folder)
    path, text = folder / "README.md", index_text(folder, experiments)
    with Bars(quiet, SLOW) as bars:
        one_by_one = followed(list(experiments.items()), bars, "pages", "experiments")
        code = max(_pages(folder / name, x, recipe, check) for name, (recipe, x) in one_by_one)
    same = path.is_file() and path.read_bytes() == text.encode()
    if check:
        return max(code, say_differences(Differences(() if same else (path.name,), (), ()), folder))
    if not same:
        with explained(path, "name another folder with --index"):
            write(path, text)
    say(f"written to {path}", err=True)
    return 0


def _plan(trainings: Trainings) -> list[Block]:
    """The grid, what is done of it, the time left, and the data that is missing."""
    recipe, planned = trainings.recipe, trainings.plan()
    several = len(recipe.models) > 1
    rows = []
    for each in planned:
        variant = each.cell.variant
        label = recipe.label(variant) + (f" ({variant.model})" if several else "")
        rows.append((label, each.cell.seed, each.state, _clock(each.seconds)))
    left = [each.seconds for each in planned if each.state != "done"]
    time = "unknown until the first cells are done"
    if None not in left:
        time = f"about {_clock(sum(filter(None, left)))}"
    summary = f"{len(left)} of {len(planned)} cells to run; time left: {time}"
    return [
        Lines(recipe.title),
        Lines(
            f"base models: {', '.join(recipe.models)}",
            f"tasks: {', '.join(recipe.tasks)}; {recipe.steps:,} steps",
        ),
        Table(["batches", "seed", "", "time"], rows),
        Lines(summary if left else f"all {len(planned)} cells are done"),
        Listing("data that is missing:", trainings.missing_data()),
    ]


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

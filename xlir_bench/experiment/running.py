"""Train and evaluate what of a recipe is not there yet.

Cells are trained one after the other in this process: a child of its own would load every library again,
which takes longer than a small training; what a cell held is let go before the next one begins.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xlir_bench.errors import OutOfReachError, XlirError
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.files import ELSEWHERE, held, require_writable, safe_name
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.stating import build
from xlir_bench.options.training import Strategy, TrainOptions, parse_source
from xlir_bench.places import data_cache
from xlir_bench.recipe import DATA, Cell, Recipe
from xlir_bench.records import Progress, Silent
from xlir_bench.reports.experiment import CellRecord, cell_folder, cell_record, write_cell
from xlir_bench.reports.experiment.questions import Questions, has_questions
from xlir_bench.reports.experiment.stored import TRAINING
from xlir_bench.results import Result
from xlir_bench.results.store import RESULT_FILE
from xlir_bench.sources import data_state
from xlir_bench.tasks import Task
from xlir_bench.train import checked_rows, save_untrained, train
from xlir_bench.train.folder import RunFolder

MODELS, ROWS, LOCK = "models", ".rows", ".experiment.lock"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Where:
    """Where an experiment takes place, and what of it is kept."""

    folder: Path
    tasks: Mapping[str, Task]
    data: Path | None = None
    """The data root; None: the download cache."""
    device: str | None = None
    offline: bool = False
    skip: frozenset[str] = frozenset()
    """Tasks that are left out for now."""
    discard_models: bool = False
    """Keep results alone: a model goes once it is evaluated."""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A cell that could not be finished."""

    cell: Cell
    why: str


def is_finished(recipe: Recipe, where: Where, cell: Cell) -> bool:
    """Whether everything that is asked of a cell is there."""
    return cell_record(where.folder, cell) is not None and not _to_evaluate(recipe, where, cell)


def missing_data(recipe: Recipe, where: Where) -> list[str]:
    """What the recipe names and is not here, a line each; tasks that can be downloaded are not among them."""
    found = []
    for sources in recipe.data.values():
        for source in sources:
            if not source.startswith(DATA):
                continue
            if where.data is None:
                found.append(f"{source}: no data root; name one with --data, or XLIR_DATA")
            else:
                name = parse_source(_placed(source, where)).name
                if not Path(name).exists():
                    found.append(f"{name} is not there")
    named = [*recipe.tasks, *([recipe.look.task] if recipe.look else [])]
    for task in (t for t in dict.fromkeys(named) if t not in where.skip):
        state = data_state(where.tasks[task], where.data, data_cache())
        wanted = _langs(recipe, task) or where.tasks[task].languages
        lacking = [lang for lang in state.missing if lang in wanted]
        may_fetch = where.data is None and not where.offline
        if lacking and not may_fetch:
            found.append(
                f"task {task}: {', '.join(lacking)} not in {state.folder};"
                f" --skip-tasks {task} leaves it out for now"
            )
    return list(dict.fromkeys(found))


def run_cells(
    recipe: Recipe, where: Where, say: Say, progress: Progress | None = None
) -> list[Failed]:
    """Train and evaluate every cell that is not finished; one that fails does not hold up the others."""
    if missing := missing_data(recipe, where):
        raise OutOfReachError(
            f"recipe {recipe.name} wants what is not here:\n  " + "\n  ".join(missing)
        )
    failed = []
    require_writable(where.folder, ELSEWHERE)
    with held(where.folder / LOCK, f"output folder {where.folder}"):
        todo = [cell for cell in recipe.cells() if not is_finished(recipe, where, cell)]
        # A first seed of everything says more than all seeds of a few.
        todo.sort(key=lambda cell: recipe.seeds.index(cell.seed))
        for n, cell in enumerate(todo, 1):
            say(f"{n} of {len(todo)}: {cell.name}")
            try:
                _bring_rows(recipe, where, cell, progress or Silent())
                _run_cell(recipe, where, cell, progress or Silent())
            except XlirError as error:
                say(f"  failed: {error}")
                failed.append(Failed(cell, str(error)))
            _let_go()
        shutil.rmtree(where.folder / ROWS, ignore_errors=True)
        for cell in recipe.cells() if where.discard_models else ():
            if is_finished(recipe, where, cell):  # and killed before its model went
                _discard(where, cell)
    return failed


def _discard(where: Where, cell: Cell) -> None:
    folder = model_folder(where, cell)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # others may be there
        folder.parent.rmdir()


def _bring_rows(recipe: Recipe, where: Where, cell: Cell, progress: Progress) -> None:
    """Give a cell the rows that cells before it read and looked through: that takes longer than a small training."""
    options = train_options(recipe, where, cell)
    place = RunFolder(options.output)
    if place.path.exists():  # begun before
        return
    kept = where.folder / ROWS / safe_name(cell.variant.data)
    tasks = [where.tasks[task] for task in recipe.tasks]
    rows = checked_rows(options, tasks, where.data, kept, progress)
    half = place.data.with_name("half")
    shutil.copytree(rows, half)
    half.rename(place.data)


def train_options(recipe: Recipe, where: Where, cell: Cell) -> TrainOptions:
    """What the trainer is told of a cell."""
    variant = cell.variant
    return build(
        TrainOptions,
        recipe.training.options(variant.strategy)
        | {
            "model": variant.model,
            "sources": [_placed(source, where) for source in recipe.data[variant.data]],
            "output": model_folder(where, cell),
            "strategy": variant.strategy if variant.trained else Strategy.HYBRID,
            "batch_size": variant.batch_size or max(recipe.batch_sizes),
            "alpha": 0.5 if variant.alpha is None else variant.alpha,
            "seed": cell.seed,
            "steps": recipe.steps,
            "loss": variant.loss or "infonce",
            "whole_answers": variant.loss == "one-to-k",
            "eval_steps": 0 if recipe.look is None else recipe.look.every,
            "select_by": "last",  # what chooses a step by the tasks would be told by them
            "device": where.device,
            "offline": where.offline,
            "resume": True,
        },
    )


def model_folder(where: Where, cell: Cell) -> Path:
    """Where the model of a cell lies, and what its training goes on from."""
    return where.folder / MODELS / cell.name


def _run_cell(recipe: Recipe, where: Where, cell: Cell, progress: Progress) -> None:
    options, tasks = train_options(recipe, where, cell), [where.tasks[t] for t in recipe.tasks]
    began = time.perf_counter()
    if cell.variant.trained:
        done = train(
            options,
            evaluate=_look(recipe, where),
            tasks=tasks,
            data=where.data,
            progress=progress,
            command=where.command,
        )
    else:
        done = save_untrained(options, tasks=tasks, data=where.data, progress=progress)
    seconds = time.perf_counter() - began
    before = cell_record(where.folder, cell)
    began = time.perf_counter()
    for task in _to_evaluate(recipe, where, cell):
        found = evaluate(
            where.tasks[task],
            str(done.folder),
            RunOptions(
                langs=_langs(recipe, task),
                measures=recipe.measures,
                cache=None,
                data=where.data,
                offline=where.offline,
            ),
            encoder_options=EncoderOptions(device=where.device, offline=True),
            progress=progress,
            command=where.command,
        )
        place = cell_folder(where.folder, cell) / task
        Questions.of(found).save(place)
        replace(found, tables={}).save(place, compact=True)  # there are many
    # Of all its legs, where a training was killed and gone on with.
    trained = done.record.get("outcome", {}).get("seconds", seconds)
    record = CellRecord(
        cell={**_place(cell), "steps": recipe.steps if cell.variant.trained else 0},
        digest=cell.digest,
        training={name: done.record[name] for name in TRAINING if name in done.record},
        leaking=int(done.record.get("leakage", {}).get("leaking", 0)),
        train_seconds=before.train_seconds if before else round(trained, 1),
        evaluate_seconds=round(time.perf_counter() - began, 1),
    )
    write_cell(where.folder, record, cell.name)
    if where.discard_models:
        _discard(where, cell)


def _place(cell: Cell) -> dict[str, Any]:
    v = cell.variant
    return {
        "model": v.model,
        "data": v.data,
        "strategy": v.strategy,
        "alpha": v.alpha,
        "batch-size": v.batch_size,
        "loss": v.loss,
        "seed": cell.seed,
    }


def _to_evaluate(recipe: Recipe, where: Where, cell: Cell) -> list[str]:
    """The tasks that a cell has no result of, or one of other measures."""
    wanted = [task for task in recipe.tasks_of(cell) if task not in where.skip]
    return [task for task in wanted if not _is_evaluated(recipe, where, cell, task)]


def _is_evaluated(recipe: Recipe, where: Where, cell: Cell, task: str) -> bool:
    folder = cell_folder(where.folder, cell) / task
    if not (folder / RESULT_FILE).is_file():
        return False
    found = Result.load(folder)
    if not has_questions(found):
        return False
    record = found.record
    wanted = recipe.measures or where.tasks[task].measures
    part = RunOptions(langs=_langs(recipe, task)).part(where.tasks[task])
    same = record.task.digest == where.tasks[task].digest and (
        record.options.langs == part.get("langs", [])
    )
    return same and set(record.options.measures) == set(wanted)


def _langs(recipe: Recipe, task: str) -> tuple[str, ...] | None:
    return recipe.parts[task].langs if task in recipe.parts else None


def _look(recipe: Recipe, where: Where) -> Callable[[Any], Mapping[str, float]] | None:
    """What is asked of a model on its way."""
    if recipe.look is None:
        return None
    task = where.tasks[recipe.look.task]
    brief = RunOptions(measures=("map",), cache=None, data=where.data, offline=True)

    def look_at(model: Any) -> Mapping[str, float]:
        from xlir_bench.adapters import look

        return look([task], model, brief)

    return look_at


def _placed(source: str, where: Where) -> str:
    return source if where.data is None else source.replace(DATA, str(where.data), 1)


def _let_go() -> None:
    """Free what the last cell held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

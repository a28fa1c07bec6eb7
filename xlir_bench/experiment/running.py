"""Train and evaluate the cells of a recipe that are not finished; and say what is left to do.

Cells are trained one after the other in this process, or by workers: a child of its own for each would load every
library again, which takes longer than a small training. What a cell held is freed before the next one begins.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xlir_bench.encoders import load_reranker
from xlir_bench.errors import OutOfReachError, XlirError
from xlir_bench.evaluation import RunOptions, evaluate, load_models, measure_cost
from xlir_bench.executor import LOCAL, Executor
from xlir_bench.files import ELSEWHERE, held, require_writable, safe_name
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.profiling import CostOptions
from xlir_bench.options.stating import build
from xlir_bench.options.training import OF_LOSS, Strategy, TrainOptions, parse_source
from xlir_bench.places import data_cache
from xlir_bench.recipe import DATA, Cell, Recipe, Variant
from xlir_bench.records import Progress, Silent
from xlir_bench.reports.experiment.questions import Questions, has_questions
from xlir_bench.reports.experiment.stored import (
    TRAINING,
    CellRecord,
    cell_folder,
    cell_record,
    write_cell,
)
from xlir_bench.results import Result
from xlir_bench.results.schema import AlignmentPart
from xlir_bench.results.store import RESULT_FILE
from xlir_bench.sources import data_state
from xlir_bench.tasks import Task
from xlir_bench.train import checked_rows, save_untrained, train
from xlir_bench.train.folder import RunFolder

MODELS, ROWS, LOCK = "models", ".rows", ".experiment.lock"


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
    """Keep results alone: a model is removed once it is evaluated."""
    command: str = ""


def missing_data(recipe: Recipe, where: Where) -> list[str]:
    """What the recipe names and is not here, a line each; tasks that can be downloaded are not among them."""
    missing = []
    sources = [source for sources in recipe.data.values() for source in sources]
    models = [*recipe.models, recipe.training.model_dump()["teacher"] or ""]
    for name in (name for name in (*sources, *models) if name.startswith(DATA)):
        there = _in_data_root(name, where)
        file = there if name in models else parse_source(there).name
        if where.data is None:
            missing.append(f"{name}: no data root; name one with --data, or XLIR_DATA")
        elif not Path(file).exists():
            missing.append(f"{file} is not there")
    may_download = where.data is None and not where.offline
    for task in [*recipe.tasks, *([recipe.look.task] if recipe.look else [])]:
        if task in where.skip or may_download:
            continue
        state = data_state(where.tasks[task], where.data, data_cache())
        wanted = _langs(recipe, task) or where.tasks[task].languages
        if lacking := [lang for lang in state.missing if lang in wanted]:
            hint = f"--skip-tasks {task} leaves it out for now"
            missing.append(f"task {task}: {', '.join(lacking)} not in {state.folder}; {hint}")
    return list(dict.fromkeys(missing))


def run_cells(
    recipe: Recipe,
    where: Where,
    say: Callable[[str], None],
    progress: Progress | None = None,
    executor: Executor = LOCAL,
) -> dict[Cell, str]:
    """Train and evaluate every cell that is not finished; those that failed, and why."""
    if missing := missing_data(recipe, where):
        raise OutOfReachError(
            f"recipe {recipe.name} wants what is not here:\n  " + "\n  ".join(missing)
        )
    if recipe.rerank is not None:  # refused now, and not after the first training
        load_reranker(recipe.rerank, _encoder_options(recipe, where, recipe.variants()[0]))
    progress, failed = progress or Silent(), dict[Cell, str]()
    require_writable(where.folder, ELSEWHERE)
    with held(where.folder / LOCK, f"output folder {where.folder}"):
        todo = [cell for cell in recipe.cells() if not is_finished(recipe, where, cell)]
        # A first seed of everything says more than all seeds of a few.
        todo.sort(key=lambda cell: recipe.seeds.index(cell.seed))
        # One that was trained is encoded in every way before its model goes.
        groups: dict[str, list[Cell]] = {}
        for cell in todo:
            groups.setdefault(cell.training, []).append(cell)

        def begun() -> Iterator[tuple[str, list[Cell]]]:
            for n, (name, cells) in enumerate(groups.items(), 1):
                say(f"{n} of {len(groups)}: {name}")
                try:
                    _share_rows(recipe, where, cells[0], progress)
                except XlirError as error:
                    _fail(name, error)
                else:
                    yield name, cells

        def _fail(name: str, error: Exception) -> None:
            if not isinstance(error, XlirError):
                raise error
            say(f"  failed: {error}" if executor is LOCAL else f"failed: {name}: {error}")
            for cell in groups[name]:
                if not is_finished(recipe, where, cell):
                    failed[cell] = str(error)

        job = Cells(recipe, where, progress)
        if executor.remote:
            there = replace(
                where, folder=where.folder.absolute(), device=where.device or executor.device
            )
            job = Cells(recipe, there)
        for done in executor.run(job, begun()):
            if done.error is not None:
                _fail(done.name, done.error)
        shutil.rmtree(where.folder / ROWS, ignore_errors=True)
        if where.discard_models:  # also of cells that were killed between their result and this
            left = [c.training for c in recipe.cells() if not is_finished(recipe, where, c)]
            for cell in recipe.cells():
                if cell.training not in left:
                    _discard_model(where, cell)
    return failed


@dataclass(frozen=True, slots=True)
class Cells:
    """Trainings, each with its cells to evaluate."""

    recipe: Recipe
    where: Where
    progress: Progress = field(default_factory=Silent)

    def open(self) -> Callable[[list[Cell]], None]:
        """Each loads what it wants."""
        return self._run

    def _run(self, cells: list[Cell]) -> None:
        import torch

        try:
            for cell in cells:
                _run_cell(self.recipe, self.where, cell, self.progress)
            if self.where.discard_models:
                _discard_model(self.where, cells[0])
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def is_finished(recipe: Recipe, where: Where, cell: Cell) -> bool:
    """Whether everything that is asked of a cell is there."""
    return cell_record(where.folder, cell) is not None and not _to_evaluate(recipe, where, cell)


def _to_evaluate(recipe: Recipe, where: Where, cell: Cell) -> list[str]:
    """The tasks that a cell has no result of, or one of other languages or measures."""
    return [
        task
        for task in recipe.tasks_of(cell)
        if task not in where.skip and not _is_evaluated(recipe, where, cell, task)
    ]


def _is_evaluated(recipe: Recipe, where: Where, cell: Cell, name: str) -> bool:
    folder, task = cell_folder(where.folder, cell) / name, where.tasks[name]
    if not (folder / RESULT_FILE).is_file():
        return False
    result = Result.load(folder)
    options, asked = result.record.options, _run_options(recipe, where, cell, name)
    how = result.record.encoder.options or EncoderOptions()
    wanted = _encoder_options(recipe, where, cell.variant)
    decisive = ("dtype", "truncate_dim", "max_length", "rerank", "rerank_depth")
    return (
        has_questions(result)
        and result.record.task.digest == task.digest
        and options.langs == asked.part(task).get("langs", [])
        and set(options.measures) == set(recipe.measures or task.measures)
        and options.vectors == asked.vectors
        and all(getattr(how, option) == getattr(wanted, option) for option in decisive)
        and (not recipe.alignment or result.record.alignment != AlignmentPart())
        and (result.record.profile.cost is not None or not _is_costed(recipe, cell, name))
    )


def _is_costed(recipe: Recipe, cell: Cell, task: str) -> bool:
    """Whether the recipe asks what a cell costs in use, on this task."""
    first = next(iter(recipe.encodings), None)
    wanted = recipe.cost is not None and recipe.cost.task == task and cell.variant.trained
    return wanted and (cell.seed, cell.variant.encoding) == (recipe.seeds[0], first)


def train_options(recipe: Recipe, where: Where, cell: Cell) -> TrainOptions:
    """The options of a cell's training."""
    variant = cell.variant
    stated = recipe.training.options(variant.strategy)
    options = {n: v for n, v in stated.items() if OF_LOSS.get(n, variant.loss) == variant.loss}
    if (teacher := options.get("teacher")) is not None:
        options["teacher"] = _in_data_root(teacher, where)
    options |= {
        "model": _in_data_root(variant.model, where),
        "sources": [_in_data_root(source, where) for source in recipe.data[variant.data]],
        "output": model_folder(where, cell),
        "strategy": variant.strategy if variant.trained else Strategy.HYBRID,
        "batch_size": variant.batch_size or max(recipe.batch_sizes),
        "alpha": 0.5 if variant.alpha is None else variant.alpha,
        "seed": cell.seed,
        "steps": recipe.steps,
        "loss": variant.loss or "infonce",
        "eval_steps": 0 if recipe.look is None else recipe.look.every,
        "select_by": "last",  # to choose a step by the tasks would be to train on them
        "device": where.device,
        "offline": where.offline,
        "resume": True,
    }
    return build(TrainOptions, options)


def model_folder(where: Where, cell: Cell) -> Path:
    """Where the model of a cell lies, and what its training is resumed from."""
    return where.folder / MODELS / cell.training


def _share_rows(recipe: Recipe, where: Where, cell: Cell, progress: Progress) -> None:
    """Give a cell that was not begun its rows; to read and check them takes longer than a small training."""
    options = train_options(recipe, where, cell)
    run_folder = RunFolder(options.output)
    if run_folder.path.exists():
        return
    tasks = [where.tasks[task] for task in recipe.tasks]
    shared = where.folder / ROWS / safe_name(cell.variant.data)
    rows = checked_rows(options, tasks, where.data, shared, progress)
    half = run_folder.data.with_name("half")
    shutil.copytree(rows, half)
    half.rename(run_folder.data)


def _run_cell(recipe: Recipe, where: Where, cell: Cell, progress: Progress) -> None:
    """Train a cell unless that is done, evaluate it, and write its record."""
    variant, tasks = cell.variant, [where.tasks[task] for task in recipe.tasks]
    options = train_options(recipe, where, cell)
    began = time.perf_counter()
    if variant.trained:
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
        asked = _run_options(recipe, where, cell, task)
        how = _encoder_options(recipe, where, variant)
        result = evaluate(
            where.tasks[task],
            str(done.folder),
            asked,
            encoder_options=how,
            progress=progress,
            command=where.command,
        )
        folder = cell_folder(where.folder, cell) / task
        Questions.of(result).save(folder)
        if recipe.cost is not None and _is_costed(recipe, cell, task):
            costs = CostOptions(**recipe.cost.model_dump(exclude={"task"}))
            models = load_models(where.tasks[task], str(done.folder), costs, asked, how)
            cost = measure_cost(where.tasks[task], models, costs, asked, progress, where.command)
            result = result.with_cost(cost)
        replace(result, tables={}).save(folder, compact=True)  # there are many
    # The record has the time of all parts of a training that was interrupted and resumed.
    trained = done.record.get("outcome", {}).get("seconds", seconds)
    place = {name.replace("_", "-"): value for name, value in asdict(variant).items()}
    steps = recipe.steps if variant.trained else 0
    record = CellRecord(
        cell=place | {"seed": cell.seed, "steps": steps},
        digest=cell.digest,
        training={name: done.record[name] for name in TRAINING if name in done.record},
        leaking=int(done.record.get("leakage", {}).get("leaking", 0)),
        train_seconds=before.train_seconds if before else round(trained, 1),
        evaluate_seconds=round(time.perf_counter() - began, 1),
    )
    write_cell(where.folder, record, cell.name)


def _run_options(recipe: Recipe, where: Where, cell: Cell, task: str) -> RunOptions:
    return RunOptions(
        langs=_langs(recipe, task),
        measures=recipe.measures,
        vectors=recipe.encoding(cell.variant).vectors,
        alignment=recipe.alignment,
        unions=False,
        cache=None,
        data=where.data,
        offline=where.offline,
    )


def _encoder_options(recipe: Recipe, where: Where, variant: Variant) -> EncoderOptions:
    """How a trained model is evaluated."""
    encoding = recipe.encoding(variant)
    return EncoderOptions(
        dtype=encoding.dtype,
        truncate_dim=encoding.truncate_dim,
        max_length=encoding.max_length,
        device=where.device,
        offline=where.offline,
        rerank=recipe.rerank,
        rerank_depth=recipe.rerank_depth,
    )


def _look(recipe: Recipe, where: Where) -> Callable[[Any], Mapping[str, float]] | None:
    """Evaluates a model while it is trained; None where the recipe asks for none of it."""
    if recipe.look is None:
        return None
    task = where.tasks[recipe.look.task]
    options = RunOptions(measures=("map",), unions=False, cache=None, data=where.data, offline=True)

    def look_at(model: Any) -> Mapping[str, float]:
        from xlir_bench.adapters import look

        return look([task], model, options)

    return look_at


def _langs(recipe: Recipe, task: str) -> tuple[str, ...] | None:
    return recipe.parts[task].langs if task in recipe.parts else None


def _in_data_root(source: str, where: Where) -> str:
    return source if where.data is None else source.replace(DATA, str(where.data), 1)


def _discard_model(where: Where, cell: Cell) -> None:
    folder = model_folder(where, cell)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # others may be there
        folder.parent.rmdir()

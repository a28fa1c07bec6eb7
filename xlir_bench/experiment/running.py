"""Train and evaluate the unfinished cells of a recipe, and plan what is left to do.

This process trains one cell after another, or workers do: a new process for each would load every library again, which
takes longer than a small training. Memory is therefore freed after every training.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from xlir_bench.encoders import load_reranker
from xlir_bench.errors import OutOfReachError, XlirError, named_by
from xlir_bench.evaluation import RunOptions, evaluate, load_models, measure_cost
from xlir_bench.executor import LOCAL, Executor
from xlir_bench.files import ELSEWHERE, building, held, require_writable, safe_name
from xlir_bench.options.encoding import EncoderOptions, LoadOptions
from xlir_bench.options.stating import build, changed, options_of
from xlir_bench.options.training import TrainOptions, parse_source
from xlir_bench.recipe import DATA, Cell, Recipe, Variant
from xlir_bench.records import Evaluate, Progress, Silent
from xlir_bench.results import Result
from xlir_bench.results.cells import (
    TRAINING,
    CellRecord,
    Questions,
    cell_folder,
    cell_record,
    has_questions,
    write_cell,
)
from xlir_bench.results.schema import AlignmentPart
from xlir_bench.results.store import RESULT_FILE
from xlir_bench.sources import data_state
from xlir_bench.tasks import Task
from xlir_bench.train.folder import RunFolder

MODELS, ROWS, LOCK = "models", ".rows", ".experiment.lock"


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell and its state."""

    cell: Cell
    state: str
    """``done``, ``begun`` or ``to do``."""
    seconds: float | None
    """The time that it took, or is expected to take; None if nothing like it is finished."""


@dataclass(frozen=True, slots=True)
class Trainings:
    """The trainings of a recipe and their evaluations: where and with which data they run, and what is kept."""

    recipe: Recipe
    folder: Path
    tasks: Mapping[str, Task]
    data: Path | None = None
    """The data root; None: the download cache."""
    device: str | None = None
    offline: bool = False
    skip: frozenset[str] = frozenset()
    """Tasks that are left out for now."""
    discard_models: bool = False
    """Whether to keep only results: a model is removed after its evaluation."""
    command: str = ""
    progress: Progress = field(default_factory=Silent)

    def missing_data(self) -> list[str]:
        """The missing files and tasks that the recipe names, one line each, without tasks that can be downloaded."""
        recipe, missing = self.recipe, []
        sources = [source for sources in recipe.data.values() for source in sources]
        models = [*recipe.models, recipe.training.model_dump()["teacher"] or ""]
        for name in (name for name in (*sources, *models) if name.startswith(DATA)):
            source = self._in_data_root(name)
            file = source if name in models else parse_source(source).name
            if self.data is None:
                missing.append(f"{name}: no data root; name one with --data, or XLIR_DATA")
            elif not Path(file).exists():
                missing.append(f"{file} is not there")
        may_download = self.data is None and not self.offline
        for task in [*recipe.tasks, *([recipe.look.task] if recipe.look else [])]:
            if task in self.skip or may_download:
                continue
            state = data_state(self.tasks[task], self.data)
            wanted = self._langs(task) or self.tasks[task].languages
            if lacking := [lang for lang in state.missing if lang in wanted]:
                hint = f"--skip-tasks {task} leaves it out for now"
                missing.append(f"task {task}: {', '.join(lacking)} not in {state.folder}; {hint}")
        return list(dict.fromkeys(missing))

    def plan(self) -> list[Planned]:
        """Every cell in the recipe's order; an expected time is the mean of the most similar finished cells."""
        cells = self.recipe.cells()
        records = {c: r for c in cells if (r := cell_record(self.folder, c)) is not None}
        planned = []
        for cell in cells:
            if self.is_finished(cell):
                planned.append(Planned(cell, "done", records[cell].seconds))
            else:
                state = "begun" if self._model_folder(cell).is_dir() else "to do"
                planned.append(Planned(cell, state, _expected_seconds(cell.variant, records)))
        return planned

    def run(
        self,
        say: Callable[[str], None],
        executor: Executor = LOCAL,
        of_workers: Progress | None = None,
    ) -> dict[Cell, str]:
        """Train and evaluate every unfinished cell; returns the cells that failed, and why.

        `of_workers` shows how many trainings have ended, if workers do them.
        """
        recipe = self.recipe
        counted = (of_workers if executor.remote else None) or Silent()
        if missing := self.missing_data():
            raise OutOfReachError(
                f"recipe {recipe.name} needs data or models that are missing:\n  "
                + "\n  ".join(missing)
            )
        how_encoded = self._encoder_options(recipe.variants()[0])
        if how_encoded.rerank is not None:  # an error now, and not after the first training
            with named_by("rerank"):
                load_reranker(how_encoded.rerank, how_encoded)
        failed = dict[Cell, str]()
        require_writable(self.folder, ELSEWHERE)
        with held(self.folder / LOCK, f"output folder {self.folder}"):
            todo = [cell for cell in recipe.cells() if not self.is_finished(cell)]
            # One seed of every variant tells more than all seeds of a few variants.
            todo.sort(key=lambda cell: recipe.seeds.index(cell.seed))
            # A trained model is evaluated with every encoding before it is removed.
            groups: dict[str, list[Cell]] = {}
            for cell in todo:
                groups.setdefault(cell.training, []).append(cell)

            def begun() -> Iterator[tuple[str, list[Cell]]]:
                for n, (name, cells) in enumerate(groups.items(), 1):
                    say(f"{n} of {len(groups)}: {name}")
                    try:
                        self._share_rows(cells[0])
                    except XlirError as error:
                        end(name, error)
                    else:
                        yield name, cells

            def end(name: str, error: Exception | None) -> None:
                counted.advance(1)
                if isinstance(error, XlirError):
                    say(f"  failed: {error}" if executor is LOCAL else f"failed: {name}: {error}")
                    unfinished = [cell for cell in groups[name] if not self.is_finished(cell)]
                    failed.update(dict.fromkeys(unfinished, str(error)))
                elif error is not None:
                    raise error

            job = self
            if executor.remote:
                if groups:
                    counted.start("train", len(groups), "trainings")
                folder, device = self.folder.absolute(), self.device or executor.device
                job = replace(self, folder=folder, device=device, progress=Silent())
            for done in executor.run(job, begun()):
                end(done.name, done.error)
            counted.finish()
            shutil.rmtree(self.folder / ROWS, ignore_errors=True)
            if self.discard_models:  # also models of a run that was killed before it removed them
                left = [c.training for c in recipe.cells() if not self.is_finished(c)]
                for cell in recipe.cells():
                    if cell.training not in left:
                        self._discard_model(cell)
        return failed

    def open(self) -> Callable[[list[Cell]], None]:
        """The function that workers call with the cells of one training."""
        return self._run

    def _run(self, cells: list[Cell]) -> None:
        import torch

        try:
            for cell in cells:
                self._run_cell(cell)
            if self.discard_models:
                self._discard_model(cells[0])
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def is_finished(self, cell: Cell) -> bool:
        """Whether a cell has its record, and a result for every task that is not skipped."""
        return cell_record(self.folder, cell) is not None and not self._to_evaluate(cell)

    def _to_evaluate(self, cell: Cell) -> list[str]:
        """The tasks for which a cell has no result, or a result with other options than the recipe's."""
        return [
            task
            for task in self.recipe.tasks_of(cell)
            if task not in self.skip and not self._is_evaluated(cell, task)
        ]

    def _is_evaluated(self, cell: Cell, name: str) -> bool:
        folder, task = cell_folder(self.folder, cell) / name, self.tasks[name]
        if not (folder / RESULT_FILE).is_file():
            return False
        result = Result.load(folder)
        asked, wanted = self._run_options(cell, name), self._encoder_options(cell.variant)
        how = result.record.encoder.options or EncoderOptions()
        decisive = [option.name for option in options_of(LoadOptions) if option.decides]
        return (
            has_questions(result)
            and result.record.task.digest == task.digest
            and result.record.options.asked_again(asked).part(task) == asked.part(task)
            and all(getattr(how, option) == getattr(wanted, option) for option in decisive)
            and (not asked.alignment or result.record.alignment != AlignmentPart())
            and (result.record.profile.cost is not None or not self._is_costed(cell, name))
        )

    def _is_costed(self, cell: Cell, task: str) -> bool:
        """Whether the recipe wants the cost in use of this cell's model, measured on this task."""
        recipe = self.recipe
        first = next(iter(recipe.encodings), None)
        wanted = recipe.cost is not None and recipe.cost.task == task and cell.variant.trained
        return wanted and (cell.seed, cell.variant.encoding) == (recipe.seeds[0], first)

    def train_options(self, cell: Cell) -> TrainOptions:
        """The options of a cell's training."""
        recipe, variant = self.recipe, cell.variant
        options = recipe.training.options(variant.strategy, variant.loss)
        if (teacher := options.get("teacher")) is not None:
            options["teacher"] = self._in_data_root(teacher)
        options |= {
            "model": self._in_data_root(variant.model),
            "sources": [self._in_data_root(source) for source in recipe.data[variant.data]],
            "output": self._model_folder(cell),
            "strategy": variant.strategy if variant.trained else None,
            "batch_size": variant.batch_size or max(recipe.batch_sizes),
            "alpha": variant.alpha,
            "seed": cell.seed,
            "steps": recipe.steps,
            "loss": variant.loss,
            "eval_steps": 0 if recipe.look is None else recipe.look.every,
            "select_by": "last",  # choosing a step by the tasks would be training on them
            "device": self.device,
            "offline": self.offline,
            "resume": True,
        }
        return build(TrainOptions, options)

    def _model_folder(self, cell: Cell) -> Path:
        """The folder with the model of a cell, and with what an interrupted training is resumed from."""
        return self.folder / MODELS / cell.training

    def _share_rows(self, cell: Cell) -> None:
        """Copy the checked rows to a new cell: reading and checking them again takes longer than a small training."""
        from xlir_bench.train.trainer import checked_rows

        options = self.train_options(cell)
        run_folder = RunFolder(options.output)
        if run_folder.data.exists() or run_folder.finished:
            return
        tasks = [self.tasks[task] for task in self.recipe.tasks]
        shared = self.folder / ROWS / safe_name(cell.variant.data)
        rows = checked_rows(options, tasks, self.data, shared, self.progress)
        with building(run_folder.data) as half:
            shutil.copytree(rows, half, dirs_exist_ok=True)

    def _run_cell(self, cell: Cell) -> None:
        """Train a cell unless that was done before, evaluate it, and write its record."""
        from xlir_bench.train.trainer import save_untrained, train

        recipe, variant = self.recipe, cell.variant
        tasks = [self.tasks[task] for task in recipe.tasks]
        options = self.train_options(cell)
        of_training: dict[str, Any] = {"tasks": tasks, "data": self.data, "progress": self.progress}
        began = time.perf_counter()
        if variant.trained:
            done = train(options, evaluate=self._look(), command=self.command, **of_training)
        else:
            done = save_untrained(options, **of_training)
        seconds = time.perf_counter() - began
        before = cell_record(self.folder, cell)
        began = time.perf_counter()
        for task in self._to_evaluate(cell):
            asked, how = self._run_options(cell, task), self._encoder_options(variant)
            result = evaluate(
                self.tasks[task],
                str(done.folder),
                asked,
                encoder_options=how,
                progress=self.progress,
                command=self.command,
            )
            folder = cell_folder(self.folder, cell) / task
            Questions.of(result).save(folder)
            if recipe.cost is not None and self._is_costed(cell, task):
                costs = recipe.cost.options
                models = load_models(self.tasks[task], str(done.folder), costs, asked, how)
                cost = measure_cost(
                    self.tasks[task], models, costs, asked, self.progress, self.command
                )
                result = result.with_cost(cost)
            replace(result, tables={}).save(folder, compact=True)  # an experiment has many results
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
        write_cell(self.folder, record, cell.name)

    def _run_options(self, cell: Cell, task: str) -> RunOptions:
        options = RunOptions(
            langs=self._langs(task),
            unions=False,
            cache=None,
            data=self.data,
            offline=self.offline,
        )
        return changed(options, self.recipe.evaluation(cell.variant.encoding))

    def _encoder_options(self, variant: Variant) -> EncoderOptions:
        """How a trained model is evaluated."""
        options = EncoderOptions(device=self.device, offline=self.offline)
        return changed(options, self.recipe.evaluation(variant.encoding))

    def _look(self) -> Evaluate | None:
        """A function that evaluates a model during training; None if the recipe has no `look`."""
        if self.recipe.look is None:
            return None
        from xlir_bench.adapters import BRIEF, look

        tasks = [self.tasks[self.recipe.look.task]]
        options = replace(BRIEF, data=self.data, offline=True)
        return partial(look, tasks, options=options)

    def _langs(self, task: str) -> tuple[str, ...] | None:
        return self.recipe.parts[task].langs if task in self.recipe.parts else None

    def _in_data_root(self, source: str) -> str:
        return source if self.data is None else source.replace(DATA, str(self.data), 1)

    def _discard_model(self, cell: Cell) -> None:
        folder = self._model_folder(cell)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # the folder of models may hold others
            folder.parent.rmdir()


def _expected_seconds(variant: Variant, records: Mapping[Cell, CellRecord]) -> float | None:
    """The mean time of finished cells with the same model, batch size and loss, or else with the same model."""
    alike = [
        (cell.variant, record.seconds)
        for cell, record in records.items()
        if (cell.variant.model, cell.variant.trained) == (variant.model, variant.trained)
        and record.train_seconds is not None
    ]
    setting = (variant.batch_size, variant.loss)
    closer = [seconds for v, seconds in alike if (v.batch_size, v.loss) == setting]
    times = closer or [seconds for _, seconds in alike]
    return sum(times) / len(times) if times else None

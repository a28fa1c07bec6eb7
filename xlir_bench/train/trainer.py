"""One training run, from rows to a model with its card."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xlir_bench.encoders.quiet import quiet_transformers
from xlir_bench.errors import XlirError
from xlir_bench.options.training import TrainOptions
from xlir_bench.records import Evaluate, Progress, Silent
from xlir_bench.results.training import FinishedRecord, read_training
from xlir_bench.tasks import Task
from xlir_bench.train.bases import Base, load_base
from xlir_bench.train.batches import Planner
from xlir_bench.train.faults import explained
from xlir_bench.train.folder import RECORD, RunFolder, write_json
from xlir_bench.train.freezing import freeze
from xlir_bench.train.leakage import EvaluationTexts, LeakageFoundError, LeakFinder
from xlir_bench.train.plan import BatchTexts, write_plan
from xlir_bench.train.pruning import Pruning
from xlir_bench.train.reading import source_digest
from xlir_bench.train.shaping import ShapingTexts
from xlir_bench.train.store import RowStore, open_rows, store_rows
from xlir_bench.untrusted import load_json, read_json, validated

STATIC_RATE, RATE = 0.01, 3e-5


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run."""

    folder: Path
    record: Mapping[str, Any]
    """What stands in training.json."""


def train(
    options: TrainOptions,
    *,
    evaluate: Evaluate | None = None,
    tasks: Sequence[Task] = (),
    data: Path | None = None,
    progress: Progress | None = None,
    command: str = "",
    say: Callable[[str], object] = str,
) -> Trained:
    """Train a model as `options` say.

    `say` is told what is worth a line on the way. `evaluate` gives figures of a model in the middle of training; `tasks` are those whose texts must not be
    among the training rows, looked for under the root `data` or in the cache.
    """
    options.check()
    folder = RunFolder(options.output)
    with folder.held():
        folder.require_fresh(options.resume)
        if folder.finished:
            if not options.keep_checkpoints:  # a run that was killed while it tidied up
                shutil.rmtree(folder.checkpoints, ignore_errors=True)
            return Trained(folder.path, read_training(folder.path / RECORD, FinishedRecord))
        run = _Run(options, folder, evaluate, tasks, data, progress or Silent(), command, say)
        try:
            return Trained(folder.path, run.go())
        except XlirError:
            folder.forget_unbegun()
            raise


def save_untrained(
    options: TrainOptions,
    *,
    tasks: Sequence[Task] = (),
    data: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """The model that a training would start from, with its prompts and pooling, as a folder of its own."""
    options.check()
    folder = RunFolder(options.output)
    with folder.held():
        if folder.finished:
            shutil.rmtree(folder.checkpoints, ignore_errors=True)
            return Trained(folder.path, read_training(folder.path / RECORD))
        run = _Run(options, folder, None, tasks, data, progress or Silent(), "", str)
        run._shaping().check()
        folder.checkpoints.mkdir(exist_ok=True)
        store, leakage = run._rows()
        base = run._base(store)
        with quiet_transformers():
            base.whole(base.model).save(str(folder.path), create_model_card=False)
        from xlir_bench.train.publish import base_record

        record = base_record(base, store) | {"leakage": dict(leakage)}
        write_json(folder.path / RECORD, record)
        shutil.rmtree(folder.checkpoints)
        return Trained(folder.path, record)


def checked_rows(
    options: TrainOptions,
    tasks: Sequence[Task],
    data: Path | None,
    folder: Path,
    progress: Progress,
) -> Path:
    """Read the rows and look for evaluation texts once, for several trainings; where they lie.

    A training that finds a copy of them as `RunFolder.data` begins from there.
    """
    run = _Run(options, RunFolder(folder), None, tasks, data, progress, "", str)
    run._rows()
    return run.folder.data


@dataclass(frozen=True)
class _Run:
    """One run and its stages."""

    options: TrainOptions
    folder: RunFolder
    evaluate: Evaluate | None
    tasks: Sequence[Task]
    data: Path | None
    progress: Progress
    command: str
    say: Callable[[str], object]

    def go(self) -> Mapping[str, Any]:
        """Train; what was found is in the record."""
        from xlir_bench.train.loop import Loop, intervals, training_device
        from xlir_bench.train.publish import Run, publish
        from xlir_bench.train.watching import selection

        training_device(self.options, self.options.from_nothing)
        intervals(self.options, self.evaluate, 1)  # refuses what would never be evaluated
        self._shaping().check()
        self.folder.remember(self.options.stated())
        store, leakage = self._rows()
        planner = Planner(store, self.options.batches)
        steps = self.options.steps or math.ceil((self.options.epochs or 1) * planner.epoch)
        batches = steps * self.options.batches_a_step
        plan = write_plan(planner, batches, self.folder.data, self.progress)
        base = self._base(store)
        rate = self.options.lr or (STATIC_RATE if self.options.from_nothing else RATE)
        evaluate = _of_the_whole(base, self.evaluate)
        before = self._before(base, evaluate)
        if before:  # a figure that is none is refused now, not when training meets it
            selection(before, self.options.select_by)
        loop = Loop(self.options, self.folder, evaluate, self.progress, self.say)
        texts = BatchTexts(store, planner.census.mask, self.options.batches.whole_answers)

        def where() -> tuple[int, str]:
            step = min(loop.watcher.step, steps - 1)
            return step + 1, plan.describe(step * batches // steps, store)

        with quiet_transformers(), explained(self.options, self.folder, where):
            outcome = loop.run(base, plan, texts, steps, rate)
        run = Run(
            options=self.options,
            folder=self.folder,
            base=base,
            store=store,
            plan=plan,
            outcome=outcome,
            leakage=leakage,
            before=before,
            rate=rate,
            epoch=planner.epoch,
            command=self.command,
        )
        return publish(run, self.evaluate)

    def _rows(self) -> tuple[RowStore, Mapping[str, Any]]:
        """The rows, and what was found of evaluation data among them; as they lie, if they do."""
        report = self.folder.data / "leakage.json"
        store = open_rows(self.folder.data)
        if store is not None and report.is_file() and self._unchanged(store):
            return store, read_json(report, dict[str, Any], "what was found of evaluation data")
        texts = EvaluationTexts.load(self.tasks, self.data, Silent())
        finder = LeakFinder(texts)
        dropping = self.options.leakage == "drop"

        def keep(rows: Sequence[Any]) -> list[bool]:
            return [not (leak and dropping) for leak in finder.leaks(rows)]

        store = store_rows(
            self.options.sources, self.folder.data, self.progress, keep, self.options.offline
        )
        found = finder.report().as_json() | {"action": self.options.leakage}
        if self.options.leakage == "fail" and found["leaking"]:
            raise LeakageFoundError(finder.report())
        write_json(report, found)
        return store, found

    def _base(self, store: RowStore) -> Base:
        """The model that training starts from."""
        kept = self.folder.checkpoints / "base"
        base = load_base(self.options, store, kept)
        if self.options.prune_vocabulary is not None:
            base = Pruning(base, self.progress).of(self._shaping(), store, kept)
        if self.options.frozen_layers is not None:
            note = freeze(base.model, self.options.frozen_layers)
            base = replace(base, notes=(*base.notes, note))
        return base

    def _shaping(self) -> ShapingTexts:
        tasks = {task.name: task for task in self.tasks}
        return ShapingTexts(self.options.prune_vocabulary or (), tasks, self.data)

    def _unchanged(self, store: RowStore) -> bool:
        """Whether the sources are what they were when the rows were stored."""
        stated = [source_digest(source) for source in self.options.sources]
        return [source.digest for source in store.sources] == stated

    def _before(self, base: Base, evaluate: Evaluate | None) -> Mapping[str, float]:
        """Figures of the model that training starts from."""
        path = self.folder.checkpoints / "before.json"
        if evaluate is None:
            return {}
        if not path.is_file():
            write_json(path, dict(evaluate(base.model)))
        stated = load_json(path, strict=False)
        return validated(dict[str, float], stated, path, "what was seen before training")


def _of_the_whole(base: Base, evaluate: Evaluate | None) -> Evaluate | None:
    """Evaluation of the model as it will be saved: what is trained may be a part of it."""
    return None if evaluate is None else lambda model: evaluate(base.whole(model))

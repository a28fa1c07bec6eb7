"""Evaluations whose results are saved: one job, for this process and for workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from xlir_bench.errors import InputError, XlirError
from xlir_bench.evaluation.retrievers import as_retriever
from xlir_bench.evaluation.run import evaluate_retriever
from xlir_bench.executor import LOCAL, Executor
from xlir_bench.files import require_writable
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import RunOptions
from xlir_bench.records import Progress, Silent
from xlir_bench.results import Result, result_folder
from xlir_bench.results.store import REMEDY, cost_before, folder_of_data
from xlir_bench.results.trec import write_trec
from xlir_bench.retrieval import Retriever
from xlir_bench.tasks import Task


class Asked(NamedTuple):
    """One encoder on one task."""

    encoder: object
    """Its spec, which a worker loads, or a retriever that was made with these options."""
    task: Task
    encoder_options: EncoderOptions
    name: str | None = None
    """The name of the encoder in tables."""


@dataclass(frozen=True, slots=True)
class Evaluations:
    """Evaluates encoders on tasks, and saves the results."""

    options: RunOptions
    output: Path
    command: str
    progress: Progress | None = None
    tell: Callable[[str], object] = str
    executor: Executor = LOCAL
    trec: bool = False
    spared: Path | None = None
    """The folder of a result that must not be overwritten."""

    def open(self) -> Callable[[Asked], Result]:
        """The function that workers call for each evaluation."""
        return self.result

    def folder(self, slug: str, task: Task) -> Path:
        """The folder for a result, unless it holds a result of other data; refused if it cannot be written."""
        folder = result_folder(self.output, slug, task.name, self.options.part(task))
        require_writable(folder, REMEDY)
        return folder

    def result(self, asked: Asked) -> Result:
        """Evaluate one encoder on one task, and save the result."""
        how = asked.encoder_options
        retriever = asked.encoder
        if not isinstance(retriever, Retriever):
            retriever = as_retriever(retriever, how, self.options, self.executor)
        usual = self.folder(retriever.card.slug, asked.task)
        result = evaluate_retriever(
            asked.task, retriever, self.options,
            encoder_options=how, progress=self.progress or Silent(), command=self.command, executor=self.executor,
        )  # fmt: skip
        if asked.name is not None:
            encoder_part = result.record.encoder.model_copy(update={"name": asked.name})
            named = result.record.model_copy(update={"encoder": encoder_part})
            result = replace(result, record=named)
        folder = folder_of_data(usual, result.record)
        if folder != usual:
            self.tell(
                f"{usual} holds a result of other data and is kept; the new result goes to {folder}"
            )
        if self.spared is not None and folder.resolve() == self.spared.resolve():
            raise InputError(
                f"the candidate's result would replace the baseline {folder}: name another --output, or keep"
                " baselines in a folder of their own (gate --first)"
            )
        saved = result.with_cost(cost_before(folder, result.record)).save(folder)
        if self.trec:
            write_trec(saved, folder / "trec")
        return saved


def resolved(
    specs: Sequence[str],
    encoder_options: EncoderOptions,
    options: RunOptions,
    executor: Executor = LOCAL,
) -> list[Retriever]:
    """The retrievers of all specs; one error names all specs that cannot be loaded, before any work begins."""
    retrievers: list[Retriever] = []
    faults = []
    for spec in specs:
        try:
            retrievers.append(as_retriever(spec, encoder_options, options, executor))
            _ = retrievers[-1].card
        except XlirError as error:
            faults.append(error)
    if len(faults) > 1:
        together = XlirError("; ".join(dict.fromkeys(map(str, faults))))
        together.exit_code = faults[0].exit_code
        raise together from faults[0]
    if faults:
        raise faults[0]
    return retrievers

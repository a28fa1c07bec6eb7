"""What an experiment shows: tables, tests, claims and plots from its stored results alone."""

from xlir_bench.reports.experiment.index import index_text
from xlir_bench.reports.experiment.pages import (
    Made,
    comparable,
    experiment_texts,
    report_files,
    require_ours,
)
from xlir_bench.reports.experiment.stored import (
    CellRecord,
    Experiment,
    cell_folder,
    cell_record,
    read_experiment,
    write_cell,
)

__all__ = [
    "CellRecord",
    "Experiment",
    "Made",
    "cell_folder",
    "cell_record",
    "comparable",
    "experiment_texts",
    "index_text",
    "read_experiment",
    "report_files",
    "require_ours",
    "write_cell",
]

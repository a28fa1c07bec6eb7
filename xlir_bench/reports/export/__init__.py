"""Exports: stored results in the files of other tools."""

from xlir_bench.reports.export.card import model_card
from xlir_bench.reports.export.mteb import mteb_record
from xlir_bench.reports.export.tidy import tidy_frame
from xlir_bench.reports.export.write import FORMATS, write

__all__ = ["FORMATS", "model_card", "mteb_record", "tidy_frame", "write"]

"""Reads parallel text as FLORES-200 and NTREX-128 publish it: a text file a language, line n the translation of line n.

A task names them ``<lang>.text``; ``<lang>.documents``, shared by all, has the document of each line in its first
column, with or without a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xlir_bench.records import Collection
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, named_files
from xlir_bench.sources.parallel import bitext
from xlir_bench.sources.rows import Faults, read_lines
from xlir_bench.tasks import Task, file_language


def read_aligned(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """Each text finds its translation; the texts of a document move together. All faults are reported at once."""
    faults = Faults(f"the data of task {task.name!r}")
    langs = sorted({file_language(name) for name in files})
    paths = named_files(task, files, [f"{lang}.text" for lang in langs])
    (documents, *_) = named_files(task, files, [f"{lang}.documents" for lang in langs])
    lines = {path: _lines(path, faults) for path in (documents, *paths)}
    faults.check()
    count = len(lines[paths[0]])
    of_line = [line.partition("\t")[0] for line in lines[documents]]
    of_line = of_line[1:] if len(of_line) == count + 1 else of_line
    for path, found in ((documents, of_line), *((path, lines[path]) for path in paths)):
        if len(found) != count:
            reason = (
                f"has {len(found):,} lines, and {paths[0].name} has {count:,}: they belong together"
            )
            faults.add(path, "$", reason)
    faults.check()
    languages = {lang: LanguageTexts() for lang in langs}
    for lang, path in zip(langs, paths, strict=True):
        for number, (text, document) in enumerate(zip(lines[path], of_line, strict=True), 1):
            if text:
                languages[lang].ask(str(number), text, str(number))
                languages[lang].clusters.append(document or f"line {number}")
                languages[lang].answer(str(number), text, str(number))
    return bitext(task, languages, options.limit, "document")


def _lines(path: Path, faults: Faults) -> list[str]:
    return [line for _, line in read_lines(path, faults, str.strip, blank=True)]

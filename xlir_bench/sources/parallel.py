"""Reads parallel text, JSON Lines of ``{"id", "text": {lang: …}}``: a text finds its translation.

Every text is a query and a candidate. There are only settings across languages: among candidates of its own
language a query would find itself. If every row has a ``doc``, the rows of one move together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind
from xlir_bench.sources.collecting import (
    LanguageTexts,
    ReadOptions,
    collection,
    read_languages,
)
from xlir_bench.sources.rows import Faults, rows, text_of
from xlir_bench.tasks import Task


def read_parallel(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files (languages may share one); all faults are reported at once."""
    if task.kinds != [Kind.CROSS_LINGUAL]:
        raise InputError(f"task {task.name!r}: parallel text has cross-lingual settings alone")
    languages = read_languages(task, files, _read)
    grouped = all(all(texts.clusters) for texts in languages.values())
    if not grouped:
        for texts in languages.values():
            texts.clusters = []
    every_pair = collection(
        languages, options.limit, "document" if grouped else "question", parallel=True
    )
    across = {pair: rows for pair, rows in every_pair.relevance.items() if pair[0] != pair[1]}
    return replace(every_pair, relevance=across)


def _read(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
    """The texts of a file in these languages, with their documents (or nothing) as clusters."""
    languages = {lang: LanguageTexts() for lang in langs}
    names: set[str] = set()
    for place, row in rows(path, faults):
        with faults.at(path, place):
            texts = row.get("text")
            if not isinstance(texts, dict) or not all(isinstance(x, str) for x in texts.values()):
                raise ValueError("'text' is missing, or no object of a text for each language")
            name = text_of(row, "id")
            document = "" if row.get("doc") is None else text_of(row, "doc")
            if name in names:
                raise ValueError(f"{name!r} is the id of an earlier line")
            names.add(name)
            for lang in langs:
                if text := texts.get(lang, "").strip():
                    language = languages[lang]
                    language.ask(name, text, name)
                    language.clusters.append(document)
                    language.relevant.append((name, len(language.passages), 1))
                    language.passages[name] = text
    for lang, language in languages.items():
        if not language.questions and not faults.count:
            faults.add(path, "$", f"no line has a text in {lang!r}")
    return languages

"""Reads Belebele's layout, JSON Lines of a language: a question finds the passage that it was asked of.

A passage is told by its `link` in every language, a question by its `link` and `question_number`. The answers
to choose from are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xlir_bench.records import Collection
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, collection, read_languages
from xlir_bench.sources.rows import Faults, rows, text_of
from xlir_bench.tasks import Task


def read_belebele(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files, one a language; all their faults are reported at once."""
    languages = read_languages(task, files, _read)
    return collection(languages, options.limit, cluster="document", parallel=True)


def _read(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
    texts = LanguageTexts()
    for place, row in rows(path, faults):
        with faults.at(path, place):
            link, passage = text_of(row, "link"), text_of(row, "flores_passage")
            name = f"{link}#{text_of(row, 'question_number')}"
            if texts.passages.get(link, passage) != passage:
                raise ValueError(f"{link!r} has another passage in an earlier line")
            texts.ask(name, text_of(row, "question"), link, "an earlier question")
            if link not in texts.passages:
                texts.relevant.append((link, len(texts.passages), 1))
                texts.passages[link] = passage
    return dict.fromkeys(langs, texts)

"""Reads XOR-Retrieve: questions in many languages, English passages, and the answers that count.

Questions are JSON Lines of ``{"id", "question", "answers", "lang"}``, one file for all languages
(``<lang>.questions``); the passages a TSV of ``id, text, title`` (``en.docs``), read once, onto disk. No
passage is judged: one that contains an answer counts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from xlir_bench.records import Collection, Passages
from xlir_bench.sources.collecting import (
    LanguageTexts,
    ReadOptions,
    collection,
    languages_by_file,
    named_files,
)
from xlir_bench.sources.corpus import Passage, corpus_folder, stored_corpus, sweep
from xlir_bench.sources.judged import limit_notes
from xlir_bench.sources.rows import Faults, rows, text_lines, text_of
from xlir_bench.tasks import Task

COLUMNS = ["id", "text", "title"]
UNASKED = ("yes", "no")
"""Answers that stand in any passage: the official evaluation leaves them out, and questions that have no other."""
PASSAGES = "en"


def read_xor(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults, notes = Faults(task.name), list[str]()
    sweep(options.corpora)
    named = {x: files[f"{x}.questions"] for x in task.languages if f"{x}.questions" in files}
    languages: dict[str, LanguageTexts] = {}
    for path, langs in languages_by_file(named).items():
        languages |= _questions(path, langs, options.limit, faults)
    corpora: dict[str, Passages] = {}
    if options.passages:
        (docs,) = named_files(task, files, [f"{PASSAGES}.docs"])
        limit = options.corpus_limit
        stated = {} if limit is None else {"limit": limit}
        folder = corpus_folder(options.corpora, [options.digests[docs]], **stated)
        passages = islice(_passages(docs, faults), limit)
        corpus = stored_corpus(folder, PASSAGES, passages, faults, docs, notes)
        corpora = {} if corpus is None else {PASSAGES: corpus}
    faults.check()
    read = collection(languages, options.limit, cluster="question", stored=corpora)
    limited = limit_notes(options.corpus_limit, [PASSAGES])
    return replace(read, notes=(*limited, *notes))


def _questions(
    path: Path, langs: Sequence[str], limit: int | None, faults: Faults
) -> dict[str, LanguageTexts]:
    """The first questions of each language, with the answers that count."""
    languages = {lang: LanguageTexts() for lang in langs}
    for place, row in rows(path, faults):
        with faults.at(path, place):
            name, text, lang = (text_of(row, key) for key in ("id", "question", "lang"))
            answers = row.get("answers")
            if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
                raise ValueError("'answers' is missing, or no list of texts")
            texts = languages.get(lang)
            if texts and len(texts.questions) != limit:
                texts.ask(name, text, key=name)
                accepted = dict.fromkeys(a for a in answers if a and a not in UNASKED)
                texts.answers.append(tuple(accepted))
    for lang, texts in languages.items():
        if not any(texts.answers) and not faults.count:
            faults.add(path, "$", f"no question of {lang!r} has an answer other than yes or no")
    return languages


def _passages(path: Path, faults: Faults) -> Iterator[Passage]:
    """In the order of the file, whose cells are quoted as CSV's are."""
    table = csv.reader((line for _, line in text_lines(path, faults)), delimiter="\t")
    count = 0
    while True:
        try:
            row = next(table)
        except StopIteration:
            break
        except csv.Error as error:
            faults.add(path, f"line {table.line_num}", str(error))
            continue
        if row == COLUMNS:
            continue
        count += 1
        with faults.at(path, f"line {table.line_num}"):
            if len(row) != len(COLUMNS):
                raise ValueError(f"wants {', '.join(COLUMNS)} between tabs, has {len(row)} cells")
            name, text, title = (cell.strip() for cell in row)
            if not name or not text:
                raise ValueError("the id or the text is empty")
            yield Passage(name, title, text)
    if not count and not faults.count:
        faults.add(path, "$", "there is no passage in it")

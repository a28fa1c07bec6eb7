"""Reads XOR-Retrieve: questions in many languages, English passages, and the answers that count.

Questions are JSON Lines of ``{"id", "question", "answers", "lang"}``, one file for all languages
(``<lang>.questions``); the passages a TSV of ``id, text, title`` (``en.docs``), read once, onto disk. No
passage is judged: one counts that has an answer in it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from xlir_bench.records import Collection, Queries
from xlir_bench.sources.corpus import Corpus, Passage, corpus_folder, stored_corpus, sweep
from xlir_bench.sources.faults import Faults
from xlir_bench.sources.judged import limit_notes
from xlir_bench.sources.lines import clean_text, json_object, numbered_lines, read_lines, text_of
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task

COLUMNS = ["id", "text", "title"]
UNASKED = ("yes", "no")
"""Answers that stand in any passage: the official evaluation leaves them out, and questions that have no other."""
PASSAGES = "en"


@dataclass(slots=True)
class _Questions:
    """Those of one language."""

    texts: dict[str, str] = field(default_factory=dict)
    """By id, in the order of the file."""
    answers: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def queries(self) -> Queries:
        return Queries(tuple(self.texts), tuple(self.texts.values()), clusters=tuple(self.texts))


def read_xor(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(task.name)
    sweep(reading.corpora)
    named = {x: files[f"{x}.questions"] for x in task.languages if f"{x}.questions" in files}
    read: dict[str, _Questions] = {}
    for path in dict.fromkeys(named.values()):
        langs = [lang for lang, its in named.items() if its == path]
        read |= _questions(path, langs, reading.limit, faults)
    corpus = _corpus(files[f"{PASSAGES}.docs"], reading, faults) if reading.passages else None
    faults.check()
    limit = reading.corpus_limit
    return Collection(
        queries={lang: questions.queries for lang, questions in read.items()},
        passages={} if corpus is None else {PASSAGES: corpus.passages},
        relevance={},
        cluster="question",
        parallel=False,
        digests={},
        answers={lang: questions.answers for lang, questions in read.items()},
        notes=(
            *limit_notes(limit, [] if limit is None else [PASSAGES]),
            *(() if corpus is None else corpus.notes),
        ),
    )


def _corpus(docs: Path, reading: Reading, faults: Faults) -> Corpus | None:
    limit = reading.corpus_limit
    stated = {} if limit is None else {"limit": limit}
    folder = corpus_folder(reading.corpora, [reading.digests[docs]], **stated)
    passages = islice(_passages(docs, faults), limit)
    return stored_corpus(folder, PASSAGES, passages, faults, docs)


def _questions(
    path: Path, langs: Sequence[str], limit: int | None, faults: Faults
) -> dict[str, _Questions]:
    found = {lang: _Questions() for lang in langs}

    def parse(line: str) -> None:
        stated = json_object(line)
        name, text, lang = (text_of(stated, key) for key in ("id", "question", "lang"))
        answers = stated.get("answers")
        if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
            raise ValueError("'answers' is missing, or no list of texts")
        mine = found.get(lang)
        if mine is None or len(mine.texts) == limit:
            return
        if name in mine.texts:
            raise ValueError(f"{name!r} is the id of an earlier line")
        mine.texts[name] = text
        mine.answers.append(tuple(dict.fromkeys(a for a in answers if a and a not in UNASKED)))

    for _ in read_lines(path, faults, parse):
        pass
    for lang, its in found.items():
        if not any(its.answers) and not faults.count:
            faults.add(path, "$", f"no question of {lang!r} has an answer other than yes or no")
    return found


def _passages(path: Path, faults: Faults) -> Iterator[Passage]:
    """In the order of the file, whose cells are quoted as CSV's are."""
    rows = csv.reader((line for _, line in numbered_lines(path, faults)), delimiter="\t")
    count = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            faults.add(path, f"line {rows.line_num}", str(error))
            continue
        if row == COLUMNS:
            continue
        count += 1
        if len(row) != len(COLUMNS):
            reason = f"wants {', '.join(COLUMNS)} between tabs, has {len(row)} cells"
            faults.add(path, f"line {rows.line_num}", reason)
            continue
        name, text, title = map(clean_text, row)
        if name and text:
            yield Passage(name, title, text)
        else:
            faults.add(path, f"line {rows.line_num}", "the id or the text is empty")
    if not count and not faults.count:
        faults.add(path, "$", "there is no passage in it")

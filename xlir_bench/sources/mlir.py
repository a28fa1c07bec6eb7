"""Reads the layout of MIMO's benchmarks (`yjoonjang/mlir-benchmarks`): judged questions over one pool of many languages.

``queries.jsonl`` has ``{"_id", "text", "lang"}``, ``corpus.jsonl`` ``{passage: {"text", "lang"}}``, ``qrels.jsonl``
``{question: {passage: grade}}``. A question's id is its language, ``_`` or ``_q_``, and what its translations share.
A task names them ``<lang>.queries``, ``<lang>.corpus`` and ``<lang>.qrels``; all languages share each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlir_bench.records import Collection
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, collection, named_files
from xlir_bench.sources.rows import Faults, grade_of, rows, text_of
from xlir_bench.tasks import Task, file_language

Texts = dict[str, tuple[str, str]]
"""Language and text by id."""
Grades = dict[str, dict[str, int]]
"""By question, the grade of each relevant passage."""


def read_mlir(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once.

    Questions about the same passages move together, and so do translations.
    """
    faults = Faults(f"the data of task {task.name!r}")
    asked, sought = (
        sorted(file_language(name) for name in files if name.endswith(part))
        for part in (".queries", ".corpus")
    )
    names = [f"{asked[0]}.queries", f"{sought[0]}.corpus", f"{asked[0]}.qrels"]
    queries, corpus, qrels = named_files(task, files, names)
    lines = ((place, None, row) for place, row in rows(queries, faults))
    questions = _texts(queries, lines, task.languages, faults)
    entries = ((place, *entry) for place, row in rows(corpus, faults) for entry in row.items())
    passages = _texts(corpus, entries, task.passage_languages or task.languages, faults)
    grades = _grades(qrels, questions, passages, faults)
    faults.check()
    # What the ids of translations share: ``005a`` of ``ar_q_005a`` and of ``ar_005a``.
    shared = {
        x: x.removeprefix(f"{lang}_").removeprefix("q_") for x, (lang, _) in questions.items()
    }
    clusters: dict[str, str] = {}
    for name, found in grades.items():
        key = shared[name]
        clusters[key] = min([*found, *([clusters[key]] if key in clusters else ())])
    languages = {lang: LanguageTexts() for lang in {*asked, *sought}}
    row: dict[str, int] = {}
    for name, (lang, text) in passages.items():
        if lang in sought:
            row[name] = len(languages[lang].passages)
            languages[lang].passages[name] = text
    for name, (lang, text) in questions.items():
        if lang not in asked or name not in grades:
            continue
        with faults.at(queries, "$"):
            languages[lang].ask(shared[name], text, key=name, what=f"another question of {lang!r}")
            languages[lang].clusters.append(clusters[shared[name]])
        for passage in grades[name].keys() & row.keys():
            answer = (name, row[passage], grades[name][passage])
            languages[passages[passage][0]].relevant.append(answer)
    for lang in asked:
        if not faults.count and not languages[lang].questions:
            faults.add(qrels, "$", f"no query of {lang!r} has a relevant passage")
    for lang in sought:
        if not faults.count and not languages[lang].passages:
            faults.add(corpus, "$", f"there is no passage of {lang!r} in the whole file")
    faults.check()
    read = collection(languages, options.limit, cluster="document", parallel=True)
    return replace(
        read,
        queries={lang: read.queries[lang] for lang in asked},
        passages={lang: read.passages[lang] for lang in sought},
    )


def _texts(
    path: Path, found: Iterable[tuple[str, str | None, Any]], langs: Sequence[str], faults: Faults
) -> Texts:
    """Texts by id; `found` has each one's place, its id (None: it is in the entry) and entry."""
    texts: Texts = {}
    for place, stated, entry in found:
        with faults.at(path, place):
            if not isinstance(entry, dict):
                raise ValueError(f"{stated!r} is no object with 'text' and 'lang'")
            name = text_of(entry, "_id") if stated is None else stated
            lang = text_of(entry, "lang")
            if lang not in langs:
                raise ValueError(f"{name!r} is in {lang!r}, a language that the task does not name")
            if name in texts:
                raise ValueError(f"{name!r} is the id of an earlier line")
            texts[name] = lang, text_of(entry, "text")
    return texts


def _grades(path: Path, questions: Texts, passages: Texts, faults: Faults) -> Grades:
    """Grades above 0; a judgement of a text that is not there is a fault."""
    grades: Grades = {}
    readable = not faults.count
    for place, row in rows(path, faults):
        for name, judged in row.items():
            with faults.at(path, place):
                if not isinstance(judged, dict):
                    raise ValueError(f"{name!r} has no object of passages and grades")
                if readable and name not in questions:
                    raise ValueError(f"query {name!r} is not among the queries")
                if name in grades:
                    raise ValueError(f"query {name!r} was judged in an earlier line")
                for passage, grade in judged.items():
                    if readable and passage not in passages:
                        raise ValueError(f"passage {passage!r} is not in the corpus")
                    if (number := grade_of(str(grade))) > 0:
                        grades.setdefault(name, {})[passage] = number
    return grades

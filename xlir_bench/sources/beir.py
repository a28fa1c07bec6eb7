"""Reads judged queries: BEIR's layout, and that of MIMO's benchmarks (`yjoonjang/mlir-benchmarks`).

`beir`: ``corpus.jsonl``, ``queries.jsonl`` and judgements in ``qrels/<split>.tsv``. Each language has the three files,
or languages share them and every row names its own in ``language``. A task names them ``<lang>``, ``<lang>.queries``
and ``<lang>.qrels``.
`mlir`: one pool of many languages. ``queries.jsonl`` has ``{"_id", "text", "lang"}``, ``corpus.jsonl``
``{passage: {"text", "lang"}}``, ``qrels.jsonl`` ``{question: {passage: grade}}``. A question's id is its language, ``_``
or ``_q_``, and a part that its translations share. A task names them ``<lang>.queries``, ``<lang>.corpus`` and
``<lang>.qrels``; all languages share each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xlir_bench.records import Collection
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, collection, named_files
from xlir_bench.sources.own import is_own
from xlir_bench.sources.rows import Faults, grade_of, judgements, rows, tabbed_judgement, text_of
from xlir_bench.tasks import Task, file_language

Texts = dict[str, tuple[str, str]]
"""Language and text by id; texts of languages that are not wanted may be empty."""
Grades = dict[str, dict[str, int]]
"""By question, the grade of each relevant passage."""


def read_beir(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(f"the data of task {task.name!r}")
    languages: dict[str, LanguageTexts] = {}
    shared: dict[tuple[Path, ...], list[str]] = {}
    for lang in sorted(name for name in files if "." not in name):
        paths = named_files(task, files, [lang, f"{lang}.queries", f"{lang}.qrels"])
        shared.setdefault(paths, []).append(lang)
    for (corpus, queries, qrels), langs in shared.items():
        # The languages of a user's own folder were found before: a row in any other would be lost.
        known = task.languages if is_own(task) else None
        passages = _texts_by_language(corpus, langs, known, faults)
        questions = _texts_by_language(queries, langs, known, faults)
        grades = _tabbed_grades(qrels, questions, passages, faults)
        if faults.count:
            continue
        of_set = {lang: LanguageTexts() for lang in langs}
        # Keys begin with a language, since another set of files may have the same ids.
        keys = {name: f"{langs[0]}:{name}" for name in questions}
        _add_passages(of_set, langs, passages, keys, grades)
        for name, (lang, text) in questions.items():
            if lang in of_set and name in grades:
                of_set[lang].ask(name, text, keys[name], cluster=name)
        _require_questions(of_set, langs, qrels, faults)
        languages |= of_set
    faults.check()
    return collection(languages, options.limit, cluster="question")


def read_mlir(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once.

    Questions about the same passages move together, and so do translations.
    """
    faults = Faults(f"the data of task {task.name!r}")
    query_langs, corpus_langs = (
        sorted(file_language(name) for name in files if name.endswith(part))
        for part in (".queries", ".corpus")
    )
    names = [f"{query_langs[0]}.queries", f"{corpus_langs[0]}.corpus", f"{query_langs[0]}.qrels"]
    queries, corpus, qrels = named_files(task, files, names)
    lines = ((place, None, row) for place, row in rows(queries, faults))
    questions = _texts_of_pool(queries, lines, task.languages, faults)
    entries = ((place, *entry) for place, row in rows(corpus, faults) for entry in row.items())
    passages = _texts_of_pool(corpus, entries, task.passage_languages or task.languages, faults)
    grades = _grades(qrels, questions, passages, faults)
    faults.check()
    # What the ids of translations share: ``005a`` of ``ar_q_005a`` and of ``ar_005a``.
    shared = {
        x: x.removeprefix(f"{lang}_").removeprefix("q_") for x, (lang, _) in questions.items()
    }
    answers: dict[str, set[str]] = defaultdict(set)
    for name, judged in grades.items():
        answers[shared[name]] |= judged.keys()
    languages = {lang: LanguageTexts() for lang in {*query_langs, *corpus_langs}}
    _add_passages(languages, corpus_langs, passages, {name: name for name in questions}, grades)
    for name, (lang, text) in questions.items():
        if lang in query_langs and name in grades:
            other = f"another question of {lang!r}"
            with faults.at(queries, "$"):
                languages[lang].ask(shared[name], text, name, min(answers[shared[name]]), other)
    _require_questions(languages, query_langs, qrels, faults)
    for lang in corpus_langs:
        if not faults.count and not languages[lang].passages:
            faults.add(corpus, "$", f"there is no passage of {lang!r} in the whole file")
    faults.check()
    return collection(
        languages, options.limit, cluster="document", parallel=True, passage_langs=corpus_langs
    )


def _add_passages(
    languages: Mapping[str, LanguageTexts],
    langs: Sequence[str],
    passages: Texts,
    keys: Mapping[str, str],
    grades: Grades,
) -> None:
    """Add the passages in these languages, each relevant to the questions that it is judged for."""
    row: dict[str, int] = {}
    for name, (lang, text) in passages.items():
        if lang in langs:
            row[name] = len(languages[lang].passages)
            languages[lang].passages[name] = text
    for question, judged in grades.items():
        for name, grade in judged.items():
            if name in row:
                answer = (keys[question], row[name], grade)
                languages[passages[name][0]].relevant.append(answer)


def _require_questions(
    languages: Mapping[str, LanguageTexts], langs: Sequence[str], qrels: Path, faults: Faults
) -> None:
    for lang in langs:
        if not faults.count and not languages[lang].questions:
            faults.add(qrels, "$", f"no query of {lang!r} has a relevant passage")


def _texts_by_language(
    path: Path, langs: list[str], known: Sequence[str] | None, faults: Faults
) -> Texts:
    """The queries or passages of a file, in all its languages; where there is only one, rows need not name it.

    `known`: the only languages that rows can be in, where they are known.
    """
    texts: Texts = {}
    wanted, every = set(langs), known or langs
    default = every[0] if len(every) == 1 else None
    for place, row in rows(path, faults):
        with faults.at(path, place):
            name, lang = text_of(row, "_id"), row.get("language", default)
            if name in texts:
                raise ValueError(f"{name!r} is the '_id' of an earlier line")
            if not isinstance(lang, str) or not lang.strip():
                raise ValueError(f"'language' is missing in a file of {len(every)} languages")
            if known is not None and lang not in known:
                raise ValueError(
                    f"'language' is {lang!r}, but the first line of the corpus names no language"
                )
            text = f"{row.get('title') or ''} {row.get('text') or ''}".strip()
            if not text or (known is not None and "text" not in row):
                raise ValueError("'text' is missing or empty")
            texts[name] = lang, text if lang in wanted else ""
    return texts


def _tabbed_grades(path: Path, questions: Texts, passages: Texts, faults: Faults) -> Grades:
    """Grades above 0; a judgement of a text that is not there is a fault."""
    grades: Grades = {}
    readable = not faults.count
    for place, query, passage, grade in judgements(path, faults, tabbed_judgement):
        with faults.at(path, place):
            if readable and query not in questions:
                raise ValueError(f"query {query!r} is not among the queries")
            if readable and passage not in passages:
                raise ValueError(f"passage {passage!r} is not in the corpus")
            if grade > 0:
                grades.setdefault(query, {})[passage] = grade
    return grades


def _texts_of_pool(
    path: Path, entries: Iterable[tuple[str, str | None, Any]], langs: Sequence[str], faults: Faults
) -> Texts:
    """Texts by id; `entries` has the place of each entry, its id (None: the entry states it) and the entry."""
    texts: Texts = {}
    for place, key, entry in entries:
        with faults.at(path, place):
            if not isinstance(entry, dict):
                raise ValueError(f"{key!r} is no object with 'text' and 'lang'")
            name = text_of(entry, "_id") if key is None else key
            lang = text_of(entry, "lang")
            if lang not in langs:
                raise ValueError(f"{name!r} is in {lang!r}, a language that the task does not name")
            if name in texts:
                raise ValueError(f"{name!r} is the id of an earlier line")
            texts[name] = lang, text_of(entry, "text")
    return texts


def _grades(path: Path, questions: Texts, passages: Texts, faults: Faults) -> Grades:
    """Grades above 0 from MIMO's lines; a judgement of a text that is not there is a fault."""
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

"""Reads BEIR's layout: ``corpus.jsonl``, ``queries.jsonl`` and judgements in ``qrels/<split>.tsv``.

Each language has the three files, or languages share them and every row names its own in ``language``.
A task names them ``<lang>``, ``<lang>.queries`` and ``<lang>.qrels``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xlir_bench.records import Collection
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, collection, named_files
from xlir_bench.sources.rows import Faults, grade_of, judgement, rows, text_of
from xlir_bench.tasks import Task

Texts = dict[str, tuple[str, str]]
"""Language and text by id; texts of languages that are not wanted are empty."""


def read_beir(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(f"the data of task {task.name!r}")
    languages: dict[str, LanguageTexts] = {}
    shared: dict[tuple[Path, ...], list[str]] = {}
    for lang in sorted(name for name in files if "." not in name):
        paths = named_files(task, files, [lang, f"{lang}.queries", f"{lang}.qrels"])
        shared.setdefault(paths, []).append(lang)
    for (corpus, queries, qrels), langs in shared.items():
        passages = _texts(corpus, langs, faults)
        questions = _texts(queries, langs, faults)
        judgements = _judgements(qrels, questions, passages, faults)
        of_set = {lang: LanguageTexts() for lang in langs}
        place: dict[str, int] = {}
        for name, (lang, text) in passages.items():
            if lang in of_set:
                place[name] = len(of_set[lang].passages)
                of_set[lang].passages[name] = text
        answered = {query for query, _ in judgements}
        for name, (lang, text) in questions.items():
            if lang in of_set and name in answered:
                # Another set of files may have the same ids.
                of_set[lang].ask(name, text, key=f"{langs[0]}:{name}")
                of_set[lang].clusters.append(name)
        for (query, passage), grade in judgements.items():
            if passage in place:
                answer = (f"{langs[0]}:{query}", place[passage], grade)
                of_set[passages[passage][0]].relevant.append(answer)
        for lang in langs:
            if not faults.count and not of_set[lang].questions:
                faults.add(qrels, "$", f"no query of {lang!r} has a relevant passage")
        languages |= of_set
    faults.check()
    return collection(languages, options.limit, cluster="question")


def _texts(path: Path, langs: list[str], faults: Faults) -> Texts:
    """Queries or passages of a file, in all its languages; where one language is wanted, rows need not name it."""
    texts: Texts = {}
    wanted = set(langs)
    default = langs[0] if len(langs) == 1 else None
    for place, row in rows(path, faults):
        with faults.at(path, place):
            name, lang = text_of(row, "_id"), row.get("language", default)
            if name in texts:
                raise ValueError(f"{name!r} is the '_id' of an earlier line")
            if not isinstance(lang, str):
                raise ValueError(f"'language' is missing in a file of {len(langs)} languages")
            text = f"{row.get('title') or ''} {row.get('text') or ''}".strip()
            if not text:
                raise ValueError("'text' is missing or empty")
            texts[name] = lang, text if lang in wanted else ""
    return texts


def _judgements(
    path: Path, questions: Texts, passages: Texts, faults: Faults
) -> dict[tuple[str, str], int]:
    """Grades above 0, by query and passage; a judgement of a text that is not there is a fault."""
    judgements: dict[tuple[str, str], int] = {}
    readable = not faults.count

    for place, row in rows(path, faults, judgement):
        query, passage = row["query-id"], row.get("corpus-id", "")
        if query == "query-id":
            continue
        with faults.at(path, place):
            grade = grade_of(row["score"])
            if readable and query not in questions:
                raise ValueError(f"query {query!r} is not among the queries")
            if readable and passage not in passages:
                raise ValueError(f"passage {passage!r} is not in the corpus")
            if grade > 0:
                judgements[query, passage] = grade
    return judgements

"""Reads tasks whose corpus may be too large for memory; a corpus is read once, onto disk.

`judged`: the layout of MIRACL, and of BEIR's data sets on the hub. Each language has its queries
(``<lang>.topics``), judgements (``<lang>.qrels``) and the parts of its corpus (``<lang>.docs.<n>``):
tab-separated topics, TREC qrels and JSON Lines; or parquet for all.
`xor`: XOR-Retrieve. Questions in many languages as JSON Lines of ``{"id", "question", "answers", "lang"}``
(``<lang>.questions``, one file for all), and English passages as a TSV of ``id, text, title`` (``en.docs``). No
passage is judged: one that contains an answer counts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from xlir_bench.errors import plural
from xlir_bench.records import Collection, Passages
from xlir_bench.sources.collecting import (
    LanguageTexts,
    ReadOptions,
    collection,
    named_files,
    read_languages,
)
from xlir_bench.sources.corpus import Passage, StoredTexts, corpus_folder, stored_corpus
from xlir_bench.sources.rows import Faults, judgements, read_lines, rows, text_of
from xlir_bench.tasks import Task, file_language

ID_KEYS = ("docid", "_id", "id")
Judgements = dict[tuple[str, str], int]
"""The grade of each judged query and passage, 0 included."""
XOR_COLUMNS = ["id", "text", "title"]
XOR_PASSAGES = "en"
YES_OR_NO = ("yes", "no")
"""Answers that many passages contain: the official evaluation leaves them out, and questions that have no other answer."""


def read_judged(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(f"the data of task {task.name!r}")
    languages: dict[str, LanguageTexts] = {}
    for lang in sorted({file_language(name) for name in files}):
        docs = [files[name] for name in sorted(files) if name.startswith(f"{lang}.docs")]
        lacking = ["docs"] if options.passages and not docs else []
        names = [f"{lang}.{part}" for part in ("topics", "qrels", *lacking)]
        topics, qrels = named_files(task, files, names)
        before = faults.count
        queries = _queries(topics, faults)
        grades = _judgements(qrels, queries, faults)
        answered = {query for (query, _), grade in grades.items() if grade > 0}
        if faults.count == before and not answered:
            faults.add(qrels, "$", f"no query of {lang!r} has a relevant passage")
        if faults.count > before:
            continue
        languages[lang] = LanguageTexts()
        for name, text in queries.items():
            if name in answered:
                # Queries of different languages may share an id and be about different things.
                languages[lang].ask(name, text, key=f"{lang}:{name}")
        if not options.passages:
            continue
        judged = sorted({passage for _, passage in grades})
        corpus = _corpus(lang, docs, judged, options, faults)
        if corpus is not None:
            languages[lang].stored = corpus
            place = _places(lang, corpus, judged, qrels, faults)
            languages[lang].relevant = [
                (f"{lang}:{query}", place[passage], grade)
                for (query, passage), grade in grades.items()
                if grade > 0 and passage in place
            ]
    return _collected(languages, options, faults)


def _places(
    lang: str, corpus: Passages, judged: Sequence[str], qrels: Path, faults: Faults
) -> dict[str, int]:
    """The rows of the judged passages; one that the corpus lacks is a fault."""
    place = cast(StoredTexts, corpus.ids).positions(judged)
    if lacking := [name for name in judged if name not in place]:
        more = f" and {len(lacking) - 3:,} more" if len(lacking) > 3 else ""
        faults.add(
            qrels, "$",
            f"the corpus of {lang!r} lacks {len(lacking):,} of the {len(judged):,} passages that are judged"
            f" ({', '.join(lacking[:3])}{more}): without them scores would be too high",
        )  # fmt: skip
    return place


def _queries(path: Path, faults: Faults) -> dict[str, str]:
    """The text of each query, by id."""
    queries: dict[str, str] = {}

    def parse(line: str) -> dict[str, Any]:
        name, tab, text = line.rstrip("\r\n").partition("\t")
        if not tab:
            raise ValueError("wants an id, a tab and a query")
        return {"_id": name, "text": text}

    for place, row in rows(path, faults, parse):
        with faults.at(path, place):
            name, text = text_of(row, "_id"), str(row.get("text") or "").strip()
            if name in queries:
                raise ValueError(f"{name!r} is the id of an earlier query")
            if not text:
                raise ValueError("the query is empty")
            queries[name] = text
    return queries


def _judgements(path: Path, queries: Mapping[str, str], faults: Faults) -> Judgements:
    grades: Judgements = {}

    def parse(line: str) -> dict[str, Any]:
        cells = line.split()
        if len(cells) != 4:
            raise ValueError(
                f"wants query, Q0, passage and grade, has {plural(len(cells), 'cell')}"
            )
        return {"query-id": cells[0], "corpus-id": cells[2], "score": cells[3]}

    for place, query, passage, grade in judgements(path, faults, parse):
        with faults.at(path, place):
            if query not in queries:
                raise ValueError(f"query {query!r} is not among the topics")
            if (query, passage) in grades:
                raise ValueError(f"query {query!r} and passage {passage!r} were judged before")
            grades[query, passage] = grade
    return grades


def _corpus(
    lang: str, docs: Sequence[Path], judged: Sequence[str], options: ReadOptions, faults: Faults
) -> Passages | None:
    """The corpus on disk: all passages, or the judged ones and the first so many of the others."""
    limit = options.corpus_limit
    stated = {} if limit is None else {"limit": limit, "judged": judged}
    folder = corpus_folder(options.corpora, [options.digests[path] for path in docs], **stated)

    def passages() -> Iterator[Passage]:
        wanted, others = set(judged), 0
        for passage in _passages(docs, faults):
            others += passage.name not in wanted
            if limit is None or passage.name in wanted or others <= limit:
                yield passage

    return stored_corpus(folder, lang, passages(), faults, docs[0])


def _passages(docs: Sequence[Path], faults: Faults) -> Iterator[Passage]:
    """The passages, in the order of the files."""
    for path in docs:
        for place, row in rows(path, faults):
            with faults.at(path, place):
                key = next((key for key in ID_KEYS if row.get(key) is not None), ID_KEYS[0])
                title, text = (str(row.get(part) or "").strip() for part in ("title", "text"))
                if not title and not text:
                    raise ValueError("'text' is missing or empty")
                yield Passage(text_of(row, key), title, text)


def read_xor(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(f"the data of task {task.name!r}")
    named = {x: files[f"{x}.questions"] for x in task.languages if f"{x}.questions" in files}
    languages = read_languages(task, named, partial(_xor_questions, limit=options.limit), faults)
    if options.passages:
        (docs,) = named_files(task, files, [f"{XOR_PASSAGES}.docs"])
        limit = options.corpus_limit
        stated = {} if limit is None else {"limit": limit}
        folder = corpus_folder(options.corpora, [options.digests[docs]], **stated)
        passages = islice(_xor_passages(docs, faults), limit)
        corpus = stored_corpus(folder, XOR_PASSAGES, passages, faults, docs)
        languages.setdefault(XOR_PASSAGES, LanguageTexts()).stored = corpus
    return _collected(languages, options, faults)


def _xor_questions(
    path: Path, langs: list[str], faults: Faults, limit: int | None
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
                accepted = dict.fromkeys(a for a in answers if a and a not in YES_OR_NO)
                texts.answers.append(tuple(accepted))
    for lang, texts in languages.items():
        if not any(texts.answers) and not faults.count:
            faults.add(path, "$", f"no question of {lang!r} has an answer other than yes or no")
    return languages


def _xor_passages(path: Path, faults: Faults) -> Iterator[Passage]:
    """The passages, in the order of the file, whose cells are quoted as in CSV."""
    table = csv.reader((line for _, line in read_lines(path, faults, str)), delimiter="\t")
    count, before = 0, faults.count
    while True:
        try:
            row = next(table)
        except StopIteration:
            break
        except csv.Error as error:
            faults.add(path, f"line {table.line_num}", str(error))
            continue
        if row == XOR_COLUMNS:
            continue
        count += 1
        with faults.at(path, f"line {table.line_num}"):
            if len(row) != len(XOR_COLUMNS):
                raise ValueError(
                    f"wants id, text, title between tabs, has {plural(len(row), 'cell')}"
                )
            name, text, title = (cell.strip() for cell in row)
            if not name or not text:
                raise ValueError("the id or the text is empty")
            yield Passage(name, title, text)
    if not count and faults.count == before:
        faults.add(path, "$", "there is no passage in it")


def _collected(
    languages: Mapping[str, LanguageTexts], options: ReadOptions, faults: Faults
) -> Collection:
    """The collection, with a loud note if a corpus was cut; all faults are reported at once."""
    faults.check()
    stored = sorted(lang for lang, texts in languages.items() if texts.stored)
    if options.corpus_limit is not None and stored:
        faults.notes.insert(
            0,
            f"NOT THE WHOLE CORPUS: the judged passages and at most {options.corpus_limit:,} others in"
            f" {', '.join(stored)}; scores are higher than on all passages and compare with no others",
        )
    return collection(
        languages, options.limit, cluster="question", passage_langs=stored, notes=faults.notes
    )

"""Reads judged queries over a large corpus: MIRACL's layout, and that of BEIR's data sets on the hub.

Each language has its queries (``<lang>.topics``), judgements (``<lang>.qrels``) and the parts of its corpus
(``<lang>.docs.<n>``). Tab-separated topics and TREC qrels, JSON Lines for the corpus; or parquet for all.
The corpus is read once, onto disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Queries, Relevance
from xlir_bench.sources.corpus import Corpus, Passage, corpus_folder, stored_corpus, sweep
from xlir_bench.sources.faults import Faults
from xlir_bench.sources.lines import (
    clean_text,
    grade_of,
    json_object,
    read_lines,
    read_parquet,
    text_of,
)
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task, file_language

ID_KEYS = ("docid", "_id", "id")
Judgements = dict[tuple[str, str], int]
"""Grade by query and passage, those of 0 too."""


@dataclass(frozen=True, slots=True)
class _Files:
    """What one language has."""

    topics: Path
    qrels: Path
    docs: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Language:
    topics: Mapping[str, str]
    """Text by id."""
    judged: Judgements
    corpus: Corpus | None
    """None if it was not wanted."""
    whole: bool


def read_judged(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(task.name)
    sweep(reading.corpora)
    own: dict[str, dict[str, Path]] = {}
    for name in sorted(files):
        own.setdefault(file_language(name), {})[name] = files[name]
    read = {
        lang: _language(lang, _files(task, own[lang], lang, reading.passages), reading, faults)
        for lang in sorted(own)
    }
    faults.check()
    found = {lang: its for lang, its in read.items() if its is not None}
    queries = {lang: _queries(lang, its, reading.limit) for lang, its in found.items()}
    corpora = {lang: its.corpus for lang, its in found.items() if its.corpus is not None}
    return Collection(
        queries=queries,
        passages={lang: corpus.passages for lang, corpus in corpora.items()},
        relevance={
            (lang, lang): _relevance(found[lang].judged, queries[lang].ids, corpus)
            for lang, corpus in corpora.items()
        },
        cluster="question",
        parallel=False,
        digests={},
        notes=(
            *limit_notes(reading.corpus_limit, [x for x, its in found.items() if not its.whole]),
            *dict.fromkeys(note for corpus in corpora.values() for note in corpus.notes),
        ),
    )


def _files(task: Task, files: Mapping[str, Path], lang: str, passages: bool) -> _Files:
    docs = tuple(path for name, path in files.items() if name.startswith(f"{lang}.docs"))
    lacking = [part for part in ("topics", "qrels") if f"{lang}.{part}" not in files]
    lacking += [] if docs or not passages else ["docs"]
    if lacking:
        raise InputError(
            f"task {task.name!r} names no file {', '.join(f'{lang}.{part}' for part in lacking)};"
            f" the format judged wants {lang}.topics, {lang}.qrels and {lang}.docs"
        )
    return _Files(files[f"{lang}.topics"], files[f"{lang}.qrels"], docs)


def _language(lang: str, files: _Files, reading: Reading, faults: Faults) -> _Language | None:
    before = faults.count
    topics = _topics(files.topics, faults)
    judged = _judgements(files.qrels, topics, faults)
    if faults.count == before and not any(grade > 0 for grade in judged.values()):
        faults.add(files.qrels, "$", f"no query of {lang!r} has a relevant passage")
    if faults.count > before:
        return None
    if not reading.passages:
        return _Language(topics, judged, None, whole=True)
    named = sorted({passage for _, passage in judged})
    limit = reading.corpus_limit
    stated = {} if limit is None else {"limit": limit, "judged": named}
    digests = [reading.digests[path] for path in files.docs]
    folder = corpus_folder(reading.corpora, digests, **stated)
    passages = limited(_passages(files.docs, faults), named, limit)
    corpus = stored_corpus(folder, lang, passages, faults, files.docs[0])
    if corpus is None:
        return None
    rows = corpus.rows(named)
    lacking = [name for name in named if name not in rows]
    if lacking:
        more = f" and {len(lacking) - 3:,} more" if len(lacking) > 3 else ""
        faults.add(
            files.qrels, "$",
            f"the corpus of {lang!r} lacks {len(lacking):,} of the {len(named):,} passages that are"
            f" judged ({', '.join(lacking[:3])}{more}): a score over less would be higher than it is",
        )  # fmt: skip
    return _Language(topics, judged, corpus, whole=limit is None)


def _topics(path: Path, faults: Faults) -> dict[str, str]:
    found: dict[str, str] = {}

    def keep(name: str, text: str) -> None:
        if name in found:
            raise ValueError(f"{name!r} is the id of an earlier query")
        found[name] = clean_text(text)
        if not found[name]:
            raise ValueError("the query is empty")

    def parse_line(line: str) -> None:
        name, tab, text = line.rstrip("\r\n").partition("\t")
        if not tab:
            raise ValueError("wants an id, a tab and a query")
        keep(clean_text(name), text)

    def parse_row(row: Mapping[str, Any]) -> None:
        keep(text_of(dict(row), "_id"), str(row.get("text") or ""))

    _read(path, parse_line, parse_row, faults)
    return found


def _judgements(path: Path, topics: Mapping[str, str], faults: Faults) -> Judgements:
    found: Judgements = {}

    def keep(query: str, passage: str, grade: str) -> None:
        value = grade_of(grade)
        if query not in topics:
            raise ValueError(f"query {query!r} is not among the topics")
        if (query, passage) in found:
            raise ValueError(
                f"query {query!r} and passage {passage!r} were judged in an earlier line"
            )
        found[query, passage] = value

    def parse_line(line: str) -> None:
        cells = line.split()
        if len(cells) != 4:
            raise ValueError(f"wants query, Q0, passage and grade, has {len(cells)} cells")
        keep(cells[0], cells[2], cells[3])

    def parse_row(row: Mapping[str, Any]) -> None:
        keep(*(text_of(dict(row), key) for key in ("query-id", "corpus-id", "score")))

    _read(path, parse_line, parse_row, faults)
    return found


def _read(path: Path, parse_line: Any, parse_row: Any, faults: Faults) -> None:
    packed = path.suffix == ".parquet"
    rows = read_parquet(path, faults, parse_row) if packed else read_lines(path, faults, parse_line)
    for _ in rows:
        pass


def limited(
    passages: Iterable[Passage], judged: Iterable[str], limit: int | None
) -> Iterator[Passage]:
    """All of them, or the judged ones and the first so many of the others."""
    wanted, others = set(judged), 0
    for passage in passages:
        others += passage.name not in wanted
        if limit is None or passage.name in wanted or others <= limit:
            yield passage


def _passages(docs: Sequence[Path], faults: Faults) -> Iterator[Passage]:
    """In the order of the files. Title and text stand together, as those who publish scores join them."""

    def parse_row(row: Mapping[str, Any]) -> Passage:
        key = next((key for key in ID_KEYS if row.get(key) is not None), ID_KEYS[0])
        title, text = (clean_text(str(row.get(part) or "")) for part in ("title", "text"))
        if not title and not text:
            raise ValueError("'text' is missing or empty")
        return Passage(text_of(dict(row), key), title, text)

    for path in docs:
        if path.suffix == ".parquet":
            yield from read_parquet(path, faults, parse_row)
        else:
            yield from read_lines(path, faults, lambda line: parse_row(json_object(line)))


def _queries(lang: str, read: _Language, limit: int | None) -> Queries:
    """Those that have a relevant passage, in the order of the topics."""
    answered = {query for (query, _), grade in read.judged.items() if grade > 0}
    ids = tuple(name for name in read.topics if name in answered)[:limit]
    return Queries(
        ids=ids,
        texts=tuple(read.topics[name] for name in ids),
        # Queries of different languages may share an id and be about different things.
        clusters=tuple(f"{lang}:{name}" for name in ids),
    )


def _relevance(judged: Judgements, ids: Sequence[str], corpus: Corpus) -> Relevance:
    place = {name: row for row, name in enumerate(ids)}
    rows = corpus.rows(passage for (_, passage), grade in judged.items() if grade > 0)
    found = sorted(
        (place[query], rows[passage], grade)
        for (query, passage), grade in judged.items()
        if grade > 0 and query in place
    )
    query, passage, grades = np.array(found, np.int64).reshape(-1, 3).T.copy()
    return Relevance(query, passage, grades)


def limit_notes(limit: int | None, langs: Sequence[str]) -> tuple[str, ...]:
    """Says loudly that something was scored on less than the task asks."""
    if not langs:
        return ()
    return (
        f"NOT THE WHOLE CORPUS: the judged passages and at most {limit:,} others in"
        f" {', '.join(langs)}; scores are higher than on all passages and compare with no others",
    )

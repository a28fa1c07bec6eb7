"""Reads a data set in mteb's layout (`mtebtask` finds its files): corpora, queries and judgements by subset.

The subsets of a language are put together, and equal questions and passages are kept once. So a language may have more
passages than a subset has, and each setting is scored on all of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from xlir_bench.records import Collection
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, collection
from xlir_bench.sources.corpus import Passage, StoredTexts, corpus_folder, stored_corpus
from xlir_bench.sources.rows import (
    Faults,
    json_object,
    judgements,
    rows,
    tabbed_judgement,
    text_of,
)
from xlir_bench.tasks import Task, file_language

Paths = tuple[Path, ...]
LARGE = 1 << 27
"""A corpus whose packed files have more bytes is kept on disk."""
BLANK = "passages without any text"
UNASKED = "judgements of queries that are not among the queries (left out, as mteb does)"
PUT_TOGETHER = "passages of different subsets that are one corpus here, so that there are more candidates than in mteb"


@dataclass(slots=True)
class _Subset:
    """The files of a subset, by part, and its languages."""

    queries_lang: str = ""
    corpus_lang: str = ""
    files: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def paths(self, part: str) -> Paths:
        """The files of a part: two subsets with the same files share the part."""
        return tuple(self.files[part])


@dataclass(slots=True)
class _Texts:
    """The texts of a language from several files; a text that several files have is kept once."""

    by_id: dict[str, str] = field(default_factory=dict)
    names: dict[tuple[str, int], str] = field(default_factory=dict)
    """The kept id of a text that occurs for the n-th time in one file, by text and n."""
    read: dict[Paths, dict[str, str]] = field(default_factory=dict)
    """By files: the kept id of each of their ids."""

    def add(self, label: str, paths: Paths, named_texts: Iterator[tuple[str, str]]) -> None:
        """Add the texts of some files, unless they were read already."""
        if paths in self.read:
            return
        if not self.read:
            self.by_id = dict(named_texts)
            self.read[paths] = {name: name for name in self.by_id}
            return
        if not self.names:
            self.names = {key: name for name, key in _numbered(self.by_id.items())}
        names = self.read[paths] = {}
        for name, key in _numbered(named_texts):
            known = self.names.get(key)
            if known is None:
                known = name if name not in self.by_id else f"{label}/{name}"
                self.by_id[known] = key[0]
                self.names[key] = known
            names[name] = known


def _numbered(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, int]]]:
    """Each id with its text, and how often that text came before."""
    seen = Counter[str]()
    for name, text in texts:
        yield name, (text, seen[text])
        seen[text] += 1


def read_mteb(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files; all their faults are reported at once."""
    faults = Faults(f"the data of task {task.name!r}")
    queries: dict[str, _Texts] = defaultdict(_Texts)
    judged: dict[str, dict[tuple[str, str], int]] = {}
    corpora: dict[str, dict[Paths, str]] = defaultdict(dict)
    judged_passages: dict[str, set[str]] = defaultdict(set)
    languages: dict[str, LanguageTexts] = defaultdict(LanguageTexts)
    subsets = _subsets(files, options.digests)
    for label, subset in subsets.items():
        corpora[subset.corpus_lang].setdefault(subset.paths("corpus"), label)
        if (lang := subset.queries_lang) and (paths := subset.paths("queries")):
            oddities = languages[lang].oddities
            queries[lang].add(label, paths, _texts(paths, "queries", lang, faults, oddities))
            judged[label] = _judgements(subset.files["qrels"], faults)
            judged_passages[subset.corpus_lang] |= {passage for _, passage in judged[label]}
    rows_of = {
        lang: _add_passages(languages[lang], lang, groups, judged_passages[lang], options, faults)
        for lang, groups in sorted(corpora.items())
    }
    faults.check()
    answers: dict[str, dict[str, dict[tuple[str, int], int]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for label, grades in judged.items():
        subset = subsets[label]
        lang, passage_lang = subset.queries_lang, subset.corpus_lang
        questions = queries[lang].read[subset.paths("queries")]
        known = rows_of[passage_lang][subset.paths("corpus")]
        for (query, passage), grade in grades.items():
            if query not in questions:
                languages[lang].oddities[UNASKED] += 1
            elif passage in known:
                answers[lang][questions[query]][passage_lang, known[passage]] = grade
            else:
                faults.add(
                    subset.files["qrels"][0], "$",
                    f"passage {passage!r}, relevant to query {query!r}, is not in the corpus",
                )  # fmt: skip
    for lang, texts in queries.items():
        for name in [name for name in texts.by_id if name in answers[lang]]:
            key = name if task.translated else f"{lang}:{name}"
            languages[lang].ask(name, texts.by_id[name], key, cluster=name)
            for (passage_lang, row), grade in answers[lang][name].items():
                languages[passage_lang].relevant.append((key, row, grade))
        if not languages[lang].questions:
            path = next(s.files["qrels"][0] for s in subsets.values() if s.queries_lang == lang)
            faults.add(path, "$", f"no query of {lang!r} has a relevant passage")
    faults.check()
    return collection(
        languages,
        options.limit,
        cluster="question",
        parallel=task.translated,
        passage_langs=list(corpora),
        notes=faults.notes,
    )


def _add_passages(
    language: LanguageTexts,
    lang: str,
    groups: Mapping[Paths, str],
    judged: Set[str],
    options: ReadOptions,
    faults: Faults,
) -> dict[Paths, dict[str, int]]:
    """Add the passages of a language; returns, by files, the row of each passage by its id in these files.

    A single large corpus is read onto disk, several corpora are put together in memory.
    """
    if len(groups) == 1 and sum(path.stat().st_size for path in (*groups,)[0]) > LARGE:
        (paths,) = groups
        digests = [options.digests[path] for path in paths]
        folder = corpus_folder(options.corpora, digests, reader="mteb")
        texts = _texts(paths, "corpus", lang, faults, Counter())
        passages = (Passage(name, "", text) for name, text in texts)
        language.stored = stored_corpus(folder, lang, passages, faults, paths[0])
        if language.stored is None:  # there were faults
            return {paths: {}}
        return {paths: cast(StoredTexts, language.stored.ids).positions(sorted(judged))}
    merged = _Texts()
    for paths, label in groups.items():
        merged.add(label, paths, _texts(paths, "corpus", lang, faults, language.oddities))
    language.passages = merged.by_id
    row = {name: number for number, name in enumerate(merged.by_id)}
    if any(len(names) < len(row) for names in merged.read.values()):
        language.oddities[PUT_TOGETHER] = len(row)
    return {
        paths: {name: row[kept] for name, kept in names.items()}
        for paths, names in merged.read.items()
    }


def _subsets(files: Mapping[str, Path], digests: Mapping[Path, str]) -> dict[str, _Subset]:
    """The subsets of these files; equal files are read once.

    Where a language is not wanted, a subset may lack its queries or its corpus.
    """
    by_digest: dict[str, Path] = {}
    subsets: dict[str, _Subset] = defaultdict(_Subset)
    for name in sorted(files):
        part, label = name.split(".")[1:3]
        subset = subsets[label]
        path = files[name]
        subset.files[part].append(by_digest.setdefault(digests[path], path))
        if part == "corpus":
            subset.corpus_lang = file_language(name)
        else:
            subset.queries_lang = file_language(name)
    return {label: s for label, s in sorted(subsets.items()) if s.corpus_lang}


def _texts(
    paths: Paths, part: str, lang: str, faults: Faults, oddities: Counter[str]
) -> Iterator[tuple[str, str]]:
    """The ids and texts of queries, or of passages, which begin with their title and may have no text at all."""
    names: set[str] = set()
    for path in paths:
        for place, row in rows(path, faults):
            with faults.at(path, place):
                if "topics" in row:
                    row = _topic(row, lang)
                name = text_of(row, "_id" if row.get("_id") is not None else "id")
                if name in names:
                    raise ValueError(f"{name!r} is the id of an earlier row")
                names.add(name)
                if part == "queries":
                    yield name, text_of(row, "text")
                    continue
                parts = [row.get(key) or "" for key in ("title", "text")]
                if not all(isinstance(part, str) for part in parts) or "text" not in row:
                    raise ValueError("'text' is missing or no text")
                text = " ".join(parts).strip()
                oddities[BLANK] += not text
                yield name, text


def _topic(row: dict[str, Any], lang: str) -> dict[str, Any]:
    """A query of TREC's NeuCLIR: the title and description that its author wrote in this language."""
    topics = row["topics"] if isinstance(row["topics"], list) else []
    for topic in topics:
        facts = topic if isinstance(topic, dict) else {}
        if (facts.get("lang"), facts.get("source")) == (lang, "original"):
            parts = (text_of(topic, key) for key in ("topic_title", "topic_description"))
            return {"id": row.get("topic_id"), "text": " ".join(parts)}
    raise ValueError(f"there is no topic whose 'lang' is {lang!r} and whose 'source' is 'original'")


def _judgements(paths: Sequence[Path], faults: Faults) -> dict[tuple[str, str], int]:
    """Grades above 0 by query and passage; a pair that is judged twice must be judged alike."""
    grades: dict[tuple[str, str], int] = {}
    for path in paths:
        parse = tabbed_judgement if path.suffix == ".tsv" else json_object
        for place, query, passage, grade in judgements(path, faults, parse):
            with faults.at(path, place):
                if grades.setdefault((query, passage), grade) != grade:
                    raise ValueError(f"{query!r} and {passage!r} have two scores")
    return {pair: grade for pair, grade in grades.items() if grade > 0}

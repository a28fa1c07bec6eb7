"""Reads texts that correspond across languages: parallel text, pairs of translations, Belebele, Crossmodal-3600."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.arrays import components
from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind
from xlir_bench.sources.collecting import (
    LanguageTexts,
    ReadOptions,
    collection,
    named_files,
    read_languages,
)
from xlir_bench.sources.rows import Faults, read_lines, rows, text_of, texts_of
from xlir_bench.tasks import Task, file_language

Sentence = tuple[str, str]
"""A language, and a text or the id of its text in that language."""
IMAGE = "image/key"
TICO_HEADER = ["sourceLang", "targetLang"]
MOST_CAPTIONS = 100
"""The most captions of an image in a language: each is relevant to every other, so pairs grow with the square."""


def read_parallel(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """Parallel text, ``{"id", "text": {lang: …}}``, or pairs (`read_pairs`): a text finds its translation.

    Every text is a query and a candidate. There are only settings across languages: among candidates of its own
    language a query would find itself. If every row has a ``doc``, the rows of one document are one cluster.
    """
    if any(is_pairs(path) for path in files.values()):
        languages = _languages_of_pairs(task, files)
    else:
        languages = read_languages(task, files, _translations)
    grouped = all(all(texts.clusters) for texts in languages.values())
    if not grouped:
        for texts in languages.values():
            texts.clusters = texts.keys
    return bitext(task, languages, options.limit, "document" if grouped else "question")


def bitext(
    task: Task, languages: Mapping[str, LanguageTexts], limit: int | None, cluster: str
) -> Collection:
    """The collection of texts that are queries and candidates; nothing is relevant in its own language."""
    if task.kinds != [Kind.CROSS_LINGUAL]:
        raise InputError(f"task {task.name!r}: parallel text has cross-lingual settings alone")
    every_pair = collection(languages, limit, cluster, parallel=True)
    across = {pair: rows for pair, rows in every_pair.relevance.items() if pair[0] != pair[1]}
    return replace(every_pair, relevance=across)


def is_pairs(path: Path) -> bool:
    """Whether a file holds pairs of translations, by its name."""
    return path.name.removesuffix(".gz").endswith(".tsv")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences that are translations."""

    sentences: tuple[Sentence, Sentence]
    id: str | None
    """The id, where the file has one; translations into other languages share it."""


def read_pairs(path: Path, faults: Faults) -> Iterator[tuple[str, Pair]]:
    """The pairs of a file, with their places; runs of white space become one space.

    Lines are ``lang<TAB>lang<TAB>text<TAB>text``, as in Tatoeba's test sets. A file of TICO-19 has a header, and after
    the texts an id (``wiki_9:30``), a URL, a licence and a translator.
    """
    for place, cells in read_lines(path, faults, _cells):
        with faults.at(path, place):
            if cells[:2] == TICO_HEADER:
                continue
            if len(cells) not in (4, 8):
                raise ValueError(
                    f"wants four cells (language, language, text, text), or eight as TICO-19 has, and has {len(cells)}"
                )
            if not all(cells[:5]):
                raise ValueError("has an empty cell")
            name = cells[4] if cells[4:] else None
            yield place, Pair(((cells[0], cells[2]), (cells[1], cells[3])), name)


def _cells(raw: str) -> list[str]:
    return [" ".join(cell.split()) for cell in raw.rstrip("\r\n").split("\t")]


def grouped_sentences(pairs: Iterable[tuple[Sentence, Sentence]]) -> dict[Sentence, int]:
    """The group of each sentence; translations, directly or through others, are in one group."""
    numbers: dict[Sentence, int] = {}
    links = [[numbers.setdefault(sentence, len(numbers)) for sentence in pair] for pair in pairs]
    if not links:
        return {}
    return dict(zip(numbers, components(np.array(links), len(numbers)), strict=True))


def _languages_of_pairs(task: Task, files: Mapping[str, Path]) -> dict[str, LanguageTexts]:
    """The texts of pairs, each once; those of a group are relevant to each other."""
    faults = Faults(f"the data of task {task.name!r}")
    languages = {lang: LanguageTexts() for lang in sorted(map(file_language, files))}
    texts: dict[Sentence, str] = {}
    pairs: list[tuple[Sentence, Sentence]] = []
    documents: dict[Sentence, str] = {}
    for path in sorted(set(files.values())):
        for place, pair in read_pairs(path, faults):
            with faults.at(path, place):
                one, other = ((lang, pair.id or text) for lang, text in pair.sentences)
                for sentence, (_, text) in zip((one, other), pair.sentences, strict=True):
                    if texts.setdefault(sentence, text) != text:
                        raise ValueError(f"{pair.id!r} has two texts in {sentence[0]!r}")
                    documents[sentence] = (pair.id or "").rpartition(":")[0]
                pairs.append((one, other))
    faults.check()
    groups = grouped_sentences(pairs)
    for (lang, key), text in texts.items():
        if lang in languages:
            group = str(groups[lang, key])
            # Translations share an id; further texts of the group in one language have ids of their own.
            of_lang = languages[lang]
            name = group if group not in of_lang.questions else f"{group}.{len(of_lang.keys)}"
            of_lang.ask(name, text, group, documents[lang, key])
            of_lang.answer(name, text, group)
    return languages


def _translations(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
    """The texts of a file in these languages, with their documents (or nothing) as clusters."""
    languages = {lang: LanguageTexts() for lang in langs}
    names: set[str] = set()
    for place, row in rows(path, faults):
        with faults.at(path, place):
            texts, name = texts_of(row), text_of(row, "id")
            document = "" if row.get("doc") is None else text_of(row, "doc")
            if name in names:
                raise ValueError(f"{name!r} is the id of an earlier line")
            names.add(name)
            for lang in langs:
                if text := texts.get(lang, "").strip():
                    languages[lang].ask(name, text, name, document)
                    languages[lang].answer(name, text, name)
    return languages


def read_captions(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """Crossmodal-3600, ``{"image/key": …, "<lang>": {"caption": […]}}``: a caption finds others of its image.

    Every caption is a query and a candidate; a query's own caption leaves the pool. Captions of an image were
    written independently: they are no translations.
    """
    languages = read_languages(task, files, _captions)
    return collection(languages, options.limit, cluster="document", queries_are_passages=True)


def _captions(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
    languages = {lang: LanguageTexts() for lang in langs}
    images: set[str] = set()
    for place, row in rows(path, faults):
        with faults.at(path, place):
            image = text_of(row, IMAGE)
            if image in images:
                raise ValueError(f"{image!r} is the image of an earlier line")
            images.add(image)
            for lang in sorted(row.keys() & languages.keys()):
                for number, caption in enumerate(_captions_in(row, lang)):
                    name = f"{image}:{number}"
                    languages[lang].ask(f"{lang}:{name}", caption, image)
                    languages[lang].answer(name, caption, image)
    return languages


def _captions_in(row: Mapping[str, Any], lang: str) -> list[str]:
    """The captions of a line in a language that are not blank."""
    entry = row[lang]
    captions = entry.get("caption", []) if isinstance(entry, dict) else None
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ValueError(f"{lang!r} is no object with a list of texts under 'caption'")
    if len(captions) > MOST_CAPTIONS:
        raise ValueError(
            f"{lang!r} has {len(captions):,} captions of one image, over {MOST_CAPTIONS}"
        )
    return [text for caption in captions if (text := caption.strip())]


def read_belebele(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """Belebele, a file for each language: a question finds the passage that it was asked about.

    A passage is identified by its `link` in every language, a question by its `link` and `question_number`. The
    answers to choose from are not used.
    """
    languages = read_languages(task, files, _questions)
    return collection(languages, options.limit, cluster="document", parallel=True)


def _questions(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
    texts = LanguageTexts()
    for place, row in rows(path, faults):
        with faults.at(path, place):
            link, passage = text_of(row, "link"), text_of(row, "flores_passage")
            name = f"{link}#{text_of(row, 'question_number')}"
            if texts.passages.get(link, passage) != passage:
                raise ValueError(f"{link!r} has another passage in an earlier line")
            texts.ask(name, text_of(row, "question"), link, other="an earlier question")
            if link not in texts.passages:
                texts.answer(link, passage, link)
    return dict.fromkeys(langs, texts)


def read_aligned(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """Parallel text as FLORES-200 and NTREX-128 publish it: a text file for each language, with translations on the same line.

    A task names them ``<lang>.text``; ``<lang>.documents``, shared by all, has the document of each line in its first
    column, with or without a header: the texts of one document are one cluster. All faults are reported at once.
    """
    faults = Faults(f"the data of task {task.name!r}")
    langs = sorted({file_language(name) for name in files})
    paths = named_files(task, files, [f"{lang}.text" for lang in langs])
    (documents, *_) = named_files(task, files, [f"{lang}.documents" for lang in langs])
    lines = {
        path: [line for _, line in read_lines(path, faults, str.strip, blank=True)]
        for path in (documents, *paths)
    }
    faults.check()
    count = len(lines[paths[0]])
    of_line = [line.partition("\t")[0] for line in lines[documents]]
    of_line = of_line[1:] if len(of_line) == count + 1 else of_line
    for path, texts in ((documents, of_line), *((path, lines[path]) for path in paths)):
        if len(texts) != count:
            reason = f"has {len(texts):,} lines, and {paths[0].name} has {count:,}"
            faults.add(path, "$", reason)
    faults.check()
    languages = {lang: LanguageTexts() for lang in langs}
    for lang, path in zip(langs, paths, strict=True):
        for number, (text, document) in enumerate(zip(lines[path], of_line, strict=True), 1):
            if text:
                cluster = document or f"line {number}"
                languages[lang].ask(str(number), text, str(number), cluster)
                languages[lang].answer(str(number), text, str(number))
    return bitext(task, languages, options.limit, "document")

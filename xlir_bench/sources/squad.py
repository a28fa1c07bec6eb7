"""Reads SQuAD's layout and two that are built on it: LAReQA and TyDiQA GoldP.

SQuAD: a question finds its paragraph among the distinct paragraphs of its language; its answers are not used.
TyDiQA GoldP: the same, where one file has the questions of all languages.
LAReQA: paragraphs carry their sentences and sentence breaks. Every sentence of every paragraph is a candidate, not
de-duplicated; the relevant one is the sentence whose break interval ``[start, end)`` contains ``answer_start``.
Offsets count code points. With paragraphs as candidates: as in SQuAD, and a question finds the paragraph of its
translation in every language.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from xlir_bench.arrays import components
from xlir_bench.records import Collection
from xlir_bench.sources.collecting import LanguageTexts, ReadOptions, collection, read_languages
from xlir_bench.sources.rows import Faults
from xlir_bench.tasks import Task
from xlir_bench.untrusted import HALF, parse_json

T = TypeVar("T")
Node = TypeVar("Node", bound=Hashable)
CONTEXT = "sentence+context"
PARAGRAPH = "paragraph"
MOST_TEXT = 1 << 28
"""The most characters of all candidates of a language, where each candidate repeats its paragraph."""
TYDIQA = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}
"""How the ids of TyDiQA's questions begin."""
SHARED = "questions about a paragraph that another question has too"
RUNS_PAST = "answers that run past the end of their sentence"
MOVED = "answers whose text is not at their answer_start"
DIFFERS = "sentences that differ from the text between their breaks (the sentence is used)"
BLANK = "sentences without any text"
REPEATED = "sentences that repeat another of their language (kept, not de-duplicated)"

# A list is refused at its first wrong item: a fault for each item could fill the memory.
List = Annotated[list[T], Field(fail_fast=True)]


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(HALF) from None
    return text


Text = Annotated[str, AfterValidator(_whole)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Answer(_Part):
    answer_start: int
    text: Text


class _Question(_Part):
    id: Text
    question: Text


class _AnsweredQuestion(_Question):
    answers: Annotated[List[_Answer], Field(min_length=1)]


class _Paragraph(_Part):
    context: Text
    qas: List[_Question]


class _SentenceParagraph(_Part):
    context: Text
    sentences: List[Text]
    sentence_breaks: List[Annotated[List[int], Field(min_length=2, max_length=2)]]
    qas: List[_AnsweredQuestion]


class _Article(_Part):
    title: Text = ""
    paragraphs: list[Any]


class _File(_Part):
    data: list[Any]


P = TypeVar("P", _Paragraph, _SentenceParagraph)


def read_squad(
    task: Task,
    files: Mapping[str, Path],
    options: ReadOptions,
    prefixes: Mapping[str, str] | None = None,
) -> Collection:
    """Questions and the distinct paragraphs they are about; with `prefixes`, questions whose id begins with that of their language.

    All faults of the files are reported at once.
    """

    def read(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
        starts = prefixes or {}
        return {x: _paragraph_texts(x, path, starts.get(x, ""), faults) for x in langs}

    return collection(read_languages(task, files, read), options.limit, cluster="document")


def read_tydiqa(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """TyDiQA GoldP: a file may hold all languages, and the id of a question begins with its language."""
    prefixes = {lang: f"{TYDIQA.get(lang, lang)}-" for lang in task.languages}
    return read_squad(task, files, options, prefixes)


def read_lareqa(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """Questions and the sentences that answer them; all faults of the files are reported at once."""

    def read(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
        if options.candidate == PARAGRAPH:
            return {x: _paragraph_texts(x, path, "", faults, across=True) for x in langs}
        return {x: _sentence_texts(x, path, options.candidate, faults) for x in langs}

    languages = dict(sorted(read_languages(task, files, read).items()))
    titles: dict[tuple[str, str], str] = {}
    asked_in: dict[str, list[tuple[str, str]]] = {}
    for lang, texts in languages.items():
        for name, title in zip(texts.questions, texts.clusters, strict=True):
            titles[lang, title] = title
            asked_in.setdefault(name, []).append((lang, title))
    # Articles that share a question, in whatever languages, are one cluster.
    labels = joined_labels(titles, list(asked_in.values()))
    for lang, texts in languages.items():
        texts.clusters = [labels[lang, title] for title in texts.clusters]
    return collection(languages, options.limit, cluster="article", parallel=True)


def _paragraph_texts(
    lang: str, path: Path, prefix: str, faults: Faults, across: bool = False
) -> LanguageTexts:
    """The questions of a file whose ids begin with `prefix`, and their distinct paragraphs.

    `across`: questions of one id are translations of each other, and articles move together.
    """
    texts = LanguageTexts()
    rows: dict[str, int] = {}
    for place, paragraph, article in _paragraphs(lang, path, _Paragraph, faults):
        context = paragraph.context
        if not context.strip():
            faults.add(path, f"{place}.context", "is empty")
        if across:
            rows.setdefault(context, len(rows))  # one without a question is a candidate too
        for number, question in enumerate(paragraph.qas):
            at = f"{place}.qas[{number}]"
            if not question.question.strip():
                faults.add(path, f"{at}.question", "is empty")
            if not question.id.startswith(prefix):
                continue
            if not across:
                texts.oddities[SHARED] += context in rows
            row = rows.setdefault(context, len(rows))
            with faults.at(path, f"{at}.id"):
                key = question.id if across else f"{lang}:{row}"
                # Without translations, questions about one paragraph move together.
                cluster = article if across else key
                texts.ask(question.id, question.question, key, cluster, "another question")
                texts.relevant.append((key, row, 1))
    texts.passages = {str(row): context for context, row in rows.items()}
    texts.relevant = list(dict.fromkeys(texts.relevant))
    return texts


def _sentence_texts(lang: str, path: Path, candidate: str, faults: Faults) -> LanguageTexts:
    """The questions of a file, with their articles as clusters, and every sentence as a candidate."""
    oddities = Counter(dict.fromkeys((RUNS_PAST, MOVED, DIFFERS, BLANK, REPEATED), 0))
    texts = LanguageTexts(oddities=oddities)
    places: dict[str, str] = {}
    sentences: set[str] = set()
    size = 0
    paragraphs = enumerate(_paragraphs(lang, path, _SentenceParagraph, faults))
    for number, (place, paragraph, article) in paragraphs:
        context = paragraph.context
        if candidate == CONTEXT:
            size += len(paragraph.sentences) * len(context)
            if size > MOST_TEXT:
                faults.add(
                    path, place,
                    f"with {len(paragraph.sentences):,} sentences, each joined by its paragraph, the candidates"
                    f" have over {MOST_TEXT:,} characters: --candidate sentence takes them alone",
                )  # fmt: skip
                break
        sound = _check_breaks(path, place, paragraph, faults)
        first = len(texts.passages)
        breaks = paragraph.sentence_breaks if sound else []
        for row, (start, end) in enumerate(breaks):
            sentence = paragraph.sentences[row]
            text = f"{sentence} {context}" if candidate == CONTEXT else sentence
            texts.passages[f"{number}:{row}"] = text
            oddities[DIFFERS] += context[start:end] != sentence
            oddities[BLANK] += not sentence.strip()
            oddities[REPEATED] += sentence in sentences
            sentences.add(sentence)
        starts = [start for start, _ in breaks]
        for question_number, question in enumerate(paragraph.qas):
            at = f"{place}.qas[{question_number}]"
            if not question.question.strip():
                faults.add(path, f"{at}.question", "is empty")
            relevant: set[int] = set()
            for answer_number, answer in enumerate(question.answers if sound else ()):
                offset = answer.answer_start
                row = bisect_right(starts, offset) - 1
                if row < 0 or offset >= breaks[row][1]:
                    faults.add(
                        path, f"{at}.answers[{answer_number}].answer_start",
                        f"{offset} is in no sentence break (the text has {len(context)} characters)",
                    )  # fmt: skip
                    continue
                relevant.add(first + row)
                oddities[RUNS_PAST] += offset + len(answer.text) > breaks[row][1]
                oddities[MOVED] += not context.startswith(answer.text, offset)
            name = question.id
            with faults.at(path, f"{at}.id"):
                other = f"another question: {places.get(name)}"
                texts.ask(name, question.question, name, article, other)
                places[name] = f"{at}.id"
                texts.relevant += [(name, row, 1) for row in relevant]
    return texts


def _check_breaks(path: Path, place: str, paragraph: _SentenceParagraph, faults: Faults) -> bool:
    """Whether there is a break for each sentence, inside the text, in order, without overlap."""
    before, last_end, length = faults.count, 0, len(paragraph.context)
    for row, (start, end) in enumerate(paragraph.sentence_breaks):
        with faults.at(path, f"{place}.sentence_breaks[{row}]"):
            if start < 0 or end > length:
                raise ValueError(f"[{start}, {end}] is outside the text (0 to {length})")
            if start >= end:
                raise ValueError(f"[{start}, {end}] does not end after its start")
            if start < last_end:
                raise ValueError(f"[{start}, {end}] begins before the last one ends ({last_end})")
            last_end = end
    breaks, sentences = len(paragraph.sentence_breaks), len(paragraph.sentences)
    if breaks != sentences:
        reason = f"{breaks} breaks for {sentences} sentences"
        faults.add(path, f"{place}.sentence_breaks", reason)
    return faults.count == before


def _paragraphs(
    lang: str, path: Path, model: type[P], faults: Faults
) -> Iterator[tuple[str, P, str]]:
    """Each sound paragraph of a file, with its place and its article (title or number); others are faults."""
    stated = None
    with faults.at(path, "$"):
        try:
            stated = faults.validated(path, "$", _File, parse_json(path.read_bytes(), lone="keep"))
        except OSError as error:
            raise ValueError(f"cannot be read ({error.strerror})") from None
    for number, raw_article in enumerate(stated.data if stated else ()):
        place = f"$.data[{number}]"
        article = faults.validated(path, place, _Article, raw_article)
        for row, raw_paragraph in enumerate(article.paragraphs if article else ()):
            at = f"{place}.paragraphs[{row}]"
            paragraph = faults.validated(path, at, model, raw_paragraph)
            if article and paragraph:
                yield at, paragraph, article.title or f"article {number} of {lang}"


def joined_labels(titles: Mapping[Node, str], groups: Sequence[Sequence[Node]]) -> dict[Node, str]:
    """A label for each node, shared by exactly those nodes that the groups join, directly or through others.

    The label is the first title of the joined nodes in code-point order; where two sets of joined nodes would have
    the same label, that of the later one is numbered.

    >>> joined_labels({1: "Plant cell", 2: "Pflanzenzelle", 3: "Oni"}, [[1, 2]])
    {1: 'Pflanzenzelle', 2: 'Pflanzenzelle', 3: 'Oni'}
    """
    number = {node: n for n, node in enumerate(titles)}
    links = [(number[group[0]], number[node]) for group in groups for node in group]
    component = components(np.array(links, int).reshape(-1, 2), len(number))
    first: dict[int, str] = {}
    for part, title in zip(component, titles.values(), strict=True):
        first[part] = min(title, first.get(part, title))
    labels: dict[int, str] = {}
    taken: set[str] = set()
    for part, title in first.items():
        numbered = (f"{title} ({n})" for n in count(2))
        labels[part] = title if title not in taken else next(x for x in numbered if x not in taken)
        taken.add(labels[part])
    return {node: labels[part] for node, part in zip(titles, component, strict=True)}

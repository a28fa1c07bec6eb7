"""Which answers were missed, and why: each miss in one of six classes, from what a run stores. docs/diagnose.md explains them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Kind, Progress, Silent, followed
from xlir_bench.results import Result
from xlir_bench.results.tables import Codes
from xlir_bench.results.values import TextColumn

if TYPE_CHECKING:
    import pyarrow as pa

RANKING, LABELS, MATCHING = "ranking across languages", "labels in doubt", "matching"
CLASSES: Mapping[str, tuple[str, str]] = {
    "own language": (RANKING, "the answer is found in its language; the question's own language outranks it"),
    "language below": (RANKING, "the answer is found in its language, which ranks below the others"),
    "near duplicate": (LABELS, "a passage above holds the answer's text, and is not labelled relevant"),
    "lexical neighbour": (MATCHING, "the first wrong passage has more of the question's words than the answer has"),
    "topical neighbour": (MATCHING, "the first wrong passage is from the answer's article"),
    "lost": (MATCHING, "none of these"),
}  # fmt: skip
"""For each class, the part of the loss that it belongs to, and when it applies; in the order in which they are tried."""
OF_LANGUAGES, OF_TEXTS = tuple(CLASSES)[:2], ("near duplicate", "lexical neighbour")
"""Classes that are judged by the ranks in single languages, and classes that are judged by texts."""
Frame = Any
"""A `pandas.DataFrame`; its columns have no types of their own."""
IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What decides the class of a miss."""

    rank: int = 20
    """An answer is missed if its rank is beyond this, and beyond the number of the question's answers. It is found in its
    language if its rank among the passages of that language alone is within this."""
    own_share: float = 0.5
    """`own language`: the least share of the best passages that are in the question's language."""
    duplicate: float = 0.8
    """`near duplicate`: the least share of an answer's pieces of text that a passage of its language holds."""
    lexical: float = 0.5
    """`lexical neighbour`: the least share of the question's pieces that the first wrong passage holds."""
    pieces: int = 8
    """A text of fewer pieces is too short to be evidence."""


@dataclass(frozen=True, slots=True)
class Example:
    """One miss."""

    query_lang: str
    query_id: str
    answer_lang: str
    answer_id: str
    rank: int
    """The answer's rank in its list: in the pool, if there is one; 0: it was not retrieved."""
    rank_in_language: int | None
    """None if its language was not searched alone."""
    instead: str | None
    """The wrong passage that the class is about: the near duplicate, else the first; None if none is known."""
    texts: tuple[str, str, str] | None = None
    """The texts of the question, of the answer and of `instead`; a text that is not known is empty."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The classes of all misses of a result."""

    limits: Limits
    not_judged: Mapping[str, str]
    """Classes that could not be judged, and why; their misses are counted in the classes after them."""
    relevant: Mapping[tuple[str, str], int]
    """The number of answers, by the question's language and the answer's."""
    misses: Mapping[tuple[str, str], Mapping[str, int]]
    """The number of answers that were missed, by the same languages, then by class."""
    examples: Mapping[str, Sequence[Example]]
    chance: float | None
    """The share of the misses that would be found in their language if passages were ranked at random."""

    def count(self, name: str | None = None) -> int:
        """How many misses there are, of one class or of all."""
        return sum(sum(c.values()) if name is None else c[name] for c in self.misses.values())

    def classes(self) -> dict[str, int | None]:
        """How many misses are of each class; None where it could not be judged."""
        return {x: None if x in self.not_judged else self.count(x) for x in CLASSES}

    def parts(self) -> dict[str, int]:
        """How many misses are of each part of the loss."""
        parts = dict.fromkeys((RANKING, LABELS, MATCHING), 0)
        for name, (part, _) in CLASSES.items():
            parts[part] += self.count(name)
        return parts


def diagnose(
    result: Result,
    texts: Collection | str = "texts are not at hand",
    limits: Limits | None = None,
    examples: int = 2,
    progress: Progress | None = None,
) -> Diagnosis:
    """Put every miss into the first class that applies. `texts`: the data, or why it is not there."""
    limits = limits or Limits()
    stored = _Stored.of(result, limits)
    not_judged: dict[str, str] = {}
    if not stored.has_pool:
        not_judged |= dict.fromkeys(OF_LANGUAGES, "no pool of languages was searched")
    elif not stored.has_alone:
        not_judged |= dict.fromkeys(OF_LANGUAGES, "no language was searched alone")
    if isinstance(texts, str):
        not_judged |= dict.fromkeys(OF_TEXTS, texts)
    if result.record.task.cluster == "question":
        not_judged["topical neighbour"] = "the data names no articles"
    if not stored.has_best:
        again = "run again" if stored.has_pool else f"run again with --save-run {limits.rank}"
        need_best = [name for name in CLASSES if name not in ("language below", "lost")]
        # Other reasons replace this one: another run would not remove them.
        not_judged = (
            dict.fromkeys(need_best, f"the best passages were not kept: {again}") | not_judged
        )
    known_texts = None if isinstance(texts, str) else _Texts(texts, stored)
    misses = stored.misses
    judged = {*CLASSES} - {*not_judged}
    misses["class"], misses["instead"] = _classified(
        stored, judged, known_texts, progress or Silent()
    )
    pair = ["query_lang", "passage_lang"]
    relevant = stored.answers.groupby(pair, observed=True).size().to_dict()
    missed = misses.groupby([*pair, "class"], observed=True).size().to_dict()
    settings = [s for s in result.record.settings if len(s.passage_langs) == 1]
    sizes = {s.passage_langs[0]: s.candidates for s in settings}
    chances = [min(1.0, limits.rank / sizes.get(lang, 1)) for lang in misses["passage_lang"]]
    return Diagnosis(
        limits,
        not_judged,
        relevant,
        {langs: {name: missed.get((*langs, name), 0) for name in CLASSES} for langs in relevant},
        {name: _examples(misses[misses["class"] == name], examples, known_texts) for name in CLASSES},
        float(np.mean(chances)) if stored.has_alone and chances else None,
    )  # fmt: skip


def _examples(misses: Frame, count: int, texts: _Texts | None) -> list[Example]:
    """Up to `count` misses, spread evenly over all of them."""
    places = np.linspace(0, len(misses) - 1, min(count, len(misses))).astype(np.int64)
    shown = []
    for miss in misses.iloc[np.unique(places)].itertuples():
        names = (miss.query_lang, miss.query_id, miss.passage_lang, miss.passage_id)
        of_texts = None
        if texts is not None:
            question = texts.question(miss.query_lang, miss.query_id)
            instead = texts.passage(miss.instead) if miss.instead else ""
            of_texts = question, texts.passage(miss.passage_id), instead
        shown.append(Example(*names, miss.rank, miss.alone, miss.instead or None, of_texts))
    return shown


@dataclass(frozen=True, slots=True)
class _Stored:
    """The tables of a result: the answers, those that were missed, and the best passages.

    A *list* is one ranking: that of a question in the pool or, without a pool, in one of its settings.
    """

    limits: Limits
    has_pool: bool
    has_alone: bool
    """Whether single languages were searched beside the pool."""
    has_best: bool
    answers: Frame
    """A row for each answer in each `list`: only in the pool of all languages if there is one, else in every setting."""
    misses: Frame
    """The missed answers, with their rank `alone`, among the passages of their language only; 0: not known."""
    best: Frame
    """The best passages of each list, the best first; those that are no answers are `wrong`."""
    topics: Mapping[str, set[int]]
    """The clusters of the questions that a passage answers, by the passage's id and by its paragraph's id."""

    @classmethod
    def of(cls, result: Result, limits: Limits) -> _Stored:
        """Read the tables of a result and find the misses."""
        table = result.table("ranks")
        if not table.num_rows:
            raise InputError(f"{result.where} judges no passages: it has no ranks to look at")
        kind, cluster = TextColumn(table, "kind"), TextColumn(table, "cluster")
        pooled = np.array([name == Kind.MULTILINGUAL for name in kind.names], bool)[kind.codes]
        has_pool = bool(pooled.any())
        # Without a pool the best passages are stored only if the run was told to (--save-run).
        best_table = result.tables.get("best" if has_pool else "run")
        has_best = best_table is not None
        ranks, best = _frames([table, best_table if has_best else table.slice(0, 0)])
        ranks["cluster"] = cluster.codes
        question = ["query_lang", "query_id"]
        key = question if has_pool else [*question, "passage_lang"]
        answers = ranks[pooled] if has_pool else ranks
        answers = answers.assign(list=answers.groupby(key, observed=True).ngroup())
        count = answers.groupby("list")["rank"].transform("size")
        missed = (answers["rank"] == 0) | (answers["rank"] > np.maximum(limits.rank, count))
        misses = answers[missed]
        alone = ranks[~pooled & has_pool].rename(columns={"rank": "alone"})
        misses = misses.merge(alone[[*question, "passage_id", "alone"]], "left")
        misses["alone"] = misses["alone"].fillna(0).astype(int) if len(alone) else None
        best = best[best["rank"] <= limits.rank].merge(answers[[*key, "list"]].drop_duplicates())
        best = best.sort_values(["list", "rank"], ignore_index=True)
        merged = best.merge(answers[["list", "passage_id"]], "left", indicator=True)["_merge"]
        best["wrong"] = merged == "left_only"
        topics: dict[str, set[int]] = {}
        for answer in ranks[["passage_id", "cluster"]].drop_duplicates().itertuples():
            for name in _parents(answer.passage_id):
                topics.setdefault(name, set()).add(answer.cluster)
        return cls(limits, has_pool, len(alone) > 0, has_best, answers, misses, best, topics)


def _frames(tables: Sequence[pa.Table]) -> list[Frame]:
    """The ranks, languages and ids of tables; all of them have the same categories, so that they can be merged."""
    frames: list[Frame] = [pd.DataFrame({"rank": table["rank"].to_numpy()}) for table in tables]
    for names in (("query_lang", "passage_lang"), ("query_id",), ("passage_id",)):
        columns = {(i, x): TextColumn(table, x) for i, table in enumerate(tables) for x in names}
        codes = Codes({key: column.names for key, column in columns.items()})
        for (i, name), column in columns.items():
            numbers = codes.of((i, name), column.codes)
            frames[i][name] = pd.Categorical.from_codes(numbers, pd.Index(codes.names))
    return frames


def _parents(passage: str) -> tuple[str, ...]:
    """A passage's id and, if the passage is a sentence (``lang:paragraph:sentence``), the id of its paragraph."""
    paragraph = passage.rpartition(":")[0]
    return (passage, paragraph) if ":" in paragraph else (passage,)


class _Texts:
    """The texts of questions and passages, and their pieces."""

    def __init__(self, collection: Collection, stored: _Stored) -> None:
        self._limits = stored.limits
        self._pieces = cache(_pieces)
        self._bits = cache(lambda text: _bits(self._pieces(text)))
        self._questions = {
            (lang, name): text
            for lang, queries in collection.queries.items()
            for name, text in zip(queries.ids, queries.texts, strict=True)
        }
        wanted = {*stored.answers["passage_id"], *stored.best["passage_id"]}
        self._passages = {
            name: passages.texts[row]
            for passages in collection.passages.values()
            for row, name in enumerate(passages.ids)
            if name in wanted
        }

    def question(self, lang: str, name: str) -> str:
        """The text of a question; empty if the data at hand does not have it."""
        return self._questions.get((lang, name), "")

    def passage(self, name: str) -> str:
        """The text of a passage; empty if the data at hand does not have it."""
        return self._passages.get(name, "")

    def share(self, text: str, other: str) -> float:
        """The share of the pieces of `text` that `other` has too; 0 if `text` is too short to tell."""
        pieces = self._pieces(text)
        if len(pieces) < self._limits.pieces:
            return 0.0
        return len(pieces & self._pieces(other)) / len(pieces)

    def duplicate(
        self, answers: Sequence[tuple[str, str]], wrong: Sequence[tuple[str, str]]
    ) -> str | None:
        """The id of the first wrong passage that has the text of an answer in the same language.

        Answers and wrong passages are pairs of language and id.
        """
        for lang, name in wrong:
            text = self.passage(name)
            most = len(self._pieces(text)) / self._limits.duplicate
            for answer in (self.passage(x) for of_lang, x in answers if of_lang == lang):
                # Quick tests first, by size and by bits: a bit that the passage lacks is a piece that it lacks.
                count = len(self._pieces(answer))
                if not 0 < count <= most:
                    continue
                lacking = (self._bits(answer) & ~self._bits(text)).bit_count()
                may_hold = (count - lacking) / count >= self._limits.duplicate
                if may_hold and self.share(answer, text) >= self._limits.duplicate:
                    return name
        return None


def _pieces(text: str) -> frozenset[str]:
    """All runs of three characters of a text, or of two if it has ideographs; case, spacing and forms of letters do not
    matter.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    size = 2 if IDEOGRAPHS.search(plain) else 3
    return frozenset(plain[i : i + size] for i in range(len(plain) - size + 1))


def _bits(pieces: frozenset[str]) -> int:
    """A number with a bit set for each piece; different pieces may share a bit."""
    bits = 0
    for piece in pieces:
        bits |= 1 << (hash(piece) & 1023)
    return bits


def _classified(
    stored: _Stored, judged: set[str], texts: _Texts | None, progress: Progress
) -> tuple[Any, Any]:
    """The class of each miss, and the wrong passage that the class is about; empty if none is known."""
    misses, best, limits = stored.misses, stored.best, stored.limits
    classes = np.full(len(misses), "lost", object)
    instead = np.full(len(misses), "", object)
    is_below = np.zeros(len(misses), bool)
    if "language below" in judged:
        is_below = ((misses["alone"] > 0) & (misses["alone"] <= limits.rank)).to_numpy()
        classes[is_below] = "language below"
        if "own language" in judged:
            own = (best["passage_lang"] == best["query_lang"]).groupby(best["list"]).mean()
            outranked = misses["list"].map(own) >= limits.own_share
            # Above an answer in the question's own language are the other languages.
            outranked &= misses["passage_lang"] != misses["query_lang"]
            classes[is_below & outranked.to_numpy()] = "own language"
    wrong, answers = _by_list(best[best["wrong"]]), _by_list(stored.answers)
    columns = ["cluster", "query_lang", "query_id", "passage_id"]
    missed = list(misses[columns].itertuples(index=False, name=None))
    # All misses of a list have the same passages above them: these are looked at once.
    lists = [*misses.groupby("list").indices.items()]
    for list_id, rows in followed(lists, progress, "judge misses", "questions"):
        rest = rows[~is_below[rows]]
        if list_id not in wrong:
            continue
        instead[rows] = first = wrong[list_id][0][1]
        if not len(rest):
            continue
        if texts is not None:
            duplicate = texts.duplicate(answers[list_id], wrong[list_id])
            if duplicate is not None:
                classes[rest], instead[rest] = "near duplicate", duplicate
                continue
        cluster, lang, query, _ = missed[rest[0]]
        topics = [stored.topics.get(name, ()) for name in _parents(first)]
        if "topical neighbour" in judged and any(cluster in of_passage for of_passage in topics):
            classes[rest] = "topical neighbour"
        if texts is not None:
            question = texts.question(lang, query)
            shared = texts.share(question, texts.passage(first))
            for row in rest if shared >= limits.lexical else ():
                if shared > texts.share(question, texts.passage(missed[row][-1])):
                    classes[row] = "lexical neighbour"
    return classes, instead


def _by_list(rows: Frame) -> dict[int, list[tuple[str, str]]]:
    """The language and id of the passages of each list, in their order."""
    passages: dict[int, list[tuple[str, str]]] = {}
    columns = rows[["list", "passage_lang", "passage_id"]]
    for list_id, lang, name in columns.itertuples(index=False, name=None):
        passages.setdefault(list_id, []).append((lang, name))
    return passages

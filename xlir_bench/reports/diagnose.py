"""Why answers were missed: each miss in one of six classes, from what a run stores. docs/diagnose.md explains them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import InputError
from xlir_bench.records import Collection, Ints, Kind
from xlir_bench.reports.document import Block, Items, Table, Text
from xlir_bench.reports.tables import heading
from xlir_bench.results import Result
from xlir_bench.results.tables import Codes
from xlir_bench.results.values import Column

RANKING, LABELS, MATCHING = "ranking across languages", "labels in doubt", "matching"
CLASSES: Mapping[str, tuple[str, str]] = {
    "own language": (RANKING, "the answer is found in its language; the question's own language outranks it"),
    "language below": (RANKING, "the answer is found in its language, which ranks below the others"),
    "near duplicate": (LABELS, "a passage above holds the answer's text, and is not labelled relevant"),
    "lexical neighbour": (MATCHING, "the first wrong passage has the question's words, more than the answer has"),
    "topical neighbour": (MATCHING, "the first wrong passage is of the answer's article"),
    "lost": (MATCHING, "none of these"),
}  # fmt: skip
"""By class, in the order in which they are tried: what part of the loss it is, and when it applies."""
BY_TEXT = ("near duplicate", "lexical neighbour")
PAIRS_SHOWN = 10
IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What decides the class of a miss."""

    rank: int = 20
    """An answer beyond this rank is missed (or beyond the number of answers, if that is larger); one within it among
    the passages of its language alone is found there."""
    own_share: float = 0.5
    """`own language`: the least share of the best passages that are in the question's language."""
    duplicate: float = 0.8
    """`near duplicate`: the least share of an answer's pieces of text that a passage of its language holds."""
    lexical: float = 0.5
    """`lexical neighbour`: the least share of the question's pieces that the first wrong passage holds."""
    pieces: int = 8
    """Shorter texts, in pieces, are no evidence."""


@dataclass(frozen=True, slots=True)
class Example:
    """One miss."""

    query_lang: str
    query_id: str
    answer_lang: str
    answer_id: str
    rank: int
    """In the pool; 0: it was not retrieved."""
    rank_in_language: int | None
    """None where its language was not searched alone."""
    instead: str | None
    """The passage that the class speaks of; None where best passages were not kept."""
    texts: tuple[str, str, str] | None = None
    """Of the question, the answer and what came instead."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The classes of all misses of a result."""

    limits: Limits
    not_judged: Mapping[str, str]
    """Classes that could not be judged, and why: their misses are among the classes that follow."""
    relevant: Mapping[tuple[str, str], int]
    """How many answers there are, by the question's language and theirs."""
    misses: Mapping[tuple[str, str], Mapping[str, int]]
    """How many of them were missed, by class."""
    examples: Mapping[str, Sequence[Example]]
    chance: float | None
    """The share of the misses that would be found in their language if passages were ranked at random."""

    def count(self, name: str | None = None) -> int:
        """How many misses there are, of one class or of all."""
        return sum(sum(c.values()) if name is None else c[name] for c in self.misses.values())

    def part(self, part: str) -> int:
        """How many misses are of one part of the loss."""
        return sum(self.count(name) for name, (of_part, _) in CLASSES.items() if of_part == part)


def diagnose(
    result: Result,
    texts: Collection | str = "texts are not at hand",
    limits: Limits | None = None,
    examples: int = 2,
) -> Diagnosis:
    """Put every miss into the first class that applies. `texts`: the data, or why it is not there."""
    limits = limits or Limits()
    stored = _Stored.of(result)
    misses = _Misses(stored, limits)
    not_judged: dict[str, str] = {}
    if not stored.has_pool:
        not_judged |= dict.fromkeys(
            ("own language", "language below"), "no pool of languages was searched"
        )
    elif stored.alone is None:
        not_judged |= dict.fromkeys(
            ("own language", "language below"), "no language was searched alone"
        )
    if isinstance(texts, str):
        not_judged |= dict.fromkeys(BY_TEXT, texts)
    if result.record.task.cluster == "question":
        not_judged["topical neighbour"] = "the data names no articles"
    if stored.best is None:
        again = "run again" if stored.has_pool else f"run again with --save-run {limits.rank}"
        need_best = [name for name in CLASSES if name not in ("language below", "lost")]
        not_judged |= dict.fromkeys(need_best, f"the best passages were not kept: {again}")
    judged = [name for name in CLASSES if name not in not_judged]
    compared = None if isinstance(texts, str) else _Texts(texts, stored, misses)
    of_class, instead = _classified(misses, judged, compared, limits)
    langs, names = stored.langs, list(CLASSES)
    sizes = {
        s.passage_langs[0]: s.candidates
        for s in result.record.settings
        if len(s.passage_langs) == 1
    }
    chances = [min(1.0, limits.rank / sizes.get(lang, 1)) for lang in langs]
    searched = stored.alone is not None and len(misses.rows) > 0
    relevant = np.zeros((len(langs), len(langs)), np.int64)
    np.add.at(relevant, (stored.query_lang[stored.asked], stored.lang[stored.asked]), 1)
    missed = np.zeros((len(names), *relevant.shape), np.int64)
    np.add.at(missed, (of_class, misses.query_lang, misses.lang), 1)
    pairs = [(a, b) for a, b in np.argwhere(relevant).tolist()]
    return Diagnosis(
        limits,
        not_judged,
        {(langs[a], langs[b]): int(relevant[a, b]) for a, b in pairs},
        {
            (langs[a], langs[b]): {name: int(missed[i, a, b]) for i, name in enumerate(names)}
            for a, b in pairs
        },
        {
            name: [misses.example(i, instead[i], compared) for i in _spread(np.flatnonzero(of_class == n), examples)]
            for n, name in enumerate(names)
        },
        float(np.mean(np.array(chances)[misses.lang])) if searched else None,
    )  # fmt: skip


def _spread(rows: Ints, count: int) -> list[int]:
    """Some of the rows, evenly from among all."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)
    return [int(row) for row in rows[np.unique(places)]]


@dataclass(frozen=True, slots=True)
class _Stored:
    """The tables of a result as numbers."""

    langs: Sequence[str]
    queries: Sequence[str]
    passages: Sequence[str]
    query_lang: Ints
    """Of each row of the ranks, as are the following."""
    query: Ints
    passage: Ints
    lang: Ints
    cluster: Ints
    rank: Ints
    has_pool: bool
    asked: Ints
    """The rows that count: of the pool of all languages if there is one, else all."""
    alone: Ints | None
    """The rows of single languages, where there is a pool too."""
    best: _Best | None

    @classmethod
    def of(cls, result: Result) -> _Stored:
        """From the tables that were stored."""
        ranks = result.table("ranks")
        if not ranks.num_rows:
            raise InputError(
                f"{result.where} judges no passages: there are answers to look for, and no ranks"
            )
        kind = Column(ranks, "kind")
        pooled = np.array([name == Kind.MULTILINGUAL for name in kind.names], bool)[kind.codes]
        has_pool = bool(pooled.any())
        # Without a pool the best passages of each setting are there only if they were asked for.
        best = result.tables.get("best" if has_pool else "run")
        tables = {"ranks": ranks} | ({} if best is None else {"best": best})
        columns = {
            (table, name): Column(tables[table], name)
            for table in tables
            for name in ("query_lang", "query_id", "passage_id", "passage_lang")
        }

        def coded(*names: str) -> tuple[list[str], dict[tuple[str, str], Ints]]:
            wanted = {key: column for key, column in columns.items() if key[1] in names}
            codes = Codes({key: column.names for key, column in wanted.items()})
            return codes.names, {key: codes.of(key, column.codes) for key, column in wanted.items()}

        langs, of_lang = coded("query_lang", "passage_lang")
        queries, of_query = coded("query_id")
        passages, of_passage = coded("passage_id")
        numbers = of_lang | of_query | of_passage
        alone = np.flatnonzero(~pooled) if has_pool else np.empty(0, np.int64)
        return cls(
            langs, queries, passages,
            numbers["ranks", "query_lang"], numbers["ranks", "query_id"],
            numbers["ranks", "passage_id"], numbers["ranks", "passage_lang"],
            Column(ranks, "cluster").codes, ranks["rank"].to_numpy().astype(np.int64), has_pool,
            np.flatnonzero(pooled) if has_pool else np.arange(len(pooled)),
            alone if len(alone) else None,
            None if best is None else _Best(
                numbers["best", "query_lang"], numbers["best", "query_id"],
                numbers["best", "passage_id"], numbers["best", "passage_lang"],
                best["rank"].to_numpy().astype(np.int64),
            ),
        )  # fmt: skip

    def lists(self, query_lang: Ints, query: Ints, lang: Ints) -> Ints:
        """The number of the list that a question's passages of a language stand in: one a question in a pool."""
        of_query = query_lang * len(self.queries) + query
        return of_query if self.has_pool else of_query * len(self.langs) + lang

    def pairs(self, query_lang: Ints, query: Ints, passage: Ints) -> Ints:
        """The number of each pair of a question and a passage."""
        return (query_lang * len(self.queries) + query) * len(self.passages) + passage


@dataclass(frozen=True, slots=True)
class _Best:
    """The best passages of each list."""

    query_lang: Ints
    query: Ints
    passage: Ints
    lang: Ints
    rank: Ints


class _Misses:
    """The answers that are not among the best, and what stands there."""

    def __init__(self, stored: _Stored, limits: Limits) -> None:
        self.stored = stored
        asked = stored.asked
        lists = stored.lists(*(x[asked] for x in (stored.query_lang, stored.query, stored.lang)))
        _, place, size = np.unique(lists, return_inverse=True, return_counts=True)
        rank = stored.rank[asked]
        is_missed = (rank == 0) | (rank > np.maximum(limits.rank, size[place]))
        self.rows: Ints = asked[is_missed]
        self.query_lang, self.lang = stored.query_lang[self.rows], stored.lang[self.rows]
        self.of_list: Ints = lists[is_missed]
        self.alone = self._ranks_alone()
        best = stored.best
        if best is None:
            none = np.empty(0, np.int64)
            best = _Best(none, none, none, none, none)
        self.best_list = stored.lists(best.query_lang, best.query, best.lang)
        within = np.flatnonzero(best.rank <= limits.rank)
        order = within[np.lexsort((best.rank[within], self.best_list[within]))]
        self.best_list = self.best_list[order]
        self.passage, self.passage_lang = best.passage[order], best.lang[order]
        """Of the best passages, list by list, the best first."""
        self.in_own: NDArray[np.bool_] = self.passage_lang == best.query_lang[order]
        shown = stored.pairs(best.query_lang[order], best.query[order], self.passage)
        known = stored.pairs(*(x[asked] for x in (stored.query_lang, stored.query, stored.passage)))
        self.is_wrong: NDArray[np.bool_] = ~np.isin(shown, known)
        self.start = np.searchsorted(self.best_list, self.of_list)
        """Of each miss, where its list begins."""
        self.stop = np.searchsorted(self.best_list, self.of_list, side="right")

    def _ranks_alone(self) -> Ints | None:
        """The rank of each miss among the passages of its own language; 0: it is not known."""
        stored, rows = self.stored, self.stored.alone
        if rows is None:
            return None
        pairs = (stored.query_lang, stored.query, stored.passage)
        known, wanted = (stored.pairs(*(x[at] for x in pairs)) for at in (rows, self.rows))
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
        at = order[place]
        return np.where(known[at] == wanted, stored.rank[rows][at], 0)

    def own_share(self) -> NDArray[np.floating[Any]]:
        """By miss: the share of the best passages that are in the question's language."""
        own = np.concatenate([[0], np.cumsum(self.in_own)])
        return np.asarray(
            (own[self.stop] - own[self.start]) / np.maximum(self.stop - self.start, 1)
        )

    def wrong(self, miss: int) -> Ints:
        """The places of the wrong passages in its list."""
        span = slice(int(self.start[miss]), int(self.stop[miss]))
        return span.start + np.flatnonzero(self.is_wrong[span])

    @cached_property
    def topics(self) -> Mapping[str, set[int]]:
        """The clusters of questions that a passage answers, by its id, and by that of its paragraph."""
        stored, topics = self.stored, dict[str, set[int]]()
        known = np.unique(np.stack([stored.passage, stored.cluster]), axis=1)
        for passage, cluster in known.T.tolist():
            for name in _parents(stored.passages[passage]):
                topics.setdefault(name, set()).add(cluster)
        return topics

    def same_topic(self, miss: int, place: int) -> bool:
        """Whether one of the best passages is of the article that the question was asked of."""
        cluster = int(self.stored.cluster[self.rows[miss]])
        names = _parents(self.stored.passages[self.passage[place]])
        return any(cluster in self.topics.get(name, ()) for name in names)

    def example(self, miss: int, instead: int, texts: _Texts | None) -> Example:
        """One miss; `instead`: the place of what the class speaks of, -1 if nothing is known."""
        stored, row = self.stored, self.rows[miss]
        return Example(
            query_lang=stored.langs[self.query_lang[miss]],
            query_id=stored.queries[stored.query[row]],
            answer_lang=stored.langs[self.lang[miss]],
            answer_id=stored.passages[stored.passage[row]],
            rank=int(stored.rank[row]),
            rank_in_language=None if self.alone is None else int(self.alone[miss]),
            instead=None if instead < 0 else stored.passages[self.passage[instead]],
            texts=None if texts is None or instead < 0 else (
                texts.question(miss), texts.answer(miss), texts.best(instead)
            ),
        )  # fmt: skip


def _parents(passage: str) -> tuple[str, ...]:
    """A passage's id, and its paragraph's where it is a sentence, ``lang:paragraph:sentence``."""
    paragraph = passage.rpartition(":")[0]
    return (passage, paragraph) if ":" in paragraph else (passage,)


class _Texts:
    """The texts of questions and passages, and their pieces."""

    def __init__(self, collection: Collection, stored: _Stored, misses: _Misses) -> None:
        self.stored, self.misses = stored, misses
        self._pieces = cache(_pieces)
        rows = stored.passage[stored.asked], misses.passage
        wanted = {stored.passages[number] for number in np.unique(np.concatenate(rows)).tolist()}
        self._questions = {
            lang: dict(zip(queries.ids, queries.texts, strict=True))
            for lang, queries in collection.queries.items()
        }
        self._passages = {
            name: passages.texts[row]
            for passages in collection.passages.values()
            for row, name in enumerate(passages.ids)
            if name in wanted
        }
        asked = stored.asked
        lists = stored.lists(*(x[asked] for x in (stored.query_lang, stored.query, stored.lang)))
        order = np.argsort(lists, kind="stable")
        self._answers, self._lists = asked[order], lists[order]

    def question(self, miss: int) -> str:
        """Nothing where the data at hand is other than what was run."""
        row, lang = self.misses.rows[miss], self.stored.langs[self.misses.query_lang[miss]]
        return self._questions.get(lang, {}).get(self.stored.queries[self.stored.query[row]], "")

    def answer(self, miss: int) -> str:
        """The text of what was missed."""
        return self._of(self.stored.passage[self.misses.rows[miss]])

    def best(self, place: int) -> str:
        """The text of one of the best passages."""
        return self._of(self.misses.passage[place])

    def _of(self, passage: int) -> str:
        return self._passages.get(self.stored.passages[passage], "")

    def share(self, text: str, inside: str, limits: Limits) -> float:
        """The share of the pieces of `text` that another one holds; 0 where it is too short to tell."""
        pieces = self._pieces(text)
        if len(pieces) < limits.pieces:
            return 0.0
        return len(pieces & self._pieces(inside)) / len(pieces)

    def duplicate(self, miss: int, wrong: Ints, limits: Limits) -> int:
        """The first of the wrong passages that holds the text of an answer in its language; -1: none does."""
        start, stop = np.searchsorted(self._lists, self.misses.of_list[miss] + np.arange(2))
        answers: dict[int, list[str]] = {}
        for row in self._answers[start:stop].tolist():
            text = self._of(self.stored.passage[row])
            answers.setdefault(int(self.stored.lang[row]), []).append(text)
        for place in wrong.tolist():
            text = self.best(place)
            most = len(self._pieces(text)) / limits.duplicate
            for answer in answers.get(int(self.misses.passage_lang[place]), ()):
                # Most passages are shorter than that: sizes are looked at first.
                if (
                    len(self._pieces(answer)) <= most
                    and self.share(answer, text, limits) >= limits.duplicate
                ):
                    return int(place)
        return -1


def _pieces(text: str) -> frozenset[str]:
    """The pieces of a text, whatever its case, spaces and forms of letters: two ideographs, or three letters."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    size = 2 if IDEOGRAPHS.search(plain) else 3
    return frozenset(plain[i : i + size] for i in range(len(plain) - size + 1))


def _classified(
    misses: _Misses, judged: Sequence[str], texts: _Texts | None, limits: Limits
) -> tuple[Ints, Ints]:
    """By miss: the number of its class, and the place of the passage that came instead, or -1."""
    names = list(CLASSES)
    of_class = np.full(len(misses.rows), names.index("lost"))
    wrong_before = np.concatenate([[0], np.cumsum(misses.is_wrong)])
    wrong_places = np.append(np.flatnonzero(misses.is_wrong), -1)
    has_wrong = wrong_before[misses.stop] > wrong_before[misses.start]
    instead = np.where(has_wrong, wrong_places[wrong_before[misses.start]], -1)
    found = np.zeros(len(of_class), bool)
    if misses.alone is not None and "language below" in judged:
        found = (misses.alone > 0) & (misses.alone <= limits.rank)
        of_class[found] = names.index("language below")
        if "own language" in judged:
            outranked = found & (misses.own_share() >= limits.own_share)
            of_class[outranked] = names.index("own language")
    rest = np.flatnonzero(~found & has_wrong)
    # What is above the misses of one question is looked at once.
    rest = rest[np.argsort(misses.of_list[rest], kind="stable")]
    _, first = np.unique(misses.of_list[rest], return_index=True)
    for group in np.split(rest, first[1:]) if len(rest) else ():
        miss, place = int(group[0]), int(instead[group[0]])
        if texts is not None and "near duplicate" in judged:
            duplicate = texts.duplicate(miss, misses.wrong(miss), limits)
            if duplicate >= 0:
                of_class[group], instead[group] = names.index("near duplicate"), duplicate
                continue
        if "topical neighbour" in judged and misses.same_topic(miss, place):
            of_class[group] = names.index("topical neighbour")
        if texts is not None and "lexical neighbour" in judged:
            question = texts.question(miss)
            shared = texts.share(question, texts.best(place), limits)
            for miss in group.tolist() if shared >= limits.lexical else ():
                if shared > texts.share(question, texts.answer(miss), limits):
                    of_class[miss] = names.index("lexical neighbour")
    return of_class, instead


def diagnosis_blocks(result: Result, diagnosis: Diagnosis, shortened: bool) -> list[Block]:
    """The classes, the parts of the loss and the language pairs; `shortened`: of these those that lose most."""
    relevant, misses = sum(diagnosis.relevant.values()), diagnosis.count()
    limits = diagnosis.limits
    text = f"{misses:,} of {relevant:,} answers are missed ({_percent(misses, relevant)}): they are not among the best {limits.rank}"
    blocks: list[Block] = [heading(result.record), Text(text)]
    reasons = [f"{name}: not judged ({reason})" for name, reason in diagnosis.not_judged.items()]
    if not misses:
        return [*blocks, Items("notes", reasons)]
    parts = [
        f"{part} {_percent(count, misses)}"
        for part in dict.fromkeys(part for part, _ in CLASSES.values())
        if (count := diagnosis.part(part))
    ]
    random = diagnosis.chance
    by_chance = (
        ""
        if random is None
        else f" (of a random ranking's misses {_percent(random, 1)} would be {RANKING})"
    )
    blocks.append(Text(f"of what is missed: {', '.join(parts)}{by_chance}"))
    rows = [
        {
            "class": name,
            "misses": "not judged" if name in diagnosis.not_judged else f"{count:,}",
            "share": "" if name in diagnosis.not_judged else _percent(count, misses),
            "part of the loss": part,
            "when": when,
        }
        for name, (part, when) in CLASSES.items()
        if (count := diagnosis.count(name)) is not None
    ]
    blocks.append(Table.of(rows, words=("part of the loss", "when"), spare=("when",)))
    worst = sorted(diagnosis.misses, key=lambda pair: (-sum(diagnosis.misses[pair].values()), pair))
    shown = worst[: PAIRS_SHOWN if shortened else None]
    which = f"the {len(shown)} of {len(worst)} pairs that miss most" if shortened else "by pair"
    blocks.append(Text(f"{which}: the question's language, the answer's"))
    judged = [name for name in CLASSES if name not in diagnosis.not_judged]
    blocks.append(
        Table(
            ["question", "answer", "misses", "of answers", *judged],
            [
                [*pair, f"{sum(by_class.values()):,}", _percent(sum(by_class.values()), diagnosis.relevant[pair]),
                 *(f"{by_class[name]:,}" for name in judged)]
                for pair in shown
                if (by_class := diagnosis.misses[pair])
            ],
            text=2,
        )
    )  # fmt: skip
    for name, examples in diagnosis.examples.items():
        lines = [line for example in examples for line in _example_lines(example)]
        blocks += [Text(f"{name}:", *lines)] if lines else []
    return [*blocks, Items("notes", reasons)]


def _example_lines(example: Example) -> list[str]:
    found = "not retrieved" if not example.rank else f"rank {example.rank:,}"
    if example.rank_in_language is not None:
        found += f", {example.rank_in_language:,} in its language"
    question, answer, instead = example.texts or ("", "", "")
    lines = [
        f"  {example.query_lang} {example.query_id}: {question}",
        f"    {example.answer_id} ({found}): {answer}",
    ]
    return [*lines, f"    instead {example.instead}: {instead}"] if example.instead else lines


def _percent(count: float, of: int) -> str:
    return f"{100 * count / of:.1f}%" if of else "-"


def diagnosis_record(result: Result, diagnosis: Diagnosis) -> dict[str, Any]:
    """The same for programs, with every language pair."""
    misses, relevant = diagnosis.count(), sum(diagnosis.relevant.values())
    return {
        "encoder": result.record.encoder.slug,
        "task": result.record.task.name,
        "limits": asdict(diagnosis.limits),
        "relevant": relevant,
        "misses": misses,
        "ranking_by_chance": diagnosis.chance,
        "parts": {part: diagnosis.part(part) for part in dict.fromkeys(p for p, _ in CLASSES.values())},
        "classes": {
            name: None if name in diagnosis.not_judged else diagnosis.count(name) for name in CLASSES
        },
        "not_judged": dict(diagnosis.not_judged),
        "pairs": [
            {"query_lang": a, "answer_lang": b, "relevant": count, **diagnosis.misses[a, b]}
            for (a, b), count in diagnosis.relevant.items()
        ],
        "examples": {
            name: [asdict(example) for example in examples]
            for name, examples in diagnosis.examples.items()
        },
    }  # fmt: skip

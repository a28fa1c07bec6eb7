"""Which row stands where: batches of one language, of several side by side, or across languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import InputError
from xlir_bench.options.stating import check_bounds
from xlir_bench.options.training import BatchOptions, Strategy
from xlir_bench.train.census import CROSS_LINGUAL, MONOLINGUAL, Census
from xlir_bench.train.cycles import Lane, Rows
from xlir_bench.train.store import ANSWER, QUESTION, Flags, RowStore

Placing = Callable[[Rows], tuple[Rows, Rows]]
"""From rows to the languages of their questions and answers."""
MIXED = "mixed"
TRIES = 64
"""So many candidates a place are looked at before a batch stays short."""
SALTS = {MONOLINGUAL: 1, CROSS_LINGUAL: 2}


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that meet; languages are numbers of the store."""

    kind: str
    """``monolingual``, ``mixed`` or ``cross-lingual``."""
    rows: Rows
    question: Rows
    answer: Rows


def kinds_of(options: BatchOptions, steps: int) -> list[str]:
    """The kind of every batch; a hybrid run has its share of monolingual ones exactly, evenly spread."""
    if options.strategy is not Strategy.HYBRID:
        return [options.strategy.value] * steps
    end = options.alpha if options.alpha_end is None else options.alpha_end
    passed = np.cumsum(np.linspace(options.alpha, end, steps))
    marks = np.floor(np.round(passed, 6) + 0.5)
    flags = np.diff(marks, prepend=0.0) > 0
    return [MONOLINGUAL if flag else CROSS_LINGUAL for flag in flags]


class Planner:
    """Plans the batches of a run: the same ones from the same rows and options."""

    def __init__(self, store: RowStore, options: BatchOptions) -> None:
        check_bounds(options)
        self.store = store
        self.options = options
        self.census = Census.of(store, options.langs)
        self._lanes: dict[str, _Lanes] = {}
        self.left_out: dict[str, list[str]] = {}
        """By kind of batch the languages that fewer than two rows could stand in."""
        for kind in self._kinds():
            self._lanes[kind] = self._open(kind)

    @property
    def epoch(self) -> int:
        """Batches in which as many rows are met as there are: rows by batch size, rounded up."""
        use = next(iter(self._lanes)) if len(self._lanes) == 1 else None
        return -(-self.census.rounds(use).size // self.options.batch_size)

    @property
    def languages(self) -> list[str]:
        """The languages of the questions."""
        places = {x for lanes in self._lanes.values() for x in lanes.question_languages}
        return [self.store.languages[x] for x in sorted(places)]

    def batches(self, steps: int) -> Iterator[Batch]:
        """The batches of a run of so many steps; to be asked for once."""
        for step, kind in enumerate(kinds_of(self.options, steps)):
            rng = np.random.default_rng([self.options.seed, step])
            draft = _Draft(self.store, self.options.whole_answers, self.census.mask)
            self._draw(kind, draft, rng)
            if len(draft.rows) < 2:
                raise InputError(
                    f"a {kind} batch finds no second row that is no translation or repetition of the"
                    " first: there are too few different rows to train on"
                )
            yield Batch(kind, *(np.array(x) for x in (draft.rows, draft.question, draft.answer)))

    def _kinds(self) -> list[str]:
        """The kinds of lane that the run needs."""
        options = self.options
        if options.strategy is not Strategy.HYBRID:
            mixed = options.strategy is Strategy.MIXED
            return [MONOLINGUAL if mixed else options.strategy.value]
        shares = {options.alpha, options.alpha if options.alpha_end is None else options.alpha_end}
        needed = {MONOLINGUAL: shares != {0.0}, CROSS_LINGUAL: shares != {1.0}}
        return [kind for kind, wanted in needed.items() if wanted]

    def _draw(self, kind: str, draft: _Draft, rng: np.random.Generator) -> None:
        lanes, size = self._lanes[MONOLINGUAL if kind == MIXED else kind], self.options.batch_size
        one_each = kind == MONOLINGUAL or (kind == CROSS_LINGUAL and lanes.are_pairs)
        counts = rng.multinomial(1 if one_each else size, lanes.weights)
        for place in rng.permutation(np.flatnonzero(counts)):
            count = size if one_each else int(counts[place])
            draft.fill(lanes.lanes[place], count, self._placing(lanes.places[place], rng))

    def _placing(self, place: tuple[int, int | None], rng: np.random.Generator) -> Placing:
        question, answer = place
        if answer is None:
            return partial(self._across, question, rng)
        return lambda rows: (np.full(len(rows), question), np.full(len(rows), answer))

    def _across(self, lang: int, rng: np.random.Generator, rows: Rows) -> tuple[Rows, Rows]:
        """For questions of a language an answer in another one, drawn among those of the row."""
        there = self.census.answers(rows, lang)
        drawn = rng.random(there.shape)
        if self.options.language_sampling == "proportional":
            drawn = drawn ** (1 / np.maximum(self.census.weighted.pairs[lang], 1e-9))
        return np.full(len(rows), lang), np.where(there, drawn, -1.0).argmax(axis=1)

    def _open(self, kind: str) -> _Lanes:
        census, one = self.census, self.options.pairs_per_batch == "one"
        if kind == MONOLINGUAL:
            name = "monolingual"
            places: list[tuple[int, int | None]] = [(x, x) for x in census.langs]
        elif one:
            name = "pairs"
            places = [(q, a) for q in census.langs for a in census.langs if q != a]
        else:
            name, places = "crossing", [(x, None) for x in census.langs]
        index = [p if name == "pairs" else p[0] for p in places]
        counts, weights = getattr(census.counts, name), getattr(census.weighted, name)
        kept = [i for i, at in enumerate(index) if counts[at] >= 2]
        self._check(kind, places, kept)
        rounds = census.rounds(kind)
        lanes = [
            Lane(rounds, self._eligible(*places[i]), int(counts[index[i]]), self._seed(kind, i))
            for i in kept
        ]
        sizes = np.array([weights[index[i]] for i in kept])
        if self.options.language_sampling == "uniform":
            sizes = np.ones(len(kept))
        return _Lanes([places[i] for i in kept], lanes, sizes / sizes.sum())

    def _check(self, kind: str, places: list[Any], kept: list[int]) -> None:
        """Refuse a strategy that the rows do not carry, and languages asked for that they lack."""
        asked = self.options.langs
        if not kept:
            what = "a question and a different answer in one language"
            if kind == CROSS_LINGUAL:
                what = "a question and an answer in two different languages"
            raise InputError(
                f"strategy {self.options.strategy} wants two rows or more with {what}; there are fewer"
                f" among {', '.join(self.store.languages[x] for x in self.census.langs)}"
            )
        have = {lang for i in kept for lang in places[i] if lang is not None}
        if kind == CROSS_LINGUAL:
            have |= set(np.flatnonzero(self.census.counts.pairs.any(axis=0)).tolist())
        missing = [self.store.languages[x] for x in self.census.langs if x not in have]
        if asked is not None and missing:
            raise InputError(
                f"strategy {self.options.strategy}: fewer than two rows can stand in a {kind} batch in"
                f" {', '.join(missing)}; leave it out of --langs, or add rows"
            )
        if missing:
            self.left_out[kind] = missing

    def _eligible(self, question: int, answer: int | None) -> Callable[[Rows], Flags]:
        if answer is None:
            return partial(self.census.crossing, question=question)
        if answer == question:
            return partial(self.census.monolingual, lang=question)
        return partial(self.census.pair, question=question, answer=answer)

    def _seed(self, kind: str, place: int) -> int:
        return (self.options.seed * 8 + SALTS[kind]) * 100_003 + place


@dataclass(frozen=True, slots=True)
class _Lanes:
    """The lanes of one kind and how likely each is."""

    places: list[tuple[int, int | None]]
    """Question and answer language; None: any other, drawn row by row."""
    lanes: list[Lane]
    weights: NDArray[np.float64]

    @property
    def are_pairs(self) -> bool:
        return self.places[0][1] is not None

    @property
    def question_languages(self) -> list[int]:
        return [question for question, _ in self.places]


@dataclass(slots=True)
class _Draft:
    """A batch that grows; whatever would be a false negative in it is put back into its lane."""

    store: RowStore
    whole_answers: bool
    langs: Flags
    rows: list[int] = field(default_factory=list)
    question: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    """Keys of the texts and ids of the rows; both are 64 random-looking bits."""

    def fill(self, lane: Lane, count: int, placing: Placing) -> None:
        """Take so many rows of a lane, fewer where a round of it has no more that fit."""
        waiting = lane.waiting()
        late = 4 * count
        wanted = len(self.rows) + count
        self._offer(lane, waiting[:late], wanted, placing)
        for row in waiting[late:]:
            lane.put_back(row)
        tries = min(lane.count, TRIES * count)
        while len(self.rows) < wanted and tries > 0:
            number = min(wanted - len(self.rows), tries)
            tries -= number
            self._offer(lane, lane.take(number), wanted, placing)

    def _offer(self, lane: Lane, offered: list[int], wanted: int, placing: Placing) -> None:
        if not offered:
            return
        rows = np.array(offered)
        question, answer = placing(rows)
        keys = self._keys(rows, question, answer)
        seen, room = self._seen, wanted - len(self.rows)
        fits: list[int] = []
        for place, mine in enumerate(keys):
            if len(fits) < room and seen.isdisjoint(mine):
                seen.update(mine)
                fits.append(place)
            else:
                lane.put_back(offered[place])
        self.rows.extend(rows[fits].tolist())
        self.question.extend(question[fits].tolist())
        self.answer.extend(answer[fits].tolist())

    def _keys(self, rows: Rows, question: Rows, answer: Rows) -> list[list[int]]:
        """What may come once in a batch: the row (whatever its language), its question, its answer."""
        ids = self.store.ids[rows]
        asked = self.store.keys[rows, QUESTION, question]
        if not self.whole_answers:
            answered = self.store.keys[rows, ANSWER, answer]
            found: list[list[int]] = np.stack([ids, asked, answered], axis=1).tolist()
            return found
        answers = self.store.keys[rows, ANSWER][:, self.langs]
        table = np.column_stack([ids, asked, answers]).tolist()
        return [[key for key in keys if key] for keys in table]

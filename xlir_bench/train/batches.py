"""Chooses the rows of each batch: of one language, of several side by side, or with answers in other languages.

A *slot* is where a row may stand: a question language and an answer language. Every slot of a run has a
*lane*, an endless random order of the rows that fit it. A batch draws slots, then takes rows of their lanes.
The same rows, options and seed plan the same batches: a resumed run plans its batches anew and relies on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.options.training import BatchOptions, Strategy
from xlir_bench.records import Floats, Ints
from xlir_bench.train.row_store import ANSWER, PAGE, QUESTION, Flags, RowStore

Slot = tuple[int, int]
"""Question and answer language, as numbers of the store; `ANY_OTHER` answer language is drawn row by row."""
ANY_OTHER = -1
SALTS = {Strategy.MONOLINGUAL: 1, Strategy.CROSS_LINGUAL: 2}
"""Part of the seed of a lane, so that lanes of both kinds have orders of their own."""
WINDOW = 4096
"""Positions of a round that are shuffled at a time."""
TRIES = 64
"""Candidates that are tried for each place of a batch before the batch stays short."""
FEISTEL_ROUNDS = 5
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""The multipliers of splitmix64: each bit of what is multiplied changes about half of the bits."""


def shuffled(positions: Ints, size: int, seed: int) -> Ints:
    """Where a random permutation of ``range(size)``, chosen by `seed`, puts some positions; it makes no table.

    A Feistel network permutes the numbers below a power of four: it splits each into two halves of `bits`
    bits and repeatedly turns (left, right) into (right, left ^ mix(right)). That can be undone whatever `mix`
    is, so no two numbers meet. What lands at `size` or beyond goes through again until it is below: still a
    permutation, and on average less than four times the work.
    """
    bits = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = np.random.default_rng([seed, size]).integers(2**63, size=FEISTEL_ROUNDS, dtype=np.uint64)
    shift, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    values = positions.astype(np.uint64)
    beyond = np.arange(len(values))
    while len(beyond):
        left, right = values[beyond] >> shift, values[beyond] & mask
        for key in keys:
            mixed = (right + key) * _MIX[0]  # modulo 2**64
            mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[1]
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        values[beyond] = left << shift | right
        beyond = beyond[values[beyond] >= size]
    return values.astype(np.int64)


class Share(NamedTuple):
    """What a round takes of a source: `taken` rows (its weight as a number of rows) of those it has, from `first` on."""

    first: int
    rows: int
    taken: int


def endless_order(
    shares: Sequence[Share], fits: Callable[[Ints], Flags], seed: int
) -> Iterator[int]:
    """The rows that fit a slot, in random order: each once a round, or as often as its source weighs."""
    first, rows, taken = np.array(shares, np.int64).T
    ends = np.cumsum(taken)
    size = int(ends[-1])
    for number in count():
        for window in slices(size, WINDOW):
            positions = np.arange(window.start, window.stop)
            places = shuffled(positions, size, seed * 1_000_003 + number)
            source = np.searchsorted(ends, places, "right")
            # A source that a round takes only a part of goes on in the next round where it stopped.
            nth = number * taken[source] + places - (ends - taken)[source]
            candidates = first[source] + nth % rows[source]
            yield from candidates[fits(candidates)].tolist()


@dataclass(slots=True)
class Lane:
    """The rows that fit a slot, as batches take them."""

    slot: Slot
    order: Iterator[int]
    """That of `endless_order`."""
    rows: int
    """How many rows fit."""
    weight: float
    """How often the slot is drawn, as a share of all slots of a batch."""
    rejected: dict[int, None] = field(default_factory=dict)
    """Rows that did not fit their batch, in order (a set has none): the next batch tries them first."""


def count_rows(store: RowStore, languages: Flags, weighted: bool) -> Floats:
    """How many rows fit each slot, as an array that a slot indexes; `weighted`: counted as their sources weigh.

    ``[question, answer]`` has the rows with both texts; on the diagonal, those with two different ones. The
    last column is that of `ANY_OTHER`: rows with an answer in another language than the question.
    """
    size = len(store.languages)
    counts = np.zeros((size, size + 1))
    diagonal = np.arange(size)
    first = 0
    for source in store.sources:
        weight = source.weight if weighted else 1.0
        for page in slices(source.rows, PAGE):
            keys = store.keys[first : first + source.rows][page] * languages
            question, answer = keys[:, QUESTION], keys[:, ANSWER]
            asked, answered = question != 0, answer != 0
            if source.use in ("all", Strategy.MONOLINGUAL):
                both = asked & answered & (question != answer)
                counts[diagonal, diagonal] += weight * np.count_nonzero(both, axis=0)
            if source.use in ("all", Strategy.CROSS_LINGUAL):
                pairs = asked.T.astype(np.float64) @ answered.astype(np.float64)
                np.fill_diagonal(pairs, 0.0)
                counts[:, :size] += weight * pairs
                elsewhere = np.count_nonzero(answered, axis=1)[:, None] > answered
                counts[:, ANY_OTHER] += weight * np.count_nonzero(asked & elsewhere, axis=0)
        first += source.rows
    return counts


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a batch, and the language (a number of the store) of each one's question and answer."""

    kind: Strategy
    """Never hybrid: that is a run of two kinds."""
    rows: Ints
    question: Ints
    answer: Ints


def kinds_of(options: BatchOptions, steps: int) -> list[Strategy]:
    """The kind of every batch; the monolingual ones of a hybrid run are evenly spread, and exactly its share."""
    if options.strategy is not Strategy.HYBRID:
        return [options.strategy] * steps
    end = options.alpha if options.alpha_end is None else options.alpha_end
    wanted_so_far = np.cumsum(np.linspace(options.alpha, end, steps))
    # Rounded first, so that sums such as 0.1 + 0.2 do not decide which batch it is.
    whole = np.floor(np.round(wanted_so_far, 6) + 0.5)
    return [
        Strategy.MONOLINGUAL if more else Strategy.CROSS_LINGUAL
        for more in np.diff(whole, prepend=0.0) > 0
    ]


class Planner:
    """Plans the batches of a run."""

    def __init__(self, store: RowStore, options: BatchOptions) -> None:
        self.store = store
        self.options = options
        unknown = sorted(set(options.langs or ()) - set(store.languages))
        if unknown:
            raise UnknownNameError("language of the training rows", unknown, store.languages)
        langs = store.languages if options.langs is None else sorted(set(options.langs))
        if not langs:
            raise InputError("no language is left to train on")
        self.langs = [store.languages.index(lang) for lang in langs]
        self.mask: Flags = np.isin(np.arange(len(store.languages)), self.langs)
        """Which languages of the store count."""
        self.left_out: dict[str, list[str]] = {}
        """By kind of batch, the languages that have fewer than two rows for it."""
        self._counts = count_rows(store, self.mask, weighted=False)
        self._lanes = {kind: self._open(kind) for kind in self._kinds()}

    @cached_property
    def _weighted(self) -> Floats:
        return count_rows(self.store, self.mask, weighted=True)

    @property
    def epoch(self) -> int:
        """Number of batches in an epoch: the rows, counted as their sources weigh, by batch size."""
        kinds = list(self._lanes)
        shares = self._shares(kinds[0] if len(kinds) == 1 else None)
        return -(-sum(share.taken for share in shares) // self.options.batch_size)

    def batches(self, steps: int) -> Iterator[Batch]:
        """The batches of a run of so many steps; a planner gives them once."""
        for step, kind in enumerate(kinds_of(self.options, steps)):
            rng = np.random.default_rng([self.options.seed, step])
            draft = _Draft(self, rng)
            lanes = self._lanes[Strategy.MONOLINGUAL if kind == Strategy.MIXED else kind]
            size = self.options.batch_size
            one_slot = kind != Strategy.MIXED and lanes[0].slot[1] != ANY_OTHER
            counts = rng.multinomial(1 if one_slot else size, [lane.weight for lane in lanes])
            for place in rng.permutation(np.flatnonzero(counts)):
                lane = lanes[place]
                draft.fill(lane, size if one_slot else int(counts[place]))
            if len(draft.rows) < 2:
                raise InputError(
                    f"a {kind} batch finds no second row for the first: there are too few different rows to train on"
                )
            yield Batch(kind, *(np.array(x) for x in (draft.rows, draft.question, draft.answer)))

    def _kinds(self) -> list[Strategy]:
        """The kinds of batch that lanes are needed for; a mixed batch draws on monolingual lanes."""
        options = self.options
        if options.strategy is not Strategy.HYBRID:
            mixed = options.strategy is Strategy.MIXED
            return [Strategy.MONOLINGUAL if mixed else options.strategy]
        alphas = {options.alpha, options.alpha if options.alpha_end is None else options.alpha_end}
        needed = {Strategy.MONOLINGUAL: alphas != {0.0}, Strategy.CROSS_LINGUAL: alphas != {1.0}}
        return [kind for kind, is_needed in needed.items() if is_needed]

    def _open(self, kind: Strategy) -> list[Lane]:
        """The lanes of a kind of batch: one for each slot that two rows or more fit."""
        slots: list[Slot]
        if kind == Strategy.MONOLINGUAL:
            slots = [(lang, lang) for lang in self.langs]
        elif self.options.pairs_per_batch == "one":
            slots = [(q, a) for q in self.langs for a in self.langs if q != a]
        else:
            slots = [(lang, ANY_OTHER) for lang in self.langs]
        usable = [n for n, slot in enumerate(slots) if self._counts[slot] >= 2]
        self._check(kind, [slots[n] for n in usable])
        weights = np.ones(len(usable))
        if self.options.language_sampling == "proportional":
            weights = np.array([self._weighted[slots[n]] for n in usable])
        weights /= weights.sum()
        return [
            Lane(
                slot=slots[n],
                order=endless_order(
                    self._shares(kind),
                    partial(self._fits, slots[n]),
                    seed=(self.options.seed * 8 + SALTS[kind]) * 100_003 + n,
                ),
                rows=int(self._counts[slots[n]]),
                weight=float(weight),
            )
            for n, weight in zip(usable, weights, strict=True)
        ]

    def _check(self, kind: Strategy, slots: Sequence[Slot]) -> None:
        """Refuse a strategy that the rows cannot fill, and languages of `--langs` that they lack."""
        names = self.store.languages
        if not slots:
            what = "a question and a different answer in one language"
            if kind == Strategy.CROSS_LINGUAL:
                what = "a question and an answer in two different languages"
            raise InputError(
                f"strategy {self.options.strategy} wants two rows or more with {what}; there are fewer"
                f" among {', '.join(names[lang] for lang in self.langs)}"
            )
        usable = {lang for slot in slots for lang in slot}
        if kind == Strategy.CROSS_LINGUAL:
            # A language of answers alone is in use if any row has one.
            pairs = self._counts[:, :ANY_OTHER].copy()
            np.fill_diagonal(pairs, 0.0)
            usable |= set(np.flatnonzero(pairs.any(axis=0)).tolist())
        missing = [names[lang] for lang in self.langs if lang not in usable]
        if missing and self.options.langs is not None:
            raise InputError(
                f"strategy {self.options.strategy}: fewer than two rows can stand in a {kind} batch in"
                f" {', '.join(missing)}; leave it out of --langs, or add rows"
            )
        if missing:
            self.left_out[kind] = missing

    def _shares(self, kind: Strategy | None) -> list[Share]:
        """What a round takes of each source, for a kind of batch or, if it is None, for all."""
        shares, first = [], 0
        for source in self.store.sources:
            if source.rows and (kind is None or source.use in ("all", kind)):
                taken = max(1, round(source.weight * source.rows))
                shares.append(Share(first, source.rows, taken))
            first += source.rows
        return shares

    def _fits(self, slot: Slot, rows: Ints) -> Flags:
        """Which rows have the texts of a slot."""
        question, answer = slot
        asked = self.store.keys[rows, QUESTION, question]
        if answer == ANY_OTHER:
            answered = self._other_answers(rows, question).any(axis=1)
        else:
            answers = self.store.keys[rows, ANSWER, answer]
            # In one language, a question that repeats its answer teaches nothing.
            answered = (answers != 0) & ((answer != question) | (answers != asked))
        fits: Flags = (asked != 0) & answered
        return fits

    def _other_answers(self, rows: Ints, question: int) -> Flags:
        """By row and language: whether there is an answer in another language than the question's."""
        others = self.mask.copy()
        others[question] = False
        there: Flags = (self.store.keys[rows, ANSWER] != 0) & others
        return there

    def languages_of(self, slot: Slot, rng: np.random.Generator, rows: Ints) -> tuple[Ints, Ints]:
        """The languages of the questions and answers of rows in a slot; an open one is drawn for each row."""
        question, answer = slot
        asked = np.full(len(rows), question)
        if answer != ANY_OTHER:
            return asked, np.full(len(rows), answer)
        there = self._other_answers(rows, question)
        drawn = rng.random(there.shape)
        if self.options.language_sampling == "proportional":
            # The largest of u ** (1 / weight) is each language's with a probability in proportion to its weight.
            drawn = drawn ** (1 / np.maximum(self._weighted[question, :ANY_OTHER], 1e-9))
        return asked, np.where(there, drawn, -1.0).argmax(axis=1)

    def second_languages(self, batch: Batch, number: int) -> Ints:
        """For each row of a batch another language of its question, with another text; -1 where there is none.

        They are drawn apart from the batch, which is the same without them.
        """
        keys = self.store.keys[batch.rows, QUESTION]
        asked = keys[np.arange(len(keys)), batch.question]
        there = (keys != 0) & (keys != asked[:, None]) & self.mask
        rng = np.random.default_rng([self.options.seed, number, 1])
        drawn = np.where(there, rng.random(there.shape), -1.0).argmax(axis=1)
        return np.where(there.any(axis=1), drawn, -1)


@dataclass(slots=True)
class _Draft:
    """A batch that grows; a row that would be a false negative in it goes back to its lane."""

    planner: Planner
    rng: np.random.Generator
    rows: list[int] = field(default_factory=list)
    question: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    """Ids of the rows and keys of their texts; both are hashes of 64 bits, so one set does for both."""

    def fill(self, lane: Lane, places: int) -> None:
        """Take so many rows of a lane, rejected ones first; fewer where no more fit among those tried."""
        wanted = len(self.rows) + places
        rejected, lane.rejected = list(lane.rejected), {}
        tried = 4 * places  # not all of them at each batch: there may be many
        self._add_fitting(lane, rejected[:tried], wanted)
        lane.rejected |= dict.fromkeys(rejected[tried:])
        tries = min(lane.rows, TRIES * places)
        while len(self.rows) < wanted and tries > 0:
            number = min(wanted - len(self.rows), tries)
            tries -= number
            self._add_fitting(lane, list(islice(lane.order, number)), wanted)

    def _add_fitting(self, lane: Lane, offered: list[int], wanted: int) -> None:
        if not offered:
            return
        rows = np.array(offered)
        question, answer = self.planner.languages_of(lane.slot, self.rng, rows)
        room = wanted - len(self.rows)
        fitting: list[int] = []
        for place, keys in enumerate(self._keys(rows, question, answer)):
            if len(fitting) < room and self._seen.isdisjoint(keys):
                self._seen.update(keys)
                fitting.append(place)
            else:
                lane.rejected.setdefault(offered[place])
        self.rows.extend(rows[fitting].tolist())
        self.question.extend(question[fitting].tolist())
        self.answer.extend(answer[fitting].tolist())

    def _keys(self, rows: Ints, question: Ints, answer: Ints) -> list[list[int]]:
        """What a batch may hold only once: the id of a row, its question, its answer or answers."""
        store, whole_answers = self.planner.store, self.planner.options.whole_answers
        answers = store.keys[rows, ANSWER, answer][:, None]
        if whole_answers:
            answers = store.keys[rows, ANSWER][:, self.planner.mask]
        asked = store.keys[rows, QUESTION, question]
        table: list[list[int]] = np.column_stack([store.ids[rows], asked, answers]).tolist()
        return [[key for key in keys if key] for keys in table] if whole_answers else table

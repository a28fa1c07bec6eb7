"""Chooses the rows of each batch: of one language, of several side by side, or with answers in other languages.

A *slot* is a question language and an answer language. Every slot of a run has a
*lane*: an endless random order of the rows that have both. A batch draws slots, then takes rows from their lanes.
The same rows, options and seed give the same batches; a resumed run, which plans its batches again, relies on this.
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
"""Question and answer language, as numbers of the store. If the answer language is `ANY_OTHER`, it is drawn per row."""
ANY_OTHER = -1
SALTS = {Strategy.MONOLINGUAL: 1, Strategy.CROSS_LINGUAL: 2}
"""Part of the seed of a lane, so that lanes of different kinds have different orders."""
WINDOW = 4096
"""Positions of a round that are shuffled at a time."""
TRIES = 64
"""Rows that are tried for each place of a batch before the place stays empty."""
FEISTEL_ROUNDS = 5
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""The multipliers of splitmix64: each bit of the input changes about half of the bits of the product."""


def shuffled(positions: Ints, size: int, seed: int) -> Ints:
    """Where a random permutation of ``range(size)``, chosen by `seed`, puts some positions; it makes no table.

    A Feistel network permutes the numbers below a power of four: it splits each into two halves of `bits`
    bits and repeatedly turns (left, right) into (right, left ^ mix(right)). This can be undone for any function
    `mix`, so no two numbers become equal. A result of `size` or more goes through again until it is smaller: still a
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
    """A source has `rows` rows, from `first` on; a round takes `taken` of them: its weight as a number of rows."""

    first: int
    rows: int
    taken: int


def endless_order(
    shares: Sequence[Share], fits: Callable[[Ints], Flags], seed: int
) -> Iterator[int]:
    """The rows that fit a slot, in random order: each once per round, times the weight of its source."""
    first, rows, taken = np.array(shares, np.int64).T
    ends = np.cumsum(taken)
    size = int(ends[-1])
    for number in count():
        for window in slices(size, WINDOW):
            positions = np.arange(window.start, window.stop)
            places = shuffled(positions, size, seed * 1_000_003 + number)
            source = np.searchsorted(ends, places, "right")
            # If a round takes only a part of a source, the next round continues where it stopped.
            nth = number * taken[source] + places - (ends - taken)[source]
            candidates = first[source] + nth % rows[source]
            yield from candidates[fits(candidates)].tolist()


@dataclass(slots=True)
class Lane:
    """The rows that fit a slot, as batches take them."""

    slot: Slot
    order: Iterator[int]
    """From `endless_order`."""
    rows: int
    """How many rows fit."""
    weight: float
    """The probability that the slot is drawn."""
    rejected: dict[int, None] = field(default_factory=dict)
    """Rows that did not fit their batch, in order (a set has none): the next batch tries them first."""


def count_rows(store: RowStore, languages: Flags, weighted: bool) -> Floats:
    """How many rows fit each slot, as an array that a slot indexes; `weighted`: times the weights of their sources.

    ``[question, answer]`` counts rows with texts in both languages; on the diagonal, only rows whose two texts
    differ. The last column is that of `ANY_OTHER`: rows with an answer in another language than the question.
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
            has_question, has_answer = question != 0, answer != 0
            if source.use in ("all", Strategy.MONOLINGUAL):
                both = has_question & has_answer & (question != answer)
                counts[diagonal, diagonal] += weight * np.count_nonzero(both, axis=0)
            if source.use in ("all", Strategy.CROSS_LINGUAL):
                pairs = has_question.T.astype(np.float64) @ has_answer.astype(np.float64)
                np.fill_diagonal(pairs, 0.0)
                counts[:, :size] += weight * pairs
                elsewhere = np.count_nonzero(has_answer, axis=1)[:, None] > has_answer
                counts[:, ANY_OTHER] += weight * np.count_nonzero(has_question & elsewhere, axis=0)
        first += source.rows
    return counts


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a batch, and the language (a number of the store) of each one's question and answer."""

    kind: Strategy
    """Never hybrid: a hybrid run has batches of two kinds."""
    rows: Ints
    question: Ints
    answer: Ints


def kinds_of(options: BatchOptions, steps: int) -> list[Strategy]:
    """The kind of every batch. In a hybrid run monolingual batches are spread evenly, as many as `alpha` says."""
    if options.strategy is not Strategy.HYBRID:
        return [options.strategy] * steps
    end = options.alpha if options.alpha_end is None else options.alpha_end
    wanted_so_far = np.cumsum(np.linspace(options.alpha, end, steps))
    # Rounded first, so that an error as in 0.1 + 0.2 does not decide which batch is monolingual.
    whole = np.floor(np.round(wanted_so_far, 6) + 0.5)
    return [
        Strategy.MONOLINGUAL if is_monolingual else Strategy.CROSS_LINGUAL
        for is_monolingual in np.diff(whole, prepend=0.0) > 0
    ]


class Planner:
    """Plans the batches of a run from the rows in a store."""

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
        """By kind of batch, the languages that fewer than two rows have for it."""
        self._counts = count_rows(store, self.mask, weighted=False)
        self._lanes = {kind: self._open(kind) for kind in self._kinds()}

    @cached_property
    def _weighted(self) -> Floats:
        return count_rows(self.store, self.mask, weighted=True)

    @property
    def epoch(self) -> int:
        """Number of batches in an epoch: the weighted number of rows divided by the batch size."""
        kinds = list(self._lanes)
        shares = self._shares(kinds[0] if len(kinds) == 1 else None)
        return -(-sum(share.taken for share in shares) // self.options.batch_size)

    def batches(self, steps: int) -> Iterator[Batch]:
        """The batches of a run of this many steps. Call it once: it uses up the lanes."""
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
        """The kinds of batch that need lanes of their own; a mixed batch takes from monolingual lanes."""
        options = self.options
        if options.strategy is not Strategy.HYBRID:
            mixed = options.strategy is Strategy.MIXED
            return [Strategy.MONOLINGUAL if mixed else options.strategy]
        alphas = {options.alpha, options.alpha if options.alpha_end is None else options.alpha_end}
        needed = {Strategy.MONOLINGUAL: alphas != {0.0}, Strategy.CROSS_LINGUAL: alphas != {1.0}}
        return [kind for kind, is_needed in needed.items() if is_needed]

    def _open(self, kind: Strategy) -> list[Lane]:
        """The lanes of a kind of batch: one for each slot that at least two rows fit."""
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
        """Refuse a strategy for which there are too few rows, and languages of `--langs` with too few rows."""
        names = self.store.languages
        if not slots:
            what = "a question and a different answer in one language"
            if kind == Strategy.CROSS_LINGUAL:
                what = "a question and an answer in two different languages"
            raise InputError(
                f"strategy {self.options.strategy} needs two rows or more with {what}; there are fewer"
                f" among {', '.join(names[lang] for lang in self.langs)}"
            )
        usable = {lang for slot in slots for lang in slot}
        if kind == Strategy.CROSS_LINGUAL:
            # A language that only answers have is in use if any row has a pair with it.
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
        """How many rows a round takes from each source that serves this kind of batch; None: from all sources."""
        shares, first = [], 0
        for source in self.store.sources:
            if source.rows and (kind is None or source.use in ("all", kind)):
                taken = max(1, round(source.weight * source.rows))
                shares.append(Share(first, source.rows, taken))
            first += source.rows
        return shares

    def _fits(self, slot: Slot, rows: Ints) -> Flags:
        """Which of these rows have the texts of a slot."""
        question, answer = slot
        questions = self.store.keys[rows, QUESTION, question]
        if answer == ANY_OTHER:
            has_answer = self._other_answers(rows, question).any(axis=1)
        else:
            answers = self.store.keys[rows, ANSWER, answer]
            # In one language, a question that equals its answer teaches nothing.
            has_answer = (answers != 0) & ((answer != question) | (answers != questions))
        fits: Flags = (questions != 0) & has_answer
        return fits

    def _other_answers(self, rows: Ints, question: int) -> Flags:
        """By row and language: whether the row has an answer in this language, and it is not the question's language."""
        others = self.mask.copy()
        others[question] = False
        has_answer: Flags = (self.store.keys[rows, ANSWER] != 0) & others
        return has_answer

    def languages_of(self, slot: Slot, rng: np.random.Generator, rows: Ints) -> tuple[Ints, Ints]:
        """The languages of the questions and answers of rows in a slot; for `ANY_OTHER` one is drawn for each row."""
        question, answer = slot
        question_langs = np.full(len(rows), question)
        if answer != ANY_OTHER:
            return question_langs, np.full(len(rows), answer)
        has_answer = self._other_answers(rows, question)
        drawn = rng.random(has_answer.shape)
        if self.options.language_sampling == "proportional":
            # The largest u ** (1 / weight) belongs to each language with a probability proportional to its weight.
            drawn = drawn ** (1 / np.maximum(self._weighted[question, :ANY_OTHER], 1e-9))
        return question_langs, np.where(has_answer, drawn, -1.0).argmax(axis=1)

    def second_languages(self, batch: Batch, number: int) -> Ints:
        """For each row of a batch another language in which its question is another text; -1 if there is none.

        They are drawn with random numbers of their own: the batches are the same without them.
        """
        keys = self.store.keys[batch.rows, QUESTION]
        in_batch = keys[np.arange(len(keys)), batch.question]
        is_other = (keys != 0) & (keys != in_batch[:, None]) & self.mask
        rng = np.random.default_rng([self.options.seed, number, 1])
        drawn = np.where(is_other, rng.random(is_other.shape), -1.0).argmax(axis=1)
        return np.where(is_other.any(axis=1), drawn, -1)


@dataclass(slots=True)
class _Draft:
    """A batch that is being filled. A row that would be a false negative in it goes back to its lane."""

    planner: Planner
    rng: np.random.Generator
    rows: list[int] = field(default_factory=list)
    question: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    """Ids of the rows and keys of their texts. Both are hashes of 64 bits, so one set is enough for both."""

    def fill(self, lane: Lane, places: int) -> None:
        """Take rows of a lane for this many places, rejected rows first. Places stay empty if too few of the tried rows fit."""
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
        """For each row, what a batch may hold only once: the row's id, its question, and its answer or answers."""
        store, whole_answers = self.planner.store, self.planner.options.whole_answers
        answers = store.keys[rows, ANSWER, answer][:, None]
        if whole_answers:
            answers = store.keys[rows, ANSWER][:, self.planner.mask]
        questions = store.keys[rows, QUESTION, question]
        table: list[list[int]] = np.column_stack([store.ids[rows], questions, answers]).tolist()
        return [[key for key in keys if key] for keys in table] if whole_answers else table

"""Pairs of results: whether they measure the same thing, their values for the same queries, and the ranks that each
encoder may have.

A difference is always the second result minus the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlir_bench.errors import NotComparableError
from xlir_bench.measures.bootstrap import Alternative, ClusterSums
from xlir_bench.measures.retrieval import bounds_of
from xlir_bench.measures.significance import SIGNIFICANT, Difference, holm, paired_tests
from xlir_bench.records import Ints, Kind
from xlir_bench.results import Result, ResultRecord
from xlir_bench.results.schema import DECIDING
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

SAME = 1e-9
"""Values that differ by less are the same: the last bits of a value depend on the machine."""
NOUNS = {"langs": "languages", "candidate": "candidate text", "query_form": "questions"}
"""The words for options in messages, where they are not the names of the options."""
PAIRS_AT_ONCE = 100
"""Bounds the memory of the tests."""


def require_comparable(
    results: Sequence[Result], force: bool, remedy: str, forms_may_differ: bool = False
) -> list[str]:
    """Notes on results that are to be compared; an error if they measure different things and `force` is not set.

    `forms_may_differ`: allow results on other forms of the same questions (`--query-form`), and note it.
    """
    names = labels(results)
    first, *others = (result.record for result in results)
    faults = [
        f"{name}: {', '.join(differences)}"
        for name, other in zip(names[1:], others, strict=True)
        if (differences := _what_differs(first, other, forms_may_differ))
    ]
    notes = []
    forms = [_form(result.record) for result in results]
    if forms_may_differ and len(set(forms)) > 1:
        by_name = ", ".join(f"{form} in {name}" for name, form in zip(names, forms, strict=True))
        notes.append(f"the questions are {by_name}: these forms are compared")
    if faults:
        if not force:
            raise NotComparableError(
                f"these results do not measure the same thing as {names[0]}: {'; '.join(faults)}\n  {remedy}"
            )
        notes.append(
            f"not measured alike ({'; '.join(faults)}): only settings and queries of both are compared"
        )
    unknown = [n for n, r in zip(names, results, strict=True) if r.record.task.data_read is None]
    if unknown:
        notes.append(f"the data may differ: no digest of files is in {', '.join(unknown)}")
    return notes


def labels(results: Sequence[Result]) -> list[str]:
    """A name for each result: its encoder's, or a longer one where two encoders share a name."""
    encoders = [result.record.encoder for result in results]
    forms = [result.record.options.query_form for result in results]
    names = [e.name + (f", questions {form}" if form else "") for e, form in zip(encoders, forms, strict=True)]  # fmt: skip
    slugs = [encoder.slug for encoder in encoders]
    folders = [str(r.folder or f"{r.record.encoder.slug} of {r.record.created}") for r in results]
    for each in (names, slugs, folders):
        if len(set(each)) == len(each):
            return each
    return [f"{name} ({i})" for i, name in enumerate(folders, 1)]


def _what_differs(
    first: ResultRecord, second: ResultRecord, forms_may_differ: bool = False
) -> list[str]:
    """Everything that makes two results measure different things; empty if they are comparable."""
    differences = []
    if first.task.digest != second.task.digest:
        differences.append(f"task ({_task(first)} against {_task(second)})")
    elif (files := _other_files(first, second)) is not None:
        differences.append(f"data files {', '.join(files) or '(not named)'}")
    a, b = _deciding(first), _deciding(second)
    for name in a | b:
        one, other = a.get(name, "default"), b.get(name, "default")
        is_known = name != "word_lists" or (one and other)
        if one != other and is_known and not (forms_may_differ and name == "query_form"):
            noun = NOUNS.get(name, name.replace("_", " "))
            differences.append(f"{noun} ({_in_words(one)} against {_in_words(other)})")
    return differences


def _deciding(record: ResultRecord) -> dict[str, Any]:
    """The options that decide what is measured; the seed is left out, since it changes only intervals."""
    options = record.options
    values = {n: getattr(options, n, o.default) for n, o in DECIDING.items() if n != "seed"}
    values |= options.others | {
        "query_form": _form(record),
        "word_lists": options.word_lists,
        "changed_data": options.changed_data or None,
    }
    return {n: sorted({*map(str, x)}) if isinstance(x, list) else x for n, x in values.items()}


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value) or "all"
    return "none" if value is None else str(value)


def _form(record: ResultRecord) -> str:
    return record.options.query_form or "as they are"


def _task(record: ResultRecord) -> str:
    digest = record.task.digest.removeprefix("sha256:")[:8]
    return f"{record.task.name} version {record.task.version}, digest {digest}"


def _other_files(first: ResultRecord, second: ResultRecord) -> list[str] | None:
    """The files that differ, as far as they are named; None where the data is the same, or not recorded."""
    a, b = first.task, second.task
    changed = sorted(p for p in a.files.keys() & b.files.keys() if a.files[p] != b.files[p])
    if a.files.keys() != b.files.keys() and set(first.options.langs) != set(second.options.langs):
        return changed or None  # other languages have other files, which is reported as such
    if None in (a.data_read, b.data_read) or a.data_read == b.data_read:
        return None
    return changed or sorted(a.files.keys() ^ b.files.keys())


@dataclass(frozen=True, slots=True)
class Pairing:
    """The values of one measure that two results share: of the same queries in the same settings, in one order."""

    first: QueryValues
    second: QueryValues

    @property
    def change(self) -> QueryValues:
        """Second minus first, for each query and setting."""
        return replace(self.first, value=self.second.value - self.first.value)

    @property
    def unlike(self) -> frozenset[int]:
        """The settings in which some value differs."""
        change = self.change
        return frozenset(change.setting[np.abs(change.value) > SAME].tolist())

    def means(self, groups: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Both macro averages over each group: over queries in a setting, then over settings."""
        sizes = np.maximum(np.bincount(self.first.setting, minlength=len(self.first.settings)), 1)
        first, second = (
            np.bincount(side.setting, side.value, len(sizes)) / sizes
            for side in (self.first, self.second)
        )
        return [(float(first[g].mean()), float(second[g].mean())) for g in map(list, groups)]

    def test(
        self,
        groups: Sequence[Sequence[int]],
        alternative: Alternative = "two-sided",
        family: int = 1,
    ) -> list[Difference]:
        """A tested difference for each group of settings; `family`: how many are corrected together."""
        used = sorted({i for group in groups for i in group})
        column = {setting: i for i, setting in enumerate(used)}
        chosen = [[column[i] for i in group] for group in groups]
        _, most = bounds_of(self.first.measure)
        bounds = None if self.first.measure == RANK_DISTANCE else (-most, most)
        data = self.change.sums().of_settings(used)
        return paired_tests(data, chosen, alternative, family=family, bounds=bounds)


def pair(first: QueryValues, second: QueryValues) -> Pairing:
    """The values of the queries and settings that both have, matched by name."""
    setting = _places(second.settings, first.settings)[second.setting]
    query = _places(second.query_ids, first.query_ids)[second.query]
    width = len(first.query_ids)
    keys = first.setting * width + first.query
    other_keys = np.where((setting < 0) | (query < 0), -1, setting * width + query)
    rows = other_rows = np.arange(len(keys))
    if not np.array_equal(keys, other_keys):
        _, rows, other_rows = np.intersect1d(keys, other_keys, return_indices=True)
    both = replace(
        first,
        setting=first.setting[rows],
        query=first.query[rows],
        cluster=first.cluster[rows],
        value=first.value[rows],
    )
    return Pairing(both, replace(both, value=second.value[other_rows]))


def _places(names: Sequence[Any], known: Sequence[Any]) -> Ints:
    """The index of each name among the known ones; -1 for an unknown one."""
    place = {name: i for i, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in names], np.int64)


@dataclass(frozen=True, slots=True)
class Standing:
    """The ranks that an encoder may have by one measure among the tested encoders."""

    first: int
    """The best rank it may have: one more than the number of significantly better encoders."""
    last: int
    """The worst: the number of tested encoders, minus the number of significantly worse ones."""
    letters: tuple[str, ...]
    """Encoders that share a letter do not differ significantly; ``a`` is the group of the best."""


def of_same_queries(first: QueryValues, second: QueryValues) -> bool:
    """Whether both are values of the same queries in the same settings, as a test of a pair needs."""
    return len(pair(first, second).first.value) == len(first.value) == len(second.value)


def standings(values: Sequence[QueryValues], kind: Kind) -> list[Standing]:
    """The standing of each encoder in the settings of a kind; all are values of the same queries.

    Two-sided tests by cluster, with Holm's correction over all pairs.
    """
    encoders = range(len(values))
    pairs = list(combinations(encoders, 2))
    tests = _tests(values, kind, pairs)
    p_values = holm([test.p for test in tests])
    is_better = np.zeros((len(values), len(values)), bool)  # row significantly better than column
    gain_on_first = np.zeros(len(values))
    for (one, two), test, p in zip(pairs, tests, p_values, strict=True):
        gain = -test.difference if values[0].measure == RANK_DISTANCE else test.difference
        is_better[(two, one) if gain > 0 else (one, two)] = p < SIGNIFICANT
        if one == 0:
            gain_on_first[two] = gain
    best_first = np.argsort(-gain_on_first, kind="stable").tolist()
    letters = _letters(is_better | is_better.T, best_first)
    better, worse = is_better.sum(axis=0), is_better.sum(axis=1)
    return [Standing(1 + int(better[i]), len(values) - int(worse[i]), letters[i]) for i in encoders]


def _tests(
    values: Sequence[QueryValues], kind: Kind, pairs: Sequence[tuple[int, int]]
) -> list[Difference]:
    """The second of each pair less the first; all are tested with the same resamples of clusters."""
    sums = []
    for each in values:
        alike = pair(values[0], each).second
        data = alike.sums().of_settings(alike.of_kinds([kind]))
        sums.append(data.sums)
        sizes = data.sizes  # alike for all encoders
    tests = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        batch = pairs[start : start + PAIRS_AT_ONCE]
        changes = np.hstack([sums[two] - sums[one] for one, two in batch])
        columns = np.arange(changes.shape[1]).reshape(len(batch), sizes.shape[1])
        data = ClusterSums(changes, np.tile(sizes, len(batch)))
        tests += paired_tests(data, columns.tolist(), family=len(pairs))
    return tests


def _letters(different: NDArray[np.bool_], best_first: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """A letter for each largest group in which no pair differs (Piepho 2004: split, then absorb)."""
    groups = [frozenset(best_first)]
    for differing in np.argwhere(np.triu(different)).tolist():
        parts = [group - {encoder} for group in groups for encoder in differing]
        groups = [g for g in dict.fromkeys(parts) if not any(g < other for other in parts)]
    rank = {encoder: i for i, encoder in enumerate(best_first)}
    groups.sort(key=lambda group: sorted(rank[i] for i in group))
    names = [ascii_letters[n] if n < len(ascii_letters) else f"({n})" for n in range(len(groups))]
    return {
        i: tuple(name for name, group in zip(names, groups, strict=True) if i in group)
        for i in best_first
    }

"""Which results are ranked, and how: a board for each task or choice of its languages, a row for each encoder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from xlir_bench.errors import InputError, plural
from xlir_bench.files import text_digest
from xlir_bench.measures.bootstrap import Interval
from xlir_bench.options.running import RunOptions
from xlir_bench.options.stating import options_of
from xlir_bench.records import Kind, Progress, Silent, followed
from xlir_bench.reports.generated import file_names
from xlir_bench.reports.pairing import Standing, of_same_queries, standings
from xlir_bench.reports.scores import DISTANCE, ReportedTask, Score, compared_by, reported_tasks
from xlir_bench.results import Result, result_folder
from xlir_bench.results.frame import named, part_of
from xlir_bench.results.schema import ResultRecord
from xlir_bench.results.store import result_files
from xlir_bench.results.values import QueryValues

RANKED_BY = (Kind.MULTILINGUAL, Kind.CROSS_LINGUAL, Kind.MONOLINGUAL)
"""Encoders are ranked by the main measure in the first of these kinds of setting (the hardest first) that a task has."""
LEAVES_OUT = {option.name for option in options_of(RunOptions) if option.partial}
"""Options that leave out a part of a task. Results that are partial because of other options are never ranked."""
NAMED_LANGUAGES = 11
"""If there are more languages than this, a title says only how many."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One encoder on one task."""

    record: ResultRecord
    folder: Path
    """Where the result and its tables lie; never written into a leaderboard."""
    file: str
    """The name of its own page, without ending."""
    name: str
    """The encoder's name as it is shown: with the slug if two encoders have the same name."""
    standings: Mapping[Score, Standing] = field(default_factory=dict)
    """The range of ranks it may have; empty where nothing was tested."""
    untested: str | None = None
    """Why it was not tested, where others were."""
    forms: Mapping[str, Path] = field(default_factory=dict)
    """The folders of its results with the same questions in another form, by form."""

    def score(self, kind: Kind) -> Interval | None:
        """The macro average of the main measure over the settings of a kind."""
        return self.record.average(kind, self.record.main_measure)

    def values(self, measures: Iterable[str]) -> Iterator[tuple[str, QueryValues]]:
        """These measures and the rank distance, query by query; nothing if no ranks are stored.

        Ranks are read from disk at each call and freed afterwards: those of all results may not fit into memory.
        """
        result = Result.load(self.folder)
        if result.has_values:
            distance = [DISTANCE.measure] if DISTANCE.measure in result.record.bias else []
            for measure in (*measures, *distance):
                yield measure, result.values(measure)


@dataclass(frozen=True)
class TaskBoard:
    """The ranked encoders of one task, or of some of its languages (other data is another board)."""

    file: str
    """The name of its page, without ending, and of the folder of its encoders' pages."""
    rows: tuple[Entry, ...]
    """Best first."""

    @property
    def first(self) -> ResultRecord:
        """Any record: what it says about the task holds for all."""
        return self.rows[0].record

    @property
    def is_part(self) -> bool:
        """Whether less than the whole task was run: its figures are not those of the task."""
        return bool(self.first.options.part.keys() & LEAVES_OUT)

    @property
    def title(self) -> str:
        """The title of the task; for a part of it, with the languages and the other options that make it a part."""
        task, langs = self.first.task, self.first.options.langs
        few = len(langs) <= NAMED_LANGUAGES
        named = (" ".join(langs) if few else f"{len(langs)} languages") if langs else ""
        part = ", ".join(filter(None, (named, *_besides_languages(self.first).values())))
        return f"{task.title}: {part}" if part else task.title

    @property
    def main(self) -> str:
        """The measure that encoders are ranked by."""
        return self.first.main_measure

    @cached_property
    def kinds(self) -> list[Kind]:
        """The kinds of setting that any encoder was measured in."""
        return [kind for kind in Kind if any(row.score(kind) for row in self.rows)]

    @property
    def ranked_by(self) -> Kind:
        """The kind of setting by whose `main` measure encoders are ranked: the hardest that the board has."""
        return next(kind for kind in RANKED_BY if kind in self.kinds)

    @cached_property
    def langs(self) -> list[str]:
        """The query languages, by code."""
        return sorted({s.query_lang for row in self.rows for s in row.record.settings})

    @property
    def reported(self) -> ReportedTask:
        """What papers report on the task; empty if this is a part of it."""
        name, nothing = self.first.task.name, ReportedTask({})
        return nothing if self.is_part else reported_tasks().get(name, nothing)

    def count(self, kind: Kind) -> int:
        """How many settings of a kind there are."""
        settings = (s for row in self.rows for s in row.record.settings if s.kind == kind)
        return len({(s.query_lang, s.passage_lang) for s in settings})

    @property
    def columns(self) -> list[Score]:
        """What encoders are compared by."""
        return compared_by(self.main, self.kinds)


def standings_explained(task: TaskBoard) -> list[str]:
    """How ranks were tested, and which encoders were not, in sentences; none where nothing was tested."""
    tested = sum(bool(row.standings) for row in task.rows)
    pairs = tested * (tested - 1) // 2
    sentences = []
    if tested > 1:
        sentences.append(
            "The ranks that an encoder may have go from one more than the number of encoders that are significantly"
            f" better, to the number tested ({tested}) less those that are significantly worse. Encoders that share a"
            " letter cannot be told apart by these questions, which does not say that they are equal. Every pair is"
            f" tested by {task.first.task.cluster}, with Holm's correction over the {plural(pairs, 'pair')} of a"
            " column, at 5\u00a0%."
        )
    for why in dict.fromkeys(row.untested for row in task.rows if row.untested):
        names = ", ".join(row.name for row in task.rows if row.untested == why)
        sentences.append(f"Not tested, since {why}: {names}.")
    return sentences


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A result that is readable and not ranked."""

    task: str
    encoder: str
    why: str


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that was found in the results folders."""

    tasks: tuple[TaskBoard, ...]
    """Whole tasks first, then by number of settings: the pages begin with the largest whole task."""
    left_out: tuple[LeftOut, ...]
    unreadable: tuple[str, ...]
    """A line for each file that cannot be read, with its path: for messages, not for a page."""


class _Key(NamedTuple):
    """What the results of one board have in common."""

    task: str
    langs: tuple[str, ...]
    """Empty if all languages were run."""
    digest: str
    data: str
    """Digest of the data that was read."""
    part: str
    """What was left out besides languages, and how the rest was measured; empty for whole runs."""

    @classmethod
    def of(cls, record: ResultRecord) -> _Key:
        options = record.options
        langs = tuple(sorted(set(options.langs)))
        words = [*_besides_languages(record).values()]
        part = "; ".join([*words, options.candidate, str(options.seed), *options.measures])
        task = record.task
        return cls(task.name, langs, task.digest, task.data_read or "", part if words else "")


def _besides_languages(record: ResultRecord) -> dict[str, str]:
    """What was left out of a task besides languages, in words, by option."""
    return {
        name: words for name, words in record.options.part.items() if name in LEAVES_OUT - {"langs"}
    }


def read_board(
    paths: Iterable[Path],
    significance: bool = True,
    strict: bool = False,
    progress: Progress | None = None,
) -> Board:
    """The board of every result in these folders (searched through) or files.

    A file that cannot be read is named in `unreadable`; with `strict` it is an error.
    """
    results, unreadable = _read(paths)
    newest, left_out = _newest_runs(results)
    groups: dict[_Key, list[Result]] = {}
    for result in newest:
        groups.setdefault(_Key.of(result.record), []).append(result)
    tasks = []
    forms = _by_form(results) if significance else {}
    boards = list(_task_files(groups).items())
    for key, file in followed(boards, progress or Silent(), "rank", "tasks"):
        rows = [
            replace(row, forms=forms.get((key, row.record.encoder.slug), {}))
            for row in _rows(groups[key])
        ]
        if significance:
            rows, damaged = _with_standings(rows)
            unreadable += damaged
        tasks.append(TaskBoard(file, tuple(rows)))
    tasks.sort(key=lambda t: (t.is_part, -sum(len(row.record.settings) for row in t.rows)))
    if strict and unreadable:
        raise InputError("; ".join(unreadable))
    return Board(tuple(tasks), tuple(sorted(left_out)), tuple(unreadable))


def _read(paths: Iterable[Path]) -> tuple[list[Result], list[str]]:
    """Every result, each file once; and a line for each that cannot be read."""
    files: dict[Path, Path] = {}
    for path in paths:
        for file in result_files(path, "--results wants a folder of results"):
            files.setdefault(file.resolve(), file)
    results: list[Result] = []
    unreadable: list[str] = []
    for file in files.values():
        try:
            results.append(Result.load(file))
        except InputError as error:
            unreadable.append(str(error))
        except (ValueError, RecursionError) as error:
            unreadable.append(f"{file} cannot be read: {type(error).__name__}")
    return results, unreadable


def _newest_runs(results: Sequence[Result]) -> tuple[list[Result], list[LeftOut]]:
    """The results that are ranked, the newest of each encoder on each board; and those that are not."""
    newest: dict[tuple[_Key, str], Result] = {}
    left_out = []
    # A run that leaves out more than languages is ranked only if no other run of its task can be.
    whole = {
        result.record.task.name
        for result in results
        if not _besides_languages(result.record) and not _why_not_ranked(result)
    }
    # The order depends on what files say, not on where they are: the same results give the same board anywhere.
    for result in sorted(results, key=lambda r: (r.record.created, r.record.model_dump_json())):
        record, reason = result.record, _why_not_ranked(result, whole)
        if reason is None:
            key = (_Key.of(record), record.encoder.slug)
            if newest.get(key, result).record != record:
                reason = "an older run: the newer one is ranked"
            newest[key] = result
        if reason is not None:
            left_out.append(LeftOut(record.task.name, record.encoder.name, reason))
    return list(newest.values()), left_out


def _by_form(results: Sequence[Result]) -> dict[tuple[_Key, str], dict[str, Path]]:
    """By board and encoder, the newest results that differ only in the form of the questions, by form."""
    folders: dict[tuple[_Key, str], dict[str, Path]] = {}
    for result in sorted(results, key=lambda r: r.record.created):
        record, form = result.record, result.record.options.query_form
        besides = record.options.part.keys() - {"langs", "candidate", "query_form"}
        if form and not besides and result.folder is not None and result.has_values:
            key = _Key.of(record), record.encoder.slug
            folders.setdefault(key, {})[form] = result.folder
    return folders


def _why_not_ranked(result: Result, whole: Collection[str] = ()) -> str | None:
    """Why a result cannot be ranked; None if it can.

    `whole`: tasks with results that leave out nothing, or only languages; other parts of these tasks are not ranked.
    """
    record, options = result.record, result.record.options
    part = {name: words for name, words in options.part.items() if name != "candidate"}
    missing = _besides_languages(record)
    if part.keys() - LEAVES_OUT or (
        missing and (record.task.name in whole or options.part != part)
    ):
        return "; ".join(part.values())
    if not missing and result.folder is not None and _has_other_options(result.folder.name, record):
        measures = ", ".join(options.measures)
        return f"other options (candidate {options.candidate}, seed {options.seed}, {measures})"
    if not any(record.main_measure in by_measure for by_measure in record.summary.values()):
        return f"no {record.main_measure}"
    return None


def _has_other_options(folder: str, record: ResultRecord) -> bool:
    """Whether a folder's name says that the run had other options than languages, such as a seed or measures."""
    if "~" not in folder:
        return False
    task, langs = record.task.name, list(_Key.of(record).langs)
    # The names that `run` and `export result` give to the folder of a run of these languages.
    names = [result_folder(Path(), "", task, {"langs": langs}).name]
    if part_of(record) == f"languages {' '.join(langs)}":
        names.append(named(record))
    digests = tuple(name.rpartition("~")[2] for name in names)
    return not (langs and folder.rpartition("~")[2].startswith(digests))


def _task_files(groups: Mapping[_Key, Sequence[Result]]) -> dict[_Key, str]:
    """A file name for each board; if a task has several boards, some names have a digest.

    The plain name goes to full runs, then to the highest version, then to the digest with the most results.
    """

    def priority(key: _Key) -> tuple[bool, int, int, _Key]:
        version = max(result.record.task.version for result in groups[key])
        return not (key.langs or key.part), version, len(groups[key]), key

    names: dict[_Key, str] = {}
    for key in sorted(groups, key=priority, reverse=True):
        name = key.task + (f"~{'-'.join(key.langs)}" if key.langs else "")
        name += f"~{text_digest(key.part, 8)}" if key.part else ""
        digests = (key.digest[7:15], key.data[7:15], text_digest(repr(tuple(key)), 8))
        choices = (name, *(f"{name}~{digest}" for digest in digests))
        names[key] = next(choice for choice in choices if choice not in names.values())
    keys = sorted(groups)
    files = file_names([names[key] for key in keys], beside_index=True)
    return dict(zip(keys, files, strict=True))


def _rows(results: Sequence[Result]) -> list[Entry]:
    """A row for each encoder, best first."""
    encoders = [result.record.encoder for result in results]
    names = [encoder.name for encoder in encoders]
    slugs = sorted(encoder.slug for encoder in encoders)
    files = dict(zip(slugs, file_names(slugs), strict=True))
    rows = [
        Entry(
            record=result.record,
            folder=result.folder or Path(),
            file=files[encoder.slug],
            name=encoder.name
            if names.count(encoder.name) == 1
            else f"{encoder.name} ({encoder.slug})",
        )
        for result, encoder in zip(results, encoders, strict=True)
    ]

    def order(row: Entry) -> tuple[object, ...]:
        scores = [row.score(kind) for kind in RANKED_BY]
        return *(-score.mean if score else 1.0 for score in scores), row.name, row.file

    return sorted(rows, key=order)


def _with_standings(rows: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The rows with the ranks that tests of every pair allow; and a line for each row whose tables are damaged."""
    values: dict[str, dict[str, QueryValues]] = {}
    untested: dict[str, str] = {}
    damaged: list[str] = []
    main = rows[0].record.main_measure
    for row in rows:
        try:
            of_row = dict(row.values([main]))
        except InputError as error:
            damaged.append(f"the per-query tables: {error}")
            untested[row.file] = "the tables beside the result cannot be used"
            continue
        reference = next(iter(values.values()), of_row)
        if not of_row:
            untested[row.file] = "no ranks are kept beside the result"
        elif not of_same_queries(reference[main], of_row[main]):
            untested[row.file] = "the queries are not those of the encoders above"
        else:
            values[row.file] = of_row
    tested: dict[str, dict[Score, Standing]] = {row.file: {} for row in rows}
    for column in compared_by(main):
        subjects = {
            row.file: values[row.file][column.measure]
            for row in rows
            if row.score(column.kind) and column.measure in values.get(row.file, ())
        }
        of_subjects = standings(list(subjects.values()), column.kind)
        for file, standing in zip(subjects, of_subjects, strict=True):
            tested[file][column] = standing
    return [
        replace(row, standings=tested[row.file], untested=untested.get(row.file)) for row in rows
    ], damaged

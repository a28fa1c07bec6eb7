"""Which stored results are ranked, and how: one board a task or languages of it, one row an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from xlir_bench.errors import InputError
from xlir_bench.records import Kind
from xlir_bench.reports.export import named, part_of
from xlir_bench.reports.leaderboard.names import file_names, piece
from xlir_bench.reports.leaderboard.standings import Standing, of_same_queries, standings
from xlir_bench.results import Result, result_folder
from xlir_bench.results.schema import BiasPart, CostPart, IntervalPart, ResultRecord
from xlir_bench.results.store import RESULT_FILE
from xlir_bench.results.values import RANK_DISTANCE, QueryValues

Column = tuple[Kind, str]
"""A kind of setting, and the main measure or the rank distance."""
Key = tuple[str, tuple[str, ...], str, str]
"""A task's name, its languages unless it was run in all, its digest, and that of the data that was read."""
RANKED_BY = (Kind.MULTILINGUAL, Kind.CROSS_LINGUAL, Kind.MONOLINGUAL)
"""A board is in the order of its main measure, in the hardest kind of setting that the task has."""
NAMED = 11
"""Languages of a part that its title names."""


@dataclass(frozen=True, slots=True)
class Row:
    """One encoder on one task."""

    record: ResultRecord
    folder: Path
    """Where the result and its tables lie; never written into a leaderboard."""
    file: str
    """Of its own page, without ending."""
    name: str
    """As it is shown: with a piece of its slug where two encoders have one name."""
    standings: Mapping[Column, Standing] = field(default_factory=dict)
    """Which ranks it may have; empty where nothing was tested."""
    untested: str | None = None
    """Why it has none, where others have."""

    def score(self, kind: Kind) -> IntervalPart | None:
        """The macro average of the main measure over the settings of a kind."""
        return self.record.summary.get(kind, {}).get(self.record.main_measure)

    def measure(self, kind: Kind, measure: str) -> float | None:
        """The macro average of any measure over the settings of a kind."""
        part = self.record.summary.get(kind, {}).get(measure)
        return None if part is None else part.mean

    @property
    def rank_distance(self) -> BiasPart | None:
        """The language bias that is ranked by."""
        return self.record.bias.get("rank_distance")

    @property
    def cost(self) -> CostPart | None:
        """What it costs in use, where that was measured."""
        return self.record.profile.cost

    @property
    def texts_per_second(self) -> float | None:
        """How fast it encoded when the result was made, if it did not take all from a cache."""
        profile = self.record.profile
        seconds = profile.seconds.get("encode", 0.0)
        return profile.encoded_texts / seconds if profile.encoded_texts and seconds > 0 else None


@dataclass(frozen=True)
class TaskBoard:
    """The ranked encoders of one task, or of some of its languages (other data is another board)."""

    file: str
    """Of its page, without ending; also the folder of its encoders' pages."""
    rows: tuple[Row, ...]
    """Best first."""

    @property
    def first(self) -> ResultRecord:
        """Any record: what it says about the task holds for all."""
        return self.rows[0].record

    @property
    def is_part(self) -> bool:
        """Whether only some of the task's languages were run: its figures are not those of the task."""
        return bool(self.first.options.langs)

    @property
    def title(self) -> str:
        """Of the task; a part of it says in which languages."""
        task, langs = self.first.task, self.first.options.langs
        if not langs:
            return task.title
        told = " ".join(langs) if len(langs) <= NAMED else f"{len(langs)} languages"
        return f"{task.title}: {told}"

    @cached_property
    def kinds(self) -> list[Kind]:
        """The kinds that any encoder was measured in."""
        return [kind for kind in Kind if any(row.score(kind) for row in self.rows)]

    @cached_property
    def langs(self) -> list[str]:
        """The query languages, by code."""
        return sorted({s.query_lang for row in self.rows for s in row.record.settings})

    @cached_property
    def best(self) -> dict[tuple[Kind, str], float]:
        """The highest macro average of every kind and measure."""
        found: dict[tuple[Kind, str], float] = {}
        for row in self.rows:
            for kind, by_measure in row.record.summary.items():
                for measure, part in by_measure.items():
                    found[kind, measure] = max(found.get((kind, measure), part.mean), part.mean)
        return found

    @cached_property
    def lowest_distance(self) -> float | None:
        """The lowest mean rank distance."""
        means = [row.rank_distance.mean for row in self.rows if row.rank_distance]
        return min((mean for mean in means if isinstance(mean, float)), default=None)

    @property
    def main(self) -> str:
        """The measure that is ranked by."""
        return self.first.main_measure

    @property
    def columns(self) -> list[Column]:
        """What encoders are compared by: the main measure in every kind, and the rank distance."""
        distance = (Kind.MULTILINGUAL, RANK_DISTANCE)
        return [*((kind, self.main) for kind in self.kinds), distance]

    def chance(self, kind: Kind) -> float | None:
        """What a random ranking would get, where that is known: of map alone."""
        if self.main != "map":
            return None
        mine = [s.chance_map for s in self.first.settings if s.kind == kind and s.queries]
        return sum(mine) / len(mine) if mine else None


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
    left_out: tuple[LeftOut, ...]
    unreadable: tuple[str, ...]
    """One line a file that is no result, with its path: for the person, not for a page."""


def read_board(paths: Iterable[Path], significance: bool = True, strict: bool = False) -> Board:
    """The board of every result in these folders (searched through) or files.

    A file that cannot be read is named in `unreadable`; with `strict` it is an error.
    """
    found, unreadable = _read(paths)
    ranked, left_out = _sorted_out(found)
    groups: dict[Key, list[Result]] = {}
    for result in ranked:
        groups.setdefault(_key(result.record), []).append(result)
    names = _task_names(groups)
    boards = [_task_board(names[key], groups[key], significance) for key in names]
    unreadable += [line for _, lines in boards for line in lines]
    if strict and unreadable:
        raise InputError("; ".join(unreadable))
    return Board(tuple(task for task, _ in boards), tuple(sorted(left_out)), tuple(unreadable))


def _key(record: ResultRecord) -> Key:
    """What results of one board have in common."""
    task = record.task
    return task.name, _langs(record), task.digest, task.data_read or ""


def _langs(record: ResultRecord) -> tuple[str, ...]:
    return tuple(sorted(set(record.options.langs)))


def _read(paths: Iterable[Path]) -> tuple[list[Result], list[str]]:
    found: list[Result] = []
    unreadable: list[str] = []
    for file in _files(paths):
        try:
            found.append(Result.load(file))
        except InputError as error:
            unreadable.append(str(error))
        except (ValueError, RecursionError) as error:
            unreadable.append(f"{file} cannot be read: {type(error).__name__}")
    return found, unreadable


def _files(paths: Iterable[Path]) -> list[Path]:
    """Every result.json, each once."""
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} is not there; --results wants a folder of results")
        found = sorted(path.rglob(RESULT_FILE)) if path.is_dir() else [path]
        for file in found:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _sorted_out(found: Sequence[Result]) -> tuple[list[Result], list[LeftOut]]:
    """What is ranked, the newest of each encoder and task, and what is not."""
    ranked: dict[tuple[Key, str], Result] = {}
    left_out = []
    # By what the files say, not by where they lie: the same results anywhere give the same board.
    for result in sorted(found, key=lambda r: (r.record.created, r.record.model_dump_json())):
        record = result.record
        reason = _not_ranked(result)
        if reason:
            left_out.append(LeftOut(record.task.name, record.encoder.name, reason))
            continue
        key = (_key(record), record.encoder.slug)
        older = ranked.get(key)
        if older is not None and older.record != record:
            left_out.append(
                LeftOut(record.task.name, record.encoder.name, "an older run of a ranked one")
            )
        ranked[key] = result
    return list(ranked.values()), left_out


def _not_ranked(result: Result) -> str | None:
    """Why a result is not a full run of its task, or of some languages of it."""
    options = result.record.options
    told = {name: words for name, words in options.part.items() if name != "candidate"}
    if told.keys() - {"langs"}:
        return "; ".join(told.values())
    if result.folder is not None and _says_more(result.folder.name, result.record):
        measures = ", ".join(options.measures)
        return f"other options (candidate {options.candidate}, seed {options.seed}, {measures})"
    main = result.record.main_measure
    if not any(main in by for by in result.record.summary.values()):
        return f"no {main}"
    return None


def _says_more(folder: str, record: ResultRecord) -> bool:
    """Whether a folder's name is that of a part of the task in more than its languages."""
    name, langs = record.task.name, list(_langs(record))
    # As `run` and as `export result` name the folder of a part in languages alone.
    told = [result_folder(Path(), "", name, {"langs": langs}).name]
    told += [named(record)] if part_of(record) == f"languages {' '.join(langs)}" else []
    digests = tuple(x.rpartition("~")[2] for x in told)
    return "~" in folder and not (langs and folder.rpartition("~")[2].startswith(digests))


def _task_names(groups: Mapping[Key, Sequence[Result]]) -> dict[Key, str]:
    """A file name for each task, languages, digest and data: a digest shows where one has several.

    The plain name goes to the highest version, then to the digest with the most results; no part takes it.
    """

    def weight(key: Key) -> tuple[bool, int, int, Key]:
        whole = not key[1]
        return whole, max(r.record.task.version for r in groups[key]), len(groups[key]), key

    shown: dict[Key, str] = {}
    for key in sorted(groups, key=weight, reverse=True):
        name, langs, digest, data = key
        name += f"~{'-'.join(langs)}" if langs else ""
        names = (name, *(f"{name}~{x}" for x in (digest[7:15], data[7:15], piece(repr(key)))))
        shown[key] = next(n for n in names if n not in shown.values())
    files = file_names([shown[key] for key in sorted(groups)], top=True)
    return dict(zip(sorted(groups), files, strict=True))


def _task_board(
    file: str, results: Sequence[Result], significance: bool
) -> tuple[TaskBoard, list[str]]:
    slugs = sorted(r.record.encoder.slug for r in results)
    files = dict(zip(slugs, file_names(slugs), strict=True))
    names = [r.record.encoder.name for r in results]
    rows = [
        Row(
            record=result.record,
            folder=result.folder or Path(),
            file=files[result.record.encoder.slug],
            name=_shown(result.record, names),
        )
        for result in results
    ]
    rows.sort(key=_order)
    damaged: list[str] = []
    if significance:
        rows, damaged = _with_standings(rows)
    return TaskBoard(file, tuple(rows)), damaged


def _shown(record: ResultRecord, names: Sequence[str]) -> str:
    encoder = record.encoder
    return encoder.name if names.count(encoder.name) == 1 else f"{encoder.name} ({encoder.slug})"


def _order(row: Row) -> tuple[object, ...]:
    maps = [row.score(kind) for kind in RANKED_BY]
    return *(-part.mean if part else 1.0 for part in maps), row.name, row.file


def _with_standings(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows, every pair of them tested; a line for each whose tables are damaged."""
    values: dict[str, dict[str, QueryValues]] = {}
    untested: dict[str, str] = {}
    damaged = []
    for row in rows:
        try:
            found = _values(row, next(iter(values.values()), None))
        except InputError as error:
            damaged.append(f"the per-query tables: {error}")
            found = "the tables beside the result cannot be used"
        if isinstance(found, str):
            untested[row.file] = found
        else:
            values[row.file] = found
    tested: dict[str, dict[Column, Standing]] = {row.file: {} for row in rows}
    main = rows[0].record.main_measure
    for kind, measure in (*((kind, main) for kind in Kind), (Kind.MULTILINGUAL, RANK_DISTANCE)):
        mine = {
            row.file: values[row.file][measure]
            for row in rows
            if row.score(kind) and measure in values.get(row.file, ())
        }
        for file, standing in zip(mine, standings(list(mine.values()), kind), strict=True):
            tested[file][kind, measure] = standing
    return [
        replace(row, standings=tested[row.file], untested=untested.get(row.file)) for row in rows
    ], damaged


def _values(row: Row, others: Mapping[str, QueryValues] | None) -> dict[str, QueryValues] | str:
    """What a row is tested by, by measure; or why it is not."""
    result = Result.load(row.folder)
    if not result.has_values:
        return "no ranks are kept beside the result"
    main = row.record.main_measure
    measures = [main, *([RANK_DISTANCE] if row.rank_distance else [])]
    found = {measure: result.values(measure) for measure in measures}
    if others is not None and not of_same_queries(others[main], found[main]):
        return "the queries are not those of the encoders above"
    return found

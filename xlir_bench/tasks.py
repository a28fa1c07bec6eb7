"""Tasks: what is asked, read from TOML files or named by a user's own data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xlir_bench.errors import InputError, UnknownNameError, require_type
from xlir_bench.files import json_digest
from xlir_bench.places import as_path
from xlir_bench.records import Kind, Setting
from xlir_bench.untrusted import read_toml, validated

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
TASK_NAME = r"^[a-z0-9][a-z0-9.-]*$"
Name = Annotated[str, Field(pattern=TASK_NAME)]
MOST_PARTS = 10_000
"""The most numbered files of a language."""
MOST_FILES = 100_000
"""The most files that a task may name."""
MOST_LANGUAGES = 2_000
"""The most query or passage languages of a run: counting articles by language takes their square."""
MOST_PAIRS = 100_000
"""The most pairs of query and passage language: each pair is searched and kept in memory."""


class _Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskFile(_Stated):
    """One file of a task: where it lies under the data root and what it must be."""

    path: str
    sha256: Sha256 | None = None
    """Absent where the official digest is not known."""
    bytes: int | None = None
    queries: int | None = None
    candidates: int | None = None
    url: str | None = None
    """Its address, if not that of the source."""
    member: str | None = None
    """Its name in the archive at that address (zip or tar.gz)."""
    archive_sha256: Sha256 | None = None
    """The digest of that archive."""


class EveryFile(_Stated):
    """A file (or several numbered ones) that each language has; names hold ``{lang}`` and ``{part}``."""

    path: str
    url: str | None = None
    member: str | None = None
    archive_sha256: Sha256 | None = None
    parts: dict[str, Annotated[int, Field(ge=1, le=MOST_PARTS)]] | None = None
    """How many there are, by language, numbered from 0; absent where there is one."""
    queries: dict[str, int] | int = {}
    """By language, or one number for all."""
    candidates: dict[str, int] | int = {}

    def of(self, lang: str, name: str) -> Iterator[tuple[str, TaskFile]]:
        """The files of one language, named ``<lang>.<name>``, or ``<lang>.<name>.<part>``."""
        counts = {
            what: stated if isinstance(stated, int) else stated.get(lang)
            for what, stated in (("queries", self.queries), ("candidates", self.candidates))
        }
        for part in range(1 if self.parts is None else self.parts.get(lang, 1)):
            path, url, member = (
                text and text.replace("{lang}", lang).replace("{part}", str(part))
                for text in (self.path, self.url, self.member)
            )
            number = "" if self.parts is None else f".{part:04d}"
            packed = {"member": member, "archive_sha256": self.archive_sha256}
            file = TaskFile(path=str(path), url=url, **packed, **counts)
            yield f"{lang}.{name}{number}", file
            counts = {}


def file_language(name: str) -> str:
    """The language of a file, by its name in a task: ``sw`` for ``sw.qrels``."""
    return name.partition(".")[0]


def part_of(name: str) -> str:
    """The part of a language's data that a file has, by its name in a task: ``qrels`` for ``sw.qrels``."""
    return f"{name}.".split(".")[1]


class Source(_Stated):
    """Where the files come from."""

    url: str | None = None
    """Address of a file, with ``{lang}``; absent where the files are bundled with the package."""
    bundled: bool = False
    hub: str | None = None
    """A data set of the model hub; a path here is a first folder, then the path on the hub."""
    revision: str | None = None
    """Its commit."""


class Task(_Stated):
    """One benchmark task, as its TOML file states it."""

    name: Name
    version: int
    title: str
    format: str
    """Key of the function in `sources.FORMATS` that reads it."""
    description: str
    domain: str
    shares: str = ""
    """What its texts have in common with well-known training sets."""
    languages: list[str]
    """Of the questions, and of the passages unless those have their own."""
    passage_languages: list[str] | None = None
    """The languages of the passages if all questions search the same ones: these are always read."""
    kinds: list[Kind]
    measures: list[str]
    pairs: list[tuple[str, str]] | None = None
    """The pairs of query and passage language that are searched, if not all are."""
    translated: bool = False
    """Whether the queries of all languages are translations of each other, where the format leaves that open."""
    candidate: str = "passage"
    """The default candidate text."""
    candidates: list[str] = ["passage"]
    """Every candidate text there is."""
    licence: str
    homepage: str
    citation: str
    source: Source
    files: dict[str, TaskFile] = {}
    """By language, or by ``language.part`` where a format has several files a language."""
    every: dict[str, EveryFile] = Field(default={}, exclude=True)
    """Files that each language has, by part; validation adds them to `files`."""
    folder: Path | None = Field(default=None, exclude=True)
    """The folder of its TOML file; paths of bundled files begin there."""

    @model_validator(mode="after")
    def _name_every_file(self) -> Self:
        parts = [every.parts or {} for every in self.every.values()]
        count = sum(by_lang.get(lang, 1) for by_lang in parts for lang in self.languages)
        if count > MOST_FILES:
            raise ValueError(f"{count:,} files are more than {MOST_FILES:,}")
        for part, every in self.every.items():
            for lang in self.languages:
                for name, file in every.of(lang, part):
                    self.files.setdefault(name, file)  # a file that is named itself differs
        return self

    def settings(
        self, langs: Sequence[str] | None = None, kinds: Sequence[Kind] | None = None
    ) -> list[Setting]:
        """Every setting, or those of some languages and kinds: kinds in order, then languages."""
        self.require_size(langs, kinds)
        searched = self._searched(langs).items()
        pool = self._sides(langs)[1]
        settings = {
            Kind.MONOLINGUAL: (Setting(q, (q,)) for q, passages in searched if q in passages),
            Kind.CROSS_LINGUAL: (
                Setting(q, (p,)) for q, passages in searched for p in passages if p != q
            ),
            Kind.MULTILINGUAL: (Setting(q, pool) for q, passages in searched if len(passages) > 1),
        }
        wanted = self.kinds if kinds is None else {*self.kinds}.intersection(kinds)
        return [each for kind in Kind if kind in wanted for each in settings[kind]]

    def setting_counts(self) -> dict[Kind, int]:
        """How many settings of each kind there are."""
        searched = self._searched(None)
        monolingual = sum(lang in passages for lang, passages in searched.items())
        counts = {
            Kind.MONOLINGUAL: monolingual,
            Kind.CROSS_LINGUAL: sum(map(len, searched.values())) - monolingual,
            Kind.MULTILINGUAL: sum(len(passages) > 1 for passages in searched.values()),
        }
        return {kind: count if kind in self.kinds else 0 for kind, count in counts.items()}

    def _searched(self, langs: Sequence[str] | None) -> dict[str, dict[str, None]]:
        """By query language, the passage languages that are searched for it; both are sorted."""
        query_langs, passage_langs = self._sides(langs)
        if self.pairs is None:
            return dict.fromkeys(query_langs, dict.fromkeys(passage_langs))
        searched: dict[str, dict[str, None]] = {lang: {} for lang in query_langs}
        pool = {*passage_langs}
        for query_lang, passage_lang in sorted(self.pairs):
            if query_lang in searched and passage_lang in pool:
                searched[query_lang][passage_lang] = None
        return searched

    def require_size(
        self, langs: Sequence[str] | None = None, kinds: Sequence[Kind] | None = None
    ) -> None:
        """Refuse so many languages that their pairs would not fit into memory."""
        query_langs, passage_langs = self._sides(langs)
        kinds = [k for k in self.kinds if kinds is None or k in kinds]
        pairs = len(query_langs) * (1 if kinds == [Kind.MONOLINGUAL] else len(passage_langs))
        if pairs > MOST_PAIRS or max(len(query_langs), len(passage_langs)) > MOST_LANGUAGES:
            raise InputError(
                f"task {self.name!r} has {len(query_langs):,} query languages and {len(passage_langs):,} passage"
                f" languages, {pairs:,} pairs: at most {MOST_LANGUAGES:,} languages and {MOST_PAIRS:,} pairs"
                " are searched at once; choose languages with --langs"
            )

    def _sides(self, langs: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The query languages and the passage languages, sorted."""
        query_langs = tuple(sorted(set(self.languages if langs is None else langs)))
        return query_langs, tuple(sorted(set(self.passage_languages or query_langs)))

    def counts(self, what: Literal["queries", "candidates"]) -> dict[str, int]:
        """How many queries or candidates each language has, where its files say so."""
        counts = Counter[str]()
        for name, file in self.files.items():
            if (stated := getattr(file, what)) is not None:
                counts[file_language(name)] += stated
        return counts

    @property
    def digest(self) -> str:
        """Names what is evaluated: changes with the data, the languages or the version, not with the prose."""
        parts = {
            "name": self.name,
            "version": self.version,
            "format": self.format,
            "languages": sorted(self.languages),
            "files": {lang: f.sha256 for lang, f in sorted(self.files.items())},
        }
        return f"sha256:{json_digest(parts)}"


@dataclass(frozen=True)
class TaskCatalogue:
    """All tasks there are: the bundled ones and those of the user's own folders."""

    tasks: Mapping[str, Task]
    """By name."""
    faults: Mapping[Path, InputError]
    """The files that hold no task, and why."""

    def get(
        self, names: Iterable[str], langs: Sequence[str] | None = None, offline: bool = False
    ) -> list[Task]:
        """The tasks of these names, or of data like ``parallel:FILE``; all unknown ones are reported.

        `langs`: the language of data that does not name its own. `offline`: the hub is not asked.
        """
        names = [names] if isinstance(names, str) or not isinstance(names, Iterable) else [*names]
        for name in names:
            require_type(name, str, "the names of tasks are wanted")
        names = list(dict.fromkeys(names))
        own = {name: task for name in names if (task := own_task(name, langs, offline)) is not None}
        for spec, task in own.items():
            if task.name in self.tasks:
                raise InputError(f"{spec}: there is a task {task.name!r} already; rename the file")
        known = {**self.tasks, **own}
        if unknown := [name for name in names if name not in known]:
            broken = [error for path, error in self.faults.items() if path.stem in unknown]
            error = UnknownNameError("task", unknown, [*self.tasks, *(f"{kind}:" for kind in OWN)])
            paths = [name for name in unknown if name and Path(name).exists()]
            if not broken and any("," in name for name in unknown):
                raise InputError(f"{error}; give several tasks one by one")
            if paths and not broken:
                specs = " or ".join(f"{kind}:{paths[0]}" for kind in OWN)
                raise InputError(f"{error}; {paths[0]} exists: say what it holds, {specs}")
            raise (broken or [error])[0]
        return [known[name] for name in names]


def own_task(spec: str, langs: Sequence[str] | None = None, offline: bool = False) -> Task | None:
    """The task of a user's own data, ``KIND:PLACE``; None for any other name."""
    kind, _, place = spec.partition(":")
    if kind not in OWN or not place:
        return None
    module, _, name = OWN[kind].partition(":")
    make = getattr(import_module(f"xlir_bench.sources.{module}"), name)
    task: Task = make(Path(place), langs, offline)
    return task


OWN = {
    "beir": "own:beir_task",
    "mlir": "own:mlir_task",
    "mteb": "mtebtask:mteb_task",
    "parallel": "own:parallel_task",
}
"""Kinds of task that are named by where their data lies, and the function in `xlir_bench.sources` that makes each."""


def catalogue(*extra: str | Path) -> TaskCatalogue:
    """The bundled tasks and those in `extra` folders; a name that two files claim is an error."""
    paths: dict[str, Path] = {}
    tasks: dict[str, Task] = {}
    faults: dict[Path, InputError] = {}
    for folder in (tasks_folder(), *map(as_path, extra)):
        if not folder.is_dir():
            raise InputError(
                f"tasks folder {folder} is not there; --tasks-dir wants a folder of TOML files"
            )
        for path in sorted(folder.glob("*.toml")):
            try:
                task = read_task(path)
            except InputError as error:
                faults[path] = error
                continue
            if task.name in tasks:
                raise InputError(
                    f"task {task.name!r} is defined twice: {paths[task.name]} and {path}"
                )
            tasks[task.name], paths[task.name] = task, path
    return TaskCatalogue(dict(sorted(tasks.items())), faults)


def tasks_folder() -> Path:
    """Where the bundled tasks lie: inside the package in a wheel, beside it in a checkout."""
    package = Path(str(files("xlir_bench")))
    for folder in (package / "_tasks", package.parent / "tasks"):
        if (folder / "mini.toml").is_file():
            return folder
    raise InputError(f"the bundled tasks are missing beside {package}: install xlir-bench again")


def validated_name(name: str) -> str:
    """A name that a task may have."""
    if not re.fullmatch(TASK_NAME, name):
        raise InputError(f"{name!r} is no name of a task: lower-case letters, digits, '.' and '-'")
    return name


def read_task(path: Path) -> Task:
    """The task of one TOML file; its first faults are reported at once.

    With ``like = "xquad-r"``, what it does not state is taken from ``xquad-r.toml`` beside it.
    """
    stated = read_toml(path)
    if "like" in stated:
        other = validated(Name, stated.pop("like"), path, "a task like another")
        stated = _merged(read_toml(path.with_name(f"{other}.toml")), stated)
    return validated(Task, stated | {"folder": path.parent}, path, "a task")


def _merged(others: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables, and those in them, as one; what is stated in `own` wins."""
    tables = {
        name: _merged(others[name], table)
        for name, table in own.items()
        if isinstance(table, dict) and isinstance(others.get(name), dict)
    }
    return {**others, **own, **tables}

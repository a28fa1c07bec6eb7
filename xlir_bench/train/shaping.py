"""The texts that shape a vocabulary, and others that show what it lost."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xlir_bench.encoders.digest import fingerprint
from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.files import file_digest, raw_lines
from xlir_bench.options.running import RunOptions
from xlir_bench.places import data_cache
from xlir_bench.records import ROLES, Collection, Role, Silent
from xlir_bench.sources import ON_DISK, DataState, data_state, load_collection
from xlir_bench.tasks import Task
from xlir_bench.train.store import RowStore

ROWS = "rows"
PAGE = 256
"""Texts that are tokenized at a time."""
MOST, ALTOGETHER, CUT = 200, 1100, 200
"""Other texts of a language and of all languages, and characters of each: as much work as ten steps."""
Asked = list[tuple[str, Role, str]]
"""Language, role, text."""


@dataclass(frozen=True)
class ShapingTexts:
    """The training rows, and tasks and files by name."""

    names: Sequence[str]
    tasks: Mapping[str, Task]
    root: Path | None
    read: list[dict[str, str | int]] = field(default_factory=list)
    """What was read: name, digest and number of texts."""

    def check(self) -> None:
        """Refuse what cannot be read before anything is."""
        for name in self.names:
            if name == ROWS or (name not in self.tasks and Path(name).is_file()):
                continue
            if name not in self.tasks:
                known = [ROWS, "a file of texts", *self.tasks]
                raise UnknownNameError("text of --prune-vocabulary", [name], known)
            state = self._state(name)
            if state.missing:
                raise OutOfReachError(
                    f"--prune-vocabulary {name}: {', '.join(state.missing)} not in {state.folder};"
                    f" `xlir-bench data fetch {name}` fetches it, or name a root with --data"
                )

    def pages(self, store: RowStore) -> Iterator[Sequence[str]]:
        """All texts, some at a time."""
        digest = fingerprint({"rows": [source.digest for source in store.sources]})
        stored = (store.texts[place]["text"][:] for place in _places(len(store.texts)))
        yield from self._counted(ROWS, digest, stored)
        for name in dict.fromkeys(self.names):
            if name in self.tasks:
                data = self._load(name)
                texts = (data.texts(role, x) for role in ROLES for x in data.languages(role))
                pages = (some[place] for some in texts for place in _places(len(some)))
                yield from self._counted(name, fingerprint(dict(data.digests)), pages)
            elif name != ROWS:
                digest = f"sha256:{file_digest(Path(name), 'sha256')}"
                yield from self._counted(Path(name).name, digest, _lines(Path(name)))

    def elsewhere(self) -> tuple[list[str], Asked]:
        """Texts of tasks on disk that were not named, evenly over each."""
        names = [
            n for n, t in self.tasks.items() if n not in self.names and t.format not in ON_DISK
        ]
        here = {name: langs for name in names if (langs := self._state(name).here)}
        tasks = Counter(lang for langs in here.values() for lang in langs)
        each = min(MOST, ALTOGETHER // max(1, len(tasks)))
        found: Asked = []
        for name in here:
            data = self._load(name)
            for lang in here[name]:
                roles = [role for role in ROLES if lang in data.languages(role)]
                pool = [(lang, role, text) for role in roles for text in data.texts(role, lang)]
                count = min(len(pool), each // tasks[lang])
                places = np.linspace(0, len(pool), count, endpoint=False, dtype=int)
                found += [(*pool[n][:2], pool[n][2][:CUT]) for n in places]
        return list(here), sorted(found)

    def _counted(
        self, name: str, digest: str, pages: Iterator[Sequence[str]]
    ) -> Iterator[Sequence[str]]:
        count = 0
        for page in pages:
            count += len(page)
            yield page
        self.read.append({"name": name, "digest": digest, "texts": count})

    def _state(self, name: str) -> DataState:
        return data_state(self.tasks[name], self.root, data_cache())

    def _load(self, name: str) -> Collection:
        langs = self._state(name).here
        options = RunOptions(data=self.root, langs=langs, offline=True, allow_changed_data=True)
        return load_collection(self.tasks[name], options, Silent())


def _places(count: int) -> Iterator[slice]:
    return (slice(first, first + PAGE) for first in range(0, count, PAGE))


def _lines(path: Path) -> Iterator[list[str]]:
    """A text a line."""
    page: list[str] = []
    try:
        for line in raw_lines(path):
            page.append(line.decode().strip())
            if len(page) == PAGE:
                yield page
                page = []
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"--prune-vocabulary {path} is no file of texts in UTF-8: {error}"
        ) from error
    yield page

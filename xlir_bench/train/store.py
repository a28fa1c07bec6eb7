"""Training rows on disk: every text once in an Arrow file, and 64 bits a text to tell them apart.

10 million rows are as many entries on disk; memory holds a page of them at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from xlir_bench.errors import InputError
from xlir_bench.options.training import TrainingSource
from xlir_bench.records import Progress
from xlir_bench.train.reading import sound_rows, source_digest
from xlir_bench.train.rows import SIDES, Row, chunked, count_origin, item_key, text_key
from xlir_bench.untrusted import read_json

Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Keep = Callable[[Sequence[Row]], Sequence[bool]]
CHUNK = 8192
QUESTION, ANSWER, NEGATIVE = range(3)


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A source as it was read."""

    name: str
    weight: float
    use: str
    digest: str
    rows: int
    dropped: int
    """Rows that were left out because evaluation data holds one of their texts."""
    origins: Mapping[str, int] = field(default_factory=dict)
    """Rows by where they came from: original, code-switched, translated by a model."""


@dataclass(frozen=True)
class RowStore:
    """Rows as they lie in a folder; source by source, in the order they were read."""

    folder: Path
    sources: tuple[StoredSource, ...]
    languages: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(source.rows for source in self.sources)

    @cached_property
    def keys(self) -> Keys:
        """``[row, side, language]``: 64 bits of each text, 0 where there is none; mapped, not read."""
        shape = (self.rows, len(SIDES), len(self.languages))
        keys: Keys = np.memmap(self.folder / "keys.bin", np.uint64, mode="r", shape=shape)
        return keys

    @cached_property
    def ids(self) -> Keys:
        """64 bits a row, equal for rows that are translations or copies of each other."""
        ids: Keys = np.memmap(self.folder / "ids.bin", np.uint64, mode="r", shape=(self.rows,))
        return ids

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where the texts of each row begin in the file of texts."""
        starts: NDArray[np.int64] = np.memmap(
            self.folder / "starts.bin", np.int64, mode="r", shape=(self.rows,)
        )
        return starts

    @cached_property
    def texts(self) -> Any:
        """A `datasets.Dataset` of every text: row by row, side by side, language by language."""
        from datasets import Dataset

        return Dataset.from_file(str(self.folder / "texts.arrow")).select_columns(["text"])

    def fetch(self, rows: Any, sides: Any, langs: Any) -> list[str]:
        """One text for each row, side and language (as numbers); each has to be there."""
        rows, sides, langs = (np.asarray(x) for x in (rows, sides, langs))
        if not len(rows):
            return []
        flat = (self.keys[rows] != 0).reshape(len(rows), -1)
        column = sides * len(self.languages) + langs
        before = np.cumsum(flat, axis=1)[np.arange(len(rows)), column] - 1
        found: list[str] = self.texts[(self.starts[rows] + before).tolist()]["text"][:]
        return found

    def sample(self, count: int) -> Iterator[str]:
        """About so many texts at most, of whole rows evenly over the file."""
        step = max(1, -(-len(self.texts) // count))
        for first in range(0, self.rows, step):
            last = int(self.starts[first + 1]) if first + 1 < self.rows else len(self.texts)
            yield from self.texts[int(self.starts[first]) : last]["text"]


def store_rows(
    sources: Sequence[TrainingSource],
    folder: Path,
    progress: Progress,
    keep: Keep | None = None,
    offline: bool = False,
) -> RowStore:
    """Read all sources into `folder`; `keep` says which of some rows to take. Faults are refused."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(folder, keep)
    with writer:
        for source in sources:
            progress.start(f"read {source.name}", 0, "rows")
            writer.source(source, sound_rows(source, progress, offline))
            progress.finish()
    if not sum(s.rows for s in writer.sources):
        dropped = sum(s.dropped for s in writer.sources)
        raise InputError(
            f"no training row is left of {', '.join(map(str, sources))}"
            + (f": all {dropped} hold evaluation data" if dropped else "")
        )
    store = RowStore(folder, tuple(writer.sources), tuple(sorted(writer.languages)))
    _write_keys(store, list(writer.languages), progress)
    described = {"languages": store.languages, "sources": [asdict(s) for s in store.sources]}
    (folder / "rows.json").write_text(json.dumps(described, ensure_ascii=False, indent=1))
    return store


def open_rows(folder: Path) -> RowStore | None:
    """The rows that lie in a folder whole, None where they do not."""
    try:
        stated = read_json(folder / "rows.json", _Stated, "a store of rows")
    except InputError:
        return None
    store = RowStore(folder, tuple(stated.sources), tuple(stated.languages))
    size = 8 * store.rows
    sizes = {"ids": size, "starts": size, "keys": size * len(SIDES) * len(store.languages)}
    files = {name: folder / f"{name}.bin" for name in sizes}
    whole = all(f.is_file() and f.stat().st_size == sizes[name] for name, f in files.items())
    return store if whole and store.rows else None


class _Stated(BaseModel):
    """rows.json."""

    languages: list[str]
    sources: list[StoredSource]


class _Writer:
    """Writes rows as they come: texts and their languages to Arrow, ids and starts as plain numbers."""

    def __init__(self, folder: Path, keep: Keep | None) -> None:
        self._folder = folder
        self._keep = keep
        self.sources: list[StoredSource] = []
        self.languages: dict[str, int] = {}
        self._written = 0

    def __enter__(self) -> None:
        import pyarrow as pa

        (self._folder / "rows.json").unlink(missing_ok=True)
        self._schema = pa.schema(
            [("text", pa.large_string()), ("side", pa.int8()), ("lang", pa.int32())]
        )
        self._sink = pa.OSFile(str(self._folder / "texts.arrow"), "wb")
        self._arrow = pa.ipc.new_stream(self._sink, self._schema)
        self._ids = (self._folder / "ids.bin").open("wb")
        self._starts = (self._folder / "starts.bin").open("wb")

    def __exit__(self, *_: object) -> None:
        self._arrow.close()
        for file in (self._sink, self._ids, self._starts):
            file.close()

    def source(self, source: TrainingSource, rows: Iterator[Row]) -> None:
        kept = dropped = 0
        origins: dict[str, int] = {}
        for chunk in chunked(rows):
            taken = self._taken(chunk)
            kept, dropped = kept + len(taken), dropped + len(chunk) - len(taken)
            self._write(taken, source.name)
            for row in taken:
                count_origin(origins, row)
        stored = StoredSource(
            source.name, source.weight, source.use, source_digest(source), kept, dropped, origins
        )
        self.sources.append(stored)

    def _taken(self, chunk: list[Row]) -> list[Row]:
        if self._keep is None:
            return chunk
        return [row for row, kept in zip(chunk, self._keep(chunk), strict=True) if kept]

    def _write(self, rows: Sequence[Row], source: str) -> None:
        import pyarrow as pa

        texts: list[str] = []
        sides: list[int] = []
        langs: list[int] = []
        starts = []
        for row in rows:
            starts.append(self._written + len(texts))
            for number, side in enumerate(SIDES):
                for lang, text in sorted(row.side(side).items()):
                    texts.append(text)
                    sides.append(number)
                    langs.append(self.languages.setdefault(lang, len(self.languages)))
        if not rows:
            return
        self._written += len(texts)
        self._arrow.write_batch(pa.record_batch([texts, sides, langs], schema=self._schema))
        ids = [item_key(row, source) for row in rows]
        self._ids.write(np.array(ids, np.uint64).tobytes())
        self._starts.write(np.array(starts, np.int64).tobytes())


def _write_keys(store: RowStore, appeared: Sequence[str], progress: Progress) -> None:
    """The table of keys: how wide it is, is known when all rows were read."""
    import pyarrow as pa

    places = np.array([store.languages.index(lang) for lang in appeared], np.int64)
    first = position = 0
    progress.start("index training rows", store.rows, "rows")
    with (
        (store.folder / "keys.bin").open("wb") as file,
        pa.memory_map(str(store.folder / "texts.arrow")) as source,
    ):
        for batch in pa.ipc.open_stream(source):
            end = position + len(batch)
            last = int(np.searchsorted(store.starts, end))
            rows = np.searchsorted(store.starts[first:last], np.arange(position, end), "right") - 1
            sides, langs = (batch.column(name).to_numpy() for name in ("side", "lang"))
            keys = np.zeros((last - first, len(SIDES), len(store.languages)), np.uint64)
            keys[rows, sides, places[langs]] = [
                text_key(text) for text in batch.column("text").to_pylist()
            ]
            file.write(keys.tobytes())
            progress.advance(last - first)
            first, position = last, end
    progress.finish()


def origin_counts(store: RowStore) -> Mapping[str, int]:
    """Rows by where they came from, all sources."""
    total: Counter[str] = Counter()
    for source in store.sources:
        total.update(source.origins)
    return dict(total)


def language_counts(store: RowStore) -> Mapping[str, int]:
    """Texts by language, all sides."""
    counts = np.zeros(len(store.languages), np.int64)
    for first in range(0, store.rows, CHUNK):
        counts += np.count_nonzero(store.keys[first : first + CHUNK], axis=(0, 1))
    return dict(zip(store.languages, counts.tolist(), strict=True))

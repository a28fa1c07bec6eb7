"""Training rows on disk: every text in an Arrow file, and a key of 64 bits per text to tell texts apart.

Memory holds only a page of rows at a time, so there may be tens of millions of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from xlir_bench.arrays import slices
from xlir_bench.errors import InputError
from xlir_bench.options.training import TrainingSource
from xlir_bench.records import Progress
from xlir_bench.train.folder import write_json
from xlir_bench.train.row_files import listed_faults, sound_rows, source_digest
from xlir_bench.train.rows import SIDES, Fault, Row, chunked, count_origin, item_key, text_key
from xlir_bench.untrusted import read_json, validated

Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]
PAGE = 8192
"""Rows whose keys are read at a time."""
QUESTION, ANSWER, NEGATIVE = range(3)
TEXTS, KEYS, IDS, STARTS, CONTENTS = (
    "texts.arrow", "keys.bin", "ids.bin", "starts.bin", "rows.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A source of training rows, as it was read."""

    name: str
    weight: float
    use: str
    digest: str
    rows: int
    dropped: int
    """Rows that were left out because evaluation data holds one of their texts."""
    origins: Mapping[str, int] = field(default_factory=dict)
    """Number of rows by origin: original, code-switched, translated by a model."""
    skipped: int = 0
    """Faulty rows that were left out (`--skip-faults`)."""
    faults: str = ""
    """The first of these faults, in words."""


@dataclass(frozen=True)
class RowStore:
    """The training rows in a folder, source by source, in the order in which they were read."""

    folder: Path
    sources: tuple[StoredSource, ...]
    languages: tuple[str, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        # It is sent to other processes and workers, without its gigabytes of keys.
        return RowStore, (self.folder, self.sources, self.languages)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(source.rows for source in self.sources)

    @cached_property
    def keys(self) -> Keys:
        """``[row, side, language]``: the key of each text, 0 if there is no text; memory-mapped."""
        shape = (self.rows, len(SIDES), len(self.languages))
        return np.memmap(self.folder / KEYS, np.uint64, mode="r", shape=shape)

    @cached_property
    def ids(self) -> Keys:
        """64 bits per row, equal for rows that are translations or copies of each other."""
        return np.memmap(self.folder / IDS, np.uint64, mode="r", shape=(self.rows,))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The number of each row's first text in the file of texts."""
        return np.memmap(self.folder / STARTS, np.int64, mode="r", shape=(self.rows,))

    @cached_property
    def texts(self) -> Any:
        """A `datasets.Dataset` of every text: row by row, side by side, language by language."""
        return Dataset.from_file(str(self.folder / TEXTS)).select_columns(["text"])

    def fetch(self, rows: Any, side: Any, langs: Any) -> list[str]:
        """The text of each row, in its own language of `langs`; `side` is one for all or one per row. All texts must exist."""
        rows, langs = np.asarray(rows), np.asarray(langs)
        if not len(rows):
            return []
        # The file has the texts of a row in the order of its keys, without the missing ones.
        exists = (self.keys[rows] != 0).reshape(len(rows), -1)
        column = np.asarray(side) * len(self.languages) + langs
        before = np.cumsum(exists, axis=1)[np.arange(len(rows)), column] - 1
        texts: list[str] = self.texts[(self.starts[rows] + before).tolist()]["text"][:]
        return texts

    def sample(self, count: int) -> Iterator[str]:
        """About `count` texts at most, from whole rows spread evenly over the file."""
        step = max(1, -(-len(self.texts) // count))
        for first in range(0, self.rows, step):
            last = int(self.starts[first + 1]) if first + 1 < self.rows else len(self.texts)
            yield from self.texts[int(self.starts[first]) : last]["text"]

    def every_text(self) -> Iterator[str]:
        """All texts, with one page at a time in memory."""
        for page in slices(len(self.texts), PAGE):
            yield from self.texts[page]["text"][:]

    def origin_counts(self) -> Mapping[str, int]:
        """Number of rows by origin."""
        return sum((Counter(source.origins) for source in self.sources), Counter())

    def language_counts(self) -> Mapping[str, int]:
        """Number of texts by language, all sides together."""
        counts = np.zeros(len(self.languages), np.int64)
        for page in slices(self.rows, PAGE):
            counts += np.count_nonzero(self.keys[page], axis=(0, 1))
        return dict(zip(self.languages, counts.tolist(), strict=True))


def store_rows(
    sources: Sequence[TrainingSource],
    folder: Path,
    progress: Progress,
    keep: Callable[[Sequence[Row]], Sequence[bool]] | None = None,
    offline: bool = False,
    skip_faults: bool = False,
) -> RowStore:
    """Read all sources into `folder`, without rows that `keep` refuses. A fault raises, or is skipped (`skip_faults`)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONTENTS).unlink(missing_ok=True)  # written last: without it there is no store
    schema = pa.schema([("text", pa.large_string()), ("side", pa.int8()), ("lang", pa.int32())])
    stored: list[StoredSource] = []
    languages: dict[str, int] = {}  # numbered as they appear; the store sorts them
    written = 0
    with (
        pa.OSFile(str(folder / TEXTS), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as texts_file,
        (folder / IDS).open("wb") as ids_file,
        (folder / STARTS).open("wb") as starts_file,
    ):
        for source in sources:
            progress.start(f"read {source.name}", 0, "rows")
            kept = dropped = 0
            origins: dict[str, int] = {}
            skipped: list[Fault] | None = [] if skip_faults else None
            for chunk in chunked(sound_rows(source.name, progress, offline, skipped)):
                rows = chunk if keep is None else list(compress(chunk, keep(chunk)))
                kept, dropped = kept + len(rows), dropped + len(chunk) - len(rows)
                if not rows:
                    continue
                texts = [_texts_of(row, languages) for row in rows]
                columns = list(zip(*(text for of_row in texts for text in of_row), strict=True))
                texts_file.write_batch(pa.record_batch(columns, schema=schema))
                ids = np.array([item_key(row, source.name) for row in rows], np.uint64)
                ids_file.write(ids.tobytes())
                counts = np.array([0, *map(len, texts)], np.int64)
                starts_file.write((written + np.cumsum(counts[:-1])).tobytes())
                written += int(counts.sum())
                for row in rows:
                    count_origin(origins, row)
            digest = source_digest(source.name)
            left_out = len(skipped or ())
            stored.append(StoredSource(
                source.name, source.weight, source.use, digest, kept, dropped, origins,
                left_out, listed_faults(skipped or (), left_out),
            ))  # fmt: skip
            progress.finish()
    if not any(s.rows for s in stored):
        all_dropped = sum(s.dropped for s in stored)
        raise InputError(
            f"no training row is left of {', '.join(map(str, sources))}"
            + (f": all {all_dropped} hold evaluation data" if all_dropped else "")
        )
    store = RowStore(folder, tuple(stored), tuple(sorted(languages)))
    _write_keys(store, list(languages), progress)
    contents = {"languages": store.languages, "sources": [asdict(s) for s in store.sources]}
    write_json(folder / CONTENTS, contents)
    return store


def _texts_of(row: Row, languages: dict[str, int]) -> list[tuple[str, int, int]]:
    """The texts of a row, each with the numbers of its side and language; new languages are numbered."""
    return [
        (text, number, languages.setdefault(lang, len(languages)))
        for number, side in enumerate(SIDES)
        for lang, text in sorted(row.side(side).items())
    ]


def _write_keys(store: RowStore, appeared: Sequence[str], progress: Progress) -> None:
    """Write the keys of all texts, in a second pass: only now is the number of languages known, the width of the table."""
    sorted_place = np.array([store.languages.index(lang) for lang in appeared], np.int64)
    first = position = 0
    progress.start("index training rows", store.rows, "rows")
    with (
        (store.folder / KEYS).open("wb") as file,
        pa.memory_map(str(store.folder / TEXTS)) as texts,
    ):
        for batch in pa.ipc.open_stream(texts):
            end = position + len(batch)
            last = int(np.searchsorted(store.starts, end))
            rows = np.searchsorted(store.starts[first:last], np.arange(position, end), "right") - 1
            sides, langs = (batch.column(name).to_numpy() for name in ("side", "lang"))
            keys = np.zeros((last - first, len(SIDES), len(store.languages)), np.uint64)
            batch_texts = batch.column("text").to_pylist()
            keys[rows, sides, sorted_place[langs]] = [text_key(text) for text in batch_texts]
            file.write(keys.tobytes())
            progress.advance(last - first)
            first, position = last, end
    progress.finish()


def open_rows(folder: Path) -> RowStore | None:
    """The store in a folder; None if there is none, or if files of it are incomplete."""
    path, what = folder / CONTENTS, "a store of rows"
    try:
        contents = read_json(path, dict[str, Any], what)
        store = validated(RowStore, {**contents, "folder": folder}, path, what)
    except InputError:
        return None
    size = 8 * store.rows
    sizes = {IDS: size, STARTS: size, KEYS: size * len(SIDES) * len(store.languages)}
    whole = all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )
    return store if whole and store.rows else None

"""Corpora too large for memory: their texts are written to disk once, as Arrow, and read from there row by row.

    <cache>/corpora/<digest>/passages.arrow     id, text (title and text), and where the text begins behind its title
                             corpus.json        written last: without it there is no corpus

The digest is that of the files that the corpus was read from. Reading takes next to no memory: pages of a mapped
file, which the system takes back when it needs them. Writing takes 8 bytes a passage, to find repeated ids.
"""

from __future__ import annotations

import json
import mmap
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from xlir_bench import files, objectstore
from xlir_bench.errors import XlirError
from xlir_bench.records import Passages
from xlir_bench.sources.rows import Faults
from xlir_bench.untrusted import parse_json

LAYOUT = 2
"""Is raised when the layout on disk changes."""
ROWS = 4096
"""Passages that are read and checked together."""
TEXTS, STATED = "passages.arrow", "corpus.json"
REMEDY = "make room there, or set XLIR_CACHE to another disk"


class Passage(NamedTuple):
    """One passage as it is read."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class StoredTexts(Sequence[str]):
    """A column of a corpus on disk, read when it is asked for."""

    path: Path
    """The file, in a folder that is named by the digest of the corpus."""
    mapped: mmap.mmap
    table: Any
    """The Arrow table over the mapped file: a column of texts; a second one, if any, says where each begins."""
    prefix: str = ""
    """Put before each text."""

    @property
    def digest(self) -> str:
        """The digest of the corpus that the texts are from."""
        return self.path.parent.name

    def __reduce__(self) -> tuple[Any, ...]:
        """Only the path is sent to another process, which opens the file itself."""
        return stored_texts, (self.path, self.table.column_names, self.prefix)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if not isinstance(row, slice):
            return self._texts(range(len(self))[row], 1)[0]
        wanted = range(len(self))[row]
        if wanted.step != 1:
            return [self[i] for i in wanted]
        texts = self._texts(wanted.start, len(wanted))
        self._release()
        return texts

    def __iter__(self) -> Iterator[str]:
        return (text for start in range(0, len(self), ROWS) for text in self._texts(start, ROWS))

    def positions(self, wanted: Iterable[str]) -> dict[str, int]:
        """The row of each of these texts (without the prefix); absent ones are left out."""
        import pyarrow as pa
        import pyarrow.compute as pc

        names = list(dict.fromkeys(wanted))
        value_set = pa.array(names, pa.string())
        rows: dict[str, int] = {}
        for start in range(0, len(self), ROWS):
            place = pc.index_in(self._checked(start, ROWS)[0], value_set=value_set).to_numpy()
            for row in np.flatnonzero(~np.isnan(place)).tolist():
                rows[names[int(place[row])]] = start + row
        self._release()
        return {name: rows[name] for name in names if name in rows}

    def _texts(self, start: int, count: int) -> list[str]:
        part = self._checked(start, count)
        texts = part[0].to_pylist()
        if part.num_columns > 1:
            texts = [text[cut:] for text, cut in zip(texts, part[1].to_pylist(), strict=True)]
        return [self.prefix + text for text in texts]

    def _checked(self, start: int, count: int) -> Any:
        """These rows, checked: a damaged file may point to texts outside of it."""
        import pyarrow as pa

        part = self.table.slice(start, count)
        try:
            part.validate(full=True)
        except pa.ArrowException as error:
            raise XlirError(
                f"the corpus in the cache is damaged ({str(error).splitlines()[0]}): `xlir-bench cache prune"
                " --corpora`, or another XLIR_CACHE, has it read again"
            ) from None
        return part

    def _release(self) -> None:
        """Give back the pages that were read: until then they count as this process's memory."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def stored_texts(path: Path, columns: Sequence[str], prefix: str) -> StoredTexts:
    """A column of a corpus that another process has opened."""
    try:
        mapped, table = _open_arrow(path)
    except (OSError, ValueError) as error:
        raise XlirError(
            f"the texts in {path} cannot be read here ({error}): XLIR_CACHE has to name a folder that all nodes share"
        ) from error
    return StoredTexts(path, mapped, table.select(columns), prefix)


def corpus_folder(root: Path, digests: Sequence[str], **stated: Any) -> Path:
    """The folder for the corpus of these files; `stated` says how they are read."""
    return root / files.json_digest({"layout": LAYOUT, "files": list(digests), **stated})[:32]


def open_corpus(folder: Path, lang: str) -> Passages | None:
    """The corpus in a folder, with the language before its ids; None if it is absent or incomplete."""
    try:
        rows = parse_json(objectstore.fetched(folder / STATED).read_bytes())["rows"]
        mapped, table = _open_arrow(path := folder / TEXTS)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        raise XlirError(
            f"the texts of a large corpus in {folder} cannot be read: {error.strerror or error};"
            " they are left as they are: try again, or set XLIR_CACHE to another place"
        ) from error
    if table.schema != _schema() or table.num_rows != rows:
        return None
    return Passages(
        StoredTexts(path, mapped, table.select(["id"]), prefix=f"{lang}:"),
        StoredTexts(path, mapped, table.select(["text"])),
        bodies=StoredTexts(path, mapped, table.select(["text", "start"])),
    )


def _open_arrow(path: Path) -> tuple[mmap.mmap, Any]:
    """An Arrow file, mapped into memory, and the table that it holds; `ValueError` if it holds none."""
    import pyarrow as pa

    with objectstore.fetched(path).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return mapped, pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no Arrow file: {error}") from error


def stored_corpus(
    folder: Path, lang: str, passages: Iterable[Passage], faults: Faults, source: Path
) -> Passages | None:
    """The corpus in a folder, written first if it is not there; None if `passages` had faults (in `source`)."""
    if (corpus := open_corpus(folder, lang)) is not None:
        return corpus
    before = faults.count
    for other in folder.parent.glob("*"):
        files.sweep(other)  # what a killed run left may be many gigabytes
        if other.name.startswith(".growing-"):  # and one of an older version
            with suppress(OSError):
                files.remove_unused(other)
    with (
        _writable(folder, faults) as folder,
        files.explained(folder, REMEDY),
        files.removing_empty([folder]),
        files.beside(folder / TEXTS) as growing,
    ):
        rows, repeated = _write_passages(growing, passages)
        for name in repeated:
            faults.add(source, "$", f"{name!r} is the id of more than one passage")
        if faults.count > before or (faults.count and not rows):
            return None
        if open_corpus(folder, lang) is None:  # else another run was faster
            objectstore.put(growing, folder / TEXTS)
            growing.replace(folder / TEXTS)
            stated = {"layout": LAYOUT, "rows": rows}
            objectstore.write(folder / STATED, json.dumps(stated).encode())
        return open_corpus(folder, lang)


@contextmanager
def _writable(folder: Path, faults: Faults) -> Iterator[Path]:
    """The folder, which no other process removes before the block ends.

    If the cache cannot be written, it is a folder for this run alone, and a note says so.
    """
    try:
        files.require_writable(folder, "the texts of a large corpus are read again by the next run")
    except XlirError as error:
        faults.notes.append(str(error))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as spare:
            yield Path(spare) / folder.name
        return
    lease = files.leased(folder)
    yield folder
    del lease


def _write_passages(path: Path, passages: Iterable[Passage]) -> tuple[int, list[str]]:
    """Write passages as Arrow; returns the number of rows, and the ids that more than one passage has."""
    import pandas as pd
    import pyarrow as pa

    rows, hashes = 0, [np.empty(0, np.uint64)]
    remaining = iter(passages)
    with pa.ipc.new_file(str(path), _schema()) as file:
        while batch := list(islice(remaining, ROWS)):
            # Joined by a space, as those who publish scores join them.
            titles = [f"{p.title} " if p.title and p.text else p.title for p in batch]
            columns = [
                [p.name for p in batch],
                [title + p.text for title, p in zip(titles, batch, strict=True)],
                [len(title) for title in titles],
            ]
            file.write_batch(pa.record_batch(columns, schema=_schema()))
            hashes.append(pd.util.hash_array(np.array(columns[0], object), categorize=False))
            rows += len(batch)
    # Different ids may share a hash: so ids of one hash are compared themselves.
    same_hash = np.flatnonzero(pd.Series(np.concatenate(hashes)).duplicated(keep=False)).tolist()
    _, table = _open_arrow(path)
    counts = Counter(table["id"][row].as_py() for row in same_hash)
    return rows, [name for name, count in counts.items() if count > 1]


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("id", pa.string()), ("text", pa.string()), ("start", pa.int32())])


def corpora_bytes(root: Path) -> int:
    """The size of all corpora on disk."""
    return sum(_bytes(folder) for folder in root.glob("*"))


def _bytes(folder: Path) -> int:
    count = 0
    for path in folder.glob("*"):
        with suppress(OSError):  # another run may have removed it
            count += path.stat().st_size
    return count


def remove_corpora(root: Path) -> int:
    """Remove all corpora but those being written; returns the bytes freed. Removed ones are read again when needed."""
    freed = 0
    for folder in root.glob("*"):
        size = _bytes(folder)
        with files.explained(folder, "nothing was removed from there"):
            freed += size if files.remove_unused(folder) else 0
    return freed

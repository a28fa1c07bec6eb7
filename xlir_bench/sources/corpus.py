"""Corpora too large for memory: their texts are written to disk once, as Arrow, and read from there by row.

    <cache>/corpora/<digest>/passages.arrow     id, text (title and text), and where the text begins behind its title
                             corpus.json        written last: without it there is no corpus

The digest is that of the files which a corpus was read from. Reading takes no memory to speak of: it is of
pages of a file, which the system takes back when it needs them. Writing takes 8 bytes a passage, to find repeated ids.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from xlir_bench import files
from xlir_bench.errors import XlirError
from xlir_bench.reading import parse_json
from xlir_bench.records import Passages
from xlir_bench.sources.faults import Faults

LAYOUT = 2
"""Rises with what is on disk."""
ROWS = 4096
"""Passages that are read and checked together."""
REMEDY = "make room there, or set XLIR_CACHE to another disk"
Hashes = NDArray[np.uint64]


def _damaged(how: str) -> XlirError:
    return XlirError(
        f"the corpus in the cache is damaged ({how}): `xlir-bench cache prune`, or another XLIR_CACHE, has it"
        " read again"
    )


@dataclass(slots=True, eq=False)
class _Batches:
    """The rows of a corpus on disk, read when they are asked for."""

    mapped: mmap.mmap
    reader: Any
    checked: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, path: Path) -> _Batches:
        import pyarrow as pa

        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return cls(mapped, pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is no Arrow file: {error}") from error

    def __len__(self) -> int:
        return int(self.reader.num_record_batches)

    def column(self, name: str, number: int) -> Any:
        """A column of one batch, as Arrow has it."""
        import pyarrow as pa

        try:
            batch = self.reader.get_batch(number)
            if number not in self.checked:
                # What a damaged file says of where texts lie must not be followed.
                batch.validate(full=True)
                self.checked.add(number)
            return batch[name]
        except (pa.ArrowException, KeyError, OSError) as error:
            raise _damaged(str(error).splitlines()[0]) from None

    def give_back(self) -> None:
        """Pages that were read count as this process's memory until it gives them back."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, slots=True, eq=False)
class StoredTexts(Sequence[str]):
    """A column of a corpus on disk."""

    digest: str
    """Of the corpus that they are from."""
    batches: _Batches
    rows: int
    column: str
    prefix: str = ""
    """Stands before each."""
    without_title: bool = False

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            wanted = range(*row.indices(self.rows))
            if wanted.step != 1:
                return [self[i] for i in wanted]
            found = [text for piece in self._pieces(wanted) for text in piece]
            self.batches.give_back()
            return found
        if not -self.rows <= row < self.rows:
            raise IndexError(row)
        row %= self.rows
        return next(self._pieces(range(row, row + 1)))[0]

    def __iter__(self) -> Iterator[str]:
        return (text for piece in self._pieces(range(self.rows)) for text in piece)

    def _pieces(self, wanted: range) -> Iterator[list[str]]:
        for number in range(wanted.start // ROWS, -(-wanted.stop // ROWS)) if wanted else ():
            first = number * ROWS
            rows = slice(max(wanted.start - first, 0), min(wanted.stop - first, ROWS))
            texts = self.batches.column(self.column, number)[rows].to_pylist()
            if self.without_title:
                starts = self.batches.column("start", number)[rows].to_pylist()
                texts = [text[start:] for text, start in zip(texts, starts, strict=True)]
            yield [self.prefix + text for text in texts]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The passages of one language."""

    ids: StoredTexts
    texts: StoredTexts
    """Title and text."""
    bodies: StoredTexts
    """The text alone."""
    notes: tuple[str, ...] = ()

    @property
    def passages(self) -> Passages:
        """As a collection holds them."""
        return Passages(self.ids, self.texts, self.bodies)

    def rows(self, wanted: Iterable[str]) -> dict[str, int]:
        """Where the passages of these ids (without their language) stand; unknown ones are left out."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found: dict[str, int] = {}
        names = list(dict.fromkeys(wanted))
        batches = self.ids.batches
        for number in range(len(batches)):
            place = pc.index_in(
                batches.column("id", number), value_set=pa.array(names, pa.string())
            )
            rows = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
            for row, name in zip(rows.tolist(), place.drop_null().to_pylist(), strict=True):
                found[names[name]] = number * ROWS + row
        batches.give_back()
        return {name: found[name] for name in names if name in found}


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage as it is read."""

    name: str
    title: str
    text: str


def stored_corpus(
    folder: Path, lang: str, passages: Iterable[Passage], faults: Faults, where: Path
) -> Corpus | None:
    """The corpus in a folder, written there first if need be; None where there were faults.

    Where nothing can be written it is made in a temporary folder, and lives as long as it is read.
    """
    found = open_corpus(folder, lang)
    if found is not None:
        return found
    try:
        writer = CorpusWriter(folder)
    except OSError as error:
        remedy = "the texts of a large corpus are read again by the next run"
        note = str(files.cannot_write(folder.parent, remedy, error))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as spare:
            writer = CorpusWriter(Path(spare) / folder.name)
            made = _written(writer, lang, passages, faults, where)
        return made and replace(made, notes=(note,))
    return _written(writer, lang, passages, faults, where)


def _written(
    writer: CorpusWriter, lang: str, passages: Iterable[Passage], faults: Faults, where: Path
) -> Corpus | None:
    before = faults.count
    try:
        for passage in passages:
            try:
                writer.add(passage)
            except OSError as error:  # of ours: a source's own are faults
                raise files.cannot_write(writer.folder, REMEDY, error) from error
        with files.explained(writer.folder, REMEDY):
            for name in writer.repeated():
                faults.add(where, "$", f"{name!r} is the id of more than one passage")
            if faults.count > before:
                return None
            return writer.finish(lang)
    finally:
        writer.abandon()


@dataclass(slots=True)
class CorpusWriter:
    """Takes passages one after another and makes a corpus of them."""

    folder: Path
    """Where it will stand when it is whole."""
    rows: int = 0
    """How many there are so far."""
    _growing: Path = field(init=False)
    _lease: object = field(init=False)
    _file: Any = field(init=False)
    _batch: list[dict[str, Any]] = field(default_factory=list)
    _hashes: list[Hashes] = field(default_factory=list)

    def __post_init__(self) -> None:
        import pyarrow as pa

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._growing = Path(tempfile.mkdtemp(prefix=".growing-", dir=self.folder.parent))
        self._lease = files.leased(self._growing)
        self._file = pa.ipc.new_file(str(self._growing / "passages.arrow"), _schema())

    def add(self, passage: Passage) -> None:
        """One more passage."""
        title = f"{passage.title} " if passage.title and passage.text else passage.title
        name, title, text = (
            x.encode("utf-8", "replace").decode() for x in (passage.name, title, passage.text)
        )
        self._batch.append({"id": name, "text": title + text, "start": len(title)})
        self.rows += 1
        if len(self._batch) == ROWS:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        if self._batch:
            self._hashes.append(_hashes([row["id"] for row in self._batch]))
            self._file.write_batch(pa.RecordBatch.from_pylist(self._batch, _schema()))
            self._batch = []

    def repeated(self) -> list[str]:
        """Ids that more than one passage has; nothing can be added afterwards."""
        self._write()
        self._file.close()
        hashes = np.concatenate([np.empty(0, np.uint64), *self._hashes])
        _, inverse, count = np.unique(hashes, return_inverse=True, return_counts=True)
        # Different ids may share a hash: only those that do are looked at themselves.
        twin = count[inverse] > 1
        if not twin.any():
            return []
        ids = StoredTexts("", _Batches.of(self._growing / "passages.arrow"), self.rows, "id")
        counts = Counter(ids[row] for row in np.flatnonzero(twin).tolist())
        return [name for name, count in counts.items() if count > 1]

    def finish(self, lang: str) -> Corpus | None:
        """Put it in place and open it; a run that did the same at the same time may have come before."""
        stated = {"layout": LAYOUT, "rows": self.rows}
        (self._growing / "corpus.json").write_text(json.dumps(stated), encoding="utf-8")
        try:
            self._growing.rename(self.folder)
        except OSError:
            if (found := open_corpus(self.folder, lang)) is not None:
                return found
            # What stands there is half a corpus: out of the way with it.
            with tempfile.TemporaryDirectory(
                dir=self.folder.parent, prefix=".growing-", ignore_cleanup_errors=True
            ) as aside:
                self.folder.rename(Path(aside) / "half")
                self._growing.rename(self.folder)
        return open_corpus(self.folder, lang)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self._file.close()
        shutil.rmtree(self._growing, ignore_errors=True)


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("id", pa.string()), ("text", pa.string()), ("start", pa.int32())])


def _hashes(names: Iterable[str]) -> Hashes:
    digests = (hashlib.blake2b(x.encode("utf-8", "replace"), digest_size=8).digest() for x in names)
    return np.frombuffer(b"".join(digests), np.uint64)


def corpus_folder(root: Path, digests: Sequence[str], **stated: Any) -> Path:
    """Where the corpus of these files, read in this way, lies."""
    parts = {"layout": LAYOUT, "files": list(digests), **stated}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return root / hashlib.sha256(text.encode()).hexdigest()[:32]


def open_corpus(folder: Path, lang: str) -> Corpus | None:
    """The corpus in a folder, its ids led by the language; None where there is none, or half of one."""
    try:
        rows = parse_json((folder / "corpus.json").read_bytes())["rows"]
        batches = _Batches.of(folder / "passages.arrow")
        texts = StoredTexts(folder.name, batches, rows, "text")
        corpus = Corpus(
            ids=replace(texts, column="id", prefix=f"{lang}:"),
            texts=texts,
            bodies=replace(texts, without_title=True),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        raise XlirError(
            f"the texts of a large corpus in {folder} cannot be read: {error.strerror or error};"
            " they are left as they are: try again, or set XLIR_CACHE to another place"
        ) from error
    whole = len(batches) == -(-rows // ROWS) and batches.reader.schema == _schema()
    return corpus if whole else None


def corpora_bytes(root: Path) -> int:
    """What all corpora take on disk."""
    return sum(_bytes(folder) for folder in root.glob("*"))


def _bytes(folder: Path) -> int:
    count = 0
    for path in folder.glob("*"):
        with suppress(OSError):  # another run may have removed it
            count += path.stat().st_size
    return count


def remove_corpora(root: Path) -> int:
    """Remove all but those being written; they are read from their files again when they are needed.

    The bytes freed.
    """
    freed = 0
    for folder in root.glob("*"):
        size = _bytes(folder)
        with files.explained(folder, "nothing was removed from there"):
            freed += size if files.remove_unused(folder) else 0
    return freed


def sweep(root: Path) -> None:
    """Remove what runs left that were killed while they wrote."""
    for folder in root.glob(".growing-*"):
        with suppress(OSError):
            files.remove_unused(folder)

"""Corpora too large for memory: their texts laid end to end on disk, once, and read from there by row.

    <cache>/corpora/<digest>/texts.bin, texts.ends          where each text ends
                             texts.starts                   where it begins behind its title
                             ids.bin, ids.ends
                             ids.hashes, ids.order          sorted hashes, and the row of each
                             corpus.json                    written last: without it there is no corpus

The digest is that of the files which a corpus was read from. Reading takes no memory to speak of: it is of
pages of files, which the system takes back when it needs them. Sorting the hashes takes 24 bytes a passage, once.
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
from typing import Any, BinaryIO, Literal, overload

import numpy as np
from numpy.typing import NDArray

from xlir_bench import files
from xlir_bench.errors import XlirError
from xlir_bench.reading import parse_json
from xlir_bench.records import Ints, Passages
from xlir_bench.sources.faults import Faults

LAYOUT = 1
"""Rises with what is on disk."""
REMEDY = "make room there, or set XLIR_CACHE to another disk"
SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
Hashes = NDArray[np.uint64]


def _damaged(how: str) -> XlirError:
    return XlirError(
        f"the corpus in the cache is damaged ({how}): `xlir-bench cache prune`, or another XLIR_CACHE, has it"
        " read again"
    )


@dataclass(frozen=True, slots=True, eq=False)
class StoredTexts(Sequence[str]):
    """Texts on disk, read when they are asked for."""

    digest: str
    """Of the corpus that they are from."""
    packed: mmap.mmap | memoryview
    ends: Ints
    starts: Ints | None = None
    """Where each begins, if not where the one before ends."""
    prefix: str = ""
    """Stands before each."""

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            found = [self[i] for i in range(*row.indices(len(self)))]
            if isinstance(self.packed, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                # Pages that were read count as this process's memory until it gives them back.
                self.packed.madvise(mmap.MADV_DONTNEED)
            return found
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        if self.starts is not None:
            start = int(self.starts[row])
        else:
            start = int(self.ends[row - 1]) if row else 0
        try:
            return self.prefix + str(self.packed[start : int(self.ends[row])], "utf-8")
        except UnicodeDecodeError:
            raise _damaged("a text is no UTF-8") from None

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))


@dataclass(frozen=True, slots=True)
class Corpus:
    """The passages of one language."""

    ids: StoredTexts
    texts: StoredTexts
    """Title and text."""
    bodies: StoredTexts
    """The text alone."""
    hashes: Hashes
    """Of all ids, ascending."""
    order: Ints
    """Whose they are."""
    notes: tuple[str, ...] = ()

    @property
    def passages(self) -> Passages:
        """As a collection holds them."""
        return Passages(self.ids, self.texts, self.bodies)

    def rows(self, wanted: Iterable[str]) -> dict[str, int]:
        """Where the passages of these ids (without their language) stand; unknown ones are left out."""
        found: dict[str, int] = {}
        names = list(dict.fromkeys(wanted))
        for name, code in zip(names, _hashes(names), strict=True):
            first, last = (int(np.searchsorted(self.hashes, code, side)) for side in SIDES)
            for row in self.order[first:last].tolist():
                if not 0 <= row < len(self.ids):
                    raise _damaged("its index names a passage that it has not")
                if self.ids[row] == self.ids.prefix + name:
                    found[name] = row
        return found


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
    _growing: Path = field(init=False)
    _lease: object = field(init=False)
    _columns: dict[str, _Column] = field(init=False)
    _hashes: BinaryIO = field(init=False)

    def __post_init__(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._growing = Path(tempfile.mkdtemp(prefix=".growing-", dir=self.folder.parent))
        self._lease = files.leased(self._growing)
        self._columns = {name: _Column.at(self._growing, name) for name in ("ids", "texts")}
        self._hashes = (self._growing / "hashes").open("wb")

    def add(self, passage: Passage) -> None:
        """One more passage."""
        self._columns["ids"].add(passage.name)
        title = f"{passage.title} " if passage.title and passage.text else passage.title
        self._columns["texts"].add(title + passage.text, skip=len(title.encode()))
        self._hashes.write(_hash(passage.name))

    @property
    def rows(self) -> int:
        """How many there are so far."""
        return self._columns["ids"].rows

    def repeated(self) -> list[str]:
        """Ids that more than one passage has; nothing can be added afterwards."""
        self._close()
        hashes = np.fromfile(self._growing / "hashes", np.uint64)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        hashes.tofile(self._growing / "ids.hashes")
        order.astype(np.int64).tofile(self._growing / "ids.order")
        (self._growing / "hashes").unlink()
        # Different ids may share a hash: only those that do are looked at themselves.
        twin = np.zeros(len(hashes), bool)
        twin[1:] = hashes[1:] == hashes[:-1]
        twin[:-1] |= twin[1:]
        ids = _open(self._growing, "ids")
        counts = Counter(ids[row] for row in np.sort(order[twin]).tolist())
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
        self._close()
        shutil.rmtree(self._growing, ignore_errors=True)

    def _close(self) -> None:
        self._hashes.close()
        for column in self._columns.values():
            column.close()


@dataclass(slots=True)
class _Column:
    """One text a row, growing."""

    packed: BinaryIO
    ends: BinaryIO
    starts: BinaryIO
    size: int = 0
    rows: int = 0

    @classmethod
    def at(cls, folder: Path, name: str) -> _Column:
        return cls(
            packed=(folder / f"{name}.bin").open("wb"),
            ends=(folder / f"{name}.ends").open("wb"),
            starts=(folder / f"{name}.starts").open("wb"),
        )

    def add(self, text: str, skip: int = 0) -> None:
        self.starts.write((self.size + skip).to_bytes(8, "little"))
        self.size += self.packed.write(text.encode("utf-8", "replace"))
        self.ends.write(self.size.to_bytes(8, "little"))
        self.rows += 1

    def close(self) -> None:
        for file in (self.packed, self.ends, self.starts):
            file.close()


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()


def _hashes(names: Iterable[str]) -> Hashes:
    return np.frombuffer(b"".join(map(_hash, names)), np.uint64)


def corpus_folder(root: Path, digests: Sequence[str], **stated: Any) -> Path:
    """Where the corpus of these files, read in this way, lies."""
    parts = {"layout": LAYOUT, "files": list(digests), **stated}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return root / hashlib.sha256(text.encode()).hexdigest()[:32]


def open_corpus(folder: Path, lang: str) -> Corpus | None:
    """The corpus in a folder, its ids led by the language; None where there is none, or half of one."""
    try:
        rows = parse_json((folder / "corpus.json").read_bytes())["rows"]
        corpus = Corpus(
            ids=replace(_open(folder, "ids"), prefix=f"{lang}:"),
            texts=(texts := _texts(folder)),
            bodies=replace(texts, starts=_mapped(folder / "texts.starts", np.int64)),
            hashes=_mapped(folder / "ids.hashes", np.uint64),
            order=_mapped(folder / "ids.order", np.int64),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    except OSError as error:
        raise XlirError(
            f"the texts of a large corpus in {folder} cannot be read: {error.strerror or error};"
            " they are left as they are: try again, or set XLIR_CACHE to another place"
        ) from error
    return corpus if _is_whole(corpus, rows) else None


def _is_whole(corpus: Corpus, rows: int) -> bool:
    columns = (corpus.ids, corpus.texts)
    counts = [len(its) for its in (*columns, corpus.hashes, corpus.order)]
    starts = corpus.bodies.starts
    return {*counts, rows if starts is None else len(starts)} == {rows} and all(
        len(column.packed) == (int(column.ends[-1]) if rows else 0) for column in columns
    )


def _open(folder: Path, name: str) -> StoredTexts:
    packed = memoryview(_mapped(folder / f"{name}.bin", np.uint8))
    return StoredTexts(folder.name, packed, _mapped(folder / f"{name}.ends", np.int64))


def _texts(folder: Path) -> StoredTexts:
    """These are far more than all the rest: their pages have to be given back."""
    texts = _open(folder, "texts")
    if not len(texts.packed):
        return texts
    with (folder / "texts.bin").open("rb") as file:
        return replace(texts, packed=mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _mapped(path: Path, kind: type[np.integer[Any]]) -> Any:
    """A file as it is on disk. It counts as no open file, and stays readable when it is removed."""
    import pyarrow as pa

    if not path.stat().st_size:  # cannot be mapped
        return np.empty(0, kind)
    with pa.memory_map(str(path)) as file:
        return np.frombuffer(file.read_buffer(), kind)


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

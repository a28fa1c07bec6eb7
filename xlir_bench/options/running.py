"""Options of an evaluation: its data, what is measured, and where the work is done."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xlir_bench.executor import place
from xlir_bench.files import file_digest, parts_digest
from xlir_bench.options.stating import (
    DATA,
    MEASURED,
    MODEL,
    OUTPUT,
    SEARCH,
    check_bounds,
    hold_parsed,
    number_of_bytes,
    offline_option,
    option,
    options_of,
    same_option,
)
from xlir_bench.places import cache_folder, cache_root, data_root, expanded

if TYPE_CHECKING:
    from xlir_bench.tasks import Task, TaskCatalogue

MACHINES = "Machines"
QueryForm = Literal["code-switched", "lower", "romanised", "typos"]
VectorDtype = Literal["float32", "float16", "int8"]
EXACT = "Flat"
CPU = "cpu"
MOST_DOWNLOAD = 20 * 10**9
"""The largest file, in bytes, that is downloaded if its size is not known in advance."""


def _number_or_auto(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError("give a number above 0, or auto")
    return int(text)


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Which tasks there are, and where their data lies."""

    data: Path | None = option(
        "A local data root instead of downloads (also: XLIR_DATA).",
        None, group=DATA, metavar="ROOT", parse=data_root,
    )  # fmt: skip
    tasks_dirs: tuple[Path, ...] = option(
        "A folder of your own task files (TOML); may be given again.",
        (), group=DATA, flag="tasks-dir", metavar="DIR", many=True,
    )  # fmt: skip

    @property
    def root(self) -> Path | None:
        """The data root, if there is one."""
        return data_root(self.data)

    def catalogue(self, *more: Path) -> TaskCatalogue:
        """The tasks of the package, of these folders and of `more`."""
        from xlir_bench.tasks import catalogue

        return catalogue(*more, *self.tasks_dirs)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run; the defaults give a full run."""

    langs: tuple[str, ...] | None = option(
        "Only queries and passages in these languages.",
        None, group=MEASURED, decides=True, partial=True, told="languages {}",
    )  # fmt: skip
    kinds: tuple[str, ...] | None = option(
        "Only these kinds: monolingual, cross-lingual, multilingual.",
        None, group=MEASURED, decides=True, partial=True,
    )  # fmt: skip
    limit: int | None = option(
        "Only the first N queries of each language; candidates stay whole.",
        None, group=MEASURED, metavar="N", least=1, decides=True, partial=True,
        told="the first {} queries of each language",
    )  # fmt: skip
    corpus_limit: int | None = option(
        "From a large corpus, only the judged passages and N others: for a trial, never for a score.",
        None, group=MEASURED, metavar="N", least=1, decides=True, partial=True,
        told="NOT THE WHOLE CORPUS: at most {} unjudged passages",
    )  # fmt: skip
    candidate: str | None = option(
        "The text of a candidate passage: sentence or sentence+context.",
        None, group=MEASURED, metavar="TEXT", decides=True, told="candidate text {}",
    )  # fmt: skip
    query_form: QueryForm | None = option(
        "Ask questions as people may type them; the change is the same in every run.",
        None, group=MEASURED, decides=True, told="QUESTIONS {}",
    )  # fmt: skip
    lexicon: Path | None = option(
        "Word lists (en-de.tsv, …) for --query-form code-switched.  [default: `lexicon` in the data root]",
        None, group=DATA, metavar="FOLDER",
    )  # fmt: skip
    measures: tuple[str, ...] | None = option(
        "ranx's names: map, mrr, ndcg@10, recall@100 …",
        None, group=MEASURED, decides=True, told=None, in_recipes="recipe",
    )  # fmt: skip
    alignment: bool = option(
        "Also measure alignment: whether translations find each other, and what sets languages apart. This needs"
        " one more search.",
        False, group=MEASURED, in_recipes="recipe",
    )  # fmt: skip
    unions: bool = True
    """Whether MRC is measured. It needs more scores, so evaluations during a training leave it out."""
    seed: int = option(
        "Random seed of the bootstrap intervals.", 0, group=MEASURED, least=0, decides=True, told=None
    )  # fmt: skip
    index: str = option(
        "A FAISS factory string; anything but Flat is approximate, and the result says by how much.",
        EXACT, group=SEARCH, metavar="FACTORY", decides=True,
    )  # fmt: skip
    vectors: VectorDtype = option(
        "How vectors are kept and compared: float16 takes half the disk and int8 a quarter. Ranks are exact for"
        " the vectors as they are kept.",
        "float32", group=SEARCH, metavar="DTYPE", decides=True, makes_retriever=True, told="vectors kept as {}",
        in_recipes="encodings",
    )  # fmt: skip
    keep_vectors: bool = option(
        "Keep vectors of passages. If not, each part of a corpus is encoded, searched and dropped: ranks are the"
        " same, there is no MRC, and an interrupted run starts again from the beginning.",
        True, group=SEARCH, makes_retriever=True,
    )  # fmt: skip
    search_device: str = option(
        "Where vectors are compared: a GPU searches a large corpus faster, with the same ranks. With --index, only the"
        " exact search for comparison runs there: FAISS stays on the CPU.",
        CPU, group=SEARCH, metavar="cpu|cuda|mps", makes_retriever=True,
    )  # fmt: skip
    save_run: int = option(
        "Keep the top K passages of every query (run.parquet).", 0, group=OUTPUT, metavar="K", least=0
    )  # fmt: skip
    batch_tokens: int | None = option(
        "Tokens in a batch, with padding.",
        None, group=MODEL, metavar="N", above=0, parse=_number_or_auto, said="auto", makes_retriever=True,
    )  # fmt: skip
    data: Path | None = field(
        default_factory=lambda: data_root(None),
        metadata=same_option(DataOptions, "data").metadata,
    )
    cache: Path | None = field(default_factory=cache_root)
    """Where vectors and downloads are kept; None: vectors are not kept."""
    offline: bool = offline_option()
    allow_changed_data: bool = option(
        "Go on with data that differs from its pinned digest; the result says so.", False, group=DATA
    )  # fmt: skip
    max_download: int = option(
        "Refuse to download a larger file if the task does not state its size.",
        MOST_DOWNLOAD, group=DATA, metavar="SIZE", parse=number_of_bytes, said="20GB",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Take paths as text, a URL for the cache, one value for a list, and other spellings of kinds and measures."""
        hold_parsed(self)
        check_bounds(self)
        if self.kinds or self.measures:
            from xlir_bench.records import Kind, measure_name

            kinds = self.kinds and tuple(kind.value for kind in Kind.named(*self.kinds))
            object.__setattr__(self, "kinds", kinds)
            measures = self.measures and tuple(map(measure_name, self.measures))
            object.__setattr__(self, "measures", measures)
        if self.cache is not None:
            object.__setattr__(self, "cache", cache_folder(self.cache))
        for each in options_of(RunOptions):
            if each.base is Path and (given := getattr(self, each.name)) is not None:
                object.__setattr__(self, each.name, expanded(given))

    @property
    def word_lists(self) -> Path | None:
        """The folder of word lists: `lexicon`, else the one in the data root, if there is one."""
        in_root = self.data and self.data / "lexicon"
        return self.lexicon or (in_root if in_root and in_root.is_dir() else None)

    @property
    def word_lists_digest(self) -> str | None:
        """``sha256:…`` of the word lists; None unless questions are changed by them."""
        if self.query_form != "code-switched" or self.word_lists is None:
            return None
        lists = filter(Path.is_file, sorted(self.word_lists.glob("*.tsv")))
        lines = (f"{path.name} {file_digest(path, 'sha256')}\n".encode() for path in lists)
        return f"sha256:{parts_digest(lines)}"

    @property
    def data_cache(self) -> Path:
        """Where downloaded data is kept, laid out like a data root."""
        return (self.cache or cache_root()) / "data"

    @property
    def corpora(self) -> Path:
        """Where corpora that are too large for memory are kept, in the order in which search reads them."""
        return (self.cache or cache_root()) / "corpora"

    def part(self, task: Task) -> dict[str, Any]:
        """The options by which this differs from a full default run of the task; empty for a full run."""
        usual: dict[str, Any] = {
            "langs": sorted(task.languages),
            "kinds": [kind.value for kind in task.kinds],
            "candidate": task.candidate,
            "measures": sorted(set(task.measures)),
        }
        part = {
            o.name: value
            for o in options_of(RunOptions)
            if o.decides
            and (value := _plain(getattr(self, o.name))) not in (None, usual.get(o.name, o.default))
        }
        return part | ({"word_lists": digest} if (digest := self.word_lists_digest) else {})


def _plain(value: Any) -> Any:
    """A value as results state it: each name once, sorted; kinds in the order of `Kind`."""
    from xlir_bench.records import Kind

    if not isinstance(value, tuple):
        return value
    kinds = [kind.value for kind in Kind if kind in value]
    return kinds if kinds and len(kinds) == len({*value}) else sorted({*value})


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """Who does the work. This decides how long the work takes, and no number."""

    on: str = option(
        "Where work is done: here (local), or by workers of a Ray cluster: the one of RAY_ADDRESS or of this machine,"
        " or else a new one here (ray), or the one with this head (ray:HOST:PORT).",
        "local", group=MACHINES, metavar="local|ray|ray:HOST:PORT", parse=place,
    )  # fmt: skip
    workers: int | None = option(
        "How many workers.  [default: one per GPU; without GPUs, one per node]",
        None, group=MACHINES, metavar="N", least=1
    )  # fmt: skip
    gpus_per_worker: float | None = option(
        "GPUs for each worker; 0.5 is half of one.  [default: 1 where the cluster has any]",
        None, group=MACHINES, metavar="N", least=0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `of` parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """Parse ``I/N``."""
        numbers = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if numbers is None or int(numbers[1]) > int(numbers[2]):
            raise ValueError("give I/N, the I-th of N parts, such as 1/8")
        return cls(int(numbers[1]), int(numbers[2]))

"""Approximate search with FAISS: how its indexes are built and searched, and what they miss."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.errors import InputError
from xlir_bench.records import Floats, Ints, Progress, Ranking, Setting
from xlir_bench.retrieval.pool import Partial, Pool, Want
from xlir_bench.retrieval.retriever import Index
from xlir_bench.retrieval.similarity import Similarity
from xlir_bench.retrieval.vectors import Vectors

DEPTH = 1000
"""How many passages an index is asked for; a relevant passage beyond them counts as not retrieved."""

TRAINED_ON = 262_144
"""An index learns its clusters from at most this many vectors; from a smaller pool it takes them all."""


@dataclass(frozen=True, slots=True)
class FaissIndex(Index):
    """FAISS indexes of dense vectors, one for each set of candidates."""

    pool: Pool
    queries: Mapping[str, Vectors]
    passages: Mapping[str, Vectors]
    similarity: Similarity
    factory: str
    depth: int
    """How many passages each FAISS index is asked for."""
    _built: dict[tuple[str, ...], Any] = field(default_factory=dict)
    """The FAISS indexes that are built, by the languages of their passages."""

    def search(self, wants: Sequence[Want], progress: Progress) -> Iterator[Partial]:
        """Search for each want, one query language after another."""
        progress.start("search", len(wants), "languages")
        for want in wants:
            queries = self.similarity.prepared(np.asarray(self.queries[want.query_lang]))
            partial = Partial.of(want)
            for setting in want.settings:
                scores, top = retrieve(self.index_of(setting), queries, self.depth)
                self._put(partial, setting, scores, top)
            yield partial
            progress.advance(1)
        progress.finish()

    def index_of(self, setting: Setting) -> Any:
        """The FAISS index of a setting's candidates, trained; built once."""
        langs, rows = setting.passage_langs, self.pool.rows(setting)
        if langs not in self._built:
            count = rows.stop - rows.start
            # The sample is spread over all candidates: the first rows may be of one language.
            sample = np.linspace(rows.start, rows.stop - 1, min(count, TRAINED_ON))
            training = self.pool.rows_at(sample.astype(np.int64), self.passages)
            blocks = (
                self.similarity.prepared(self.passages[lang].rows(part))
                for lang in langs
                for part in slices(len(self.passages[lang]), TRAINED_ON)
            )
            self._built[langs] = build_index(
                self.factory,
                self.similarity.prepared(training),
                blocks,
                f"the {count} candidates of {setting}",
            )
        return self._built[langs]

    def _put(self, partial: Partial, setting: Setting, scores: Floats, top: Ints) -> None:
        want, rows = partial.want, self.pool.rows(setting)
        top = np.where(top < 0, -1, top + rows.start)
        if want.own is not None and want.query_lang in setting.passage_langs:
            scores, top = without(scores, top, want.own)
        relevant, items = want.relevant, want.items(setting)
        hit = top[relevant.query[items]] == relevant.position[items][:, None]
        before = np.where(hit.any(axis=1), hit.argmax(axis=1), -1)
        partial.before[setting.pooled][items] = before
        if setting in partial.best:
            best = partial.best[setting]
            width = min(best.scores.shape[1], top.shape[1])
            best.scores[:, :width] = scores[:, :width]
            best.positions[:, :width] = top[:, :width]


def build_index(factory: str, training: Floats, blocks: Iterable[Floats], what: str) -> Any:
    """A FAISS index of the vectors in these blocks, by inner product; it learns its clusters from `training`.

    `what` names the vectors in the message if it cannot be built.
    """
    index = empty_index(training.shape[1], factory)
    try:
        index.train(training)
        for block in blocks:
            index.add(block)
    except RuntimeError as error:
        raise InputError(
            f"--index {factory!r} cannot be built from {what} ({_reason(error)}); use fewer clusters, or 'Flat'"
        ) from error
    return index


def empty_index(dimension: int, factory: str) -> Any:
    """A FAISS index without vectors; a factory string that FAISS does not take is refused."""
    try:
        return _new_index(dimension, factory)
    except RuntimeError as error:
        raise _refusal(factory, f" for {dimension} dimensions", error) from error


def require_factory(factory: str) -> None:
    """Refuse a string that FAISS cannot read, or not for inner products. The dimension need not be known yet."""
    try:
        _new_index(1, factory)
    except RuntimeError as error:
        if "could not parse" in str(error) or "METRIC_L2" in str(error):
            raise _refusal(factory, "", error) from error


def _new_index(dimension: int, factory: str) -> Any:
    with suppress(ImportError):
        import torch  # noqa: F401  # before faiss: the other order can crash on two OpenMP runtimes

    import faiss  # isort: skip

    return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)


def _refusal(factory: str, dimensions: str, error: RuntimeError) -> InputError:
    what = "index of inner products" if "METRIC_L2" in str(error) else "FAISS factory string"
    return InputError(
        f"--index {factory!r} is not a{'n' * what.startswith('i')} {what}{dimensions} ({_reason(error)});"
        " try 'Flat', 'HNSW32' or 'IVF64,Flat'"
    )


def index_bytes(index: Any) -> int:
    """The size of an index when it is stored, with codes, graph and centroids."""
    import faiss

    return len(faiss.serialize_index(index))


def retrieve(index: Any, queries: Floats, depth: int) -> tuple[Floats, Ints]:
    """The scores and positions that each query finds, by score descending, then position; -inf and -1 fill up."""
    scores, top = index.search(queries, min(depth, index.ntotal))
    scores = np.where(top < 0, -np.inf, scores)
    # -1 is not a passage, so it stands last.
    position = np.where(top < 0, np.iinfo(np.int64).max, top)
    order = np.lexsort((position, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(top, order, axis=1)


def without(scores: Floats, top: Ints, own: Ints) -> tuple[Floats, Ints]:
    """These results without the query's `own` passage; the passages after it move up."""
    order = np.argsort(top == own[:, None], axis=1, kind="stable")
    others = np.where(top == own[:, None], -1, top)
    return (
        np.take_along_axis(np.where(others < 0, -np.inf, scores), order, axis=1)[:, :-1],
        np.take_along_axis(others, order, axis=1)[:, :-1],
    )


def _reason(error: RuntimeError) -> str:
    """The message of FAISS, without the place in its C++ code."""
    words = re.sub(r"^Error in .*?(?:failed: |:\d+: )", "", str(error).strip(), flags=re.DOTALL)
    return words.splitlines()[0].removeprefix("Error: ").strip()


def recall_of_exact(exact: Ranking, approximate: Ranking, depth: int = 100) -> float:
    """The share of the exact best passages that an index also has among its best; the mean over queries."""
    if exact.top is None or approximate.top is None:
        raise ValueError("both rankings must keep their best passages")
    depth = min(depth, exact.candidates)
    best = exact.top[:, :depth]
    shares = [np.isin(a, b[:depth]).mean() for a, b in zip(best, approximate.top, strict=True)]
    return float(np.mean(shares)) if shares else 0.0
